"""Choose the images worth labelling.

  python launch.py                                                       scikit-learn's digits, a first look
  python launch.py --config=configs/folder.py --config.data.path=PICTURES --config.select.budget=500
  python launch.py --config=configs/benchmark.py:digits                  every way to choose, compared

Flags:
  --config=FILE          a settings file (default configs/digits.py; see configs/)
  --config.FIELD=VALUE   override one setting, for example --config.select.budget=10% or --config.select.beta=0.3
  --workdir=FOLDER       where results go (default runs/NAME, after the settings file); what did not change is reused
  --hosts=auto           several hosts as one: the same command on each host of a TPU VM, Slurm, Open MPI or Kubernetes
                         job; elsewhere --hosts=ADDRESS:PORT,COUNT,INDEX, the first of COUNT at ADDRESS, INDEX from 0
"""
import contextlib
import os
import pathlib
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

DEFAULT = pathlib.Path(__file__).parent / 'configs' / 'digits.py'


def parse(argv):
  """Flags, or one line and exit status 2; `--help` with every field of the chosen settings file."""
  from elfs_jax import config as config_lib
  try:
    path = config_lib.path_in(argv)
    path = DEFAULT if path is None else path
    fields = config_lib.read(path)
    if {'--help', '-h', '--helpfull', '--helpshort'} & set(argv):
      print(__doc__ + f'\nSettings of {path}:\n' + config_lib.listing(fields))
      sys.exit(0)
    config_lib.check_names(fields, argv)
    # Defined here and not above: the definition itself reads sys.argv, where it wants --config before the overrides,
    # and fails with a traceback on a bad one.
    argv[1:] = sys.argv[1:] = [f'--config={path}', *config_lib.without_path(argv[1:])]
    config_flags.DEFINE_config_file('config', str(DEFAULT), 'The settings file.')
    flags.DEFINE_string('workdir', None, 'Where results go; default runs/NAME.')
    flags.DEFINE_string('hosts', None, 'The hosts that run this command together.')
    return flags.FLAGS(argv)
  except (ValueError, FileNotFoundError, flags.Error) as error:
    fail(error)


def main(argv):
  if len(argv) > 1:
    fail(f'unexpected argument {argv[1]!r}: settings are given as --config.FIELD=VALUE')
  signal.signal(signal.SIGINT, stop)
  logging.set_verbosity(logging.WARNING)  # Not each backend that JAX looks for and does not find.
  from elfs_jax.runtime import hosts, mesh
  mesh.pin_threads()
  from elfs_jax import benchmark, config as config_lib, pipeline
  config = flags.FLAGS.config
  config_lib.read_paths(config)
  given = config_flags.get_config_filename(flags.FLAGS['config'])
  name = '_'.join(pathlib.Path(part).stem for part in given.split(':'))
  try:
    if flags.FLAGS.hosts is not None:
      hosts.join(flags.FLAGS.hosts)
    run = benchmark.run if 'benchmark' in config else pipeline.run
    workdir = pathlib.Path(flags.FLAGS.workdir or f'runs/{name}').expanduser()
    run(pipeline.read_data(config), config, workdir, progress=pipeline.bar)
  except (ValueError, OSError, FloatingPointError) as error:
    fail(error)


def stop(*_):
  """Ctrl-C, as its handler: a KeyboardInterrupt would be lost where it meets a callback of JAX's in the garbage
  collection, and a thread that compiles would crash while Python is taken down around it.
  """
  with contextlib.suppress(RuntimeError):  # Where printing is what was interrupted.
    sys.stdout.flush()
  os.write(2, b'\nstopped; the same command goes on from here\n')
  os._exit(130)


def fail(error):
  print('error:', ' '.join(str(error).split()), file=sys.stderr)
  sys.exit(2)


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
