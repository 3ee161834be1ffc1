"""The whole pipeline, in process: promises about labels, reuse and settings."""
import csv
import functools
import inspect
import json

import numpy as np
import pytest
from conftest import run

import elfs_jax
from elfs_jax import cluster, evaluate, judge, neighbors, outcome, pipeline, proxy, select
from elfs_jax.runtime import artifacts, store
from elfs_jax.runtime import stages as stages_lib

pytestmark = pytest.mark.usefixtures('one_device')


def test_artifacts_agree_with_each_other(tiny, blobs, tmp_path):
  images, labels = blobs
  tiny.evaluate.network = 'small'
  chosen, metrics = run(tiny, images, tmp_path, labels)
  rows = list(csv.DictReader((tmp_path / 'coreset.csv').read_text().splitlines()))
  scores = dict(np.load(tmp_path / 'scores.npz'))
  indices = [int(row['index']) for row in rows if row['kind'] == 'chosen']
  assert indices == np.load(tmp_path / 'coreset.npy').tolist() == chosen.indices.tolist()
  assert list(rows[0])[:4] == ['rank', 'index', 'id', 'pseudo_label']
  assert [row['rank'] for row in rows][:3] == ['0', '1', '2']
  for row in rows:
    i = int(row['index'])
    assert row['id'] == str(i) and int(row['pseudo_label']) == scores['pseudo_label'][i]
    names = ('aum', 'forgetting', 'el2n', 'correctness', 'aum_logits')
    assert all(np.float32(row[name]) == scores[name][i] for name in names)
  assert np.load(tmp_path / 'embeddings.npy').shape[0] == len(np.load(tmp_path / 'pseudo_labels.npy')) == 120
  assert json.loads((tmp_path / 'metrics.json').read_text())['accuracy']['random'] == metrics['accuracy']['random']
  assert json.loads((tmp_path / 'config.json').read_text())['select']['budget'] == '10%'
  assert '<html' in (tmp_path / 'report.html').read_text()
  assert len(indices) == 12 and len(rows) == 14  # A tenth more in reserve.
  assert not [p for p in tmp_path.iterdir() if p.name.startswith('.') and p.name != '.lock']


def test_labels_never_leak(tiny, blobs, tmp_path):
  images, labels = blobs
  shuffled = np.random.default_rng(0).permutation(labels)
  tiny.evaluate.enabled = False
  found = [run(tiny, images, tmp_path / name, given)[0]
           for name, given in (('absent', None), ('present', labels), ('shuffled', shuffled))]
  for other in found[1:]:
    np.testing.assert_array_equal(other.indices, found[0].indices)
    assert other.beta == found[0].beta
    for name in found[0].scores:
      np.testing.assert_array_equal(other.scores[name], found[0].scores[name])
  assert (tmp_path / 'absent/coreset.csv').read_bytes() == (tmp_path / 'shuffled/coreset.csv').read_bytes()


def test_only_what_changed_runs_again(tiny, blobs, tmp_path):
  images, labels = blobs
  def stages():
    said = []
    run(tiny, images, tmp_path, labels, say=said.append)
    return {s.split(']')[0][1:]: 'reused' in s for s in said if s.startswith('[') and ('reused' in s or 'done' in s)}
  assert not any(stages().values())
  assert all(stages().values())
  tiny.select.budget = 24
  assert stages() == {'embed_pca': True, 'neighbors': True, 'cluster_kmeans': True, 'proxy': True, 'copies': True,
                      'clusterings': True, 'judge_24_kept': False, 'evaluate_coreset': False, 'evaluate_random': False,
                      'evaluate_everything': True}
  tiny.proxy.epochs = 3
  again = stages()
  assert again['cluster_kmeans'] and not again['proxy'] and not again['judge_24']


def test_auto_names_every_clustering_and_takes_the_most_informative(tiny, blobs, tmp_path):
  tiny.update_from_flattened_dict({'cluster.method': 'auto', 'cluster.epochs': 2, 'cluster.heads': 2})
  said = []
  run(tiny, blobs[0], tmp_path, say=said.append)
  line = next(line for line in said if 'clusters, method' in line)
  graph = np.load(tmp_path / 'stages/neighbors.npz')['indices']
  scores = {}
  for name in ('kmeans', 'merged', 'temi'):
    kept = np.load(tmp_path / f'stages/cluster_{name}.npz')
    scores[name] = cluster.information(kept['labels' if name == 'temi' else 'result'], graph)
    assert f'{name} {scores[name]:.3f}' in line
  assert f'method {max(scores, key=scores.get)} (' in line


