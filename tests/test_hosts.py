"""Several hosts: two processes on this machine, each with devices of its own."""
import os
import socket
from types import SimpleNamespace

import numpy as np
import prepared
import pytest
from conftest import ROOT, TINY, launch

from elfs_jax.runtime import hosts, mesh


def _resolves(name):
  try:
    return bool(socket.getaddrinfo(name, None))
  except OSError:
    return False


in_processes = pytest.mark.skipif(not _resolves(socket.gethostname()), reason='XLA needs the name of this machine')

# Keeps a checkpoint after each epoch; the lead dies once it has kept one of the stage that is named first.
MORTAL = """
import os, signal, sys
from elfs_jax.runtime import artifacts
stage = sys.argv.pop(1)
artifacts.CHECKPOINT_SECONDS = 0
save = artifacts.Checkpoint.save
def save_and_die(self, *rest):
  save(self, *rest)
  if self.folder.name == stage:
    os.kill(os.getpid(), signal.SIGKILL)
artifacts.Checkpoint.save = save_and_die
""" + prepared.LAUNCH


def on_two(*settings, each=((), ()), dies_in='', devices=1, slurm=False):
  """launch.py in two processes that are hosts of one run, `each` with settings of its own: the finished processes.

  They are told of each other, or with `slurm` find out by what Slurm sets in the environment.
  """
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  environment = os.environ | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}', 'PYTHONPATH': str(ROOT)}
  shrunk = [f'--config.{name}={value}' for name, value in TINY.items()]
  def start(index, own):
    job = {'SLURM_JOB_ID': '1', 'SLURM_STEP_NODELIST': 'localhost', 'SLURM_NTASKS': '2', 'SLURM_PROCID': str(index),
           'SLURM_LOCALID': str(index), 'JAX_COORDINATOR_PORT': str(port)} if slurm else {}
    where = 'auto' if slurm else f'localhost:{port},2,{index}'
    return prepared.start([dies_in, *shrunk, *settings, *own, f'--hosts={where}'], cwd=ROOT,
                          environment=environment | job, code=MORTAL)
  waits = [start(index, own) for index, own in enumerate(each)]
  return [wait() for wait in waits]


@pytest.fixture(scope='module')
def sets(tmp_path_factory, blobs):
  """A folder of .npz: images, other (one pixel changed), labels (others), unlabelled and short (fewer)."""
  folder, (images, labels) = tmp_path_factory.mktemp('data'), blobs
  other = images.copy()
  other[7, 3, 3] ^= 1
  for name, parts in {'images': (images, labels), 'other': (other, labels), 'labels': (images, labels[::-1]),
                      'unlabelled': (images, None), 'short': (images[:90], labels[:90])}.items():
    np.savez(folder / f'{name}.npz', images=parts[0], **({} if parts[1] is None else {'labels': parts[1]}))
  return folder


LONG = ['--config.embed.method=self_supervised', '--config.embed.epochs=2', '--config.embed.batch=32',
        '--config.cluster.method=temi', '--config.cluster.init=random', '--config.cluster.heads=2',
        '--config.cluster.epochs=2']


@in_processes
@pytest.mark.parametrize('more', [pytest.param([], id='pca'), pytest.param(LONG, id='encoder', marks=pytest.mark.slow)])
def test_two_hosts_choose_as_one_does_and_go_on_where_the_lead_was_killed(sets, tmp_path, more):
  settings = ['--config=configs/arrays.py', f'--config.data.path={sets}/images.npz', '--config.select.budget=30',
              '--config.mesh.shards=4', '--config.evaluate.network=mlp', *more]
  alone = launch(*settings, f'--workdir={tmp_path}/alone')
  assert alone.returncode == 0, alone.stderr
  own = [[f'--workdir={tmp_path}/{name}'] for name in ('lead', 'other')]
  killed = on_two(*settings, each=own, dies_in='proxy', devices=2)
  assert killed[0].returncode == -9, [run.stderr for run in killed]
  lead, other = on_two(*settings, each=own, devices=2)
  assert lead.returncode == other.returncode == 0, [lead.stderr, other.stderr]
  assert 'going on from the checkpoint' in lead.stdout and 'random subset' in lead.stdout
  assert other.stdout.startswith('joining the other hosts') and '[embed_' not in other.stdout  # XLA prints a bit, too.
  assert not (tmp_path / 'other').exists()
  for name in ('coreset.csv', 'embeddings.npy', 'pseudo_labels.npy', 'coreset.npy'):
    assert (tmp_path / 'alone' / name).read_bytes() == (tmp_path / 'lead' / name).read_bytes(), name
  one, two = (np.load(tmp_path / name / 'scores.npz') for name in ('alone', 'lead'))
  for name in one:
    np.testing.assert_array_equal(one[name], two[name])


