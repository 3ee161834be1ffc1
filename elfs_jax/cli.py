"""Choose the images worth labelling.

  elfs-jax                                                               scikit-learn's digits, a first look
  elfs-jax --config=folder --config.data.path=PICTURES --config.select.budget=500
  elfs-jax --config=benchmark:digits                                     every way to choose, compared
  elfs-jax export WORKDIR TARGET                                         hand over what a run chose
  elfs-jax next WORKDIR --labels=FILE --budget=200                       choose the next ones around labels

In a clone `python launch.py` is the same command.

Flags:
  --config=NAME          the settings to start from (default digits), or the path of a settings file of your own:
{configs}
  --config.FIELD=VALUE   override one setting, for example --config.select.budget=10% or --config.select.beta=0.3
  --workdir=FOLDER       where results go (default runs/NAME, after the settings file); what did not change is reused
  --holdout=N            first hold out N images at random as a fair test set, listed in WORKDIR/holdout.csv
  --export=TARGET        also hand over the choice, to WORKDIR/export/; several with commas between:
{targets}{root}
  --plan                 only say what would run, what would be reused, and about how long it would take
  --help=all             every setting; --help shows the most used
  --hosts=auto           several hosts as one: the same command on each host of a TPU VM, Slurm, Open MPI or Kubernetes
                         job; elsewhere --hosts=ADDRESS:PORT,COUNT,INDEX, the first of COUNT at ADDRESS, INDEX from 0
"""
import contextlib
import pathlib
import re
import signal
import sys
import textwrap
import time
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from elfs_jax.runtime import compiled, stopping

DEFAULT = 'digits'
ROOT = """
  --root=FOLDER          of label-studio: the folder that it serves files from, above that of the images (default the
                         one directly above), or a URL in place of the images' folder"""
HELP_ALL = {'--help=all', '--helpfull'}
HELP = {'--help', '-h', '--helpshort', *HELP_ALL}


def main() -> None:
  """The command `elfs-jax`: exit status 0, 2 after a line that says what is wrong, 130 after Ctrl-C, 143 on SIGTERM."""
  sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # In a pipe too.
  compiled.keep()
  if sys.argv[1:2] == ['export']:
    return _export(sys.argv[2:])
  if sys.argv[1:2] == ['next']:
    return _next(sys.argv[2:])
  app.run(_run, flags_parser=_parse)


def _parse(argv):
  """Flags, or one line and exit status 2; `--help` with the fields of the chosen settings file."""
  from elfs_jax import config as config_lib
  try:
    path = config_lib.find(_path_in(argv) or DEFAULT)
    fields = config_lib.read(path)
    if HELP & set(argv):
      signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Where the reader of a pipe has seen enough.
      whole = bool(HELP_ALL & set(argv))
      print(_usage() + f'\n{"Settings" if whole else "The most used settings"} of {path}:\n'
            + config_lib.listing(fields, common=not whole)
            + ('' if whole else '\n\nThe rest: --help=all'))
      sys.exit(0)
    config_lib.check_names(fields, argv)
    # Defined here and not above: the definition itself reads sys.argv, where it wants --config before the overrides,
    # and fails with a traceback on a bad one.
    argv[1:] = sys.argv[1:] = [f'--config={path}', *_without_path(argv[1:])]
    config_flags.DEFINE_config_file('config', path, 'The settings file.')
    flags.DEFINE_string('workdir', None, 'Where results go; default runs/NAME.')
    flags.DEFINE_integer('holdout', None, 'How many images to hold out as a test set.')
    flags.DEFINE_multi_string('export', [], 'What to hand the choice over to.')
    flags.DEFINE_string('root', None, 'Where a labelling tool serves the images from.')
    flags.DEFINE_bool('plan', False, 'Only say what would run.')
    flags.DEFINE_string('hosts', None, 'The hosts that run this command together.')
    return flags.FLAGS(argv)
  except (ValueError, FileNotFoundError, flags.Error) as error:
    _fail(error)


def _usage():
  from elfs_jax import config as config_lib
  from elfs_jax.export import EXPORTS
  targets = '\n'.join(f'                           {name:<14}{entry.help}' for name, entry in EXPORTS.items())
  names = ', '.join(sorted(file.stem for file in config_lib.CONFIGS.glob('*.py')))
  names = textwrap.fill(names, 117, initial_indent=' ' * 25, subsequent_indent=' ' * 25)
  return __doc__.format(configs=names, targets=targets, root=ROOT)


def _path_in(argv: Sequence[str]) -> str | None:
  """The settings file that the command line names by --config=FILE or --config FILE, the last one, or None."""
  path = None
  for i, argument in enumerate(argv):
    name, equals, value = argument.partition('=')
    if name in ('--config', '-config'):
      path = value if equals else ''.join(argv[i + 1:i + 2])
      if not path:
        raise ValueError('--config= names no settings file')
  return path