def test_a_judgement_is_kept_for_each_budget(tiny, blobs, tmp_path):
  for budget, reused in ((12, False), (24, False), (12, True)):
    tiny.select.budget = budget
    said = []
    run(tiny, blobs[0], tmp_path, say=said.append)
    assert (f'[judge_{budget}] reused' in said) == reused
  assert {file.name for file in (tmp_path / 'stages').glob('judge*.npz')} == {'judge_12.npz', 'judge_24_kept.npz'}


@pytest.mark.parametrize('method, network', [('coverage', 'mlp'), ('double_end', 'small'), ('stratified', 'small')])
def test_a_proxy_left_open_is_the_one_that_the_method_was_published_with(tiny, blobs, tmp_path, method, network):
  tiny.select.method, tiny.select.beta, said = method, 0.1, []
  run(tiny, blobs[0], tmp_path, say=said.append)
  assert any(line.startswith(f'  {network}, 2 epochs') for line in said)
  assert said[-2] == '12 of 120 examples chosen' and all(line.strip() for line in said)


def test_fewer_examples_than_neighbours(tiny, blobs, tmp_path):
  with tiny.ignore_type():
    tiny.neighbors.k = None
  chosen, _ = run(tiny, blobs[0][:34], tmp_path)
  assert len(chosen.indices) == 3 and chosen.graph[0].shape == (34, 33)


@pytest.mark.parametrize('field, value', [
    ('proxy.batch', 0), ('proxy.batch', 7), ('proxy.width', 0), ('proxy.learning_rate', 0.0), ('proxy.epochs', 0),
    ('proxy.network', 'foo'), ('evaluate.network', 'foo'), ('evaluate.seeds', 0), ('evaluate.batch', 0),
    ('cluster.batch', 0), ('cluster.init', 'foo'), ('judge.betas', (-0.1, 0.2)), ('seed', -1), ('seed', 2 ** 31),
    ('mesh.shards', 3), ('mesh.shards', 64), ('mesh.shards', 32), ('cluster.hidden', (0,)), ('evaluate.batch', 2)])
def test_what_could_not_be_trained_is_refused_before_any_work(tiny, blobs, tmp_path, field, value):
  with tiny.ignore_type():
    tiny.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=field):
    run(tiny, blobs[0], tmp_path / 'out', blobs[1])
  assert not (tmp_path / 'out').exists()


