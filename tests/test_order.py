"""The order in which to label: budgets nest, a reserve follows, and what was handed out stays."""
import csv
import functools
import json
import os

import numpy as np
import pytest
from conftest import run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

import elfs_jax
from elfs_jax import copies, data, export, neighbors, select
from elfs_jax.runtime import handed, lists

NESTED = [name for name, method in select.METHODS.items() if method.nests]


def candidates_of(x, k=10, classes=4, seed=0, **more):
  """Clusters of k-means; hard is what lies far from the middle of its own."""
  model = KMeans(classes, n_init=1, random_state=0).fit(x)
  far = np.linalg.norm(x - model.cluster_centers_[model.labels_], axis=1)
  return select.Candidates(*neighbors.knn(x.astype(np.float32), k), model.labels_, select.break_ties(far, seed=seed),
                           **more)


@functools.cache
def data_sets():
  """Digits, made-up cores, borders and noise, and a crowd of copies."""
  rng = np.random.default_rng(0)
  crowd = np.concatenate([np.repeat(rng.normal(size=(3, 8)), 60, 0), rng.normal(size=(120, 8))])
  made_up = data.load('synthetic')
  x = made_up.images[:800].reshape(800, -1) / 255.0
  return {'digits': candidates_of(load_digits().data, 50, 10), 'synthetic': candidates_of(x, 50, 8),
          'crowd': candidates_of(crowd, 10, 5, groups=copies.groups(crowd))}