@in_processes
@pytest.mark.parametrize('first, second, error, other_error', [
    (['--config.data.path={}/none.npz'], [], '{}/none.npz: no such file', 'host 0: {}/none.npz: no such file'),
    ([], ['--config.data.path={}/short.npz'], 'host 1: budget=100 is out of range', 'budget=100 is out of range'),
    ([], ['--config.data.path={}/other.npz'], 'host 1 has other images', 'host 1 has other images'),
    ([], ['--config.data.path={}/labels.npz'], 'host 1 has other labels', 'host 1 has other labels'),
    ([], ['--config.data.path={}/unlabelled.npz'], 'host 1 has other labels', 'host 1 has other labels'),
    ([], ['--config.seed=3'], 'host 1 has other settings', 'host 1 has other settings'),
    (['--workdir={}/images.npz/x'], [], 'workdir {}/images.npz/x: ', 'workdir {}/images.npz/x: ')])
def test_what_is_wrong_on_one_host_ends_all_in_one_line(sets, tmp_path, first, second, error, other_error):
  runs = on_two('--config=configs/arrays.py', f'--config.data.path={sets}/images.npz', '--config.select.budget=100',
                f'--workdir={tmp_path}/out', each=[[part.format(sets) for part in own] for own in (first, second)])
  for run, expected in zip(runs, (error, other_error)):
    assert run.returncode == 2, run.stderr
    assert run.stderr.splitlines()[-1].startswith('error: ' + expected.format(sets)), run.stderr
    assert run.stderr.count('error: ') == 1 and 'Traceback' not in run.stderr


@pytest.mark.parametrize('where', ['', 'x', 'here:1', 'here,2,0', 'here:x,2,0', 'here:1,0,0', 'here:1,2,-1',
                                   'here:70000,2,0'])
def test_words_that_name_no_hosts(where):
  with pytest.raises(ValueError, match='--hosts=.*: give auto, or ADDRESS:PORT,COUNT,INDEX'):
    hosts.join(where)


def test_an_index_beyond_the_hosts():
  with pytest.raises(ValueError, match='--hosts=here:1,2,2: of 2 the last INDEX is 1'):
    hosts.join('here:1,2,2')


def test_no_cluster(tmp_path):
  process = launch('--hosts=auto', f'--workdir={tmp_path}/out')
  assert process.returncode == 2 and '--hosts=auto: JAX finds no cluster' in process.stderr, process.stderr


@in_processes
def test_hosts_of_a_slurm_job_and_no_benchmark_on_them(tmp_path):
  for run in on_two('--config=configs/benchmark.py:digits', f'--workdir={tmp_path}/out', slurm=True):
    assert run.returncode == 2, run.stderr
    assert run.stderr.splitlines()[-1] == 'error: the benchmark runs on one host: leave out --hosts'


@pytest.mark.parametrize('layout, shards, used', [
    ([2, 2], 16, [2, 2]), ([3, 3], 16, [2, 2]), ([8, 8, 8, 8], 16, [4, 4, 4, 4]), ([4, 4], 2, [1, 1]), ([5], 16, [4]),
    ([4, 4], 1, [1, 0]), ([4, 4, 4, 4], 2, [2, 0, 0, 0])])
def test_a_mesh_takes_as_many_devices_of_each_host(monkeypatch, layout, shards, used):
  devices = [SimpleNamespace(process_index=host, id=i) for host, count in enumerate(layout) for i in range(count)]
  monkeypatch.setattr(mesh, 'Mesh', lambda chosen, *_, **__: chosen)
  found = [device.process_index for device in mesh.data_mesh(shards, devices[::-1])]
  assert [found.count(host) for host in range(len(layout))] == used and found == sorted(found)


def test_an_error_of_a_library_reaches_the_others_as_words():
  class Odd(Exception):
    def __init__(self, one, two):
      super().__init__(f'{one} and {two}')
  assert hosts._described(Odd(1, 2)) == ['RuntimeError', ['host 0: Odd: 1 and 2']]
  missing = FileNotFoundError('none.npz: no such file')
  assert hosts._described(missing) == ['FileNotFoundError', ['none.npz: no such file']]


def test_a_mesh_over_three_hosts():
  with pytest.raises(ValueError, match='3 hosts cannot share 16 logical shards evenly: start a power of two of them'):
    mesh.data_mesh(16, [SimpleNamespace(process_index=host) for host in range(3)])
