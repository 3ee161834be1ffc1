"""Copies: which examples are the same as an earlier one, so that the budget is spent on one of them.

NumPy alone. Images may be a memory map, and are read once, in blocks.
"""
import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.vectors import digests

TOLERANCE = 1e-2  # Of the typical length of an embedding: what rounding may do to two embeddings of one image.


def groups(embeddings: ArrayLike, images: ArrayLike | None = None, *,
           tolerance: float = TOLERANCE) -> NDArray[np.int32]:
  """Group exact copies: equal images whose embeddings agree as well, or without images equal rows of embeddings.

  Images are compared as they are seen by default. Two that are equal there may still differ at the size that a
  pretrained encoder sees, and then their embeddings do. Those of real copies differ by rounding alone.

  Args:
    embeddings: float [N,D], finite.
    images: [N, ...], of the same examples, or None.
    tolerance: how far apart the embeddings of equal images may lie and count as the same, as a part of the root mean
      square of their lengths.
  Returns: int32 [N], for each the lowest index of its group: its own where it is no copy.
  """
  embeddings = np.asarray(embeddings)
  if images is None:
    return equal_rows(embeddings)
  group = equal_rows(images)
  rows = np.flatnonzero(np.bincount(group, minlength=len(group))[group] > 1)
  if len(rows):
    limit = tolerance * np.sqrt(np.mean(np.einsum('nd,nd->n', embeddings, embeddings, dtype=np.float64)))
    group[rows] = rows[_split(group[rows], embeddings[rows], limit)]
  return group


def equal_rows(array: ArrayLike) -> NDArray[np.int32]:
  """For each row of [N, ...] the first that is equal: int32 [N]."""
  first: dict[bytes, int] = {}
  return np.array([first.setdefault(digest.tobytes(), i) for i, digest in enumerate(digests(array))], np.int32)


def _split(group, embeddings, limit):
  """Cut groups [M] where embeddings are further apart than `limit`; int [M], for each the first of its part.

  Along a random direction those that agree lie side by side, so that it is enough to compare neighbours.
  """
  embeddings = embeddings.astype(np.float64)
  along = embeddings @ np.random.default_rng(0).normal(size=embeddings.shape[1])
  order = np.lexsort((along, group))
  step = np.linalg.norm(np.diff(embeddings[order], axis=0), axis=1)
  starts = np.append(True, (np.diff(group[order]) != 0) | (step > limit))
  part = np.empty(len(group), np.int64)
  part[order] = np.cumsum(starts) - 1
  lowest = np.full(part.max() + 1, len(group))
  np.minimum.at(lowest, part, np.arange(len(group)))
  return lowest[part]
