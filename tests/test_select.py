import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from elfs_jax import scores, select

METHODS = ('coverage', 'double_end', 'stratified', 'random', 'hardest', 'easiest')


def choose(method, graph, labels, difficulty, budget, beta, seed, *, labelled=(), **more):
  near, similarity = (None, None) if graph is None else graph
  candidates = select.Candidates(near, similarity, labels, difficulty, labelled)
  return select.choose(method, candidates, budget, beta, seed=seed, **more)


def reference_double_end(difficulty, count, cut):
  ranked = sorted(range(len(difficulty)), key=lambda i: (-difficulty[i], i))
  return ranked[cut:cut + count]


difficulties = st.lists(st.integers(-5, 5), min_size=2, max_size=60).map(lambda x: np.array(x, float))


@given(difficulties, st.floats(0.02, 1), st.floats(0, 0.9))
def test_double_end_is_a_slice_of_the_sorted_order(difficulty, fraction, beta):
  n = len(difficulty)
  count, cut = int(np.floor(fraction * n + 1e-9)), int(np.floor(beta * n + 1e-9))
  if count == 0 or count + cut > n:
    with pytest.raises(ValueError):
      select.double_end(difficulty, fraction, beta)
  else:
    chosen = select.double_end(difficulty, fraction, beta)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == reference_double_end(difficulty, count, cut)