@pytest.mark.parametrize('name', ['digits', 'synthetic', 'crowd'])
@pytest.mark.parametrize('method', NESTED)
def test_the_larger_choice_begins_with_the_smaller_one(name, method):
  candidates = data_sets()[name]
  n = len(candidates.difficulty)
  most = n if len(candidates.groups) else n // 2  # With copies there is room for all: the hardest and copies come last.
  def choose(budget):
    return select.choose(method, candidates, budget, 0.15, seed=3)
  whole = choose(most)
  assert len(set(whole.tolist())) == most
  for budget in (2, 7, n // 50, n // 10, n // 3, most - 1):
    np.testing.assert_array_equal(choose(budget), whole[:budget])


@st.composite
def graphs(draw):
  """Candidates with ties, missing neighbours, copies and labelled rows."""
  n, rng = draw(st.integers(6, 60)), np.random.default_rng(draw(st.integers(0, 10_000)))
  x = rng.integers(-1, 2, (n, 3)) + 0.01 if draw(st.booleans()) else rng.normal(size=(n, 3))
  near, similarity = neighbors.knn(x.astype(np.float32), draw(st.integers(1, 5)))
  near = np.where(rng.random(near.shape) < draw(st.sampled_from([0, 0.3])), -1, near)
  groups = copies.groups(x) if draw(st.booleans()) else ()
  labelled = rng.permutation(n)[:draw(st.integers(0, n // 2))]
  return select.Candidates(near, similarity, rng.integers(0, draw(st.integers(1, 6)), n),
                           rng.permutation(n).astype(float), labelled, groups), rng


@given(graphs(), st.sampled_from([*select.METHODS]), st.sampled_from([0.0, 0.1, 0.4]), st.data())
@settings(max_examples=200, deadline=None)
def test_budgets_nest_and_the_reserve_is_what_is_next(graph, method, beta, draws):
  candidates, _ = graph
  n = len(candidates.difficulty)
  room = select.room(candidates, beta if select.METHODS[method].drops_hardest else None)
  left = n - len(candidates.labelled) if len(candidates.groups) else room
  if left < 2:
    return
  large = draws.draw(st.integers(2, left))
  small = draws.draw(st.integers(1, large - 1))
  more = draws.draw(st.integers(0, 20))
  on = functools.partial(select.choose_on, method=method, candidates=candidates, beta=beta, seed=1)
  chosen, reserve = on((), budget=small, reserve=more)
  if select.METHODS[method].nests:
    whole = select.choose(method, candidates, large, beta, seed=1)
    np.testing.assert_array_equal(chosen, whole[:small])
    np.testing.assert_array_equal(reserve[:large - small], whole[small:large][:len(reserve)])
  again, _ = on(chosen, budget=large)
  assert again[:small].tolist() == chosen.tolist() and len(set(again.tolist())) == large
  assert on(again, budget=small)[0].tolist() == chosen.tolist()
  assert len(reserve) == max(0, min(more, room - small))
  assert len({*chosen.tolist(), *reserve.tolist(), *candidates.labelled}) == small + len(reserve) + len(
      candidates.labelled)
  hard = select.hardness_order(candidates.difficulty)[:int(beta * n + 1e-9)]
  assert not set(reserve) & {*candidates.copies, *(hard if select.METHODS[method].drops_hardest else ())}


@given(graphs(), st.data())
@settings(max_examples=100, deadline=None)
def test_each_goes_by_the_most_similar_one_that_was_there_before(graph, draws):
  candidates, rng = graph
  candidates = candidates._replace(groups=())
  n = len(candidates.difficulty)
  x = rng.normal(size=(n, 4)).astype(np.float32)
  near, similarity = neighbors.knn(x, 3)
  candidates = candidates._replace(neighbors=near, similarity=similarity)
  free = rng.permutation(np.setdiff1d(np.arange(n), candidates.labelled))
  cut = draws.draw(st.integers(1, len(free)))
  chosen, reserve = free[:cut], free[cut:cut + 3]
  found = select.standing(candidates, x, chosen, reserve, 0.2)
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  def like(i, others):
    return max(others, key=lambda j: unit[i] @ unit[j]) if len(others) else -1
  order = [*chosen, *reserve]
  assert found.nearest.tolist() == [like(i, [*candidates.labelled, *order[:t]]) for t, i in enumerate(order)]
  hard = np.argsort(-candidates.difficulty)[:int(0.2 * n + 1e-9)]
  for i in range(n):
    status = ('chosen' if i in chosen else 'reserve' if i in reserve else 'labelled' if i in candidates.labelled else
              'left out as hardest' if i in hard else 'not chosen')
    assert select.STATUSES[found.status[i]] == status
    assert found.by[i] == (-1 if status in ('chosen', 'labelled') else like(i, [*candidates.labelled, *chosen]))


def test_duplicates_go_by_the_one_that_stands_for_them():
  x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
  x[[3, 7]], x[[5, 9]] = x[1], x[2]
  candidates = candidates_of(x, 4, 2, groups=copies.groups(x), labelled=[5])
  found = select.standing(candidates, x, np.array([1]), np.array([0]), 0.0)
  assert [select.STATUSES[found.status[i]] for i in (1, 3, 7, 5, 2, 9, 0)] == [
      'chosen', 'duplicate', 'duplicate', 'labelled', 'duplicate', 'duplicate', 'reserve']
  assert found.by[[3, 7, 2, 9]].tolist() == [1, 1, 5, 5] and found.duplicates[[1, 5]].tolist() == [2, 2]


def test_what_a_reserve_is():
  count = elfs_jax.select.budget_count
  from elfs_jax.budget import reserve_count
  assert [reserve_count(r, 25) for r in ('10%', 0.1, 0, '0', 7, '100%', '4', 0.0)] == [3, 3, 0, 0, 7, 25, 4, 0]
  assert count('10%', 30) == 3
  for bad in (-1, 1.5, True, 'many', None, float('nan'), float('inf')):
    with pytest.raises(ValueError, match='select.reserve=.* must be a count'):
      reserve_count(bad, 25)


def rows_of(workdir, name='coreset.csv'):
  with open(workdir / name, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture
def folder(tmp_path, blobs):
  """Forty pictures in a folder whose names want quoting, one of them twice, and a file that is none."""
  (tmp_path / 'in' / 'a b').mkdir(parents=True)
  for i, image in enumerate(blobs[0][:40]):
    Image.fromarray(image).save(tmp_path / 'in' / 'a b' / f'{i:02}#.png')
  Image.fromarray(blobs[0][0]).save(tmp_path / 'in' / 'a b' / 'again.png')
  (tmp_path / 'in' / 'broken.png').write_text('no picture')
  return tmp_path / 'in'


def test_the_lists_of_a_run(tiny, folder, tmp_path):
  tiny.data.size, out = 8, tmp_path / 'out'
  tiny.data.root_url = 'https://host/pictures/'
  coreset = elfs_jax.select_coreset(folder, budget=12, beta=0.1, config=tiny, workdir=out, labelled=['a b/03#.png'])
  rows = rows_of(out)
  assert [*rows[0]] == ['rank', 'index', 'id', 'pseudo_label', 'path', 'kind', 'nearest', 'duplicates', 'aum',
                        'aum_logits', 'correctness', 'el2n', 'forgetting']
  assert [row['kind'] for row in rows] == ['chosen'] * 12 + ['reserve'] * 2
  assert [int(row['index']) for row in rows[:12]] == coreset.indices.tolist() == np.load(out / 'coreset.npy').tolist()
  assert [int(row['index']) for row in rows[12:]] == coreset.reserve.tolist()
  assert rows[0]['nearest'] == 'a b/03#.png' and all(
      row['nearest'] in {'a b/03#.png', *(before['id'] for before in rows[:i])} for i, row in enumerate(rows))
  assert rows[0]['path'] == 'https://host/pictures/' + rows[0]['id'].replace(' ', '%20').replace('#', '%23')
  items = {row['id']: row for row in rows_of(out, 'items.csv')}
  assert len(items) == 42 and items['broken.png']['status'] == 'skipped' and items['broken.png']['reason']
  assert items['a b/again.png']['status'] == 'duplicate' and items['a b/again.png']['by'] == 'a b/00#.png'
  assert items['a b/03#.png']['status'] == 'labelled'
  statuses = [row['status'] for row in items.values()]
  assert statuses.count('left out as hardest') <= 4 and {row['by'] for row in items.values() if row['status'] in (
      'not chosen', 'reserve', 'left out as hardest')} <= {'a b/03#.png', *(row['id'] for row in rows[:12])}
  assert export.read(out).ids == [row['id'] for row in rows[:12]]
  assert data.load('folder', folder, size=8, labelled=out / 'coreset.csv').labelled.tolist() == coreset.indices.tolist()
  tiny.data.root_url, tiny.select.reserve = None, 0
  elfs_jax.select_coreset(folder, budget=12, beta=0.1, config=tiny, workdir=out, labelled=['a b/03#.png'])
  assert {row['kind'] for row in rows_of(out)} == {'chosen'}
  assert [row['path'] for row in rows_of(out)] == [str(folder / row['id']) for row in rows[:12]]


def test_a_reserve_with_labels_counts_as_labelled(tmp_path):
  (tmp_path / 'coreset.csv').write_text('rank,id,kind,label\n0,a,chosen,x\n1,b,reserve,\n2,c,reserve,y\n')
  found = data.from_memory(embeddings=np.eye(3), ids=['a', 'b', 'c'], labelled=tmp_path / 'coreset.csv')
  assert found.labelled.tolist() == [0, 2] and found.labelled_labels == ['x', 'y']


def test_an_address_keeps_to_the_folder(tmp_path):
  assert lists.path_of('a/b.png', tmp_path) == str(tmp_path / 'a/b.png')
  assert lists.path_of(str(tmp_path / 'c d.png'), tmp_path, 'https://h') == 'https://h/c%20d.png'
  assert lists.path_of('é.png', tmp_path, 'https://h/x/') == 'https://h/x/%C3%A9.png'


def test_another_budget_begins_with_what_was_handed_out(tiny, blobs, tmp_path):
  """With auto the beta stays, whatever the judge says of the other budget; and back again nothing is lost."""
  said = []
  def chosen(budget, **more):
    tiny.select.budget, said[:] = budget, []
    tiny.update_from_flattened_dict(more)
    return run(tiny, blobs[0], tmp_path, say=said.append)[0]
  first = chosen(30)
  plain = (tmp_path / 'coreset.csv').read_bytes()
  assert len(first.judged['betas']) > 1
  chosen(30)
  assert (tmp_path / 'coreset.csv').read_bytes() == plain and '[judge_30] reused' in said
  assert not [*tmp_path.glob('coreset-*.csv')]
  more = chosen(50)
  assert more.indices[:30].tolist() == first.indices.tolist() and more.beta == first.beta == more.judged['beta']
  assert '  they begin with the 30 handed out before' in said and more.judged['betas'].tolist() == [first.beta]
  kept, = tmp_path.glob('coreset-*.csv')
  assert kept.read_bytes() == plain and any(line.endswith(f'kept as {kept.name}') for line in said)
  assert chosen(50).indices.tolist() == more.indices.tolist() and '[judge_50_kept] reused' in said
  fewer = chosen(20)
  assert fewer.indices.tolist() == first.indices[:20].tolist()
  assert '  they are the first of the 50 handed out before' in said
  assert chosen(30).judged['betas'].tolist() == first.judged['betas'].tolist() and '[judge_30] reused' in said
  chosen(20)
  other = chosen(20, **{'select.beta': 0.45})
  assert other.beta == 0.45 and other.indices.tolist() != fewer.indices.tolist()
  assert len([*tmp_path.glob('coreset-*.csv')]) == 5


@pytest.mark.parametrize('change', [{'seed': 1}, {'select.method': 'double_end', 'proxy.network': 'mlp'},
                                    {'cluster.num_classes': 3}, {'select.beta': 0.2}])
def test_other_settings_are_another_choice(tiny, blobs, tmp_path, change):
  tiny.update_from_flattened_dict({'select.beta': 0.1, 'select.budget': 30})
  run(tiny, blobs[0], tmp_path / 'both')
  tiny.update_from_flattened_dict(change | {'select.budget': 40})
  after, _ = run(tiny, blobs[0], tmp_path / 'both')
  alone, _ = run(tiny, blobs[0], tmp_path / 'alone')
  np.testing.assert_array_equal(after.indices, alone.indices)
  assert len([*(tmp_path / 'both').glob('coreset-*.csv')]) == 1


def test_a_picture_more_or_less_leaves_what_was_handed_out(tiny, folder, tmp_path):
  tiny.data.size = 8
  choose = functools.partial(elfs_jax.select_coreset, folder, beta=0.1, config=tiny, workdir=tmp_path / 'out')
  first = choose(budget=12)
  names = [first.ids[i] for i in first.indices]
  Image.fromarray(np.full((8, 8), 90, np.uint8)).save(folder / 'a b' / '00 new.png')
  second = choose(budget=14)
  assert [second.ids[i] for i in second.indices][:12] == names
  os.remove(folder / names[2])
  third = choose(budget=14)
  assert [third.ids[i] for i in third.indices][:11] == names[:2] + names[3:]


def test_what_is_kept_takes_no_name_that_is_taken(tmp_path):
  file = tmp_path / 'coreset.csv'
  seen = []
  for text in ('one', 'two', 'three'):
    file.write_text(text)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    assert handed.keep(tmp_path, text) is None and file.exists()
    seen.append(handed.keep(tmp_path, 'new'))
  assert not file.exists() and handed.keep(tmp_path, 'new') is None
  assert seen[1:] == [seen[0].replace('.csv', '-2.csv'), seen[0].replace('.csv', '-3.csv')]
  assert [(tmp_path / name).read_text() for name in seen] == ['one', 'two', 'three']


@pytest.mark.parametrize('damage', ['', '{}', '{"choice": null}', '{"choice": {"key": "k"}}'])
def test_a_workdir_that_says_nothing_of_its_choice_has_handed_out_none(tmp_path, damage):
  assert handed.read(tmp_path, 'k', ['a'], 0.1) is None
  (tmp_path / 'coreset.csv').write_text('rank,id,kind\n0,a,chosen\n')
  (tmp_path / 'config.json').write_text(damage)
  assert handed.read(tmp_path, 'k', ['a'], 0.1) is None
  (tmp_path / 'config.json').write_text(json.dumps({'choice': {'key': 'k', 'asked': 0.1, 'beta': 0.1, 'searched': 1}}))
  assert handed.read(tmp_path, 'k', ['a'], 0.1).rows.tolist() == [0]
  assert handed.read(tmp_path, 'k', ['a'], 'auto') is None and handed.read(tmp_path, 'other', ['a'], 0.1) is None
