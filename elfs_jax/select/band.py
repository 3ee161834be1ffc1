"""A band of a score: the hardest are dropped, what follows is kept, whole (ELFS) or spread over strata (CCS).

Also the two ends of a score and a random choice. Rows that are labelled already are never chosen.
"""
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.select.candidates import Candidates, choosable, labelled_rows, new_count

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
  values = np.asarray(difficulty, np.float64)[kept]
  width = (values[0] - values[-1]) / strata
  if width == 0:
    stratum = np.zeros(len(kept), int)
  else:
    stratum = np.minimum((values - values[-1]) // width, strata - 1)
  groups = sorted((np.flatnonzero(stratum == s) for s in range(strata)), key=len)
  rng = np.random.default_rng(seed)
  chosen = []
  left = count
  for done, group in enumerate(groups):
    take = min(len(group), left // (strata - done))
    chosen.append(rng.choice(group, take, replace=False))
    left -= take
  return kept[np.sort(np.concatenate(chosen).astype(np.int64))]


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
# rows that have labels.

def choose_double_end(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return double_end(candidates.difficulty, budget, beta, labelled=candidates.closed)


def choose_stratified(candidates: Candidates, budget: int, beta: float | None, *, seed, balance,
                      strata: int = STRATA) -> NDArray[np.int64]:
  return stratified(candidates.difficulty, budget, beta, strata=strata, seed=seed, labelled=candidates.closed)


def choose_random(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return random(len(candidates.difficulty), budget, seed=seed, labelled=candidates.closed)


def choose_hardest(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return hardest(candidates.difficulty, budget, labelled=candidates.closed)


def choose_easiest(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> NDArray[np.int64]:
  return easiest(candidates.difficulty, budget, labelled=candidates.closed)[::-1]  # So that each prefix is as easy.
