"""A band of a score: the hardest are dropped, what follows is kept, whole (ELFS) or spread over strata (CCS)."""
import numbers

import numpy as np

from elfs_jax.budget import budget_count, floor_count


def double_end(difficulty, budget, beta):
  """Drop the beta * N hardest, keep the next `budget`, drop the rest (ELFS, arXiv 2406.04273, section 4.3).

  Args:
    difficulty: float [N], finite, higher is harder; ties go to the lower index.
    budget: a count or a fraction, as above.
    beta: the fraction of N dropped from the hard end, in [0, 1).
  Returns: int64 [n], hardest first.
  Raises: ValueError if difficulty is not finite, the budget is out of range or of no example, or no room is left.
  """
  order = hardness_order(difficulty)
  cut, count = counts(len(order), budget, beta)
  return order[cut:cut + count]


def stratified(difficulty, budget, beta, *, strata=50, seed):
  """Coverage-centric selection: drop the hardest, then draw evenly over strata (CCS, arXiv 2210.15809, algorithm 1).

  The range of difficulty that is kept is cut into `strata` intervals of equal width. From the smallest stratum up,
  each gets min(its size, what is left of the budget // strata left), drawn at random.
  Args and errors as in `double_end`. Returns: int64 [n], hardest first.
  """
  order = hardness_order(difficulty)
  cut, count = counts(len(order), budget, beta)
  kept = order[cut:]
  values = np.asarray(difficulty, np.float64)[kept]
  width = (values[0] - values[-1]) / strata
  stratum = np.zeros(len(kept), int) if width == 0 else np.minimum((values - values[-1]) // width, strata - 1)
  groups = sorted((np.flatnonzero(stratum == s) for s in range(strata)), key=len)
  rng, chosen, left = np.random.default_rng(seed), [], count
  for done, group in enumerate(groups):
    take = min(len(group), left // (strata - done))
    chosen.append(rng.choice(group, take, replace=False))
    left -= take
  return kept[np.sort(np.concatenate(chosen).astype(np.int64))]


def random(n, budget, *, seed):
  """`budget` of n examples, uniformly without replacement. Returns: int64 [n], in the order of the draw."""
  return np.random.default_rng(seed).permutation(n)[:budget_count(budget, n)].astype(np.int64)


def hardest(difficulty, budget):
  """The `budget` hardest examples, hardest first; `double_end` with beta = 0."""
  return double_end(difficulty, budget, 0.0)


def easiest(difficulty, budget):
  """The `budget` easiest examples, hardest first."""
  order = hardness_order(difficulty)
  return order[len(order) - budget_count(budget, len(order)):]


def hardness_order(difficulty):
  """All examples, hardest first, ties to the lower index: int64 [N]. ValueError if not finite, not 1-D or empty."""
  difficulty = np.asarray(difficulty)
  if difficulty.ndim != 1 or not len(difficulty):
    raise ValueError(f'difficulty must be [N] with N > 0, got shape {difficulty.shape}')
  bad = np.flatnonzero(~np.isfinite(difficulty))
  if len(bad):
    raise ValueError(f'difficulty is not finite at {len(bad)} of {len(difficulty)} rows, first row {bad[0]}')
  return np.argsort(-difficulty.astype(np.float64), kind='stable').astype(np.int64)


def break_ties(*keys, seed):
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


def counts(n, budget, beta):
  """How many of n are dropped from the hard end, and how many are kept."""
  count = budget_count(budget, n)
  if isinstance(beta, bool) or not isinstance(beta, numbers.Real) or not 0 <= beta < 1:
    raise ValueError(f'beta={beta!r} must be a number in [0, 1)')
  cut = floor_count(beta, n)
  if cut + count > n:
    raise ValueError(f'beta={beta:g} and a budget of {count} of {n} leave no room: beta can be at most '
                     f'{np.floor((n - count) / n * 1e4) / 1e4:g}')
  return cut, count