@given(difficulties, st.integers(0, 3))
def test_stratified_shares_the_budget_from_the_smallest_stratum_up(difficulty, seed):
  n = len(difficulty)
  count = max(1, n // 3)
  chosen = select.stratified(difficulty, count, 0.1, strata=5, seed=seed)
  kept = reference_double_end(difficulty, n, int(0.1 * n + 1e-9))
  low, high = min(difficulty[kept]), max(difficulty[kept])
  def stratum(i):
    return 0 if high == low else min(int((difficulty[i] - low) // ((high - low) / 5)), 4)
  sizes = [sum(stratum(i) == s for i in kept) for s in range(5)]
  left, expected = count, []
  for done, size in enumerate(sorted(sizes)):
    expected.append(min(size, left // (5 - done)))
    left -= expected[-1]
  got = [sum(stratum(i) == s for i in chosen) for s in range(5)]
  assert sorted(zip(sizes, got)) == sorted(zip(sorted(sizes), expected)) or sorted(got) == sorted(expected)
  assert len(set(chosen.tolist())) == count and set(chosen) <= set(kept)
  assert (np.diff(difficulty[chosen]) <= 0).all()


def test_fractions_do_not_lose_an_example_to_rounding():
  difficulty = np.arange(100.0)
  assert len(select.double_end(difficulty, 0.29, 0.57)) == 29
  assert select.double_end(difficulty, 0.29, 0.57)[0] == 99 - 57


def test_hardest_and_easiest_are_the_two_ends():
  difficulty = np.array([3.0, 1, 2, 5, 4])
  assert select.hardest(difficulty, 2).tolist() == [3, 4]
  assert select.easiest(difficulty, 2).tolist() == [2, 1]


def test_random_is_a_seeded_subset():
  a, b, c = (select.random(50, '20%', seed=s) for s in (0, 0, 1))
  assert a.tolist() == b.tolist() != c.tolist() and len(set(a.tolist())) == 10 and a.dtype == np.int64


@pytest.mark.parametrize('budget', [0, -3, 51, 1.5, 0.0, -0.1, True, None, 'many', '0%', '150%', 0.001])
def test_bad_budgets(budget):
  with pytest.raises(ValueError, match=f'budget={budget!r}'.replace("'", "'?")):
    select.double_end(np.arange(50.0), budget, 0)


def test_no_room_names_the_largest_beta():
  with pytest.raises(ValueError, match='at most 0.6'):
    select.double_end(np.arange(50.0), 20, 0.7)
  assert len(select.double_end(np.arange(50.0), 20, 0.6)) == 20


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_difficulty_that_is_not_finite(bad):
  with pytest.raises(ValueError, match='row 3'):
    select.double_end(np.array([0, 1, 2, bad]), 1, 0)


@pytest.mark.parametrize('beta', [-0.1, 1.0, 'auto', np.nan])
def test_bad_beta(beta):
  with pytest.raises(ValueError, match='beta'):
    select.double_end(np.arange(50.0), 5, beta)


def test_budgets_as_people_type_them():
  assert [select.budget_count(b, 1000) for b in ('500', '10%', '0.1', '2.5%', 7, 0.25, np.int32(3))] == [
      500, 100, 100, 25, 7, 250, 3]


def test_ties_are_broken_by_the_second_key_and_then_by_a_seeded_hash():
  forgetting = np.zeros(200)
  second = np.repeat([1.0, 0.0], 100)
  broken = select.break_ties(forgetting, second, seed=0)
  assert len(set(broken)) == 200
  assert broken[:100].min() > broken[100:].max()
  within = select.break_ties(forgetting, seed=0)
  assert abs(np.corrcoef(np.argsort(within), np.arange(200))[0, 1]) < 0.2
  assert (within == select.break_ties(forgetting, seed=0)).all()
  assert (within != select.break_ties(forgetting, seed=1)).any()


@given(arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([-3.0, -1e-30, 0.0, 1e-40, 0.7, 1e20])),
       st.integers(0, 3))
def test_breaking_ties_moves_no_value_to_another(score, seed):
  broken = select.break_ties(score, seed=seed)
  assert len(set(broken)) == len(score)
  np.testing.assert_array_equal(broken.astype(np.float32), score)


def test_strata_of_a_cut_are_of_values_not_of_ranks():
  score = np.concatenate([np.linspace(0, 0.01, 900), np.linspace(0.9, 1, 100)]).astype(np.float32)
  difficulty = select.break_ties(score, seed=0)
  chosen = choose('stratified', None, None, difficulty, 100, 0.0, 0)
  assert (chosen >= 900).sum() > 40  # Drawn evenly over ranks it would be a tenth.


def test_the_order_in_which_to_label_is_that_of_the_draw_or_from_the_end_of_the_score_that_counts():
  difficulty = np.random.default_rng(5).permutation(90).astype(float)
  chosen = choose('random', None, None, difficulty, 30, None, 4)
  assert chosen.tolist() == select.random(90, 30, seed=4).tolist()
  order = np.argsort(-difficulty)
  for method, expected in (('hardest', order), ('easiest', order[::-1]), ('double_end', order[9:])):
    np.testing.assert_array_equal(choose(method, None, None, difficulty, 30, 0.1, 4), expected[:30])


def test_select_needs_no_jax():
  """Every method of the table, every rival but ZCore, and the scores; JAX and the stages that import it are absent."""
  code = """
    import sys
    sys.modules['jax'] = None
    import numpy as np
    from elfs_jax import budget, scores, select, vectors
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    difficulty = select.difficulty({name: rng.random(30) for name in scores.SCORES}, 'el2n', seed=0)
    near = rng.integers(0, 30, (30, 5))
    candidates = select.Candidates(near, rng.random((30, 5)), labels, difficulty, [3, 4])
    sizes = [len(select.choose(name, candidates, 7, 0.1, seed=0)) for name in select.METHODS]
    sizes += [len(select.choose('coverage', candidates, 7, 0.1, seed=0, rows=np.arange(20)))]
    sizes += [len(chosen) for chosen in (
        select.k_center(x, 7), select.facility_location(x, 7), select.prototypes(x, labels, 7),
        select.d2(x, difficulty, 7, neighbors=3, gamma_forward=1, gamma_reverse=1), select.typiclust(x, 7),
        select.badge(x, x, 7), select.balanced(labels, 7))]
    print(len(sizes), set(sizes))
    """
  found = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True)
  assert found.stdout.strip() == '14 {7}', found.stderr


def covered(neighbors, similarity, chosen, weight):
  """What `coverage` maximises, by definition."""
  total, least = 0.0, 0.1 * (1 - similarity[:, -1]).mean()
  for i in range(len(neighbors)):
    slack = max(1 - similarity[i, -1], least)
    values = [similarity[i, r] - (1 - slack) for r, j in enumerate(neighbors[i]) if j >= 0 and j in chosen]
    total += weight[i] * max([0.0, *values, *([slack] if i in chosen else [])])
  return round(total, 9)


def graph(x, k):
  x = x / np.linalg.norm(x, axis=1, keepdims=True)
  similarity = x @ x.T - 3 * np.eye(len(x))
  near = np.argsort(-similarity, 1, kind='stable')[:, :k]
  return near, np.take_along_axis(similarity, near, 1)


@pytest.mark.parametrize('beta', (0.0, 0.1))
def test_coverage_is_plain_greedy_over_all_with_all_but_the_hardest(beta):
  rng = np.random.default_rng(5)
  x, difficulty = rng.normal(size=(60, 4)), rng.permutation(60).astype(float)
  near, similarity = graph(x, 8)
  near[rng.random(near.shape) < 0.1] = -1
  weight = rng.random(60)
  allowed, plain = np.argsort(-difficulty)[round(60 * beta):], []
  for _ in range(15):
    left = [j for j in allowed if j not in plain]
    plain.append(max(left, key=lambda j: covered(near, similarity, {*plain, j}, weight)))
  chosen = select.coverage(near, similarity, difficulty, 15, beta, weight=weight)
  assert chosen.tolist() == plain  # The best first.


@pytest.mark.parametrize('beta', (0.0, 0.3))
def test_a_group_with_less_than_half_of_its_share_so_far_is_served_first(beta):
  rng = np.random.default_rng(8)
  groups = np.repeat([7, 2, 5], [40, 30, 10])
  of_group = np.unique(groups, return_inverse=True)[1]
  x = rng.normal(size=(80, 4)) * np.array([0.02, 1, 1])[of_group, None] + 3 * np.eye(4)[of_group]
  near, similarity = graph(x, 6)
  difficulty = rng.permutation(80).astype(float)
  allowed = np.argsort(-difficulty)[round(80 * beta):]
  plain, weight = [], np.ones(80)
  for turn in range(1, 21):
    left = [j for j in allowed if j not in plain]
    lacking = [c for c, size in ((7, 40), (2, 30), (5, 10))
               if (groups[plain] == c).sum() < turn * size // 160 and c in groups[left]]  # Half of turn * size / 80.
    left = [j for j in left if groups[j] in lacking] or left
    plain.append(max(left, key=lambda j: covered(near, similarity, {*plain, j}, weight)))
  chosen = select.coverage(near, similarity, difficulty, 20, beta, groups=groups)
  assert chosen.tolist() == plain
  without = select.coverage(near, similarity, difficulty, 20, beta)
  assert (groups[without] == 2).sum() < 3 == (groups[chosen] == 2).sum()


def test_a_group_that_is_mostly_among_the_hardest_gets_what_is_left_of_it():
  x = np.random.default_rng(9).normal(size=(60, 3))
  groups = np.arange(60) < 20
  difficulty = 60.0 - np.arange(60)
  chosen = select.coverage(*graph(x, 5), difficulty, 30, 0.3, groups=groups)
  assert groups[chosen].sum() == 2 and len(chosen) == 30


def test_coverage_leaves_near_copies_and_the_hardest_out():
  rng = np.random.default_rng(0)
  x = np.repeat(rng.normal(size=(20, 8)), 10, 0) + 0.01 * rng.normal(size=(200, 8))
  difficulty = rng.permutation(200).astype(float)
  chosen = select.coverage(*graph(x, 12), difficulty, 20, 0.1)
  assert len(np.unique(chosen // 10)) == 20
  assert difficulty[chosen].max() < 180


def test_of_a_crowd_of_exact_copies_one_is_taken_and_not_the_first_in_the_folder():
  rng = np.random.default_rng(4)
  x = np.concatenate([np.repeat(rng.normal(size=(1, 6)), 30, 0), rng.normal(size=(70, 6))])
  near, similarity = graph(x, 8)
  listed = rng.permutation(30)[:9]  # As `neighbors.knn` does it: all list the same, without themselves.
  near[:30] = [listed[listed != i][:8] for i in range(30)]
  difficulty, plain = rng.permutation(100).astype(float), []
  for _ in range(20):
    left = [j for j in np.argsort(-difficulty) if j not in plain]  # max takes the first: ties to the harder.
    plain.append(max(left, key=lambda j: covered(near, similarity, {*plain, j}, np.ones(100))))
  chosen = select.coverage(near, similarity, difficulty, 20, 0.0)
  assert set(chosen.tolist()) == set(plain) and (chosen < 30).sum() == 1
  all_alike = select.coverage(near[:30] * 0 - 1, np.ones((30, 8)), difficulty[:30], 5, 0.1)
  assert all_alike.tolist() == select.double_end(difficulty[:30], 5, 0.1).tolist()


def test_class_weights_grow_with_rarity_by_the_root_of_the_size():
  labels = np.repeat([0, 1, 3], [50, 8, 2])
  weight = select.class_weights(labels, 0.5)
  totals = [weight[labels == c].sum() for c in (0, 1, 3)]
  np.testing.assert_allclose(np.array(totals) / totals[2], [5, 2, 1])  # Roots of 25, 4 and 1 times the smallest.
  np.testing.assert_allclose(select.class_weights(np.repeat([4, 7], 5)), 1)
  np.testing.assert_allclose(select.class_weights(labels, 0), 1)
  alike = select.class_weights(labels, 1)
  np.testing.assert_allclose([alike[labels == c].sum() for c in (0, 1, 3)], 20)


def test_a_cover_by_class_weights_takes_more_of_rare_classes():
  rng = np.random.default_rng(3)
  labels = np.repeat([0, 1], [540, 60])
  x = np.eye(12)[labels] + 0.3 * rng.normal(size=(600, 12))
  near, difficulty = graph(x, 20), rng.permutation(600).astype(float)
  alike = select.coverage(*near, difficulty, 60, 0.05)
  by_class = choose('coverage', near, labels, difficulty, 60, 0.05, seed=0)
  assert labels[alike].sum() < 12 and labels[by_class].sum() > 18
  weights = [select.class_weights(labels, balance) for balance in (0.5, 1.0)]
  half, even = (select.coverage(*near, difficulty, 60, 0.05, weight=weight) for weight in weights)
  assert labels[even].sum() > labels[half].sum() + 5
  even = choose('coverage', near, labels, difficulty, 60, 0.05, seed=0, balance=1.0)
  assert labels[even].sum() > labels[by_class].sum() + 3
  assert labels[even].sum() == 33  # The large one gets half of its 54 of 60 all the same.
  np.testing.assert_array_equal(alike, choose('coverage', near, labels, difficulty, 60, 0.05, seed=0, balance=0.0))
  np.testing.assert_array_equal(
      alike, choose('coverage', near, np.zeros(600, int), difficulty, 60, 0.05, seed=0))  # One class: all alike.


def test_coverage_takes_all_that_is_left_where_the_budget_is_that_large():
  difficulty = np.random.default_rng(1).permutation(40).astype(float)
  chosen = select.coverage(*graph(np.random.default_rng(2).normal(size=(40, 3)), 5), difficulty, 36, 0.1)
  assert set(chosen) == set(select.double_end(difficulty, 36, 0.1))


@pytest.mark.parametrize('method', METHODS)
def test_a_choice_among_some_rows_sees_and_takes_no_others(method):
  rng = np.random.default_rng(7)
  near, similarity = graph(rng.normal(size=(80, 4)), 8)
  labels, difficulty = rng.integers(0, 4, 80), rng.permutation(80).astype(float)
  rows = rng.permutation(80)[:50]
  chosen = choose(method, (near, similarity), labels, difficulty, 12, 0.1, 3, rows=rows)
  assert len(set(chosen.tolist())) == 12 and set(chosen.tolist()) <= set(rows.tolist())
  place = {j: p for p, j in enumerate(rows.tolist())}
  within = np.array([[place.get(j, -1) for j in near[i].tolist()] for i in rows])
  alone = choose(method, (within, similarity[rows]), labels[rows], difficulty[rows], 12, 0.1, 3)
  np.testing.assert_array_equal(chosen, rows[alone])


def test_coverage_names_what_is_wrong():
  near, similarity = graph(np.random.default_rng(0).normal(size=(6, 2)), 2)
  for arguments, words in (((near[:5], similarity[:5], np.arange(6.0), 2, 0.0), 'both be'),
                           ((near, similarity[:, :1], np.arange(6.0), 2, 0.0), 'both be'),
                           ((near, similarity, np.arange(6.0), 4, 0.5), 'no room')):
    with pytest.raises(ValueError, match=words):
      select.coverage(*arguments)
  for weight, words in ((np.ones(5), r'shape \(5,\)'), (np.array([1.0, 0, -1, 1, 1, 1]), '1 of 6 rows, first row 2'),
                      (np.full(6, np.nan), '6 of 6 rows, first row 0')):
    with pytest.raises(ValueError, match=words):
      select.coverage(near, similarity, np.arange(6.0), 2, 0.0, weight=weight)
  with pytest.raises(ValueError, match=r'groups must be \[N\] with N=6, got shape \(5,\)'):
    select.coverage(near, similarity, np.arange(6.0), 2, 0.0, groups=np.zeros(5, int))


@st.composite
def problems(draw):
  """Arguments of `coverage`: few values, so that there are ties and copies, or many."""
  n, k, seed = draw(st.integers(2, 50)), draw(st.integers(1, 6)), draw(st.integers(0, 10_000))
  rng = np.random.default_rng(seed)
  k = min(k, n - 1)
  x = rng.integers(-1, 2, (n, 3)) + 0.01 if draw(st.booleans()) else rng.normal(size=(n, 3))
  near, similarity = graph(x, k)
  near[rng.random(near.shape) < draw(st.sampled_from([0, 0.3]))] = -1
  beta = draw(st.sampled_from([0.0, 0.1, 0.4]))
  count = draw(st.integers(1, n - int(beta * n + 1e-9)))
  groups = rng.integers(0, draw(st.integers(1, 6)), n)
  weight = draw(st.sampled_from([None, select.class_weights(groups), rng.integers(0, 3, n).astype(float)]))
  return (near, similarity, rng.permutation(n).astype(float)), count, beta, {'groups': groups, 'weight': weight}, rng


@given(problems(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_cover_of_a_half_labelled_set_is_the_continuation_of_the_greedy_choice(problem, data):
  given_arrays, count, beta, more, rng = problem
  order = select.coverage(*given_arrays, count, beta, **more)
  done = data.draw(st.integers(0, count - 1))
  labelled = rng.permutation(order[:done])
  for one in (labelled, labelled.tolist()):
    rest = select.coverage(*given_arrays, count - done, beta, labelled=one, **more)
    np.testing.assert_array_equal(rest, order[done:])


@given(problems(), st.data())
@settings(max_examples=300, deadline=None)
def test_the_cover_is_the_greedy_choice_that_sums_every_gain_anew(problem, data):
  """With groups, weights, ties, missing neighbours and labelled rows, to the last one."""
  (near, similarity, difficulty), count, beta, more, rng = problem
  n = len(difficulty)
  weight = np.ones(n) if more['weight'] is None else more['weight']
  labelled = rng.permutation(n)[:data.draw(st.integers(0, n // 3))]
  slack = 1 - similarity[:, -1]
  floor = 1 - np.maximum(slack, 0.1 * slack.mean())
  value = np.zeros((n, n))  # What each covers by each.
  for i, r in zip(*np.nonzero(near >= 0)):
    value[i, near[i, r]] = max(similarity[i, r] - floor[i], 0) * weight[i]
  np.fill_diagonal(value, (1 - floor) * weight)
  _, of_group, sizes = np.unique(more['groups'], return_inverse=True, return_counts=True)
  free = [j for j in np.argsort(-difficulty)[int(beta * n + 1e-9):].tolist() if j not in labelled]
  plain, done = [], labelled.tolist()
  cover = value[:, done].max(1, initial=0)
  while free and len(plain) < count:
    has = np.bincount(of_group[done], minlength=len(sizes))
    lacking = has < np.floor(0.5 * sizes / n * (len(done) + 1) + 1e-9)
    best = max([j for j in free if lacking[of_group[j]]] or free,
               key=lambda j: round(float(np.maximum(value[:, j] - cover, 0).sum()), 9))
    cover = np.maximum(cover, value[:, best])
    free.remove(best)
    plain.append(best)
    done.append(best)
  chosen = select.coverage(near, similarity, difficulty, len(plain), beta, labelled=labelled, **more) if plain else []
  assert list(chosen) == plain


@given(problems(), st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_labelled_the_budget_is_of_new_ones(problem, data):
  """Also where the labelled are of one group, among the hardest, or more than the minima leave room for."""
  (near, similarity, difficulty), _, beta, more, rng = problem
  n = len(difficulty)
  by_group = np.lexsort((rng.random(n), more['groups']))
  labelled = by_group[:data.draw(st.integers(0, n - 1))]
  order = np.argsort(-difficulty)
  open_rows = [j for j in order[int(beta * n + 1e-9):] if j not in labelled]
  count = data.draw(st.integers(1, n))
  for method in METHODS:
    allowed = open_rows if select.METHODS[method].drops_hardest else [j for j in order if j not in labelled]
    def chosen():
      return choose(method, (near, similarity), more['groups'], difficulty, count, beta, 0, labelled=labelled)
    if count > len(allowed):
      with pytest.raises(ValueError, match='labelled' if len(labelled) else 'room'):
        chosen()
    else:
      assert len(set(chosen())) == count and set(chosen()) <= set(allowed)


def test_the_labelled_count_towards_the_minimum_of_their_group():
  rng = np.random.default_rng(8)
  groups = np.repeat([0, 1], 40)
  x = rng.normal(size=(80, 4)) * np.array([0.02, 1])[groups, None] + 3 * np.eye(4)[groups]
  arguments = (*graph(x, 6), rng.permutation(80).astype(float))
  crowd = np.flatnonzero(groups == 0)
  def of_crowd(labelled, budget, beta=0.0, difficulty=arguments[2]):
    chosen = select.coverage(*arguments[:2], difficulty, budget, beta, groups=groups, labelled=labelled)
    return (groups[chosen] == 0).sum()
  assert of_crowd([], 16) == 4  # Half of 16 * 40 / 80.
  assert of_crowd(crowd[:3], 13) == 1 and of_crowd(crowd[:9], 7) == 0
  assert of_crowd(np.flatnonzero(groups == 1)[:30], 2) == 2  # All that there is: half of 32 * 40 / 80 were 8.
  # Where all of the crowd but eight are too hard and six of these are labelled, the last two bring it to the eight.
  assert of_crowd(crowd[-6:], 26, 0.4, 80.0 - np.arange(80)) == 2


@pytest.mark.parametrize('method', ('double_end', 'hardest', 'easiest', 'random', 'stratified'))
def test_other_methods_choose_as_if_the_labelled_were_not_there(method):
  rng = np.random.default_rng(0)
  difficulty = rng.permutation(50).astype(float)
  labelled = np.argsort(-difficulty)[[0, 7, 11, 49, 48]]
  found = choose(method, None, None, difficulty, 10, 0.2, 3, labelled=labelled)
  order = [j for j in np.argsort(-difficulty) if j not in labelled]
  band = [j for j in np.argsort(-difficulty)[10:] if j not in labelled]  # 0.2 of all 50 are dropped.
  others = np.setdiff1d(np.arange(50), labelled)
  if method == 'random':
    drawn = others[select.random(45, 10, seed=3)]
    assert set(found) == set(drawn)
  elif method == 'stratified':
    assert set(found) == set(np.array(band)[select.stratified(difficulty[band], 10, 0.0, seed=3)])
  else:
    assert found.tolist() == {'double_end': band[:10], 'hardest': order[:10], 'easiest': order[:-11:-1]}[method]


def test_what_labelled_may_be():
  difficulty = np.arange(20.0)
  for labelled, words in (([20], 'row 20, but rows go from 0 to 19'), ([-1], 'row -1'), ([0.5], 'row numbers'),
                          (np.zeros(20, bool), 'row numbers'), ([[1, 2]], 'row numbers')):
    with pytest.raises(ValueError, match=words):
      select.hardest(difficulty, 3, labelled=labelled)
  assert select.hardest(difficulty, 2, labelled=[19, 19, 17]).tolist() == [18, 16]
  with pytest.raises(ValueError, match='budget=18 asks for 18 new examples, but only 17 of 20 are not labelled yet'):
    select.random(20, 18, seed=0, labelled=[1, 2, 3])
  with pytest.raises(ValueError, match='with 3 labelled leave no room: lower beta to at most 0.2'):
    select.double_end(difficulty, 14, 0.4, labelled=[18, 15, 2])  # Of the four hardest one is labelled anyway.
  assert len(select.double_end(difficulty, 14, 0.2, labelled=[18, 15, 2])) == 14


def test_labelled_rows_among_some_rows_are_theirs_alone():
  rng = np.random.default_rng(7)
  near, similarity = graph(rng.normal(size=(80, 4)), 8)
  near[0, -1] = -1
  labels, difficulty = rng.integers(0, 4, 80), rng.permutation(80).astype(float)
  rows = rng.permutation(80)[:50]
  labelled = np.arange(0, 80, 3)
  within = select.among(select.Candidates(near, similarity, labels, difficulty, labelled), rows)
  assert set(rows[within.labelled]) == set(labelled) & set(rows)
  place = {j: p for p, j in enumerate(rows.tolist())}
  np.testing.assert_array_equal(within.neighbors, [[place.get(j, -1) for j in near[i].tolist()] for i in rows])
  found = choose('coverage', (near, similarity), labels, difficulty, 9, 0.1, 0, labelled=labelled, rows=rows)
  assert len(set(found) & set(rows) - set(labelled)) == 9


def test_a_method_is_a_function_and_an_entry(monkeypatch):
  def every_other(candidates, budget, beta, *, seed, balance, first=0):
    order = select.hardness_order(candidates.difficulty)
    return order[~np.isin(order, candidates.labelled)][first::2][:budget]
  entry = select.Method(every_other, 'every other one', drops_hardest=False, is_elfs=False, network=None)
  monkeypatch.setitem(select.METHODS, 'every_other', entry)
  difficulty = np.arange(20.0)
  assert choose('every_other', None, None, difficulty, 3, None, 0, labelled=[18]).tolist() == [19, 16, 14]
  assert choose('every_other', None, None, difficulty, '10%', None, 0, first=1).tolist() == [18, 16]
  assert select.constants('every_other') == {'first': 0}
  with pytest.raises(ValueError, match="select.method='every_othr' is unknown: did you mean 'every_other'?"):
    choose('every_othr', None, None, difficulty, 3, None, 0)


def test_constants_that_decide_are_known_and_can_be_others():
  assert select.constants('coverage') == {'least_share': 0.5, 'least_slack': 0.1}
  assert select.constants('stratified') == {'strata': 50} and select.constants('random') == {}
  rng = np.random.default_rng(8)
  groups = np.repeat([0, 1], 40)
  x = rng.normal(size=(80, 4)) * np.array([0.02, 1])[groups, None] + 3 * np.eye(4)[groups]
  difficulty = rng.permutation(80).astype(float)
  for share, least in ((0.0, 0), (0.5, 4), (1.0, 8)):
    found = choose('coverage', graph(x, 6), groups, difficulty, 16, 0.0, 0, balance=0.0, least_share=share)
    assert (groups[found] == 0).sum() == max(least, 1)  # One stands for the crowd in any case.


@pytest.mark.parametrize('method', METHODS)
def test_every_method_says_what_it_is(method):
  entry = select.METHODS[method]
  assert entry.help and entry.network in ('mlp', 'small', None) and list(select.METHODS) == list(METHODS)
  difficulty, near = np.random.default_rng(0).permutation(60).astype(float), np.zeros((60, 3), int)
  a, b = (choose(method, (near, np.ones((60, 3))), np.zeros(60, int), difficulty, 12, beta, 0) for beta in (0.0, 0.3))
  assert (set(a) != set(b)) == entry.drops_hardest


def test_a_score_is_a_function_and_an_entry(monkeypatch):
  def doubt(sums):
    return 1 - sums.correct / sums.epochs
  monkeypatch.setitem(scores.SCORES, 'doubt', scores.Score(1, doubt, 'how often it was wrong'))
  found = {'doubt': np.float32([0.1, 0.5, 0.5, 0.2]), 'aum': np.float32([0.9, 0.2, 0.3, 0.8])}
  assert np.argsort(-select.difficulty(found, 'doubt', seed=0)).tolist() == [1, 2, 3, 0]
  with pytest.raises(ValueError, match="select.score='loss' is unknown"):
    select.difficulty(found, 'loss', seed=0)


def test_scores_point_the_right_way():
  """Of two examples the second was learned worse: less margin and less often right, forgotten more, a larger error."""
  found = {'aum': [0.9, -0.2], 'correctness': [40, 3], 'forgetting': [0, 5], 'el2n': [0.1, 1.1],
           'aum_logits': [7, -3]}
  found = {name: np.array(values, np.float32) for name, values in found.items()}
  for name in scores.SCORES:
    easy, hard = select.difficulty(found, name, seed=0)
    assert hard > easy, name


def test_within_a_stratum_the_draw_is_random_and_seeded():
  difficulty = np.repeat([0.0, 1.0], 100)
  hits = np.zeros(200)
  for seed in range(100):
    chosen = choose('stratified', None, None, difficulty, 40, 0.0, seed)
    np.testing.assert_array_equal(chosen, select.stratified(difficulty, 40, 0.0, seed=seed))
    hits[chosen] += 1
  assert hits[:100].sum() == hits[100:].sum() == 2000  # 20 of each 100: 20 times is expected of each.
  assert 2 < hits.min() and hits.max() < 42 and 3 < hits.std() < 5


def test_a_budget_with_an_exponent_is_a_fraction():
  assert select.budget_count('1e-1', 50) == 5 and select.budget_count('2E-1', 50) == 10
