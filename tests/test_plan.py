"""--plan: what would run, what would be reused, and about how long it takes; and the rates that it is told from."""
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, launch
from PIL import Image

from elfs_jax import data, pipeline, plan
from elfs_jax.data import sources
from elfs_jax.plan import costs, rates


def planned(text):
  """{stage: run or reused} of a printed plan."""
  lines = text.splitlines()
  first = next(i for i, line in enumerate(lines) if line.startswith('  stage'))
  rows = [line.split() for line in lines[first + 1:]]
  return {row[0]: row[1] for row in rows[:[row[0] for row in rows].index('total')]}


def files_below(folder):
  return {file: file.stat().st_mtime_ns for file in folder.rglob('*')}


@pytest.fixture
def cache(monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache/elfs_jax/rates.json'


@pytest.mark.parametrize('settings', [
    {'cluster.num_classes': None, 'cluster.method': 'auto', 'cluster.epochs': 1, 'cluster.heads': 2},
    {'select.beta': 0.1, 'evaluate.enabled': False}, {'select.method': 'random'}])
def test_the_order_is_that_of_the_pipeline(settings, tiny, blobs, tmp_path):
  tiny.update_from_flattened_dict(settings | {'data.name': 'memory'})
  dataset = data.from_memory(images=blobs[0], labels=blobs[1])
  _, metrics = pipeline.run(dataset, tiny, tmp_path, say=lambda _: None)
  assert plan.order(tiny, dataset) == list(metrics['seconds'])


def test_the_order_of_given_embeddings(tiny, blobs, tmp_path):
  tiny.update_from_flattened_dict({'data.name': 'memory', 'embed.method': 'auto'})
  dataset = data.from_memory(embeddings=blobs[0].reshape(120, 64) / 255)
  _, metrics = pipeline.run(dataset, tiny, tmp_path, say=lambda _: None)
  assert plan.order(tiny, dataset) == list(metrics['seconds'])
  tiny.embed.method = 'given'
  assert plan.order(tiny, dataset) == list(metrics['seconds'])[1:]


def test_a_plan_of_a_folder_writes_nothing_and_says_what_the_run_then_reuses(tmp_path, blobs, cache):
  folder, out = tmp_path / 'pictures', tmp_path / 'out'
  for i, image in enumerate(blobs[0][:60]):
    path = folder / f'class{blobs[1][i]}' / f'{i:03}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  def command(*more):
    process = launch('--config=folder', f'--config.data.path={folder}', '--config.data.size=8', f'--workdir={out}',
                     '--config.data.labels=folders', '--config.select.budget=10', *more)
    assert process.returncode == 0, process.stderr
    return process.stdout
  before = command('--plan')
  assert not out.exists() and before.splitlines()[0] == f'reading {folder}: 60 image files'
  assert set(planned(before).values()) == {'run'} and '60 examples' in before and ' ?' in before
  said = command()
  ran = [line.split(']')[0][1:] for line in said.splitlines() if line.startswith('[') and 'done in' in line]
  assert ['read', *ran] == list(planned(before))
  there = files_below(out)
  assert set(planned(command('--plan')).values()) == {'reused'}
  other = planned(command('--plan', '--config.select.budget=12'))
  assert files_below(out) == there and cache.exists()
  assert {name for name, what in other.items() if what == 'run'} == {
      'judge_12', 'evaluate_coreset', 'evaluate_random', 'evaluate_everything'}
  other = planned(command('--plan', '--config.neighbors.k=9'))
  assert [name for name, what in other.items() if what == 'reused'] == ['read', 'embed_pca']
  assert ' ?' not in command('--plan', '--config.neighbors.k=9')  # All has been measured.
  (folder / 'class0/000.png').unlink()
  evaluations = ['evaluate_coreset', 'evaluate_random', 'evaluate_everything']
  assert planned(command('--plan')) == dict.fromkeys(['read', 'neighbors', 'copies', *evaluations], 'run')
  Image.fromarray(blobs[0][60]).save(folder / 'class0/060.png')
  added = planned(command('--plan'))
  assert added == dict.fromkeys(['read', 'embed_added', 'neighbors', 'copies', *evaluations], 'run')
  said = command()
  ran = [line.split(']')[0][1:] for line in said.splitlines() if line.startswith('[') and 'done in' in line]
  assert ['read', *ran] == list(added)


def test_a_plan_refuses_what_the_run_would(tmp_path):
  for more, word in (('--config.select.budget=1798', '1797'), ('--config.select.beta=0.95', 'at most 0.9'),
                     ('--config=benchmark:digits', 'one run'), ('--hosts=auto', 'one run')):
    process = launch('--plan', f'--workdir={tmp_path}/a', more)
    assert process.returncode == 2 and word in process.stderr and process.stderr.count('\n') == 1, process.stderr
  assert not (tmp_path / 'a').exists()
  other = tmp_path / 'other'
  other.mkdir()
  source = {'name': 'folder', 'path': '/elsewhere', 'images': None}
  (other / 'config.json').write_text(json.dumps({'source': source, 'root': None}))
  process = launch('--plan', f'--workdir={other}')
  assert process.returncode == 2 and 'holds the results of folder (/elsewhere)' in process.stderr


def test_the_first_line_comes_before_jax_and_at_once_in_a_pipe(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / '.hidden').mkdir()
  for name in ('a/1.png', 'a/2.JPG', 'a/notes.txt', 'a/.3.png', '.hidden/4.png'):
    (tmp_path / name).write_bytes(b'')
  code = "import sys; sys.modules['jax'] = None; import runpy; runpy.run_path('launch.py', run_name='__main__')"
  start = time.monotonic()
  process = subprocess.Popen([sys.executable, '-c', code, '--config=folder', f'--config.data.path={tmp_path}'],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
  assert process.stdout.readline() == f'reading {tmp_path}: 2 image files\n'
  assert time.monotonic() - start < 10  # Half a second on an idle machine; tests share theirs.
  process.communicate()


def test_what_is_read_is_told(tmp_path):
  from elfs_jax.data.sources import folder
  assert sources.reading('digits') == 'reading digits'
  assert sources.reading('arrays', 'x.npz') == 'reading arrays from x.npz'
  assert sources.reading('folder', 'missing') == 'reading folder from missing'
  for part in 'abc':
    (tmp_path / part).mkdir()
    (tmp_path / part / 'x.png').write_bytes(b'')
  assert folder.count(tmp_path) == (3, True) and folder.count(tmp_path, seconds=-1) == (0, False)


def test_rates_are_kept_by_machine_and_size(cache):
  assert rates.read('a') == {} and rates.seconds([], 1) is None
  rates.note('a', {'proxy': (10, 20)})
  rates.note('b', {'proxy': (10, 10)})
  rates.note('a', {'proxy': (12, 30), 'judge': (1, 1)})  # Of nearly the same size: the last counts.
  rates.note('a', {'proxy': (1000, 1000)})
  assert rates.read('a') == {'proxy': [(12, 30), (1000, 1000)], 'judge': [(1, 1)]}
  assert rates.read('b') == {'proxy': [(10, 10)]}
  pairs = rates.read('a')['proxy']
  assert [rates.seconds(pairs, reference) for reference in (12, 6, 1000, 500, 2000)] == [30, 15, 1000, 500, 2000]
  assert rates.seconds([(1, 5)], 101) < 200 and rates.seconds([(100, 500)], 1000) > 4500  # Starting, or a slow machine.
  for damaged in ('{', '[]', '{"a": {"proxy": [[1]]}}', '{"a": 3}'):
    cache.write_text(damaged)
    assert rates.read('a') == {}
  rates.note('a', {'proxy': (1, 2)})
  assert rates.read('a') == {'proxy': [(1, 2)]}


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  rates.note('a', {'proxy': (1, 2)})
  assert rates.read('a') == {}


def test_a_plan_tells_what_was_measured(cache, tiny, tmp_path):
  tiny.update_from_flattened_dict({'data.name': 'digits'})
  dataset = data.load('digits')
  stages = plan.order(tiny, dataset)
  guess = plan.of(tiny, tmp_path / 'out')
  plan.note(dataset, tiny, {name: 600. for name in stages})
  text = plan.of(tiny, tmp_path / 'out')
  assert guess.count(' ?') == len(stages) + 1 and ' ?' not in text  # And the line that says so.
  assert text.count('10 min') == len(stages) and f'{len(stages) / 6:.1f} h' in text
  assert not (tmp_path / 'out').exists()


def test_every_stage_has_a_cost_that_grows(tiny):
  from elfs_jax.cluster import CLUSTERINGS
  from elfs_jax.encoders import ENCODERS
  names = ['read', *(f'embed_{name}' for name in ENCODERS), 'embed', 'scale_given', 'neighbors', 'num_classes',
           *(f'cluster_{name}' for name in CLUSTERINGS), 'proxy', 'copies', 'unsure', 'clusterings',
           'judge_9', 'evaluate_coreset']
  def job(n, **more):
    return costs.Job(n, n // 10, 64 * 64, 3, 10 ** 5 * n, 128, 10, 50, tiny, 'mlp', 'small')._replace(**more)
  for name in names:
    small, large = costs.cost(name, job(1000)), costs.cost(name, job(100_000))
    assert 0 < small[0] <= large[0] and 0 < small[1] <= large[1] < 64e9, name
  assert costs.cost('embed_timm:vit', job(1000)) == costs.cost('embed_dino_vits16', job(1000)) != costs.cost(
      'embed', job(1000))
  for network in ('mlp', 'small', 'resnet18', 'resnet34'):
    assert costs.cost('proxy', job(1000, proxy=network))[0] > 0
  def neighbors(n):
    return costs.cost('neighbors', job(n))[0]
  assert np.isclose(neighbors(80_000) / neighbors(40_000), 4, rtol=0.03)  # All of them,
  assert 2.2 < neighbors(800_000) / neighbors(400_000) < 3 and neighbors(100_000) < neighbors(99_999)  # and nearly all.
