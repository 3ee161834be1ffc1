"""How hard each example is: a score turned into a difficulty, ties broken, and all examples in that order."""
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.scores import SCORES
from elfs_jax.table import look_up


def difficulty(scores: Mapping[str, ArrayLike], name: str, *, seed: int) -> NDArray[np.float64]:
  """The score called `name` as a difficulty: higher is harder; ties go by AUM, then by a seeded hash.

  Args: scores: float [N] each, by the names of `scores.SCORES`; with 'aum' whatever `name` is. Returns: float64 [N].
  """
  harder = look_up(SCORES, 'select.score', name).harder
  return break_ties(harder * np.asarray(scores[name]), SCORES['aum'].harder * np.asarray(scores['aum']), seed=seed)


def hardness_order(difficulty: ArrayLike) -> NDArray[np.int64]:
  """All examples, hardest first, ties to the lower index: int64 [N]. ValueError if not finite, not 1-D or empty."""
  difficulty = np.asarray(difficulty)
  if difficulty.ndim != 1 or not len(difficulty):
    raise ValueError(f'difficulty must be [N] with N > 0, got shape {difficulty.shape}')
  bad = np.flatnonzero(~np.isfinite(difficulty))
  if len(bad):
    raise ValueError(f'difficulty is not finite at {len(bad)} of {len(difficulty)} rows, first row {bad[0]}')
  return np.argsort(-difficulty.astype(np.float64), kind='stable').astype(np.int64)


def break_ties(*keys: ArrayLike, seed: int) -> NDArray[np.float64]:
  """A difficulty without ties: the first of `keys`, its ties set apart by the other keys, then by a seeded hash.

  Folders come sorted by class and scores such as forgetting are small integers, so ties by position would choose
  classes. What is tied moves by less than the next float32, so `stratified` still sees values, not ranks.
  Args: `keys`: float [N] each, read as float32; higher is harder. Returns: float64 [N], all different.
  """
  keys = [np.asarray(key, np.float32).astype(np.float64) for key in keys]
  draw = np.random.default_rng([seed, 0x7135]).permutation(len(keys[0]))
  order = np.lexsort((draw, *reversed(keys)))
  value = keys[0][order]
  place_in_tie = np.arange(len(value)) - np.searchsorted(value, value)
  out = np.empty(len(order))
  out[order] = value + place_in_tie * np.maximum(np.abs(np.spacing(value)), 1e-300)
  return out