def _without_path(argv):
  """The command line without --config=FILE or --config FILE."""
  bare = [argument in ('--config', '-config') for argument in argv]
  return [argument for i, argument in enumerate(argv)
          if not (bare[i] or i and bare[i - 1] or re.match('--?config=', argument))]


def _run(argv):
  if len(argv) > 1:
    _fail(f'unexpected argument {argv[1]!r}: settings are given as --config.FIELD=VALUE')
  stopping.listen()
  logging.set_verbosity(logging.WARNING)  # Not each backend that JAX looks for and does not find.
  from elfs_jax import config as config_lib
  from elfs_jax import data, export
  with _told():
    targets = [name for given in flags.FLAGS.export for name in given.split(',')]
    export.check(targets, flags.FLAGS.root)
    config = flags.FLAGS.config
    config_lib.read_paths(config)
    if flags.FLAGS.holdout is not None:
      config.select.holdout = flags.FLAGS.holdout
    if flags.FLAGS.plan and ('benchmark' in config or flags.FLAGS.hosts is not None):
      raise ValueError('--plan is of one run on one host: leave out --hosts, and name no benchmark')
    if flags.FLAGS.hosts is None:
      print(data.reading(config.data.name, config.data.path))  # Before JAX, which takes seconds to import.
    from elfs_jax.runtime import hosts, mesh
    mesh.pin_threads()
    if flags.FLAGS.hosts is not None:
      hosts.join(flags.FLAGS.hosts)
    if 'benchmark' in config and config.select.holdout is not None:
      raise ValueError('--holdout goes with a choice, not with a benchmark, which sets a test set aside itself')
    workdir = pathlib.Path(flags.FLAGS.workdir or f'runs/{_name()}').expanduser()
    if flags.FLAGS.plan:
      from elfs_jax import plan
      print(plan.of(config, workdir))
      return
    _choose(config, workdir, targets)
    for target in targets:
      export.write(workdir, target, served=flags.FLAGS.root, say=print)


def _choose(config, workdir, targets):
  """Read the data and run the pipeline, or the benchmark; how long it took is kept for plans."""
  from elfs_jax import benchmark, export, pipeline, plan
  from elfs_jax.runtime.progress import bar
  decoded, start = [], time.monotonic()
  def reading(iterable, *, desc, total):
    decoded.append(total)
    return bar(iterable, desc=desc, total=total)
  dataset = pipeline.read_data(config, workdir, reading)
  export.check_files(targets, dataset.root)
  seconds = {'read': time.monotonic() - start} if decoded else {}
  if 'benchmark' in config:
    benchmark.run(dataset, config, workdir, progress=bar)
  else:
    _, metrics = pipeline.run(dataset, config, workdir, progress=bar)
    plan.note(dataset, config, seconds | metrics['seconds'], sum(decoded))


def _name():
  """The workdir's name: that of the settings file, and what follows a colon."""
  given = config_flags.get_config_filename(flags.FLAGS['config'])
  return '_'.join(pathlib.Path(part).stem for part in given.split(':'))


def _next(argv):
  from elfs_jax.rounds import next_round
  with _told():
    if not HELP & set(argv):
      stopping.listen()
    logging.set_verbosity(logging.WARNING)
    next_round.command(argv)


def _export(argv):
  """elfs-jax export WORKDIR TARGET [TARGET ...] [--root=FOLDER]"""
  from elfs_jax import export
  roots = [argument for argument in argv if argument.startswith('--root=')]
  workdir, *targets = [argument for argument in argv if argument not in roots] or ['']
  if not targets or HELP & set(argv):
    print('elfs-jax export WORKDIR TARGET [TARGET ...]: hand over what a run chose, to WORKDIR/export/\n')
    print('\n'.join(f'  {name:<16}{entry.help}' for name, entry in export.EXPORTS.items()))
    print(ROOT)
    sys.exit(0 if HELP & set(argv) else 2)
  with _told():
    served = roots[-1].partition('=')[2] if roots else None
    export.check(targets, served)
    for target in targets:
      export.write(pathlib.Path(workdir).expanduser(), target, served=served, say=print)


@contextlib.contextmanager
def _told():
  """What goes wrong inside, and is no bug, is told in one line; the exit status is 2."""
  try:
    yield
  except (ValueError, OSError, FloatingPointError) as error:
    _fail(error)
  except (MemoryError, RuntimeError) as error:
    if isinstance(error, RuntimeError) and 'RESOURCE_EXHAUSTED' not in str(error):  # XLA's word for it.
      raise
    _fail(f'there is too little memory ({str(error)[:300] or "none is left"}): bring fewer or smaller images '
          '(data.size), or smaller settings')


def _fail(error):
  print('error:', ' '.join(str(error).split()), file=sys.stderr)
  sys.exit(2)
