import atexit
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Before JAX starts: eight devices in the test process, of which tests take as many as they need.
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
os.environ.setdefault('NPROC', '8')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Workers, and the commands that tests start, compile each program once between them: half of the time otherwise.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  compiled = tempfile.mkdtemp(prefix='elfs_jax_tests_')
  atexit.register(shutil.rmtree, compiled, ignore_errors=True)
  os.environ |= {'JAX_COMPILATION_CACHE_DIR': compiled, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
                 'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}

import jax
import numpy as np
import prepared
import pytest

from elfs_jax import config as config_lib
from elfs_jax import data, pipeline
from elfs_jax.runtime import mesh

ROOT = pathlib.Path(__file__).parent.parent

# Runs of tests are no measure of this machine: they note their times elsewhere. What others cache stays where it is.
cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
for name, folder in (('MPLCONFIGDIR', 'matplotlib'), ('HF_HOME', 'huggingface'), ('TORCH_HOME', 'torch')):
  os.environ.setdefault(name, str(cache / folder))
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='elfs_jax_tests_')
atexit.register(shutil.rmtree, os.environ['XDG_CACHE_HOME'], ignore_errors=True)
TINY = {'mesh.shards': 2, 'embed.method': 'pca', 'cluster.method': 'kmeans', 'neighbors.k': 10, 'proxy.width': 4,
        'proxy.epochs': 2, 'judge.steps': 20, 'judge.folds': 1, 'judge.clusterings': 3, 'evaluate.steps': 10,
        'evaluate.seeds': 2, 'evaluate.width': 4, 'evaluate.network': 'mlp', 'cluster.num_classes': 4}

# A test that needs files of a Debian package is skipped where it isn't installed. STRICT: it fails then. BARE: it is
# skipped in any case, as on a machine with only Python.
STRICT, BARE = (os.environ.get(f'ELFS_TESTS_{name}') == '1' for name in ('STRICT', 'BARE'))
DEBIAN_FILES = '/usr/share/fonts', '/usr/share/datasets'


def debian(package, path):
  """The path of what a Debian package installs, an absolute one; skips the test where it isn't there."""
  assert path.startswith(DEBIAN_FILES)
  if BARE or not os.path.exists(path):
    (pytest.fail if STRICT and not BARE else pytest.skip)(f'needs apt-get install {package}')
  return pathlib.Path(path)


def _refuse(event, arguments):
  """An audit hook for BARE: whoever opens or lists such a file is told that it isn't there."""
  if event in ('open', 'os.listdir', 'os.scandir') and str(arguments[0]).startswith(DEBIAN_FILES):
    raise FileNotFoundError(f'{arguments[0]}: ELFS_TESTS_BARE hides what Debian packages install')


if BARE:
  sys.addaudithook(_refuse)


@pytest.fixture
def tiny():
  """The default config, shrunk to seconds."""
  config = config_lib.get_config()
  config.update_from_flattened_dict(TINY)
  return config


@pytest.fixture(scope='session')
def blobs():
  """120 grey 8x8 images of four patterns with noise, and their classes."""
  rng = np.random.default_rng(0)
  labels = np.arange(120) % 4
  patterns = rng.integers(0, 200, (4, 8, 8))
  return np.clip(patterns[labels] + rng.normal(0, 25, (120, 8, 8)), 0, 255).astype(np.uint8), labels.astype(np.int32)


@pytest.fixture
def one_device(monkeypatch):
  """Two logical shards would take two devices; one compiles faster."""
  make = mesh.data_mesh
  monkeypatch.setattr(mesh, 'data_mesh', lambda shards, devices=None: make(shards, devices or jax.devices()[:1]))


def run(config, images, workdir, labels=None, say=lambda _: None):
  """`pipeline.run` on arrays in memory."""
  config.data.name = 'memory'
  return pipeline.run(data.from_memory(images=images, labels=labels), config, workdir, say=say)


def on_devices(script, counts=(1, 8)):
  """What a Python script prints with each number of devices; `{devices}` in it is that number. They run at once."""
  runs = []
  for devices in counts:
    environment = dict(os.environ, JAX_PLATFORMS='cpu', XLA_FLAGS=f'--xla_force_host_platform_device_count={devices}')
    runs.append(subprocess.Popen([sys.executable, '-c', script.format(devices=devices)], env=environment, text=True,
                                 stdout=subprocess.PIPE))
  return [run.communicate()[0].strip() for run in runs]


def launch(*arguments, devices=1, cwd=ROOT, tiny=True, fresh=False):
  """Run launch.py, shrunk; returns the finished process. fresh: as a user does, with nothing imported before."""
  shrunk = [f'--config.{name}={value}' for name, value in TINY.items()] if tiny else []
  given = {a.split('=')[0] for a in arguments}
  arguments = [*[s for s in shrunk if s.split('=')[0] not in given], *map(str, arguments)]
  environment = os.environ | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}
  environment.pop('NPROC', None)
  if fresh:
    return subprocess.run([sys.executable, str(ROOT / 'launch.py'), *arguments], capture_output=True, text=True,
                          cwd=cwd, env=environment)
  return prepared.start(arguments, cwd=cwd, environment=environment)()


def peak_of_reading(folder, *, count, threads, budget):
  """MiB that reading a folder of `count` images adds to the peak, with so many threads and `budget` bytes of pixels."""
  script = f'''
import os, resource
os.sched_getaffinity = lambda _: range({threads})
from elfs_jax import data
from elfs_jax.data import decode
decode.PIXELS = decode.Budget({budget})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(data.load('folder', {str(folder)!r}).ids) == {count}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
'''
  done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT,
                        env=os.environ | {'PYTHONPATH': str(ROOT)})
  assert done.returncode == 0, done.stderr
  return int(done.stdout)
