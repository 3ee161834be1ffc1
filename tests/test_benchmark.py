"""The benchmark: rows that agree with each other, resume, and the command."""
import numpy as np
import pytest
from conftest import ROOT, launch

from elfs_jax import config as config_lib
from elfs_jax import data, evaluate, select
from elfs_jax.benchmark import grade, methods, runs
from elfs_jax.benchmark import harness as benchmark
from elfs_jax.runtime import store as workdir
from elfs_jax.scores import SCORES


@pytest.fixture
def small(tiny, one_device):
  """The tiny config as a benchmark, on one device."""
  with tiny.unlocked():
    tiny.benchmark = config_lib.benchmark()
  tiny.data.name, tiny.judge.betas = 'memory', (0.1, 0.2)
  tiny.update_from_flattened_dict({'benchmark.rates': (0.8, 0.6), 'benchmark.seeds': 2, 'benchmark.steps': 20,
                                   'benchmark.randoms': 2})
  return tiny


def test_every_method_gets_a_row_and_a_stopped_run_goes_on(small, blobs, tmp_path):
  dataset = data.from_memory(images=blobs[0], labels=blobs[1])
  rows = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  names = [method.name for method in methods.table((0.1, 0.2), 2)]
  assert sorted((r['rate'], r['seed'], r['method']) for r in rows) == sorted(
      (rate, seed, name) for rate in (0.8, 0.6) for seed in (0, 1) for name in names)
  assert all(0 <= r['accuracy'] <= 1 and r['n'] == select.floor_count(1 - r['rate'], 96) for r in rows)
  assert all(r['judge'] is not None for r in rows if r['method'] in ('random', 'elfs_beta_0.1'))
  whole = runs.read(tmp_path / 'runs.csv')
  assert whole == rows
  kept = [r for r in whole if not (r['seed'] == 1 and r['method'] in ('random', 'k_center', 'supervised_ccs'))]
  runs.write(tmp_path / 'runs.csv', kept)
  again = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  assert again[:len(kept)] == kept and len(again) == len(whole)
  before = {(r['rate'], r['seed'], r['method']): r['accuracy'] for r in whole}
  assert all(before[r['rate'], r['seed'], r['method']] == pytest.approx(r['accuracy'], abs=0.05) for r in again)
  assert (tmp_path / 'benchmark.png').stat().st_size > 10_000
  assert 'gap closure' in (tmp_path / 'benchmark.md').read_text()


def test_a_second_run_waits_for_its_own_workdir(small, blobs, tmp_path):
  dataset = data.from_memory(images=blobs[0], labels=blobs[1])
  with workdir.held(tmp_path), pytest.raises(ValueError, match='another run is at work'):
    benchmark.run(dataset, small, tmp_path, say=lambda _: None)


