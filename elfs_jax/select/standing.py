"""What stands for what: for each of all examples its part in a choice, and the chosen one that is most like it."""
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.budget import floor_count
from elfs_jax.select.candidates import Candidates, labelled_rows
from elfs_jax.select.order import hardness_order
from elfs_jax.vectors import unit_rows

STATUSES = ('not chosen', 'left out as hardest', 'duplicate', 'labelled', 'reserve', 'chosen')
BLOCK_ELEMENTS = 1 << 22


class Standing(NamedTuple):
  """What became of N examples; -1 stands for none."""
  nearest: NDArray     # int64 [n + r], of the chosen and the reserve: the earlier or labelled one that is most like it
  status: NDArray      # int8 [N], places in `STATUSES`
  by: NDArray          # int64 [N], what stands for those that are neither chosen nor labelled
  duplicates: NDArray  # int64 [N], how many duplicates each stands for


def standing(candidates: Candidates, embeddings: ArrayLike, chosen: ArrayLike, reserve: ArrayLike,
             beta: float | None) -> Standing:
  """What became of each of all N examples.

  A duplicate goes by the one of its group that is a candidate in its place, every other by the chosen or labelled one
  that is most like it.

  Args: candidates: what was chosen from; embeddings: float [N,D]; chosen, reserve: int [n], int [r], in their order;
    beta: the fraction of the hardest that were left out, None for none.
  """
  n = len(candidates.difficulty)
  known, order = labelled_rows(candidates.labelled, n), np.append(chosen, reserve).astype(np.int64)
  status = np.zeros(n, np.int8)
  cut = floor_count(beta or 0.0, n)
  for name, rows in zip(STATUSES[1:], (hardness_order(candidates.difficulty)[:cut], candidates.copies, known, reserve,
                                       chosen), strict=True):
    status[rows] = STATUSES.index(name)
  place = np.full(n, n)
  place[order] = np.arange(len(order))
  place[known] = -1
  nearest = nearest_before(candidates.neighbors, embeddings, place, order, np.arange(len(order)))
  by = np.full(n, -1)
  copies = np.flatnonzero(status == STATUSES.index('duplicate'))
  by[copies] = candidates.stand[copies]
  others = np.flatnonzero(~np.isin(status, [STATUSES.index(name) for name in ('duplicate', 'labelled', 'chosen')]))
  by[others] = nearest_before(candidates.neighbors, embeddings, place, others, np.full(len(others), len(chosen)))
  return Standing(nearest, status, by, np.bincount(by[copies], minlength=n))


def nearest_before(neighbors: ArrayLike, embeddings: ArrayLike, place: ArrayLike, rows: ArrayLike,
                   before: ArrayLike) -> NDArray[np.int64]:
  """For each of some rows the one most like it, by cosine similarity, of those with a lower place than it is given.

  Args: neighbors: int [N,k], the nearest others, best first; -1 for none; embeddings: float [N,D], searched where no
    neighbour will do; place: int [N]; rows: int [m]; before: int [m].
  Returns: int64 [m], -1 where there is none.
  """
  place, rows, before = np.asarray(place), np.asarray(rows), np.asarray(before)
  near = np.asarray(neighbors)[rows]
  fits = (near >= 0) & (place[near] < before[:, None])
  found = np.where(fits.any(1), np.take_along_axis(near, fits.argmax(1)[:, None], 1)[:, 0], -1).astype(np.int64)
  left = np.flatnonzero(found < 0)
  targets = np.flatnonzero(place < before[left].max(initial=-1))
  if len(targets):
    units = unit_rows(np.asarray(embeddings[targets]))
    step = max(1, BLOCK_ELEMENTS // len(targets))
    for start in range(0, len(left), step):
      block = left[start:start + step]
      similarity = unit_rows(np.asarray(embeddings[rows[block]])) @ units.T
      similarity[place[targets] >= before[block, None]] = -np.inf
      best = similarity.argmax(1)
      found[block] = np.where(similarity.max(1) > -np.inf, targets[best], -1)
  return found
