"""What a user installs: the wheel in an empty environment, and what `import elfs_jax` promises."""
import os
import shutil
import subprocess
import sys
import tomllib
import venv

import pytest
from conftest import ROOT, TINY

import elfs_jax


@pytest.fixture(scope='module')
def command(tmp_path_factory):
  """`elfs-jax`, installed from a wheel into an environment that sees this one's libraries but not the clone."""
  folder, source = tmp_path_factory.mktemp('package'), tmp_path_factory.mktemp('source')
  for name in ('elfs_jax', 'configs'):
    shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
  for name in ('pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  pip = [sys.executable, '-m', 'pip']
  subprocess.run([*pip, 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder, source], check=True)
  venv.create(folder / 'env', with_pip=False)
  site = next((folder / 'env/lib').glob('python*/site-packages'))
  wheel, = folder.glob('*.whl')
  subprocess.run([*pip, '--python', folder / 'env/bin/python', 'install', '-q', '--no-deps', '--no-index',
                  '--ignore-installed', wheel], check=True)  # Also where PYTHONPATH holds one.
  libraries = next(path for path in sys.path if path.endswith('site-packages'))
  (site / 'libraries.pth').write_text(f'{libraries}\n')  # The libraries alone: its own .pth files are not read.
  return folder / 'env/bin/elfs-jax'


def run(command, *arguments, cwd):
  environment = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'XLA_FLAGS', 'NPROC')}
  return subprocess.run([command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_wheel_in_an_empty_environment_chooses_digits(command, tmp_path):
  shrunk = [f'--config.{name}={value}' for name, value in TINY.items()]
  process = run(command, '--config=digits', *shrunk, '--config.evaluate.enabled=False', cwd=tmp_path)
  assert process.returncode == 0, process.stderr
  assert len((tmp_path / 'runs/digits/coreset.csv').read_text().splitlines()) == 198  # With a reserve of a tenth.
  where = run(command.with_name('python'), '-c', 'import elfs_jax; print(elfs_jax.__file__, elfs_jax.__version__)',
              cwd=tmp_path)
  file, version = where.stdout.split()
  assert str(command.parent.parent) in file
  assert version == tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']
  assert (command.parent.parent / file).with_name('py.typed').exists()


def test_the_wheel_knows_its_configs_by_name(command, tmp_path):
  process = run(command, '--config=folder', '--help', cwd=tmp_path)
  assert process.returncode == 0 and '--config.data.name=folder' in process.stdout
  process = run(command, '--config=foldr', cwd=tmp_path)
  assert process.returncode == 2 and 'folder' in process.stderr and 'Traceback' not in process.stderr


def test_what_is_promised_is_there_and_no_more():
  for name in elfs_jax.__all__:
    assert getattr(elfs_jax, name) is not None
  assert set(dir(elfs_jax)) == {*elfs_jax.__all__, '__version__'}
  with pytest.raises(AttributeError, match='nothing'):
    elfs_jax.nothing


def test_importing_it_is_light():
  code = "import sys, elfs_jax; print(*({'jax', 'numpy', 'sklearn', 'ml_collections', 'PIL'} & set(sys.modules)))"
  assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == ''
