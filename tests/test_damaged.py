"""Whatever a file holds ends in data or in one line: files of every kind with random damage, given to their readers."""
import os
import subprocess
import sys

import pytest
from conftest import ROOT

COUNT, SECONDS, MEMORY = 2_000, 300, 2 << 30


def damage(seed, count, seconds):
  command = [sys.executable, str(ROOT / 'tests/damage.py'), *map(str, (seed, count, MEMORY))]
  done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=seconds,
                        env=os.environ | {'PYTHONPATH': str(ROOT)})
  assert done.returncode == 0, done.stderr[-3000:]
  return int(done.stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='the bound on memory is set as Linux has it')
def test_damaged_files_end_in_data_or_in_one_line():
  assert 0.1 * COUNT < damage(0, COUNT, SECONDS) < 0.9 * COUNT  # Some changes do no harm.


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(1, 6))
def test_many_damaged_files_end_in_data_or_in_one_line(seed):
  damage(seed, 20_000, 1800)
