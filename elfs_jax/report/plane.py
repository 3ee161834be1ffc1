"""The embedding as a picture: every example a point of a plane, and what is typical of a cluster."""
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from elfs_jax.vectors import unit_rows

POINTS = 4000  # That the plane is found from, and that are drawn.


def sample(n: int, first: ArrayLike, count: int = POINTS, *, seed: int = 0) -> NDArray[np.int64]:
  """Rows to draw: those of `first`, and others at random up to `count` in all: int64, distinct, `first` in front."""
  first = np.asarray(first, np.int64)[:count]
  others = np.setdiff1d(np.arange(n), first)
  drawn = np.random.default_rng(seed).permutation(len(others))[:count - len(first)]
  return np.concatenate([first, others[np.sort(drawn)]])


def project(embeddings: ArrayLike, rows: ArrayLike, count: int = POINTS, *, seed: int = 0) -> NDArray[np.float64]:
  """Two principal components of rows scaled to length 1, since neighbours are found by their angle: float64 [m,2].

  The components are those of at most `count` examples drawn from all.

  Args: embeddings: float [N,D]; rows: int [m], those to place.
  """
  from sklearn.decomposition import PCA
  of = sample(len(embeddings), (), count, seed=seed)
  known, placed = (unit_rows(np.asarray(embeddings[np.asarray(part)])).astype(np.float64) for part in (of, rows))
  width = min(2, *known.shape)
  with threadpool_limits(1), np.errstate(invalid='ignore', divide='ignore'):  # Of points that are all the same.
    made = PCA(width, svd_solver='randomized', iterated_power=7, random_state=seed).fit(known).transform(placed)
  return np.pad(np.nan_to_num(made), ((0, 0), (0, 2 - width)))


def typical(embeddings: ArrayLike, labels: ArrayLike, count: int) -> list[NDArray[np.int64]]:
  """For each label 0, 1, ... the rows nearest to the mean direction of its examples, nearest first: int64, `count`.

  Args: embeddings: float [N,D]; labels: int [N].
  """
  labels = np.asarray(labels)
  order = np.argsort(labels, kind='stable')
  ends = np.searchsorted(labels[order], np.arange(labels.max(initial=-1) + 2))
  found = []
  for start, end in zip(ends[:-1], ends[1:], strict=True):
    rows = order[start:end]
    units = unit_rows(np.asarray(embeddings[rows]))
    along = units @ units.mean(0) if len(rows) else np.zeros(0)
    found.append(rows[np.argsort(-along, kind='stable')[:count]].astype(np.int64))
  return found
