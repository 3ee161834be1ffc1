"""Every rival against a plain loop written from its definition, and one checker of what all of them promise."""
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elfs_jax import neighbors, select
from elfs_jax.select import greedy, rivals
from elfs_jax.select import subspaces as zcore

N, CLASSES = 60, 4


def draw(seed=0, n=N, d=5):
  rng = np.random.default_rng(seed)
  p_NC = rng.dirichlet(np.ones(CLASSES), n)
  return {'embeddings': rng.normal(size=(n, d)), 'labels': rng.integers(CLASSES, size=n), 'difficulty': rng.random(n),
          'probabilities': p_NC}


# Each as a function of (data, budget, seed).
METHODS = {
    'k_center': lambda x, n, seed=0: select.k_center(x['embeddings'], n, seed=seed),
    'facility_location': lambda x, n, seed=0: select.facility_location(x['embeddings'], n, seed=seed),
    'prototypes hard': lambda x, n, seed=0: select.prototypes(x['embeddings'], x['labels'], n, seed=seed),
    'prototypes easy': lambda x, n, seed=0: select.prototypes(x['embeddings'], x['labels'], n, keep='easy', seed=seed),
    'd2': lambda x, n, seed=0: select.d2(x['embeddings'], x['difficulty'], n, neighbors=3, gamma_forward=.5,
                                         gamma_reverse=.2, seed=seed),
    'zcore': lambda x, n, seed=0: select.zcore(x['embeddings'], n, seed=seed),
    'typiclust': lambda x, n, seed=0: select.typiclust(x['embeddings'], n, seed=seed),
    'badge': lambda x, n, seed=0: select.badge(x['probabilities'], x['embeddings'], n, seed=seed),
    'balanced': lambda x, n, seed=0: select.balanced(x['labels'], n, seed=seed),
}
NESTED = set(METHODS) - {'typiclust', 'balanced'}
DRAWN = {'k_center', 'zcore', 'badge', 'balanced'}


@pytest.mark.parametrize('method', METHODS)
def test_what_all_promise(method):
  data, choose = draw(), METHODS[method]
  full = choose(data, N)
  assert sorted(full) == list(range(N))
  for budget in (1, 7, 40):
    chosen = choose(data, budget)
    assert chosen.dtype == np.int64 and chosen.shape == (budget,)
    assert len(set(chosen.tolist())) == budget and 0 <= chosen.min() and chosen.max() < N
    assert (chosen == choose(data, budget)).all()
    if method in NESTED:
      assert (chosen == full[:budget]).all()
  assert len(choose(data, '10%')) == len(choose(data, 0.1)) == 6
  assert any((choose(data, 7, seed=seed) != choose(data, 7)).any() for seed in range(1, 5)) == (
      method in DRAWN or method == 'typiclust')
  for bad in (0, N + 1, 1.5):
    with pytest.raises(ValueError, match='budget'):
      choose(data, bad)


@pytest.mark.parametrize('method', METHODS)
def test_examples_that_are_the_same(method):
  data = {name: np.repeat(values[:6], 10, 0) for name, values in draw().items()}
  for budget in (1, 6, 25, N):
    chosen = METHODS[method](data, budget)
    assert len(set(chosen.tolist())) == budget
  if method in ('k_center', 'facility_location'):
    chosen = METHODS[method](data, N)
    assert sorted(chosen[:6] // 10) == list(range(6)), 'one of each before a second one of any'
    assert (chosen[method == 'k_center':6] % 10 == 0).all() and (np.diff(chosen[6:]) > 0).all(), 'lowest index'
  data = {name: np.repeat(values[:1], N, 0) for name, values in draw().items()}
  assert sorted(METHODS[method](data, N)) == list(range(N))


@pytest.mark.parametrize('method', ['k_center', 'facility_location', 'prototypes hard', 'prototypes easy', 'd2'])
def test_the_order_of_the_rows_does_not_matter(method):
  data = draw()
  order = np.random.default_rng(1).permutation(N)
  first = int(METHODS['k_center'](data, 1)[0])
  place = int(np.flatnonzero(order == first)[0])
  order[[first, place]] = order[[place, first]]  # k_center's first is drawn by position.
  # Not many: two that only have each other left gain the same, so late choices of facility_location tie.
  moved = METHODS[method]({name: values[order] for name, values in data.items()}, 10)
  assert (order[moved] == METHODS[method](data, 10)).all()


@pytest.mark.parametrize('method', sorted(set(METHODS) - {'balanced'}))
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(method, bad):
  data = draw()
  data['embeddings'][[3, 17], 1] = bad
  with pytest.raises(ValueError, match='not finite in 2 of 60 rows: 3, 17$'):
    METHODS[method](data, 5)


def test_bad_input():
  data = draw()
  x, short = data['embeddings'], slice(0, 50)
  d2 = {'neighbors': 3, 'gamma_forward': 1, 'gamma_reverse': 1}
  for call, match in (
      (lambda: select.prototypes(x, data['labels'], 5, keep='both'), "keep='both'"),
      (lambda: select.prototypes(x, data['labels'][short], 5), '50 rows'),
      (lambda: select.prototypes(x, data['labels'] + .5, 5), 'pseudo_labels must be int'),
      (lambda: select.balanced(np.zeros((3, 2), int), 2), 'pseudo_labels must be int'),
      (lambda: select.balanced(np.zeros(0, int), 2), 'N > 0'),
      (lambda: select.badge(data['probabilities'][short], x, 5), '60 rows'),
      (lambda: select.badge(data['probabilities'] * np.nan, x, 5), 'probabilities are not finite'),
      (lambda: select.k_center(x[0], 1), r'shape \(5,\)'),
      (lambda: select.zcore(x, 5, samples=0), 'samples=0'),
      (lambda: select.d2(x, data['difficulty'][short], 5, **d2), '50 rows'),
      (lambda: select.d2(x, data['difficulty'] * np.nan, 5, **d2), 'difficulty is not finite'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'gamma_forward': -1}), 'gamma_forward=-1'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'gamma_reverse': np.nan}), 'gamma_reverse=nan'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'neighbors': 60}), 'at least 61 examples'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'neighbors': np.full((60, 2), 60)}), 'from 0 to 59'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'neighbors': np.zeros((50, 2), int)}), '50 rows'),
      (lambda: select.d2(x, data['difficulty'], 5, **{**d2, 'neighbors': np.zeros((60, 2))}), 'count or int')):
    with pytest.raises(ValueError, match=match):
      call()


