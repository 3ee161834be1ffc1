"""Commands in processes that begin with the libraries imported, which takes each of them seconds otherwise."""
import multiprocessing
import os
import pathlib
import sys
import tempfile
from types import SimpleNamespace

# One process imports these and starts nothing; a command is a fork of it.
_SERVER = multiprocessing.get_context('forkserver')
_SERVER.set_forkserver_preload([
    'jax', 'flax.linen', 'optax', 'orbax.checkpoint', 'scipy.stats', 'sklearn.cluster', 'matplotlib.figure',
    'elfs_jax.cli', 'elfs_jax.pipeline', 'elfs_jax.benchmark.harness', 'elfs_jax.cluster.heads',
    'elfs_jax.cluster.centroids', 'elfs_jax.encoders.self_supervised', 'elfs_jax.report.page',
    'elfs_jax.runtime.hosts'])
LAUNCH = f"""
import runpy
runpy.run_path({str(pathlib.Path(__file__).parent.parent / 'launch.py')!r}, run_name='__main__')
"""


def start(arguments, *, cwd, environment, code=LAUNCH):
  """Start Python code with these command line arguments. Returns: a function that waits for it, see `_wait`."""
  folder = tempfile.TemporaryDirectory()
  process = _SERVER.Process(target=_command, args=(code, arguments, str(cwd), environment, folder.name))
  process.start()
  return lambda timeout=300: _wait(process, folder, timeout)


def _wait(process, folder, timeout):
  """What `subprocess.run` returns: `returncode` (the negative of a signal), `stdout` and `stderr` as text."""
  process.join(timeout)
  if process.exitcode is None:
    process.kill()
    raise TimeoutError(f'still running after {timeout} s')
  with folder:
    stdout, stderr = (pathlib.Path(folder.name, name).read_text() for name in ('stdout', 'stderr'))
  code = process.exitcode
  process.close()
  return SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)


def _command(code, arguments, cwd, environment, folder):
  for number, name in ((1, 'stdout'), (2, 'stderr')):
    with open(f'{folder}/{name}', 'wb') as file:
      os.dup2(file.fileno(), number)
    setattr(sys, name, open(number, 'w', closefd=False, buffering=1))
  os.chdir(cwd)
  os.environ.clear()
  os.environ.update(environment)
  sys.argv = ['launch.py', *arguments]
  exec(compile(code, '<command>', 'exec'), {'__name__': '__main__'})
