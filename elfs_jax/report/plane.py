"""The embedding as a picture: every example a point of a plane, and what is typical of a cluster."""
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from elfs_jax.vectors import unit_rows

POINTS = 4000  # That the plane is found from, and that are drawn.


class Plane(NamedTuple):
  """One way to lay examples out on a plane: (embeddings, rows, count, seed=) -> float64 [m,2]."""
  function: Callable
  help: str


def sample(n: int, first: ArrayLike, count: int = POINTS, *, seed: int = 0) -> NDArray[np.int64]:
  """Rows to draw: those of `first`, and others at random up to `count` in all: int64, distinct, `first` in front."""
  first = np.asarray(first, np.int64)[:count]
  others = np.setdiff1d(np.arange(n), first)
  drawn = np.random.default_rng(seed).permutation(len(others))[:count - len(first)]
  return np.concatenate([first, others[np.sort(drawn)]])


def pca(embeddings: ArrayLike, rows: ArrayLike, count: int = POINTS, *, seed: int = 0) -> NDArray[np.float64]:
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


def umap(embeddings: ArrayLike, rows: ArrayLike, count: int = POINTS, *, seed: int = 0) -> NDArray[np.float64]:
  """UMAP (McInnes et al., arXiv 1802.03426) of the rows by their angle, from where `pca` lays them: float64 [m,2].

  The same for a seed, on one thread. Args: as in `pca`.
  """
  import warnings

  from umap import UMAP
  start = pca(embeddings, rows, count, seed=seed)
  start = 10 * start / max(np.abs(start).max(), 1e-12) + np.random.default_rng(seed).normal(0, 1e-4, start.shape)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # That a seed costs threads, and what its libraries will drop one day.
    made = UMAP(n_neighbors=min(15, len(rows) - 1), metric='cosine', init=start.astype(np.float32), random_state=seed,
                n_jobs=1).fit_transform(unit_rows(np.asarray(embeddings[np.asarray(rows)])))
  return np.nan_to_num(np.asarray(made, np.float64))


PLANES = {
    'pca': Plane(pca, 'the first two principal components'),
    'umap': Plane(umap, "UMAP, which keeps neighbours together (pip install 'elfs_jax[umap]')"),
}


def check(name: str) -> None:
  """Raises: ValueError where the package of a plane is missing."""
  if name == 'umap' and importlib.util.find_spec('umap') is None:
    raise ValueError("report.map=umap needs a package: pip install 'elfs_jax[umap]', or leave it at pca")


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
