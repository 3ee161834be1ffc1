"""On a GPU, where there is one; all other tests run on the CPU."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT

WITH_GPU = shutil.which('nvidia-smi') and any(importlib.util.find_spec(f'jax_cuda{v}_plugin') for v in (12, 13))
pytestmark = pytest.mark.skipif(not WITH_GPU, reason='needs a GPU and JAX for it')
STAGES = 'embed', 'cluster', 'proxy'  # Those that keep checkpoints.
SETTINGS = ('--config=configs/synthetic.py', '--config.embed.method=self_supervised', '--config.embed.epochs=4',
            '--config.cluster.method=temi', '--config.cluster.epochs=6', '--config.proxy.network=small',
            '--config.proxy.epochs=6', '--config.judge.steps=20', '--config.evaluate.enabled=False')
EVERY_EPOCH = ('import runpy, sys\nfrom elfs_jax import artifacts\nartifacts.CHECKPOINT_SECONDS = 0\n'
               'sys.argv[0] = "launch.py"\nrunpy.run_path("launch.py", run_name="__main__")')


def launch(workdir):
  environment = {name: value for name, value in os.environ.items() if name not in ('JAX_PLATFORMS', 'XLA_FLAGS')}
  environment |= {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.2', 'PYTHONUNBUFFERED': '1'}
  return subprocess.Popen([sys.executable, '-c', EVERY_EPOCH, *SETTINGS, f'--workdir={workdir}'], cwd=ROOT,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_in(stage, workdir):
  """Start a run and kill it once this stage has kept a checkpoint."""
  run, kept = launch(workdir), workdir / 'checkpoints' / stage
  while run.poll() is None and not any(path.name.isdecimal() for path in kept.glob('*/*')):
    time.sleep(0.005)
  run.kill()
  output, _ = run.communicate()
  assert run.returncode < 0, f'{stage} was not caught:\n{output}'


def test_two_processes_and_one_killed_in_every_stage_give_the_same_bits(tmp_path):
  first, second = launch(tmp_path / 'first'), launch(tmp_path / 'second')
  for stage in STAGES:
    kill_in(stage, tmp_path / 'killed')
  for run in (first, second, launch(tmp_path / 'killed')):
    output, _ = run.communicate()
    assert run.returncode == 0, output
  assert 'going on from the checkpoint' in output
  assert 'cpu' not in json.loads((tmp_path / 'first/metrics.json').read_text())['device'].lower()
  for name in ('embeddings.npy', 'pseudo_labels.npy', 'scores.npz', 'coreset.csv'):
    one, two, three = ((tmp_path / run / name).read_bytes() for run in ('first', 'second', 'killed'))
    assert one == two and one == three, name
