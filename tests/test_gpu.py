"""On a GPU, where there is one; all other tests run on the CPU."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

WITH_GPU = shutil.which('nvidia-smi') and any(importlib.util.find_spec(f'jax_cuda{v}_plugin') for v in (12, 13))
pytestmark = pytest.mark.skipif(not WITH_GPU, reason='needs a GPU and JAX for it')
SETTINGS = ('--config=configs/synthetic.py', '--config.embed.method=self_supervised', '--config.embed.epochs=2',
            '--config.proxy.network=small', '--config.proxy.epochs=4', '--config.judge.steps=20',
            '--config.evaluate.enabled=False')


def launch(workdir):
  environment = {name: value for name, value in os.environ.items() if name not in ('JAX_PLATFORMS', 'XLA_FLAGS')}
  environment |= {'XLA_PYTHON_CLIENT_MEM_FRACTION': '.2', 'PYTHONUNBUFFERED': '1'}
  return subprocess.Popen([sys.executable, str(ROOT / 'launch.py'), *SETTINGS, f'--workdir={workdir}'], cwd=ROOT,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_processes_and_a_killed_one_give_the_same_bits(tmp_path):
  first, second, killed = (launch(tmp_path / name) for name in ('first', 'second', 'killed'))
  for line in killed.stdout:
    if '[proxy]' in line:
      killed.kill()
  assert killed.wait() != 0
  for run in (first, second, launch(tmp_path / 'killed')):
    output, _ = run.communicate()
    assert run.returncode == 0, output
  assert 'cpu' not in json.loads((tmp_path / 'first/metrics.json').read_text())['device'].lower()
  for name in ('embeddings.npy', 'pseudo_labels.npy', 'scores.npz', 'coreset.csv'):
    one, two, three = ((tmp_path / run / name).read_bytes() for run in ('first', 'second', 'killed'))
    assert one == two and one == three, name
