"""A band of a score: the hardest are dropped, what follows is kept, whole (ELFS) or spread over strata (CCS).

Also the two ends of a score and a random choice. Rows that are labelled already are never chosen.
"""
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.select.candidates import Candidates, choosable, labelled_rows, new_count
from elfs_jax.select.origins import first

STRATA = 50  # As published.


def double_end(difficulty: ArrayLike, budget: int | float | str, beta: float, *,
               labelled: ArrayLike = ()) -> NDArray[np.int64]:
  """Drop the beta * N hardest, keep the next `budget`, drop the rest (ELFS, arXiv 2406.04273, section 4.3).

  Args:
    difficulty: float [N], finite, higher is harder; ties go to the lower index.
    budget: how many new ones, a count or a fraction of N.
    beta: the fraction of N dropped from the hard end, in [0, 1).
    labelled: int [m], rows that are labelled already and may not be chosen.
  Returns: int64 [n], hardest first.
  Raises: ValueError if difficulty is not finite, the budget is out of range or of no example, or no room is left.
  """
  left, count = choosable(difficulty, budget, beta, labelled)
  return left[:count]


def stratified(difficulty: ArrayLike, budget: int | float | str, beta: float, *, strata: int = STRATA, seed: int,
               labelled: ArrayLike = ()) -> NDArray[np.int64]:
  """Coverage-centric selection: drop the hardest, then draw evenly over strata (CCS, arXiv 2210.15809, algorithm 1).

  The range of difficulty that is kept is cut into `strata` intervals of equal width. From the smallest stratum up,
  each gets min(its size, what is left of the budget // strata left), drawn at random.
  Args and errors as in `double_end`. Returns: int64 [n], hardest first.
  """
  kept, count = choosable(difficulty, budget, beta, labelled)
  stratum = _strata(np.asarray(difficulty, np.float64)[kept], strata)
  groups = sorted((np.flatnonzero(stratum == s) for s in range(strata)), key=len)
  rng = np.random.default_rng(seed)
  chosen = []
  left = count
  for done, group in enumerate(groups):
    take = min(len(group), left // (strata - done))
    chosen.append(rng.choice(group, take, replace=False))
    left -= take
  return kept[np.sort(np.concatenate(chosen).astype(np.int64))]


def _strata(values, strata):
  """The number of each value's interval, of so many of equal width, the lowest first: int [m]."""
  width = (values.max() - values.min()) / strata
  if width == 0:
    return np.zeros(len(values), int)
  return np.minimum((values - values.min()) // width, strata - 1).astype(int)


def random(n: int, budget: int | float | str, *, seed: int | list[int], labelled: ArrayLike = ()) -> NDArray[np.int64]:
  """`budget` of n examples, uniformly without replacement. Returns: int64 [n], in the order of the draw."""
  count = new_count(budget, n, labelled)
  rows = np.delete(np.arange(n), labelled_rows(labelled, n))
  return rows[np.random.default_rng(seed).permutation(len(rows))[:count]].astype(np.int64)


def hardest(difficulty: ArrayLike, budget: int | float | str, *, labelled: ArrayLike = ()) -> NDArray[np.int64]:
  """The `budget` hardest examples, hardest first; `double_end` with beta = 0."""
  return double_end(difficulty, budget, 0.0, labelled=labelled)


def easiest(difficulty: ArrayLike, budget: int | float | str, *, labelled: ArrayLike = ()) -> NDArray[np.int64]:
  """The `budget` easiest examples, hardest first."""
  left, count = choosable(difficulty, budget, 0.0, labelled)
  return left[len(left) - count:]


# The same with the signature that `select.METHODS` asks for, in the order in which to label. To them copies are like
# rows that have labels. Of a group that is full (`origins.Bound`) they take no more, and go on to the next.

def choose_double_end(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return first(candidates, *choosable(candidates.difficulty, budget, beta, candidates.closed))


def choose_stratified(candidates: Candidates, budget: int, beta: float | None, *, seed, balance,
                      strata: int = STRATA) -> NDArray[np.int64]:
  if not len(candidates.origins):
    return stratified(candidates.difficulty, budget, beta, strata=strata, seed=seed, labelled=candidates.closed)
  # One of each stratum in turn, which shares the budget as the published way does, but is an order of all.
  kept, count = choosable(candidates.difficulty, budget, beta, candidates.closed)
  shuffled = np.random.default_rng(seed).permutation(len(kept))
  stratum = _strata(np.asarray(candidates.difficulty, np.float64)[kept[shuffled]], strata)
  by_stratum = np.argsort(stratum, kind='stable')
  sizes = np.bincount(stratum)
  turn = np.empty(len(kept), int)
  turn[by_stratum] = np.arange(len(kept)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
  return first(candidates, kept[shuffled[np.lexsort((stratum, turn))]], count)


def choose_random(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  n = len(candidates.difficulty)
  count = new_count(budget, n, candidates.closed)
  return first(candidates, random(n, n - len(candidates.closed), seed=seed, labelled=candidates.closed), count)


def choose_hardest(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return first(candidates, *choosable(candidates.difficulty, budget, 0.0, candidates.closed))


def choose_easiest(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  left, count = choosable(candidates.difficulty, budget, 0.0, candidates.closed)
  return first(candidates, left[::-1], count)  # The easiest first, so that each prefix is as easy.