def test_a_run_that_fails_late_leaves_no_report_of_the_run_before(tiny, blobs, tmp_path, monkeypatch):
  run(tiny, blobs[0], tmp_path, blobs[1])
  tiny.select.budget = 24
  monkeypatch.setattr(outcome, '_compare', lambda *_: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    run(tiny, blobs[0], tmp_path, blobs[1])
  assert len((tmp_path / 'coreset.csv').read_text().splitlines()) == 1 + 24 + 3
  assert not (tmp_path / 'metrics.json').exists() and not (tmp_path / 'report.html').exists()


def test_embeddings_alone(tiny, blobs, tmp_path):
  images, _ = blobs
  tiny.embed.method = 'auto'
  coreset = elfs_jax.select_coreset(embeddings=images.reshape(120, -1).astype(np.float32), budget=20, num_classes=4,
                                    beta=0.2, config=tiny, workdir=tmp_path)
  assert len(coreset.indices) == 20 and coreset.beta == 0.2 and coreset.workdir == tmp_path


@pytest.mark.parametrize('field, value, stage', [
    ('embed.components', 5, 'embed_pca'), ('neighbors.k', 7, 'neighbors'), ('cluster.num_classes', 3, 'cluster_kmeans'),
    ('proxy.learning_rate', 0.01, 'proxy'), ('proxy.crop', 0, 'proxy'), ('judge.steps', 5, 'judge_12'),
    ('judge.clusterings', 2, 'judge_12'), ('select.balance', 1.0, 'judge_12'),
    ('evaluate.steps', 30, 'evaluate_random')])
def test_a_field_reaches_the_stage_that_reads_it(tiny, blobs, tmp_path, field, value, stage):
  images, labels = blobs
  kept = tmp_path / 'stages' / f'{stage}.npz'
  tiny.evaluate.enabled = stage == 'evaluate_random'
  if field == 'proxy.crop':
    tiny.proxy.network = 'small'
  run(tiny, images, tmp_path, labels)
  before = dict(np.load(kept))
  tiny.update_from_flattened_dict({field: value})
  run(tiny, images, tmp_path, labels)
  after = dict(np.load(kept))
  assert before.pop('key') != after.pop('key')
  assert any(a.shape != b.shape or (a != b).any() for a, b in zip(before.values(), after.values()))


def test_a_score_with_ties_is_cut_by_aum_and_not_by_position(tiny, blobs, tmp_path):
  images, _ = blobs
  tiny.select.score, tiny.select.beta, tiny.select.method = 'forgetting', 0.1, 'double_end'
  chosen, _ = run(tiny, images, tmp_path)
  forgetting, aum = chosen.scores['forgetting'], chosen.scores['aum']
  expected = sorted(range(120), key=lambda i: (-forgetting[i], aum[i]))[12:24]
  assert len(set(aum.tolist())) > 115 and chosen.indices.tolist() == expected


def test_copies_are_neighbours_not_by_their_place_in_the_folder(tiny, tmp_path):
  rng = np.random.default_rng(0)
  x = np.concatenate([np.repeat(rng.normal(size=(1, 6)), 60, 0), rng.normal(size=(140, 6))]).astype(np.float32)
  tiny.update_from_flattened_dict({'embed.method': 'given', 'proxy.width': 8, 'proxy.epochs': 5})
  elfs_jax.select_coreset(embeddings=x, budget=20, num_classes=4, beta=0.1, config=tiny, workdir=tmp_path)
  kept, (indices, similarity) = np.load(tmp_path / 'stages/neighbors.npz'), neighbors.knn(x, tiny.neighbors.k)
  np.testing.assert_allclose(kept['similarity'], similarity, atol=1e-6)
  listed = np.unique(kept['indices'][:60])
  assert len(listed) == tiny.neighbors.k + 1 and listed.max() < 60 and (listed >= 30).any()
  alone = (indices >= 60).all(1)  # No copy among them, so nothing ties.
  assert alone.any() and (kept['indices'][alone] == indices[alone]).all()


def test_elfs_beats_random_where_noisy_and_redundant_examples_are_known(tiny, tmp_path):
  """Half are near copies of their class's centre, a tenth lies half way to another; the rest marks the borders."""
  rng = np.random.default_rng(0)
  centres = 3 * np.eye(4, 8)
  own, other = rng.permuted(np.tile(np.arange(4), (1000, 1)), axis=1)[:, :2].T
  kind = np.repeat(['informative', 'redundant', 'noise'], [400, 500, 100])
  way = np.concatenate([rng.uniform(0.2, 0.4, 400), np.zeros(500), rng.uniform(0.48, 0.52, 100)])[:, None]
  x = centres[own] * (1 - way) + centres[other] * way + rng.normal(0, 0.1, (1000, 8))
  order = rng.permutation(1000)
  x, kind = x[order].astype(np.float32), kind[order]
  tiny.update_from_flattened_dict({'embed.method': 'given', 'proxy.width': 8, 'proxy.epochs': 30})
  coreset = elfs_jax.select_coreset(embeddings=x, budget=150, num_classes=4, beta=0.1, config=tiny, workdir=tmp_path)
  informative = (kind[coreset.indices] == 'informative').mean()
  drawn = [(kind[select.random(1000, 150, seed=s)] == 'informative').mean() for s in range(20)]
  assert informative > 0.6 > 0.5 > max(drawn)


def test_the_judge_weighs_images_as_the_cover_does(tiny, blobs, tmp_path, monkeypatch):
  images, seen, grade = blobs[0], [], judge.grade
  def watched(*args, weights, **kwargs):
    seen.append(weights)
    return grade(*args, weights=weights, **kwargs)
  monkeypatch.setattr(judge, 'grade', watched)
  kept = np.sort(np.argsort(blobs[1], kind='stable')[:75])  # 30, 30 and 15 of the patterns.
  for method, balance in (('coverage', 1.0), ('coverage', select.BALANCE), ('double_end', 1.0)):
    tiny.update_from_flattened_dict({'select.method': method, 'select.balance': balance, 'cluster.num_classes': 3,
                                     'evaluate.enabled': False})
    chosen, _ = run(tiny, images[kept], tmp_path)
  rare, alike, none = seen
  np.testing.assert_allclose(rare, (25 / np.bincount(chosen.pseudo_labels))[chosen.pseudo_labels])
  assert rare.max() > 1.5 * rare.min() and (alike == 1).all() and none is None


@pytest.mark.parametrize('stage', ['proxy', 'cluster_temi'])
def test_a_killed_run_goes_on_to_the_same_coreset(stage, tiny, blobs, tmp_path, monkeypatch):
  images, _ = blobs
  tiny.proxy.epochs = 4
  if stage == 'cluster_temi':
    tiny.cluster.method, tiny.cluster.init, tiny.cluster.epochs = 'temi', 'random', 4
  whole, _ = run(tiny, images, tmp_path / 'whole')
  monkeypatch.setattr(artifacts, 'CHECKPOINT_SECONDS', 0)
  save = artifacts.Checkpoint.save
  def save_then_die(self, epoch, state):
    save(self, epoch, state)
    if epoch == 2 and self.folder.name == stage:
      raise KeyboardInterrupt
  monkeypatch.setattr(artifacts.Checkpoint, 'save', save_then_die)
  with pytest.raises(KeyboardInterrupt):
    run(tiny, images, tmp_path / 'killed')
  monkeypatch.setattr(artifacts.Checkpoint, 'save', save)
  said = []
  resumed, _ = run(tiny, images, tmp_path / 'killed', say=said.append)
  assert any('checkpoint' in line for line in said)
  np.testing.assert_array_equal(resumed.indices, whole.indices)
  np.testing.assert_array_equal(resumed.scores['aum'], whole.scores['aum'])
  np.testing.assert_array_equal(resumed.pseudo_labels, whole.pseudo_labels)
  assert not (tmp_path / 'killed/checkpoints' / stage).exists()


@pytest.mark.parametrize('field, value, words', [
    ('select.budget', 0, 'budget=0'), ('select.budget', -5, 'budget=-5'), ('select.budget', 121, '120'),
    ('select.budget', 1, 'one example or all'), ('select.budget', ' 1', 'one example or all'),
    ('select.budget', '0%', 'budget=0%'), ('select.budget', 'many', 'many'), ('select.beta', 0.95, 'at most 0.9'),
    ('select.beta', 'best', 'auto'), ('cluster.num_classes', 121, 'num_classes=121'), ('neighbors.k', 120, 'k=120'),
    ('embed.method', 'given', 'embeddings'), ('cluster.method', 'dbscan', 'kmeans'), ('select.score', 'loss', 'aum'),
    ('select.balance', 1.5, 'from 0 to 1'), ('select.balance', None, 'from 0 to 1'),
    ('select.balance', float('nan'), 'from 0 to 1'), ('judge.betas', ('a',), 'numbers, 0 or more'),
    ('judge.betas', (0.1, 1.0), 'below 1'), ('proxy.crop', -1, 'crop=-1'), ('embed.learning_rate', -1.0, 'above 0'),
    ('cluster.learning_rate', float('nan'), 'above 0'), ('evaluate.momentum', 2.0, 'momentum=2.0'),
    ('cluster.teacher_momentum', 1.0, 'below 1'), ('proxy.weight_decay', -1.0, '0 or more'),
    ('proxy.final_rate', float('nan'), '0 or more'), ('cluster.warmup_epochs', -1, 'warmup_epochs=-1')])
def test_settings_that_the_data_cannot_meet(tiny, blobs, tmp_path, field, value, words):
  tiny.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=words) as error:
    run(tiny, blobs[0], tmp_path / 'new')
  assert '\n' not in str(error.value) and not (tmp_path / 'new').exists()


