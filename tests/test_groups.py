"""Groups of images of one origin: none fills a choice, none is split by a hold-out, whatever says which they are."""
import csv
import functools
import itertools
import math

import numpy as np
import pytest
from conftest import TINY, launch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import elfs_jax
from elfs_jax import config as config_lib
from elfs_jax import data, neighbors, pipeline, select
from elfs_jax.data import groups
from elfs_jax.rounds import next_round
from elfs_jax.select import origins as origins_lib

BETA = 0.1


@st.composite
def problems(draw):
  """Candidates of groups of unequal size, some labelled; and how many may be chosen at most."""
  n, rng = draw(st.integers(8, 60)), np.random.default_rng(draw(st.integers(0, 10_000)))
  x = rng.normal(size=(n, 3)).astype(np.float32)
  labelled = rng.permutation(n)[:draw(st.integers(0, n // 3))]
  of = np.unique(rng.geometric(draw(st.sampled_from([0.1, 0.3, 0.6])), n), return_inverse=True)[1]
  share = draw(st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0]))
  return select.Candidates(*neighbors.knn(x, 4), rng.integers(0, 3, n), rng.permutation(n).astype(float), labelled,
                           origins=of, share=share)


def may_be_chosen(candidates, method):
  """The rows that a method may choose, hardest first, by the definition."""
  order = np.argsort(-candidates.difficulty)
  cut = int(BETA * len(order) + 1e-9) if select.METHODS[method].drops_hardest else 0
  return [row for row in order[cut:].tolist() if row not in candidates.labelled]


def allowed(has, left, share, total):
  """How many of one group there may be when one more than `total` is chosen."""
  return max(max(1, math.floor(share * (total + 1) + 1e-9)), 1 + min(has[g] for g in left if left[g]))


@given(problems(), st.sampled_from([*select.METHODS]), st.data())
@settings(max_examples=300, deadline=None)
def test_no_group_has_more_than_its_share_at_any_moment_and_the_bound_gives_way_evenly(candidates, method, draws):
  free = may_be_chosen(candidates, method)
  count = draws.draw(st.integers(1, len(free)))
  chosen = select.choose(method, candidates, count, BETA, seed=2)
  assert len(set(chosen.tolist())) == count and set(chosen.tolist()) <= set(free)
  of, known = candidates.origins.tolist(), len(candidates.labelled)
  has = {g: sum(of[row] == g for row in candidates.labelled) for g in set(of)}
  left = {g: sum(of[row] == g for row in free) for g in set(of)}
  before = dict(has)
  for turn, row in enumerate(chosen.tolist()):
    assert has[of[row]] < allowed(has, left, candidates.share, known + turn)
    has[of[row]] += 1
    left[of[row]] -= 1
  # In the end no group that was chosen from is above the least bound by which the budget can be filled.
  sizes = {g: sum(of[row] == g for row in free) for g in before}
  asked = max(1, math.floor(candidates.share * (known + count) + 1e-9))
  least = next(most for most in itertools.count(asked)
               if sum(min(sizes[g], max(0, most - before[g])) for g in sizes) >= count)
  assert all(has[g] <= max(least, before[g]) for g in has)


@given(problems(), st.sampled_from(['double_end', 'hardest', 'easiest', 'random']), st.data())
@settings(max_examples=200, deadline=None)
def test_an_order_is_followed_but_for_groups_that_are_full(candidates, method, draws):
  free = may_be_chosen(candidates, method)
  count = draws.draw(st.integers(1, len(free)))
  order = select.choose(method, candidates._replace(origins=()), len(free), BETA, seed=2).tolist()
  of, chosen = candidates.origins.tolist(), []
  has = {g: sum(of[row] == g for row in candidates.labelled) for g in set(of)}
  while len(chosen) < count:
    left = {g: sum(of[row] == g for row in order) for g in set(of)}
    most = allowed(has, left, candidates.share, len(candidates.labelled) + len(chosen))
    row = next(row for row in order if has[of[row]] < most)
    order.remove(row)
    chosen.append(row)
    has[of[row]] += 1
  assert select.choose(method, candidates, count, BETA, seed=2).tolist() == chosen


def naive_cover(candidates, count, free):
  """Plain greedy over all pairs, of the groups that are not full. Every pseudo-class is served as it comes."""
  n, of = len(candidates.difficulty), candidates.origins.tolist()
  floor = 1 - np.maximum(1 - candidates.similarity[:, -1], 0.1 * (1 - candidates.similarity[:, -1]).mean())
  worth = np.zeros((n, n))
  np.put_along_axis(worth, candidates.neighbors, np.maximum(candidates.similarity - floor[:, None], 0), 1)
  np.fill_diagonal(worth, 1 - floor)
  cover = worth[:, candidates.labelled].max(1, initial=0)
  has = {g: sum(of[row] == g for row in candidates.labelled) for g in set(of)}
  chosen = []
  while len(chosen) < count:
    left = {g: sum(of[row] == g for row in free if row not in chosen) for g in set(of)}
    most = allowed(has, left, candidates.share, len(candidates.labelled) + len(chosen))
    gain = {row: round(float(np.maximum(worth[:, row] - cover, 0).sum()), 9) for row in free
            if row not in chosen and has[of[row]] < most}
    row = max(gain, key=lambda row: (gain[row], candidates.difficulty[row]))
    chosen.append(row)
    cover = np.maximum(cover, worth[:, row])
    has[of[row]] += 1
  return chosen


@given(problems(), st.data())
@settings(max_examples=100, deadline=None)
def test_the_cover_is_plain_greedy_over_the_groups_that_are_not_full(candidates, draws):
  candidates = candidates._replace(similarity=candidates.similarity.astype(np.float64),
                                   pseudo_labels=np.zeros_like(candidates.pseudo_labels))
  free = may_be_chosen(candidates, 'coverage')
  count = draws.draw(st.integers(1, len(free)))
  found = select.choose('coverage', candidates, count, BETA, seed=0)
  assert found.tolist() == naive_cover(candidates, count, free)


@given(problems(), st.sampled_from([*select.METHODS]), st.data())
@settings(max_examples=150, deadline=None)
def test_budgets_nest_and_what_was_handed_out_stays(candidates, method, draws):
  room = len(may_be_chosen(candidates, method))
  if room < 2:
    return
  large = draws.draw(st.integers(2, room))
  small = draws.draw(st.integers(1, large - 1))
  choose = functools.partial(select.choose, method, candidates, beta=BETA, seed=1)
  if select.METHODS[method].nests or method == 'stratified':  # With groups it is an order as well.
    np.testing.assert_array_equal(choose(budget=small), choose(budget=large)[:small])
  begun, reserve = select.choose_on((), method, candidates, small, BETA, reserve=room - small, seed=1)
  assert len({*begun.tolist(), *reserve.tolist()}) == room
  assert select.choose_on(begun, method, candidates, large, BETA, seed=1)[0][:small].tolist() == begun.tolist()
  if method == 'coverage':  # Chosen and labelled count alike.
    known = np.append(candidates.labelled, begun).astype(np.int64)
    again = select.choose(method, candidates._replace(labelled=known), large - small, BETA, seed=1)
    np.testing.assert_array_equal(again, choose(budget=large)[small:])


def test_what_is_labelled_counts_towards_its_group():
  rng, n = np.random.default_rng(0), 100
  candidates = select.Candidates(*neighbors.knn(rng.normal(size=(n, 3)).astype(np.float32), 5), np.zeros(n, int),
                                 rng.permutation(n).astype(float), np.arange(8), origins=np.arange(n) // 20, share=0.25)
  for method in select.METHODS:
    chosen = select.choose(method, candidates, 24, BETA, seed=0)  # A quarter of 32 is 8, which the first group has.
    assert np.bincount(candidates.origins[chosen], minlength=5).tolist() == [0, 6, 6, 6, 6] or (
        candidates.origins[chosen] > 0).all() and np.bincount(candidates.origins[chosen]).max() <= 8


def test_with_copies_the_bound_holds_of_those_that_are_distinct_and_of_the_rest():
  rng, n = np.random.default_rng(0), 60
  copied = np.arange(n) // 2 * 2
  candidates = select.Candidates(*neighbors.knn(rng.normal(size=(n, 3)).astype(np.float32), 5), np.zeros(n, int),
                                 rng.permutation(n).astype(float), groups=copied, origins=np.arange(n) // 20, share=0.4)
  for method in select.METHODS:
    chosen = select.choose(method, candidates, 15, BETA, seed=0)
    assert len(set(copied[chosen])) == 15 and np.bincount(candidates.origins[chosen]).max() <= 6
    every = select.choose(method, candidates, n, BETA, seed=0)
    assert sorted(every.tolist()) == list(range(n))
    assert np.bincount(candidates.origins[every[:45]], minlength=3).max() <= 18


def test_the_usual_share_bounds_and_does_not_make_few_groups_equal():
  for count, share in ((2, 1.0), (4, 0.5), (20, 0.1), (500, 0.1)):
    assert select.usual_share(np.arange(count)) == pytest.approx(share)
  assert origins_lib.bound_at(0.29, 100) == 29 and origins_lib.bound_at(0.01, 5) == 1


def of_files(*names, root='pictures', **more):
  """Data whose ids are paths."""
  images = np.random.default_rng(0).integers(0, 256, (len(names), 4, 4), dtype=np.uint8)
  return data.Dataset(images[..., None], list(names), root=root, **more)


@pytest.mark.parametrize('level, expected', [
    (1, ['a', 'a', 'b']), (2, ['a/x', 'a/y', 'b/x']), (-1, ['a/x', 'a/y', 'b/x/z']), (-2, ['a', 'a', 'b/x'])])
def test_folder_levels(level, expected):
  made = data.with_groups(of_files('a/x/1.png', 'a/y/1.png', 'b/x/z/1.png'), level)
  assert made.group_names == expected and f'{len({*expected})} groups by folder level {level}' in made.notes[-1]


def test_a_table_names_groups_in_any_order_and_who_is_missing_is_alone(tmp_path):
  source, table = of_files('a/1.png', 'a/2.png', 'b/3.png', 'b/4.png', 'b/5.png'), tmp_path / 'patients.csv'
  table.write_text('Group;image\np 1;pictures/b/4.png\n;pictures/b/5.png\np 1;pictures/a/1.png\nq;pictures/a/2.png\n')
  made = data.with_groups(source, str(table))
  assert made.group_names == ['p 1', 'q', '', 'p 1', '']
  assert made.notes[-1] == f'2 groups by {table}; 2 of 5 examples are in none and count as alone'
  np.testing.assert_array_equal(groups.numbered(made.group_names), [0, 1, 2, 0, 3])
  assert data.with_groups(source, None) is source


def test_names_from_python():
  source = data.from_memory(images=np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8))
  for given_names in ([7, 7, 8, 9], np.array([7, 7, 8, 9])):
    assert data.with_groups(source, given_names).group_names == ['7', '7', '8', '9']
  assert data.with_groups(source, ['x', None, float('nan'), 'x']).group_names == ['x', '', '', 'x']


@pytest.mark.parametrize('given_groups, words', [
    (2, "deeper than the folders of 'b/3.png', which lies in 1: take at most 1, or -1"),
    (-3, 'take at most 1, or -1'),
    (0, 'levels count from 1'),
    (True, 'must be a folder level such as 1 or -1, or a .csv'),
    (1.5, 'must be a folder level'),
    ('nowhere.csv', 'nowhere.csv: no such file'),
    ('id,patient\na/x/1.png,p\n', "a .csv with a column 'group' is needed"),
    ('group\np\nq\np\n', "no column of ids; add one, called 'id', with names such as 'a/x/1.png'"),
    ('id,group\nc/1.png,p\n', "no example is called 'c/1.png'"),
    ('id,group\na/x/1.png,p\na/x/1.png,q\n', 'give every example one group'),
    ('id,group\na/x/1.png,p\na/x/2.png,p\nb/3.png,p\n', "all 3 examples are of one group, 'p'"),
    (['p', 'q'], '2 names for 3 examples')])
def test_what_groups_cannot_be_is_told_in_one_line(tmp_path, given_groups, words):
  if isinstance(given_groups, str) and '\n' in given_groups:
    (tmp_path / 'groups.csv').write_text(given_groups)
    given_groups = str(tmp_path / 'groups.csv')
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    data.with_groups(of_files('a/x/1.png', 'a/x/2.png', 'b/3.png'), given_groups)
  assert words in str(caught.value) and '\n' not in str(caught.value)


def test_a_level_needs_folders_and_a_share_needs_groups(tiny, blobs, one_device, tmp_path):
  source = data.from_memory(images=blobs[0])
  with pytest.raises(ValueError, match='no files in folders'):
    data.with_groups(source, 1)
  with pytest.raises(ValueError, match='lies in none: give a .csv'):
    data.with_groups(of_files('1.png', 'a/2.png'), 1)
  tiny.data.name, tiny.select.group_share = 'memory', 0.2
  with pytest.raises(ValueError, match='select.group_share=0.2 needs groups'):
    pipeline.select_from(source, tiny, tmp_path / 'out')
  tiny.select.group_share = 1.5
  with pytest.raises(ValueError, match='above 0 and at most 1'):
    pipeline.select_from(source, tiny, tmp_path / 'out')
  with pytest.raises(ValueError, match='group_by= of a folder'):
    elfs_jax.select_coreset(str(tmp_path), budget=5, group_by=['a', 'b'])


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_joined_groupings_are_those_of_a_naive_union(pairs):
  first, second = np.array(pairs).T
  part = [{i} for i in range(len(pairs))]
  for i, j in itertools.combinations(range(len(pairs)), 2):
    if (first[i] == first[j] or second[i] == second[j]) and part[i] is not part[j]:
      part[i] |= part[j]
      for row in part[i]:
        part[row] = part[i]
  found = groups.joined(first, second)
  for i, j in itertools.combinations(range(len(pairs)), 2):
    assert (found[i] == found[j]) == (part[i] is part[j])


@given(st.integers(0, 1000), st.integers(1, 20), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_a_hold_out_shares_no_group_with_the_pool_and_leaves_those_with_labels(seed, count, labels):
  rng = np.random.default_rng(seed)
  names = [str(g) if g < 12 else '' for g in rng.integers(0, 16, 50)]
  images = rng.integers(0, 256, (50, 2, 2, 1), dtype=np.uint8)
  labelled = rng.permutation(50)[:labels]
  source = data.Dataset(images, [f'{i}.png' for i in range(50)], labelled=labelled, group_names=names)
  copied = np.where(rng.random(50) < 0.1, 0, np.arange(50))  # Some are copies of the first.
  try:
    made = data.hold_out(source, count, groups=copied, seed=seed)
  except ValueError as error:
    assert 'copies and groups stay together' in str(error)
    return
  held = [int(name.removesuffix('.png')) for name in made.holdout]
  kept = [int(name.removesuffix('.png')) for name in made.ids]
  assert 0 < len(held) <= count and sorted(held + kept) == list(range(50))
  assert not {names[i] for i in held if names[i]} & {names[i] for i in kept if names[i]}
  assert not {copied[i] for i in held} & {copied[i] for i in kept} and not {*labelled.tolist()} & {*held}
  assert made.group_names == [names[i] for i in kept]
  assert len(held) == count or 'copies and groups stay together' in made.notes[-1]


def test_a_hold_out_of_too_few_or_one_drawn_without_groups_is_refused():
  source = data.with_groups(of_files(*(f'{v}/{i}.png' for v in 'abc' for i in range(6))), 1)
  with pytest.raises(ValueError, match='select.holdout=4: copies and groups stay together.* has 6; hold out as many'):
    data.hold_out(source, 4)
  with pytest.raises(ValueError, match='take another workdir'):
    data.hold_out(source, None, standing=['a/1.png', 'b/1.png', 'c/1.png'])
  assert sorted(data.hold_out(source, None, standing=['a/1.png']).holdout) == [f'a/{i}.png' for i in range(6)]
  labelled = data.with_labelled(source, {'a/2.png': 'x'})
  with pytest.raises(ValueError, match='take another workdir'):
    data.hold_out(labelled, None, standing=['a/1.png'])
  with pytest.raises(ValueError, match='each of them has labels'):
    data.hold_out(data.with_labelled(source, {f'{v}/2.png': 'x' for v in 'abc'}), 6)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
  """One video of 40 frames and eight of five: 80 pictures."""
  rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp('data') / 'videos'
  for video, frames in enumerate([40] + [5] * 8):
    scene = rng.integers(0, 200, (8, 8, 3))
    (folder / f'v{video}').mkdir(parents=True)
    for frame in range(frames):
      picture = np.clip(scene + rng.normal(0, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
      Image.fromarray(picture).save(folder / f'v{video}' / f'{frame:02d}.png')
  return folder


def rows_of(workdir, name='coreset.csv'):
  with open(workdir / name, newline='', encoding='utf-8') as text:
    return list(csv.DictReader(text))


def test_a_run_a_larger_one_and_the_next_round_keep_the_bound(videos, tmp_path, one_device):
  out, said = tmp_path / 'out', []
  def choose(budget, **more):
    config = config_lib.pictures()
    config.update_from_flattened_dict(TINY | {
        'data.name': 'folder', 'data.path': str(videos), 'data.size': 8, 'select.beta': 0.05, 'select.budget': budget,
        'select.group_by': 1, 'select.group_share': 0.2, 'select.holdout': 10} | more)
    made, metrics = pipeline.run(pipeline.read_data(config, out), config, out, say=said.append)
    return [row for row in rows_of(out) if row['kind'] == 'chosen'], metrics
  chosen, metrics = choose(10)
  assert [row['group'] for row in chosen] == [row['id'].split('/')[0] for row in chosen] and len(chosen) == 10
  assert len({row['group'] for row in chosen[:7]}) == 7  # A fifth of fewer than ten is one.
  assert metrics['groups'] == {'count': 7, 'fullest': metrics['groups']['fullest'], 'has': 2, 'of': 10, 'share': 0.2,
                               'bound': 2}
  held = {row['id'].split('/')[0] for row in rows_of(out, 'holdout.csv')}
  items = rows_of(out, 'items.csv')
  assert len(held) == 2 and held.isdisjoint(row['group'] for row in items)
  assert all(row['group'] == row['id'].split('/')[0] for row in items)
  assert any('has the most, 2 of 10 that are labelled or chosen (20%)' in line for line in said)
  assert 'has the most, 2 of 10' in (out / 'report.html').read_text()
  larger, _ = choose(20)
  assert [row['id'] for row in larger[:10]] == [row['id'] for row in chosen]
  (tmp_path / 'labels.csv').write_text('id,label\n' + ''.join(f'{row["id"]},x\n' for row in larger))
  next_round.run(out, tmp_path / 'labels.csv', 10, say=said.append)
  rows = [row['group'] for row in larger + rows_of(out) if row['kind'] == 'chosen']
  assert len(rows) == 30 and max(map(rows.count, rows)) <= 6 and rows.count('v0') == 6
  other, _ = choose(20, **{'select.group_share': 0.5})  # Another choice, which is not begun by what was handed out.
  assert [row['id'] for row in other[:10]] != [row['id'] for row in chosen]


def test_the_command_says_where_the_bound_gives_way(videos, tmp_path):
  table = tmp_path / 'scenes.csv'
  names = [str(path.relative_to(videos)) for path in sorted(videos.rglob('*.png'))]
  table.write_text('id,group\n' + ''.join(f'{name},{"long" if name < "v1" else "short"}\n' for name in names[:-1]))
  def command(*more):
    return launch('--config=folder', f'--config.data.path={videos}', '--config.data.size=8', '--config.select.beta=0.1',
                  '--config.select.budget=12', f'--workdir={tmp_path / "out"}', *more)
  ended = command(f'--config.select.group_by={table}', '--config.select.group_share=0.25')
  assert ended.returncode == 0, ended.stderr
  assert f'2 groups by {table}; 1 of 80 examples are in none and count as alone' in ended.stdout
  assert 'the bound of 3, a share of 0.25, gave way' in ended.stdout
  found = [row['group'] for row in rows_of(tmp_path / 'out') if row['kind'] == 'chosen']
  assert max(found.count('long'), found.count('short')) == 6 and len(found) == 12
  ended = command('--config.select.group_by=2')
  assert ended.returncode == 2 and 'Traceback' not in ended.stderr and 'take at most 1, or -1' in ended.stderr
  ended = command()
  assert ended.returncode == 0 and 'group' not in rows_of(tmp_path / 'out')[0]
  assert 'handed out before' not in ended.stdout and 'group' not in rows_of(tmp_path / 'out', 'items.csv')[0]


def test_arrays_with_names_from_python_and_other_names_are_another_choice(tiny, blobs, tmp_path, one_device):
  names = np.arange(120) // 30
  tiny.select.group_share, tiny.evaluate.enabled = 0.25, False
  choose = functools.partial(elfs_jax.select_coreset, blobs[0], budget=12, beta=0.1, config=tiny, num_classes=4,
                             workdir=tmp_path / 'out')
  made = choose(group_by=names)
  assert np.bincount(names[made.indices]).tolist() == [3, 3, 3, 3]
  assert [row['group'] for row in rows_of(tmp_path / 'out')[:12]] == [str(names[i]) for i in made.indices]
  other = np.arange(120) // 4 % 4
  assert np.bincount(other[choose(group_by=other).indices]).tolist() == [3, 3, 3, 3]
  held = data.hold_out(data.with_groups(data.from_memory(images=blobs[0]), names), 30)
  assert len({names[int(name)] for name in held.holdout}) == 1
  again = elfs_jax.select_coreset(held, budget=9, beta=0.1, config=tiny, num_classes=4)
  assert len({names[int(again.ids[i])] for i in again.indices}) == 3
