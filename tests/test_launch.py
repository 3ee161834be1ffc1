"""The command line, as a user meets it."""
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, launch
from PIL import Image

from elfs_jax import cli, cluster, data, encoders, export, select
from elfs_jax import config as config_lib


@pytest.fixture(scope='module')
def arrays(tmp_path_factory, blobs):
  path = tmp_path_factory.mktemp('data') / 'images.npz'
  np.savez(path, images=blobs[0], labels=blobs[1])
  return path


def fails(process, *words):
  assert process.returncode == 2, process.stderr
  assert process.stderr.startswith('error: ') and process.stderr.count('\n') == 1, process.stderr
  assert all(word in process.stderr for word in words), process.stderr


def test_the_command_and_python_agree_on_any_number_of_devices(arrays, blobs, tmp_path, tiny):
  import elfs_jax
  common = ('--config=configs/arrays.py', f'--config.data.path={arrays}', '--config.mesh.shards=4',
            '--config.evaluate.enabled=False', '--config.select.budget=30')
  for devices in (1, 4):
    process = launch(*common, f'--workdir={tmp_path}/{devices}', devices=devices, fresh=devices == 1)
    assert process.returncode == 0, process.stderr
    assert 'forecast without labels' in process.stdout and 'results in' in process.stdout
  one, four = (np.load(tmp_path / str(d) / 'scores.npz') for d in (1, 4))
  for name in one:
    np.testing.assert_array_equal(one[name], four[name])
  assert (tmp_path / '1/coreset.csv').read_bytes() == (tmp_path / '4/coreset.csv').read_bytes()
  tiny.mesh.shards = 4
  coreset = elfs_jax.select_coreset(blobs[0], budget=30, num_classes=4, config=tiny)
  np.testing.assert_array_equal(coreset.indices, np.load(tmp_path / '1/coreset.npy'))


def test_help_is_fast_and_lists_every_field():
  launch('--help=all', tiny=False, fresh=True)
  start = time.monotonic()
  process = launch('--help=all', tiny=False, fresh=True)
  assert time.monotonic() - start < 10  # Two seconds on an idle machine; tests share theirs.
  assert process.returncode == 0 and '--workdir' in process.stdout
  words = ' '.join(process.stdout.split())
  for name, field in config_lib.FIELDS.items():
    assert f'--config.{name}=' in process.stdout and ' '.join(field.help.split()) in words, name
  assert 'cluster.init=kmeans of temi: what its heads start from (random, kmeans)' in words
  for table in (select.METHODS, cluster.CLUSTERINGS, encoders.ENCODERS, export.EXPORTS, data.SOURCES):
    for name, entry in table.items():
      assert re.search(rf'{name}:? {re.escape(" ".join(entry.help.split()))}', words), name


def test_help_shows_what_people_set():
  assert len(config_lib.COMMON) == 20 and set(config_lib.COMMON) < set(config_lib.FIELDS)
  for more, own in (('--config=folder', []), ('--config=benchmark:digits', list(config_lib.BENCHMARK))):
    shown = re.findall(r'--config\.([a-z_.]+)=', launch(more, '--help', tiny=False).stdout.split('used settings')[1])
    assert shown == [name for name in config_lib.FIELDS if name in config_lib.COMMON] + own
  assert '--help=all' in launch('--help', tiny=False).stdout


def test_help_does_not_import_jax():
  code = "import sys; sys.modules['jax'] = None; sys.argv = ['launch.py', '--help']; import runpy; " \
         "runpy.run_path('launch.py', run_name='__main__')"
  assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True).returncode == 0


def test_a_folder_with_a_broken_file(tmp_path, blobs):
  folder = tmp_path / 'pictures'
  for i, image in enumerate(blobs[0][:60]):
    path = folder / f'class{blobs[1][i]}' / f'{i:03}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
  (folder / 'broken.jpg').write_bytes(b'no image')
  process = launch('--config=configs/folder.py', f'--config.data.path={folder}', '--config.data.size=8',
                   '--config.select.budget=10', '--config.data.labels=folders', f'--workdir={tmp_path}/out')
  assert process.returncode == 0, process.stderr
  rows = (tmp_path / 'out/coreset.csv').read_text().splitlines()
  assert len(rows) == 12 and all(row.split(',')[2].startswith('class') for row in rows[1:])
  assert 'broken.jpg' in (tmp_path / 'out/skipped.csv').read_text()
  assert 'random subset' in process.stdout