@pytest.mark.parametrize('shards, words', [
    (128, 'proxy.batch=64 must be a multiple of mesh.shards=128'), (0, 'mesh.shards=0 must be a whole number'),
    (3, 'mesh.shards=3 must be a power of two'), (256, 'proxy.batch=64 must be a multiple of mesh.shards=128')])
def test_shards_that_the_proxy_cannot_have(tiny, blobs, tmp_path, shards, words):
  tiny.mesh.shards = shards
  with pytest.raises(ValueError, match=words):
    run(tiny, np.concatenate([blobs[0]] * 3), tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def test_a_workdir_of_other_data(tiny, blobs, tmp_path):
  images, _ = blobs
  tiny.select.beta = 0.1
  run(tiny, images, tmp_path)
  before = (tmp_path / 'coreset.csv').read_bytes()
  with pytest.raises(ValueError, match='holds the results of other data, this run is of memory: choose another'):
    run(tiny, 255 - images, tmp_path)
  assert (tmp_path / 'coreset.csv').read_bytes() == before


def test_a_workdir_in_use(tiny, blobs, tmp_path):
  with store.held(tmp_path / 'out'), pytest.raises(ValueError, match='another run is at work in workdir .*/out'):
    run(tiny, blobs[0], tmp_path / 'out')
  assert not (tmp_path / 'out' / 'coreset.csv').exists()


def test_what_a_killed_run_was_writing_is_cleared_away_and_nothing_else(tmp_path):
  ours = ['stages/.embed.npz.a1b2c3d4', 'images/.images-0123456789abcdef.npy.00ff00ff', '.coreset.csv.00ff00ff',
          '.report.html.0a0b0c0d', '.runs.csv.deadbeef']
  theirs = ['.notes.markdown', '.notes.deadbeef', '.coreset.csv.bak', '.coreset.csv.deadbeef.txt', 'stages/.a.deadbeef',
            'images/.holiday.jpg.deadbeef', '.coreset.csv.DEADBEEF', '.xcoreset.csv.deadbeef', 'coreset.csv.deadbeef']
  for name in ours + theirs:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b'half')
  (tmp_path / '.metrics.json.deadbeef').mkdir()
  with store.held(tmp_path):
    assert [name for name in ours + theirs if (tmp_path / name).exists()] == theirs
  assert (tmp_path / '.metrics.json.deadbeef').is_dir()


