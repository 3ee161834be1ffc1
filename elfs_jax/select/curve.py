"""The curve of coverage against budget: how much of everything the first ones of a choice stand for."""
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.select.candidates import labelled_rows
from elfs_jax.select.cover import cover_of, covers_of, floors, weights_of


def coverage_curve(neighbors: ArrayLike, similarity: ArrayLike, order: ArrayLike, *, weight: ArrayLike | None = None,
                   labelled: ArrayLike = ()) -> NDArray[np.float64]:
  """How much the first m of some rows cover, for every m, as `coverage` counts it.

  Args:
    neighbors: int [N,k], the nearest others of each, best first; -1 where there is none.
    similarity: float [N,k], their cosine similarity.
    order: int [n], distinct rows, in the order in which they are labelled.
    weight: float [N], 0 or more, what the cover of each counts; default all alike.
    labelled: int [m], rows that are labelled already.
  Returns: float64 [n + 1], the share of what all N rows together would cover, from 0 to 1; it never falls. The first
    number is that of the labelled rows alone. Where there is nothing to cover, all are 1.
  """
  neighbors, similarity = np.asarray(neighbors), np.asarray(similarity)
  n, order = len(neighbors), np.asarray(order, np.int64)
  known, weight, floor = labelled_rows(labelled, n), weights_of(weight, n), floors(similarity)
  total = float(((1 - floor) * weight).sum())
  if total <= 0:
    return np.ones(len(order) + 1)
  covered, ends, value = covers_of(neighbors, similarity, floor, weight, np.append(known, order))
  cover, sums = cover_of(known, covered, ends, value), np.zeros(len(order) + 1)
  sums[0] = cover.sum()
  for m, j in enumerate(order.tolist()):
    rows = slice(ends[j], ends[j + 1])
    gain = np.maximum(value[rows] - cover[covered[rows]], 0)  # A row is no neighbour of another twice.
    cover[covered[rows]] += gain
    sums[m + 1] = sums[m] + gain.sum()
  return np.minimum(sums / total, 1)
