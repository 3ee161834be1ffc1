"""Compiled programs are kept for the next run."""
import os
import subprocess
import sys

import pytest
from conftest import ROOT, TINY

from elfs_jax.runtime import compiled


def test_a_folder_for_each_kind_of_processor_and_what_the_user_set_stays(monkeypatch, tmp_path):
  environment = {'XDG_CACHE_HOME': str(tmp_path)}
  compiled.keep(environment)
  folder = environment['JAX_COMPILATION_CACHE_DIR']
  assert folder.startswith(f'{tmp_path}/elfs_jax/compiled/') and int(environment['JAX_COMPILATION_CACHE_MAX_SIZE']) > 0
  again = {'XDG_CACHE_HOME': str(tmp_path)}
  compiled.keep(again)
  assert again == environment
  monkeypatch.setattr(compiled, '_processor', lambda: 'another')
  other = {'XDG_CACHE_HOME': str(tmp_path)}
  compiled.keep(other)
  assert other['JAX_COMPILATION_CACHE_DIR'] != folder
  for mine in ('', '/mine'):
    set_by_hand = {'JAX_COMPILATION_CACHE_DIR': mine}
    compiled.keep(set_by_hand)
    assert set_by_hand == {'JAX_COMPILATION_CACHE_DIR': mine}


@pytest.mark.slow
def test_a_second_run_finds_the_programs_of_the_first_and_chooses_the_same(tmp_path):
  environment = {name: value for name, value in os.environ.items() if not name.startswith('JAX_')}
  environment |= {'XDG_CACHE_HOME': str(tmp_path), 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''}
  settings = [f'--config.{name}={value}' for name, value in TINY.items()]
  chosen, there = [], []
  for run in 'ab':
    done = subprocess.run([sys.executable, 'launch.py', f'--workdir={tmp_path / run}', *settings], cwd=ROOT,
                          env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and 'cache' not in done.stderr.lower(), done.stderr
    chosen.append((tmp_path / run / 'coreset.csv').read_bytes())
    there.append({file.name for file in (tmp_path / 'elfs_jax/compiled').rglob('*-cache')})
  assert chosen[0] == chosen[1] and there[0]
  assert len(there[1] - there[0]) < len(there[0]) / 4  # What takes about the least time is kept by chance.
