"""A stage is one call: a name, a function, its inputs and settings.

From these come the key under which the result is kept, who computes it where there are several hosts, the checkpoint of
what takes long, and the two lines that a run prints. The function is pure, arrays and numbers in and out, and says by
its parameters what else it needs of the run:

  mesh             the devices; such a function is computed by all hosts together, any other by the lead alone
  progress         how to show progress, as progress(iterable, desc=, total=)
  state, on_epoch  a checkpoint: where to go on, and what to call after each epoch
  on_disk          where to fill a large array on disk, a chunk at a time (`rows.Rows`); it is what the function returns

All other parameters decide the result, those that keep their defaults too, and are part of the key.
"""
import contextlib
import inspect
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from elfs_jax.runtime import artifacts, hosts, mesh, stopping
from elfs_jax.runtime import rows as rows_lib
from elfs_jax.runtime.hosts import check_same, on_each, on_lead  # noqa: F401 (for who runs stages)

VERSION = 7  # Part of every key: raise it when the results of many stages change for the same settings.
GOING_ON = '  going on from the checkpoint of a run that was stopped'
SUPPLIED = ('mesh', 'progress', 'state', 'on_epoch', 'on_disk')


class Run(NamedTuple):
  """What the stages of a run share."""
  workdir: pathlib.Path
  mesh: jax.sharding.Mesh
  say: Callable[[str], Any]
  progress: Callable
  times: dict                # stage -> seconds that it took, if it was computed,
  earlier: dict              # and that it took an earlier run, whose result was reused
  last: str | None = None    # Where results are looked for alone: what the last one's name begins with; see `Sought`.


class Sought(Exception):
  """The end of a run that looks for results alone: `missing` is the first stage without one, None if all have one."""

  def __init__(self, missing):
    self.missing = missing


class Known(NamedTuple):
  """An argument whose fingerprint is known, so that it need not be read for the key."""
  value: Any
  fingerprint: str


def start(workdir: pathlib.Path, shards: int, settings: dict, say: Callable, progress: Callable | None) -> Run:
  """A new run over all devices. Lines and bars are shown by the lead alone.

  Raises: ValueError where hosts have other settings or another JAX, and as `mesh.data_mesh` does.
  """
  hosts.check_same('settings or another JAX', settings, jax.__version__)
  if not hosts.lead():
    say, progress = _silent, None
  return Run(pathlib.Path(workdir), mesh.data_mesh(shards), say, progress or _no_bar, {}, {})


def _silent(line):
  pass


def _no_bar(iterable, **_):
  return iterable


def stage(run: Run, name: str, function: Callable, /, *, version: int = 1, **arguments) -> Any:
  """The stage's result, the same on every host, from the workdir or computed.

  Args:
    run: where results are kept and how lines are printed.
    name: of the stage: of its file in the workdir and in what is printed.
    function: see above. It returns a dict of arrays, numbers or strings, a NamedTuple of them (fields that are None are
      left out), or one array, which is then called `result`.
    version: raise it when the function's result changes for the same arguments.
    arguments: of the function, by name; `Known` ones count by their fingerprint.
  Returns: a dict of arrays, or the one array; what has no axes is a number or a string.
  Raises: `Sought`, where the run computes nothing.
  """
  start = time.monotonic()
  run.say(f'[{name}] ...')
  key = key_of(name, function, version, arguments)
  path = run.workdir / 'stages' / f'{name}.npz'
  checkpoint = artifacts.Checkpoint(run.workdir / 'checkpoints' / name, key)
  rows = rows_lib.Rows(path.with_suffix('.npy'), run.workdir / 'checkpoints' / name, key)
  asked = inspect.signature(function).parameters

  def compute():
    plain = {n: a.value if isinstance(a, Known) else a for n, a in arguments.items()}
    supplied = _supplied(run, asked, checkpoint, rows)
    with stopping.training() if 'on_epoch' in supplied else contextlib.nullcontext():
      return _named(function(**plain, **supplied))

  def reuse():
    return rows.kept() if 'on_disk' in asked else artifacts.kept(path, key)

  def keep(arrays):
    if 'on_disk' not in asked:
      return artifacts.keep(path, key, arrays)
    rows.keep()
    return rows.kept()

  kept = hosts.from_lead(reuse)
  if run.last is not None and (kept is None or name.startswith(run.last)):
    raise Sought(name if kept is None else None)
  if kept is not None:
    arrays = kept
  elif 'mesh' in asked:
    arrays = compute()
    hosts.from_lead(lambda: keep(arrays))
  else:
    arrays = hosts.from_lead(lambda: keep(compute()))
  if kept is None:
    hosts.from_lead(checkpoint.clear)  # Not before the stage is kept.
    run.times[name] = time.monotonic() - start
    hosts.from_lead(lambda: artifacts.write_text(path.with_suffix('.seconds'), f'{run.times[name]:.3f}'))
  else:
    run.earlier[name] = _seconds_of(path)
  run.say(f'[{name}] ' + ('reused' if kept is not None else f'done in {run.times[name]:.1f} s'))
  plain = {n: value if value.ndim else value.item() for n, value in arrays.items()}
  return plain['result'] if set(plain) == {'result'} else plain


def key_of(name: str, function: Callable, version: int, arguments: dict) -> str:
  """The key of a stage: what its result depends on, the function's defaults too."""
  bound = inspect.signature(function).bind_partial(**arguments)
  bound.apply_defaults()
  parts = {n: a.fingerprint if isinstance(a, Known) else a for n, a in bound.arguments.items() if n not in SUPPLIED}
  return artifacts.fingerprint(VERSION, version, name, function, parts)


def constants_of(functions) -> list:
  """The defaults of functions: constants that decide their results."""
  parameters = [parameter for function in functions for parameter in inspect.signature(function).parameters.values()]
  return [[parameter.name, parameter.default] for parameter in parameters if parameter.default is not parameter.empty]


def several_hosts() -> bool:
  """Whether this process is one of several."""
  return jax.distributed.is_initialized()


def _seconds_of(path):
  """How long a kept result took, None where that is not known."""
  try:
    return float(path.with_suffix('.seconds').read_text('utf-8'))
  except (OSError, ValueError):
    return None


def _named(result):
  """What a function returned, as a dict of arrays."""
  if hasattr(result, '_asdict'):
    result = {name: value for name, value in result._asdict().items() if value is not None}
  elif not isinstance(result, dict):
    result = {'result': result}
  return {name: np.asarray(value) for name, value in result.items()}


def _supplied(run, asked, checkpoint, rows):
  """What the function asks of the run by its parameters."""
  given = {'mesh': run.mesh, 'progress': run.progress, 'on_disk': rows}
  if 'on_disk' in asked and rows.begun():
    run.say(GOING_ON)
  if 'on_epoch' in asked:
    given |= _resumable(run, checkpoint)
  return {name: value for name, value in given.items() if name in asked}


def _resumable(run, checkpoint):
  """Arguments that let a stage's training go on where a killed run stopped."""
  state = hosts.from_lead(checkpoint.restore)
  if state is not None:
    run.say(GOING_ON)
  def on_epoch(epoch, state):
    if hosts.from_lead(lambda: stopping.asked() or checkpoint.due()):
      whole = jax.tree.map(mesh.gather, state)
      hosts.from_lead(lambda: checkpoint.save(epoch, whole))
    if stopping.asked():
      stopping.leave()
  return {'state': state, 'on_epoch': on_epoch}