@pytest.mark.parametrize('name', ['coreset.csv', 'report.html', 'embeddings.npy', 'metrics.json', 'scores.npz'])
def test_a_folder_with_files_that_are_not_ours_is_no_workdir(tiny, blobs, tmp_path, name):
  (tmp_path / name).write_text('mine')
  with pytest.raises(ValueError, match=f'holds {name} but no config.json of elfs_jax.*: choose another') as error:
    run(tiny, blobs[0], tmp_path)
  assert '\n' not in str(error.value) and (tmp_path / name).read_text() == 'mine'
  assert {path.name for path in tmp_path.iterdir()} <= {name, '.lock'}


def test_the_settings_kept_are_those_of_the_results(tiny, blobs, tmp_path, monkeypatch):
  run(tiny, blobs[0], tmp_path)
  tiny.select.budget = 24
  def kept():
    return json.loads((tmp_path / 'config.json').read_text())['select']['budget']
  with monkeypatch.context() as patch:
    patch.setattr(pipeline.steps, 'beta_of', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      run(tiny, blobs[0], tmp_path)
  assert kept() == '10%'
  run(tiny, blobs[0], tmp_path)
  assert kept() == 24


def test_one_folder_by_two_names_is_one_source(tmp_path, monkeypatch):
  def claim(path):
    store.claim(tmp_path / 'out', store.source_of('folder', path, None, None), {})
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir(tmp_path)
  for path in ('pictures', './pictures/', str(tmp_path / 'pictures')):
    claim(path)
  monkeypatch.chdir(tmp_path / 'elsewhere')
  claim('../pictures')
  with pytest.raises(ValueError, match='pictures.*elsewhere/pictures.*choose another'):
    claim('pictures')


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"source": {"path": null}}'])
def test_a_config_of_someone_else_in_the_workdir(tiny, blobs, tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match='config.json is not a config that elfs_jax wrote'):
    run(tiny, blobs[0], tmp_path)


def test_a_choice_without_a_hard_end_asks_for_no_room(tiny, blobs, tmp_path):
  tiny.select.method, tiny.select.beta = 'random', 0.95
  assert len(run(tiny, blobs[0], tmp_path)[0].indices) == 12