sizes = st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(0, 10_000))


def small(size):
  """Whole numbers, so that there are ties and rows that are the same."""
  n, d, seed = size
  return np.random.default_rng(seed).integers(-2, 3, size=(n, d)).astype(float)


@pytest.mark.parametrize('pool', [1, 4, 128])
@given(sizes)
@settings(max_examples=40, deadline=None)
def test_k_center_takes_the_farthest(pool, size):
  x_ND = small(size)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(greedy, 'POOL', pool)
    patch.setattr(rivals, 'BLOCK_ELEMENTS', 3 * len(x_ND))
    got = select.k_center(x_ND, len(x_ND), seed=size[2]).tolist()
  chosen = got[:1]
  while len(chosen) < len(x_ND):
    left = [i for i in range(len(x_ND)) if i not in chosen]
    chosen.append(max(left, key=lambda i: (min(((x_ND[i] - x_ND[j]) ** 2).sum() for j in chosen), -i)))
  assert got == chosen


@pytest.mark.parametrize('pool', [1, 4, 128])
@given(sizes)
@example((29, 3, 202))  # Two gains 1e-5 apart: no tie.
@settings(max_examples=40, deadline=None)
def test_facility_location_takes_the_largest_gain(pool, size):
  x_ND = small(size)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(greedy, 'POOL', pool)
    patch.setattr(rivals, 'BLOCK_ELEMENTS', 3 * len(x_ND))
    got = select.facility_location(x_ND, len(x_ND)).tolist()
  length = np.linalg.norm(x_ND, axis=1)
  similar = [[max(x_ND[i] @ x_ND[j] / (length[i] * length[j] or 1), 0) for j in range(len(x_ND))]
             for i in range(len(x_ND))]
  cover, left = [0.] * len(x_ND), list(range(len(x_ND)))
  for choice in got:
    gain = {j: sum(max(similar[i][j] - cover[i], 0) for i in range(len(x_ND))) for j in left}
    tie = 1e-6 * max(1, *gain.values())  # As its docstring says.
    assert choice == min(j for j in left if gain[j] >= max(gain.values()) - tie)
    left.remove(choice)
    cover = [max(cover[i], similar[i][choice]) for i in range(len(x_ND))]


def test_lazy_is_the_same_as_eager_where_the_pool_is_a_small_part(monkeypatch):
  x_ND = np.random.default_rng(0).normal(size=(700, 8))
  for choose in (select.k_center, select.facility_location):
    lazy = choose(x_ND, 300)
    monkeypatch.setattr(greedy, 'POOL', 700)
    assert (choose(x_ND, 300) == lazy).all()
    monkeypatch.undo()