@pytest.mark.parametrize('field, value', [('steps', 0), ('randoms', 0), ('rates', (0.8, 0.995)), ('rates', (1.0,))])
def test_settings_of_a_benchmark_that_nothing_could_meet(small, blobs, tmp_path, field, value):
  small.benchmark[field] = value
  with pytest.raises(ValueError, match=f'benchmark.{field}'):
    benchmark.run(data.from_memory(images=blobs[0], labels=blobs[1]), small, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_report_is_of_the_seeds_and_random_subsets_that_were_asked_for(small, blobs, tmp_path):
  dataset, said = data.from_memory(images=blobs[0], labels=blobs[1]), []
  small.update_from_flattened_dict({'benchmark.methods': 'balanced', 'benchmark.seeds': 2, 'benchmark.rates': (0.8,)})
  both = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  small.update_from_flattened_dict({'benchmark.methods': 'balanced,k_center', 'benchmark.seeds': 1,
                                    'benchmark.randoms': 1})
  mine = benchmark.run(dataset, small, tmp_path, say=said.append)
  assert {(row['method'], row['seed']) for row in mine} == {('random', 0), ('balanced', 0), ('k_center', 0)}
  assert any('k_center' in words for words in said)
  assert runs.read(tmp_path / 'runs.csv') == [*both, mine[-1]]


def test_methods_that_choose_the_same_share_one_training():
  trained = []
  def train(subsets):
    for row, chosen in subsets:
      trained.append(chosen.tolist())
      yield row | {'accuracy': float(chosen.sum()), 'train_seconds': 1.0}
  a, b = np.array([3, 1]), np.array([1, 3])
  rows = list(grade.grade_once(train, [({'method': 'elfs', 'forecast': 0.1}, a), ({'method': 'd2'}, b),
                                       ({'method': 'elfs_beta_0'}, a.copy())]))
  assert trained == [[3, 1], [1, 3]]
  assert rows == [{'method': 'elfs', 'forecast': 0.1, 'accuracy': 4, 'train_seconds': 1},
                  {'method': 'elfs_beta_0', 'accuracy': 4, 'train_seconds': 1},
                  {'method': 'd2', 'accuracy': 4, 'train_seconds': 1}]


def test_no_choice_but_the_supervised_depends_on_labels(small, blobs, tmp_path, monkeypatch):
  images, labels = blobs
  small.update_from_flattened_dict({'benchmark.seeds': 1, 'benchmark.rates': (0.8,)})
  def chosen(labels, workdir):
    found = {}
    def keep(inputs, labels, pool_rows, test, config, seed, subsets):
      found.update({row['method']: picks.tolist() for row, picks in subsets})
      return []
    monkeypatch.setitem(grade.GRADERS, 'head', keep)
    benchmark.run(data.from_memory(images=images, labels=labels), small, workdir, say=lambda _: None)
    return found
  right = chosen(labels, tmp_path / 'right')
  other = chosen(np.random.default_rng(0).permutation(labels), tmp_path / 'shuffled')
  same = {name for name in right if right[name] == other[name]}
  ceilings = {name for name in right if name.startswith('supervised_')}
  assert len(right) > 20 and len(ceilings) > 5 and same.isdisjoint(ceilings) and same | ceilings == set(right)


def test_d2_is_not_just_the_hardest(blobs):
  rng = np.random.default_rng(0)
  x, aum = rng.normal(0, 10, (200, 6)), rng.normal(size=200)
  near = rng.integers(0, 200, (200, 10))
  pool = methods.Pool(x, near, None, None, None, {'aum': aum}, None, None, 0)
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  expected = select.d2(unit, (aum.max() - aum) / np.ptp(aum), 40, neighbors=near, gamma_forward=1., gamma_reverse=1.)
  np.testing.assert_array_equal(methods.d2(pool, 40), expected)
  assert len(set(expected) & set(select.hardest(-aum, 40))) < 36
  kept = np.argsort(aum)[30:]  # 0.15 of 200 are cut where 20 are asked for.
  kept_hard = (aum[kept].max() - aum[kept]) / np.ptp(aum[kept])
  among = np.argsort(-(unit[kept] @ unit[kept].T) + 3 * np.eye(170), axis=1)[:, :10]
  expected = kept[select.d2(unit[kept], kept_hard, 20, neighbors=among, gamma_forward=1., gamma_reverse=1.)]
  np.testing.assert_array_equal(methods.d2_cut(pool, 20), expected)


def test_rows_of_other_settings_are_kept_apart(small, blobs, tmp_path):
  dataset = data.from_memory(images=blobs[0], labels=blobs[1])
  small.update_from_flattened_dict({'benchmark.methods': 'random,elfs_fixed', 'benchmark.seeds': 1})
  first = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  small.proxy.learning_rate = 0.01
  second = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  assert {r['settings'] for r in first}.isdisjoint({r['settings'] for r in second})
  assert len(runs.read(tmp_path / 'runs.csv')) == len(first) + len(second) == 12


def test_the_network_learns_from_images(small, blobs, tmp_path):
  dataset = data.from_memory(images=blobs[0], labels=blobs[1])
  small.update_from_flattened_dict({'benchmark.methods': 'random', 'benchmark.seeds': 1, 'benchmark.steps': 60,
                                    'benchmark.classifier': 'network', 'benchmark.rates': (0.5,), 'evaluate.crop': 0,
                                    'evaluate.network': 'small'})
  rows = benchmark.run(dataset, small, tmp_path, say=lambda _: None)
  assert rows[0]['accuracy'] > 0.6


def test_the_command(tmp_path, blobs):
  np.savez(tmp_path / 'images.npz', images=blobs[0], labels=blobs[1])
  np.save(tmp_path / 'unlabelled.npy', blobs[0])
  common = (f'--config={ROOT}/configs/benchmark.py:arrays', '--config.benchmark.seeds=1', '--config.benchmark.steps=10',
            "--config.benchmark.rates=(0.8,)")
  process = launch(*common, f'--config.data.path={tmp_path}/images.npz', '--config.benchmark.methods=random,elfs',
                   cwd=tmp_path)
  assert process.returncode == 0, process.stderr
  rows = runs.read(tmp_path / 'runs/benchmark_arrays/runs.csv')
  assert 'gain over random' in process.stdout and [row['data'] for row in rows] == ['images.npz'] * 5
  for name, extra, words in (('unlabelled.npy', '--config.benchmark.methods=rondom', ('rondom', 'random')),
                             ('unlabelled.npy', '--config.seed=1', ('labels',)),
                             ('images.npz', '--config.neighbors.k=100', ('k=100', '96')),
                             ('images.npz', '--config.select.beta=0.9', ('beta=0.9', 'room', 'at most 0.8'))):
    process = launch(*common, f'--config.data.path={tmp_path}/{name}', extra, cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.count('\n') == 1 and all(w in process.stderr for w in words)
  process = launch(f'--config={ROOT}/configs/arrays.py:x')
  assert process.returncode == 2 and process.stderr.count('\n') == 1 and 'takes no name' in process.stderr


@pytest.mark.parametrize('classifier', ['head', 'network'])
def test_what_is_chosen_is_graded_on_a_fifth_that_no_seed_shares(small, blobs, tmp_path, monkeypatch, classifier):
  small.update_from_flattened_dict({'benchmark.classifier': classifier, 'benchmark.methods': 'balanced',
                                    'benchmark.rates': (0.5,), 'benchmark.steps': 30, 'proxy.network': 'mlp',
                                    'evaluate.network': 'small'})
  seen = []
  if classifier == 'head':
    def grade(embeddings, candidates, labels, held_out, *, steps, seed):
      seen.extend((set(rows.tolist()), tuple(sorted(held_out)), steps, seed) for rows in candidates)
      return np.zeros((len(candidates), 1), np.float32)
    monkeypatch.setattr(benchmark.judge, 'grade', grade)
    verdict = {'betas': np.array([0.1]), 'beta': 0.1, 'gap': 0.0, 'half': 0.0, 'scores': np.zeros((1, 1, 1)),
               'random_scores': np.zeros((1, 1, 1))}
    monkeypatch.setattr(benchmark.judge, 'verdict', lambda *_, **__: verdict)
  else:
    def accuracy(inputs, labels, subset, test_inputs, test_labels, *_, steps, mesh, seed):
      place = [int(np.flatnonzero((inputs == image).all((1, 2, 3)))[0]) for image in test_inputs]
      seen.append((set(subset.tolist()), tuple(sorted(place)), steps, seed))
      assert (labels[place] == test_labels).all()
      return 0.0
    monkeypatch.setattr(evaluate, 'downstream_accuracy', accuracy)
  benchmark.run(data.from_memory(images=blobs[0], labels=blobs[1]), small, tmp_path, say=lambda _: None)
  assert len(seen) == 6 and {(steps, seed) for *_, steps, seed in seen} == {(30, 0), (30, 1)}
  assert all(len(chosen) == 48 and len(test) == 24 and not chosen & set(test) for chosen, test, *_ in seen)
  assert len({test for _, test, *_ in seen}) == 2
  assert len({frozenset(chosen) for chosen, *_ in seen}) == 6  # Also of the random ones each another.


def pool_of(scores, supervised, seed=0):
  rng, n = np.random.default_rng(0), 100
  return methods.Pool(rng.normal(size=(n, 4)), None, None, select.double_end, np.arange(n) % 4, scores, None,
                      lambda: supervised, seed)


def test_each_score_and_each_ceiling_is_cut_by_its_own_scores():
  names, rng = ('aum', 'forgetting', 'el2n', 'correctness', 'aum_logits'), np.random.default_rng(1)
  own, true = ({name: rng.normal(size=100).astype(np.float32) for name in names} for _ in range(2))
  pool, table = pool_of(own, true), {method.name: method for method in methods.table((0.1, 0.2), 3)}
  def band(scores, name, beta, count=20):
    hard = SCORES[name].harder * scores[name].astype(np.float64)
    return np.argsort(-hard)[int(100 * beta):][:count]
  for name, expected in (('elfs_fixed', band(own, 'aum', 0.3)), ('elfs_forgetting', band(own, 'forgetting', 0.3)),
                         ('elfs_el2n', band(own, 'el2n', 0.3)), ('elfs_aum_logits', band(own, 'aum_logits', 0.3)),
                         ('double_end_aum_logits', band(own, 'aum_logits', 0.3)),
                         ('double_end_beta_0.2', band(own, 'aum', 0.2)), ('elfs_beta_0.1', band(own, 'aum', 0.1)),
                         ('supervised_el2n', band(true, 'el2n', 0)),
                         ('supervised_forgetting', band(true, 'forgetting', 0)),
                         ('supervised_aum_beta_0.15', band(true, 'aum', 0.15))):
    np.testing.assert_array_equal(table[name].choose(pool, 20), expected, err_msg=name)
  assert table['elfs_beta_0.2'].choose(pool, 81) is None
  ccs = table['supervised_ccs'].choose(pool, 10)
  np.testing.assert_array_equal(ccs, select.stratified(-true['aum'], 10, 0.3, seed=0))
  draws = [tuple(table[name].choose(pool_of(own, true, seed), 20)) for seed in (0, 1)
           for name in ('random', 'random_2', 'random_3')]
  assert len(set(draws)) == 6 and 'random_4' not in table


def test_only_the_ceilings_see_labels_and_they_do(small, blobs, tmp_path):
  images, labels = blobs
  small.update_from_flattened_dict({'proxy.network': 'mlp', 'judge.steps': 2})
  embeddings = images.reshape(120, -1).astype(np.float32)
  other = np.where(np.arange(120) < 60, labels, (labels + 1) % 4)
  dataset = data.from_memory(images=images, embeddings=embeddings)
  pools = [benchmark._pool(dataset, given, small, tmp_path / name, 0) for name, given in
           (('right', labels), ('other', other))]
  assert all((pools[0].scores[name] == pools[1].scores[name]).all() for name in pools[0].scores)
  right, wrong = (pool.supervised()['aum'] for pool in pools)
  assert (right != wrong).any() and (right != pools[0].scores['aum']).any()


@pytest.mark.parametrize('field, value', [
    ('judge.steps', 7), ('benchmark.steps', 21), ('benchmark.classifier', 'network'), ('select.balance', 0.9),
    ('evaluate.width', 5), ('cluster.num_classes', 3), ('neighbors.k', 9), ('embed.components', 7), ('mesh.shards', 4),
    ('seed', 1), ('proxy.width', 5), (None, None)])
def test_rows_are_known_by_what_made_them(small, field, value):
  before = benchmark._what_is_compared(small, 'pca', 'content')['settings']
  if field is None:
    small.update_from_flattened_dict({'select.budget': 50, 'benchmark.rates': (0.7,), 'benchmark.seeds': 9})
    assert benchmark._what_is_compared(small, 'pca', 'content')['settings'] == before  # These are columns, or none.
    assert benchmark._what_is_compared(small, 'pca', 'other')['settings'] != before
  else:
    small.update_from_flattened_dict({field: value})
    assert benchmark._what_is_compared(small, 'pca', 'content')['settings'] != before


def test_a_seed_of_the_benchmark_is_that_of_its_pipeline(small, blobs, tmp_path, monkeypatch):
  seeds = []
  def stop(dataset, config, *_, **__):
    assert config.embed.method == 'given' and dataset.labels is None
    seeds.append(config.seed)
    raise InterruptedError
  monkeypatch.setattr(benchmark.pipeline, 'select_from', stop)
  dataset = data.from_memory(embeddings=blobs[0].reshape(120, -1))
  for seed in (0, 3):
    with pytest.raises(InterruptedError):
      benchmark._pool(dataset, blobs[1], small, tmp_path, seed)
  assert seeds == [0, 3]