def test_what_is_said_names_how_it_was_chosen(tiny, blobs, tmp_path):
  said, tiny.select.method, tiny.cluster.num_classes = [], 'easiest', None
  _, metrics = run(tiny, *blobs[:1], tmp_path, blobs[1], said.append)
  assert (metrics['method'], metrics['embedding']) == ('easiest', 'pca')
  assert f'  {metrics["num_classes"]} clusters, method kmeans' in said
  words = '\n'.join(said)
  assert 'easiest against random: ' in words and 'easiest coreset' in words and 'ELFS' not in words
  page = (tmp_path / 'report.html').read_text()
  assert f'<dd>{metrics["num_classes"]}, guessed</dd>' in page and '<dd>easiest</dd>' in page and 'ELFS' not in page


def test_embeddings_that_are_given_are_not_made(tiny, blobs, tmp_path):
  with pytest.raises(ValueError, match='embed.method=pca makes embeddings, and some were given'):
    elfs_jax.select_coreset(blobs[0], embeddings=blobs[0].reshape(120, -1) / 255, budget=20, num_classes=4, config=tiny,
                            workdir=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_one_seed_has_no_interval(tiny, blobs, tmp_path):
  tiny.evaluate.seeds, said = 1, []
  run(tiny, *blobs[:1], tmp_path, blobs[1], say=said.append)
  table = said[-2]
  assert '1 seed:' in table and 'no measurable difference' in table and 'nan' not in table and 'inf' not in table


@pytest.mark.parametrize('field, value', [
    ('select.score', 'el2n'), ('select.method', 'stratified'), ('judge.betas', (0.0, 0.2)), ('select.balance', 0.9)])
def test_a_verdict_is_not_kept_for_another_question(tiny, blobs, tmp_path, field, value):
  tiny.select.method = 'coverage' if field == 'select.balance' else 'double_end'
  tiny.proxy.network, said = 'mlp', []
  run(tiny, blobs[0], tmp_path)
  tiny.update_from_flattened_dict({field: value})
  run(tiny, blobs[0], tmp_path, say=said.append)
  assert '[proxy] reused' in said and '[clusterings] reused' in said
  assert any(line.startswith('[judge_12] done') for line in said)


def test_a_verdict_is_not_kept_when_a_constant_that_decides_it_changes(tiny, blobs, tmp_path, monkeypatch):
  run(tiny, blobs[0], tmp_path)
  monkeypatch.setitem(judge.verdict.__kwdefaults__, 'outlier_limit', 0.5)
  said = []
  run(tiny, blobs[0], tmp_path, say=said.append)
  assert '[clusterings] reused' in said and any(line.startswith('[judge_12] done') for line in said)


def test_results_of_an_older_version_are_made_again(tiny, blobs, tmp_path, monkeypatch):
  tiny.evaluate.enabled = False
  run(tiny, blobs[0], tmp_path)
  monkeypatch.setattr(stages_lib, 'VERSION', stages_lib.VERSION + 1)
  said = []
  run(tiny, blobs[0], tmp_path, say=said.append)
  assert any(line.startswith('[embed_pca] done') for line in said) and not any('reused' in line for line in said)


def test_the_seed_reaches_every_stage(tiny, blobs, tmp_path, monkeypatch):
  """Embeddings and clusters that are the same for both seeds, so that the stages after can differ by the seed alone."""
  from elfs_jax import embed
  from elfs_jax.cluster import centroids, heads
  from elfs_jax.encoders import self_supervised
  seen = {}
  def watch(module, name, found=None):
    function = getattr(module, name)
    @functools.wraps(function)
    def watched(*args, seed=None, **more):
      seen.setdefault(name, []).append(seed)
      return function(*args, seed=seed, **more) if found is None else found
    monkeypatch.setattr(module, name, watched)
  rng = np.random.default_rng(0)
  watch(embed, 'learn_pca')
  watch(embed, 'consistencies')
  watch(self_supervised, 'learn', {'embeddings': rng.normal(size=(120, 8)).astype(np.float32)})
  watch(centroids, 'kmeans', blobs[1])
  watch(centroids, 'merged_kmeans', blobs[1])
  watch(heads, 'temi', heads.Temi(blobs[1], np.zeros(1, np.float32), 0, None))
  watch(cluster, 'independent')
  watch(proxy, 'dynamics_scores')
  watch(judge, 'verdict')
  tiny.update_from_flattened_dict({'embed.method': 'auto', 'cluster.method': 'auto', 'proxy.network': 'mlp'})
  first, _ = run(tiny, blobs[0], tmp_path)
  tiny.seed = 3
  other, _ = run(tiny, blobs[0], tmp_path)
  assert len(seen) == 9 and all(seeds[0] == 0 and seeds[-1] == 3 for seeds in seen.values()), seen
  assert (first.scores['aum'] != other.scores['aum']).any()
  assert (first.judged['random_scores'] != other.judged['random_scores']).any()


def test_no_candidate_is_graded_by_the_labels_that_made_its_difficulty(tiny, blobs, tmp_path, monkeypatch):
  seen, verdict = [], judge.verdict
  @functools.wraps(verdict)
  def watched(clusterings, **more):
    seen.append(clusterings)
    return verdict(clusterings=clusterings, **more)
  monkeypatch.setattr(judge, 'verdict', watched)
  tiny.update_from_flattened_dict({'evaluate.enabled': False, 'judge.clusterings': 4})
  images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)  # No clusters, so no two need agree.
  chosen, _ = run(tiny, images, tmp_path)
  assert seen[0].shape == (4, 120)
  assert max(evaluate.cluster_accuracy(labels, chosen.pseudo_labels) for labels in seen[0]) < 0.9