@given(sizes, st.sampled_from(['hard', 'easy']))
@settings(deadline=None)
def test_prototypes_sort_by_the_distance_to_the_own_centroid(size, keep):
  x_ND = np.random.default_rng(size[2]).normal(size=size[:2])
  label_N = np.random.default_rng(size[2]).integers(-1, 3, size=len(x_ND)) * 5
  def distance(i):
    own = [x_ND[j] for j in range(len(x_ND)) if label_N[j] == label_N[i]]
    return np.sqrt(((x_ND[i] - np.mean(own, 0)) ** 2).sum()) if len(own) > 1 else 0.
  sign = -1 if keep == 'hard' else 1
  expected = sorted(range(len(x_ND)), key=lambda i: (sign * round(distance(i), 9), i))
  got = select.prototypes(x_ND, label_N, len(x_ND), keep=keep)
  assert np.allclose([distance(i) for i in got], [distance(i) for i in expected])
  if len({round(distance(i), 9) for i in expected}) == len(expected):
    assert got.tolist() == expected


@given(st.integers(0, 10_000), st.sampled_from([0., .3, 2.]), st.sampled_from([0., .3, 2.]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_d2_passes_messages_forward_and_back(seed, gamma_forward, gamma_reverse, table):
  data = draw(seed, n=25)
  x_ND, difficulty = data['embeddings'], data['difficulty'] - .5 * (seed % 2)
  near_NK = np.random.default_rng(seed).integers(25, size=(25, 3)) if table else neighbors.knn(x_ND, 3)[0]
  score = [value - min(difficulty.min(), 0) for value in difficulty]
  def edge(gamma, i, j):
    return np.exp(-gamma * ((x_ND[i] - x_ND[j]) ** 2).sum())
  score = [score[i] + sum(edge(gamma_forward, i, j) * score[j] for j in near_NK[i]) for i in range(25)]
  expected = []
  while len(expected) < 25:
    k = max((i for i in range(25) if i not in expected), key=lambda i: score[i])
    expected.append(k)
    told = score[k]
    for j in near_NK[k]:
      score[j] -= edge(gamma_reverse, k, j) * told
  got = select.d2(x_ND, difficulty, 25, neighbors=near_NK if table else 3, gamma_forward=gamma_forward,
                  gamma_reverse=gamma_reverse)
  assert got.tolist() == expected


def test_zcore_scores_as_the_published_loop():
  x_ND, samples = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32), 300
  x_ND[:, 4] = 1  # A dimension that does not vary.
  got = zcore.scores(x_ND, samples=samples, seed=5)
  expected, rng = np.random.default_rng(5).random(50), np.random.default_rng([5, 0])
  pairs = zcore.subspaces(rng, zcore.CHUNK, 6)
  low, high = x_ND.min(0), x_ND.max(0)
  points = zcore.triangular(rng.random(pairs.shape), low[pairs], np.median(x_ND, axis=0)[pairs], high[pairs])
  for pair, point in zip(pairs[:samples], points):
    near = np.abs(x_ND[:, pair] - point).sum(1).argmin()
    expected[near] += 1
    distance = np.abs(x_ND[:, pair] - x_ND[near, pair]).sum(1)
    others = np.argsort(distance)[1:1001]
    penalty = 1 / distance[others] ** 4
    expected[others] -= penalty / penalty.sum()
  np.testing.assert_allclose(got, expected, atol=1e-4)
  assert (select.zcore(x_ND, 50, seed=5, samples=samples) == np.argsort(-got, kind='stable')).all()


def test_zcore_in_other_blocks_is_the_same(monkeypatch):
  x_ND = np.random.default_rng(3).normal(size=(500, 6))
  monkeypatch.setattr(zcore, 'CHUNK', 400)  # The last chunk has 200 samples.
  whole = zcore.scores(x_ND, samples=1000, seed=0)
  assert abs(whole.sum() - np.random.default_rng(0).random(500).sum()) < 1e-2, 'a sample gives 1 and takes 1'
  for elements in (500, 500 * 7, 500 * 300):
    monkeypatch.setattr(zcore, 'BLOCK_ELEMENTS', elements)
    monkeypatch.setattr(zcore, 'ACCELERATOR_ELEMENTS', elements)
    np.testing.assert_allclose(zcore.scores(x_ND, samples=1000, seed=0), whole, atol=1e-4)


def test_zcore_draws_two_dimensions_and_a_triangular_point():
  rng = np.random.default_rng(0)
  pairs = zcore.subspaces(rng, 6000, 3)
  assert (pairs[:, 0] != pairs[:, 1]).all()
  assert np.allclose(np.bincount(pairs[:, 0] * 3 + pairs[:, 1])[[1, 2, 3, 5, 6, 7]] / 6000, 1 / 6, atol=.02)
  u = (np.arange(1000) + .5) / 1000
  for low, middle, high in ((-1, 0, 3), (0, 0, 1), (0, 1, 1)):
    assert np.allclose(zcore.triangular(u, low, middle, high).mean(), (low + middle + high) / 3, atol=1e-3)
  assert (zcore.triangular(u, 2, 2, 2) == 2).all()


@pytest.mark.parametrize('budget', [1, 5, 20, 55])
def test_typiclust_takes_the_most_typical_in_turns(budget, monkeypatch):
  x_ND = draw(budget)['embeddings'].astype(np.float32)
  monkeypatch.setattr(rivals, 'TYPICLUST_CLUSTERS', 6)
  labels = rivals._kmeans(x_ND, min(budget, 6), 0)
  got = select.typiclust(x_ND, budget).tolist()
  left = {c: set(np.flatnonzero(labels == c).tolist()) for c in set(labels.tolist())}
  order = sorted(left, key=lambda c: (-len(left[c]), c))
  expected = []
  for group in ([c for c in order if len(left[c]) > 5], [c for c in order if len(left[c]) <= 5]):
    while any(left[c] for c in group):
      for c in group:
        def spread(i):
          away = sorted(np.linalg.norm(x_ND[i].astype(float) - x_ND[j]) for j in left[c] if j != i)
          return np.mean(away[:min(20, len(left[c]) // 2)]) if away else 0
        if left[c]:
          best = min(sorted(left[c]), key=spread)
          # Two that are each other's nearest are equally typical but for rounding.
          tied = [i for i in left[c] if spread(i) <= spread(best) + 1e-6]
          expected.append(got[len(expected)] if len(expected) < budget and got[len(expected)] in tied else best)
          left[c].remove(expected[-1])
  assert got == expected[:budget]


def test_typiclust_measures_in_blocks(monkeypatch):
  x_ND = draw()['embeddings']
  whole = rivals._spread(x_ND, 7)
  monkeypatch.setattr(rivals, 'BLOCK_ELEMENTS', 9 * N)
  np.testing.assert_allclose(rivals._spread(x_ND, 7), whole)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_badge_is_kmeans_plus_plus_on_gradients(seed):
  data = draw(seed, n=20)
  gradients = []
  for p_C, x_D in zip(data['probabilities'], data['embeddings']):
    error_C = [p - (c == p_C.argmax()) for c, p in enumerate(p_C)]
    gradients.append(np.outer(error_C, x_D).ravel())
  rng, chosen = np.random.default_rng(seed), [int(np.argmax([g @ g for g in gradients]))]
  while len(chosen) < 20:
    weight = [0 if i in chosen else min(((g - gradients[j]) ** 2).sum() for j in chosen)
              for i, g in enumerate(gradients)]
    target, sum_so_far = rng.random() * sum(weight), 0
    for i, w in enumerate(weight):
      sum_so_far += w
      if sum_so_far > target:
        break
    chosen.append(i)
  assert select.badge(data['probabilities'], data['embeddings'], 20, seed=seed).tolist() == chosen


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
@settings(deadline=None)
def test_balanced_shares_are_equal_where_there_is_room(labels, data):
  labels = np.array(labels) * 3
  budget = data.draw(st.integers(1, len(labels)))
  chosen = select.balanced(labels, budget, seed=budget)
  assert len(set(chosen.tolist())) == budget
  got = {c: int((labels[chosen] == c).sum()) for c in set(labels.tolist())}
  for c in got:
    if got[c] < (labels == c).sum():
      assert got[c] >= max(got.values()) - 1, 'a class with room is at most one behind'


def test_balanced_is_uniform():
  labels, hits = np.repeat([0, 1, 2], [2, 6, 12]), np.zeros(20)
  for seed in range(2000):
    hits[select.balanced(labels, 7, seed=seed)] += 1
  expected = np.repeat([2 / 2, 2.5 / 6, 2.5 / 12], [2, 6, 12])
  assert np.abs(hits / 2000 - expected).max() < .05
  firsts = np.bincount([labels[select.balanced(labels, 7, seed=seed)[0]] for seed in range(500)]) / 500
  assert np.abs(firsts - np.array([2, 2.5, 2.5]) / 7).max() < .08


def test_rivals_import_in_any_order_and_without_jax():
  code = ("import sys; sys.modules['jax'] = None; from elfs_jax.select import rivals; from elfs_jax import select; "
          "import numpy as np; print(rivals.k_center(np.eye(3), 3).size, select.facility_location(np.eye(3), 2).size)")
  assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.split() == ['3', '2']


def test_d2_finds_the_same_neighbours_as_the_graph_has_and_never_the_example_itself():
  x_ND = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
  np.testing.assert_array_equal(rivals._nearest(x_ND, 7), neighbors.knn(x_ND, 7)[0])
  copies = np.repeat(x_ND[:4], 20, 0)
  assert (rivals._nearest(copies, 5) != np.arange(80)[:, None]).all()
  for k in (0, 80):
    with pytest.raises(ValueError, match=f'neighbors={k}'):
      rivals._nearest(x_ND, k)
