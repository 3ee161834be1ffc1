"""What came to a data set, changed or left since all of it was last computed, and what new examples take over.

NumPy alone.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.vectors import unit_rows

MOST_NEW = 0.2  # Of the examples, or of those that were computed whole: above, all is computed anew.
VOTERS = 10     # Neighbours whose clusters a new one goes by.
BLOCK_ELEMENTS = 1 << 22  # Similarities that are held at a time.


class Change(NamedTuple):
  """How N examples compare with those known."""
  place: NDArray      # int64 [N], the place among the known, -1 for a new one or one whose content changed
  changed: list[str]  # ids of those, in order,
  gone: list[str]     # and of the known ones that are no more

  @property
  def new(self) -> NDArray[np.int64]:
    """The rows that are not known, in order."""
    return np.flatnonzero(self.place < 0)

  @property
  def none(self) -> bool:
    """Whether all is as it was."""
    return not len(self.new) and not self.gone


def compare(ids: Sequence[str], content: NDArray, known_ids: Sequence[str], known_content: NDArray) -> Change:
  """Tell by ids and digests (uint8 [N, 16] and [M, 16]) which examples are known."""
  where = {name: i for i, name in enumerate(known_ids)}
  place = np.array([where.get(name, -1) for name in ids], np.int64)
  there = np.flatnonzero(place >= 0)
  other = there[(content[there] != known_content[place[there]]).any(1)]
  place[other] = -1
  present = set(ids)
  return Change(place, [ids[i] for i in other], [name for name in known_ids if name not in present])


def few(change: Change, whole: NDArray[np.bool_]) -> bool:
  """Whether what is known will do: at least four fifths of the examples, and of those that were computed whole, are
  there as they were then. Args: whole: bool [M], which of the known were computed whole."""
  still = whole[change.place[change.place >= 0]].sum()
  return bool(still >= (1 - MOST_NEW) * max(len(change.place), whole.sum()))


def added_to(change: Change, whole: NDArray[np.bool_]) -> bool:
  """Whether what is known is added to, in place of what stages have kept or would compute. Args as in `few`."""
  return few(change, whole) and not (change.none and whole.all())


def taken_over(place: NDArray, embeddings: ArrayLike, neighbors: NDArray, similarity: NDArray, labels: NDArray,
               scores: Mapping[str, NDArray]) -> tuple[NDArray[np.int32], dict[str, NDArray]]:
  """Clusters and scores of all N: those of the known ones stay, a new one's come from its nearest known neighbours.

  The cluster is the one that weighs most among them by similarity, and the scores are those of the nearest one: a mean
  over several would let no new example be as hard as some of the known are.

  Args: place: int64 [N], as in `Change`; embeddings: float [N, D], searched where no neighbour is known; neighbors,
    similarity: [N, k]; labels: int32 [M]; scores: name -> float32 [M], of the known ones.
  Returns: int32 [N]; name -> float32 [N].
  """
  new = np.flatnonzero(place < 0)
  near, weight = _known_neighbors(place, new, embeddings, neighbors, similarity)
  found = np.empty(len(place), np.int32)
  known = place >= 0
  found[known] = labels[place[known]]
  votes = np.zeros((len(new), labels.max() + 1), np.float32)
  np.add.at(votes, (np.arange(len(new))[:, None], labels[place[near]]), weight)
  found[new] = votes.argmax(1)
  source = place.copy()
  source[new] = place[near[:, 0]]
  return found, {name: values[source] for name, values in scores.items()}


def _known_neighbors(place, new, embeddings, neighbors, similarity):
  """For each new row its nearest known ones, int64 [m, VOTERS], the nearest first, and how much each counts."""
  known = (neighbors[new] >= 0) & (place[neighbors[new]] >= 0)
  order = np.argsort(~known, axis=1, kind='stable')[:, :VOTERS]
  near = np.take_along_axis(neighbors[new], order, 1).astype(np.int64)
  counts = np.take_along_axis(known, order, 1)
  weight = np.where(counts, np.maximum(np.take_along_axis(similarity[new], order, 1), 1e-6), 0).astype(np.float32)
  lone = np.flatnonzero(~counts[:, 0])
  if len(lone):
    there = np.flatnonzero(place >= 0)
    units, rows = unit_rows(embeddings[there]), unit_rows(embeddings[new[lone]])
    step = max(1, BLOCK_ELEMENTS // len(there))
    for start in range(0, len(lone), step):
      near[lone[start:start + step], 0] = there[(rows[start:start + step] @ units.T).argmax(1)]
    weight[lone, 0] = 1
  near[weight == 0] = np.broadcast_to(near[:, :1], near.shape)[weight == 0]  # Counts nothing, but is a known one.
  return near, weight