def test_a_run_that_dies_before_its_coreset_is_written_leaves_no_old_one(tiny, blobs, tmp_path, monkeypatch):
  run(tiny, blobs[0], tmp_path)
  before = (tmp_path / 'coreset.csv').read_bytes()
  tiny.select.budget, write = 24, artifacts.write_text
  monkeypatch.setattr(artifacts, 'write_text',
                      lambda path, text: 1 / 0 if path.name == 'items.csv' else write(path, text))
  with pytest.raises(ZeroDivisionError):
    run(tiny, blobs[0], tmp_path)
  assert not (tmp_path / 'coreset.csv').exists() and len(np.load(tmp_path / 'coreset.npy')) == 24
  kept, = tmp_path.glob('coreset-*.csv')
  assert kept.read_bytes() == before  # It was handed out.


def test_of_many_examples_the_judge_sees_a_sample_at_the_same_rate(tiny, blobs, tmp_path, monkeypatch):
  verdict, seen = judge.verdict, []
  def watched(**arguments):
    seen.append((len(arguments['embeddings']), len(arguments['difficulty']), arguments['budget'],
                 arguments['clusterings'].shape[1]))
    return verdict(**arguments)
  watched.__signature__ = inspect.signature(verdict)
  monkeypatch.setattr(judge, 'verdict', watched)
  monkeypatch.setattr(pipeline.steps, 'JUDGED', 60)
  said = []
  chosen, _ = run(tiny, blobs[0], tmp_path, say=said.append)
  assert seen == [(60, 60, 6, 60)] and len(chosen.indices) == 12 == chosen.judged['budget']
  assert '  the judge sees 60 of 120 examples, drawn at random' in said


def test_the_report_of_a_run(tiny, blobs, tmp_path):
  images, labels = blobs
  images = np.concatenate([images, np.zeros_like(images[:12])])  # Copies, and blank: a placeholder.
  said, tiny.select.beta = [], 'auto'
  chosen, metrics = run(tiny, images, tmp_path, say=said.append)
  page = (tmp_path / 'report.html').read_text()
  assert page.count('<button type="button" class="open"') >= len(chosen.indices)
  assert 'The same picture many times, as a placeholder would be <span class="count">12</span>' in page
  assert 'Exact copies <span class="count">1 group</span>' in page and 'Is it worth it? ' in page
  assert metrics['forecast'] in '\n'.join(said) and metrics['forecast'] in page
  first = metrics['seconds']
  _, metrics = run(tiny, images, tmp_path)
  assert metrics['seconds'] == {} and metrics['seconds_before'].keys() == first.keys()
  assert all(abs(first[name] - seconds) < 1e-3 for name, seconds in metrics['seconds_before'].items())