def start_training(path, out, *more):
  """A command that has begun to train its proxy, and does so for minutes."""
  environment = os.environ | {'XLA_FLAGS': '', 'PYTHONUNBUFFERED': '1'}
  process = subprocess.Popen(
      [sys.executable, str(ROOT / 'launch.py'), f'--config={ROOT}/configs/arrays.py', f'--config.data.path={path}',
       f'--workdir={out}', '--config.embed.method=pca', *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      text=True, env=environment)
  while '[proxy]' not in (line := process.stdout.readline()):
    assert process.poll() is None, line
  return process


STOPPED = 'stopped; the same command goes on from here'


@pytest.mark.parametrize('sent, status', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_while_it_compiles_says_how_to_go_on(tmp_path, arrays, sent, status):
  process = start_training(arrays, tmp_path / 'out', '--config.proxy.network=resnet34', '--config.proxy.epochs=100')
  time.sleep(1)  # Into its compilation, which takes longer than it has.
  process.send_signal(sent)
  start = time.monotonic()
  _, error = process.communicate(timeout=60)
  assert time.monotonic() - start < 10
  assert process.returncode == status and error.strip().splitlines()[-1] == STOPPED and error.count('stopped') == 1


def test_sigterm_keeps_the_training_that_is_under_way(tmp_path, arrays):
  process = start_training(arrays, tmp_path / 'out', '--config.proxy.epochs=1000000')
  while 'training' not in process.stderr.readline():  # The bar, after the first epoch.
    assert process.poll() is None
  assert not (tmp_path / 'out/checkpoints/proxy').exists()
  process.send_signal(signal.SIGTERM)
  start = time.monotonic()
  _, error = process.communicate(timeout=60)
  assert time.monotonic() - start < 10
  assert process.returncode == 143 and error.strip().splitlines()[-1] == STOPPED and 'Traceback' not in error
  kept, = (tmp_path / 'out/checkpoints/proxy').glob('*/*')
  assert kept.name.isdecimal() and int(kept.name) > 0
  again = start_training(arrays, tmp_path / 'out', '--config.proxy.epochs=1000000')
  assert 'going on from the checkpoint' in again.stdout.readline()
  again.kill()
  again.communicate()


def test_bad_command_lines(tmp_path, arrays):
  fails(launch('--config.select.bugdet=3'), 'select.bugdet', 'select.budget')
  fails(launch('--config.seed=x'), 'seed')
  fails(launch('--config=nowhere.py'), 'nowhere.py', 'folder', 'digits')
  fails(launch('extra'), 'extra')
  (tmp_path / 'mine.py').write_text('from elfs_jax import config as base\n\ndef get_config():\n'
                                    '  config = base.get_config()\n  config.select.bugdet = 3\n  return config\n')
  (tmp_path / 'broken.py').write_text('def get_config(:\n')
  fails(launch(f'--config={tmp_path}/mine.py', tiny=False), 'mine.py', 'bugdet', 'budget')
  fails(launch(f'--config={tmp_path}/broken.py', tiny=False), 'broken.py')
  fails(launch('--config=', tiny=False), '--config=')
  fails(launch('--config.select.budget=1', f'--workdir={tmp_path}/a'), 'one example or all', '100%')
  fails(launch('--config.select.budget=1798', f'--workdir={tmp_path}/a'), '1797')
  fails(launch('--config.select.beta=0.95', f'--workdir={tmp_path}/a'), 'at most 0.9')
  assert not (tmp_path / 'a').exists()
  fails(launch(f'--workdir={arrays}/a'), 'images.npz is a file')
  assert cli._path_in(['launch.py', '--config=a.py', '--config', 'b.py']) == 'b.py'  # As for any flag, the last.


def test_a_section_is_not_a_field():
  with pytest.raises(ValueError, match='--config.select is a section: set its fields, such as --config.select.b'):
    config_lib.check_names(config_lib.get_config(), ['launch.py', '--config.select=5'])


def test_bad_inputs(tmp_path, arrays):
  (tmp_path / 'empty').mkdir()
  np.save(tmp_path / 'nan.npy', np.where(np.arange(300).reshape(100, 3) == 31, np.nan, 1.0))
  np.save(tmp_path / 'five.npy', np.zeros((20, 8, 8, 5), np.uint8))
  folder, embeddings = '--config=configs/folder.py', '--config=configs/embeddings.py'
  auto = '--config.embed.method=auto'
  out = f'--workdir={tmp_path}/out'
  fails(launch(folder, f'--config.data.path={tmp_path}/missing', out), 'missing')
  fails(launch(folder, f'--config.data.path={tmp_path}/empty', out), 'empty')
  fails(launch(folder, '--config.data.path=2024_05', out), '2024_05')  # A name, not a number.
  fails(launch(folder, '--config.data.path=None', '--config.data.labels=None', out), 'needs data.path')
  fails(launch(embeddings, f'--config.data.path={tmp_path}/nan.npy', out), '10')
  fails(launch('--config=configs/arrays.py', f'--config.data.path={tmp_path}/five.npy', out), '5')
  assert not (tmp_path / 'out').exists()
  np.save(tmp_path / 'short.npy', np.eye(7, 3))
  short = f'--config.data.path={tmp_path}/short.npy'
  fails(launch(embeddings, short, f'--config.data.images={arrays}', out), '7', '120')
  fails(launch(embeddings, short, out, auto, '--config.select.budget=2'), 'k=10')


def test_a_notebook_that_has_used_jax_is_warned():
  script = """
import os, sys, warnings
os.cpu_count = lambda: 2
os.sched_getaffinity = lambda _: {0, 1}
import jax
if sys.argv[1] == 'used': jax.numpy.ones(3).block_until_ready()
from elfs_jax.runtime import mesh
mesh.pin_threads()
mesh.pin_threads()
print(os.environ['NPROC'])
"""
  environment = {name: value for name, value in os.environ.items() if name not in ('NPROC', 'XLA_FLAGS')}
  for used in ('used', 'fresh'):
    process = subprocess.run([sys.executable, '-c', script, used], capture_output=True, text=True, env=environment,
                             cwd=ROOT, check=True)
    assert process.stdout.strip() == '8' and process.stderr.count('NPROC=8 before') == (used == 'used')
