"""How long stages took on this machine: a small file in the user's cache folder, which each run of the command updates.

It holds, by machine and by kind of stage, pairs of what the reference machine would take (`costs`) and what this one
took. Of runs of one size the last counts.
"""
import json
import math
import os
import pathlib
from collections.abc import Mapping

from elfs_jax.runtime import artifacts

SIZES = 6      # Pairs that are kept of a kind of stage,
START = 5      # Seconds, of imports and compilation, that a stage may take whatever its size.
ALIKE = 1.5    # each as many times larger than the next at least.

Pairs = list[tuple[float, float]]


def path() -> pathlib.Path:
  """Where the file lies: XDG_CACHE_HOME, by default ~/.cache."""
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'elfs_jax' / 'rates.json'


def read(machine: str) -> dict[str, Pairs]:
  """What is known of this machine; nothing where there is no such file, or it is damaged."""
  return _all().get(machine, {})


def note(machine: str, found: Mapping[str, tuple[float, float]]) -> None:
  """Add a pair for some kinds of stages. Where the file can't be written nothing is noted."""
  known = _all()
  mine = known.setdefault(machine, {})
  for kind, (reference, seconds) in found.items():
    others = [pair for pair in mine.get(kind, []) if not 1 / ALIKE < pair[0] / reference < ALIKE]
    mine[kind] = [*others, (reference, seconds)][-SIZES:]
  try:
    artifacts.write_text(path(), json.dumps(known))
  except OSError:
    pass


def seconds(pairs: Pairs, reference: float) -> float | None:
  """What this machine takes for what the reference takes so long for, by the pair nearest in size; None without one.

  What is beyond that size counts by the ratio of the pair, of which seconds spent on starting say little.
  """
  if not pairs:
    return None
  before, took = min(pairs, key=lambda pair: abs(math.log(pair[0] / reference)))
  if reference <= before:
    return took * reference / before
  return took + (reference - before) * (took + START) / (before + START)


def _all():
  try:
    found = json.loads(path().read_text('utf-8'))
    return {str(machine): {str(kind): [(float(a), float(b)) for a, b in pairs if a > 0 and b > 0]
                           for kind, pairs in kinds.items()} for machine, kinds in found.items()}
  except (OSError, ValueError, TypeError, AttributeError):
    return {}
