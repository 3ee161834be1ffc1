"""Embeddings without any download: principal components of the pixels, the scaling that suits cosine neighbours, and
a choice between embeddings that needs no label.

A principal component divided by the square root of its standard deviation lies half way between plain PCA, where a
few components drown the others, and whitening, where noise counts as much as signal.
"""
from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from elfs_jax.vectors import fit_kmeans, unit_rows

SIDE = 32  # Pixels: PCA of longer images sees them downscaled, or the covariance would not be affordable.
FIT_ROWS = 20_000  # Enough for the directions; every row is then projected.
BLOCK = 8_192  # Rows that are projected at a time.


def pca(images: np.ndarray, *, components: int = 100, seed: int = 0, side: int = SIDE,
        fit_rows: int = FIT_ROWS) -> np.ndarray:
  """Principal components of the pixels, each divided by the square root of its standard deviation.

  Images longer than `side` pixels are first downscaled by a whole factor, each pixel the mean of its block (224x224 ->
  32x32 by 7), so that 100,000 of any size stay affordable. See `scale` for how components are found.

  Args:
    images: uint8 [N, H, W, Ch].
    components: the largest number of components to keep.
    seed: draws the images that the components are fitted on, where there are more than `fit_rows`.
    side: the longest side that is not downscaled.
    fit_rows: how many images the components are fitted on at most.
  Returns: float32 [N, D], D = min(components, N - 1, number of pixels after downscaling), pixels counted in [0, 1].
  """
  pixels = shrink(images, side).reshape(len(images), -1)
  return scale(pixels, components=components, unit=255., seed=seed, fit_rows=fit_rows)


def scale(embeddings: np.ndarray, *, components: int | None = None, unit: float = 1., seed: int = 0,
          fit_rows: int = FIT_ROWS) -> np.ndarray:
  """Centre, rotate to principal components and divide each by the square root of its standard deviation.

  Exact (the eigenvectors of the covariance) and deterministic: signs are fixed and one thread does the sums. Where N
  exceeds `fit_rows`, directions and spreads come from as many random rows and all rows are projected.

  Args:
    embeddings: [N, D], any real dtype.
    components: the largest number of components to keep; default all.
    unit: divides the embeddings first (255 for pixels).
    seed: draws the rows to fit on.
    fit_rows: how many rows to fit on at most.
  Returns: float32 [N, min(components, N - 1, D)]. A component that does not vary is 0.
  """
  return scale_as(embeddings, embeddings, components=components, unit=unit, seed=seed, fit_rows=fit_rows)


def scale_as(embeddings: np.ndarray, others: np.ndarray, *, components: int | None = None, unit: float = 1.,
             seed: int = 0, fit_rows: int = FIT_ROWS) -> np.ndarray:
  """What `scale` makes of `embeddings`, done to others [M, D], which have no part in what it is.

  Args and returns as in `scale`, M rows.
  """
  from sklearn.decomposition import PCA
  count, width = embeddings.shape
  keep = max(1, min(width if components is None else components, count - 1, width))
  rows = np.arange(count)
  if count > fit_rows:
    rows = np.sort(np.random.default_rng(seed).choice(count, fit_rows, replace=False))
  with threadpool_limits(1):
    sample = np.asarray(embeddings[rows], np.float32) / np.float32(unit)
    mean = sample.mean(0, dtype=np.float64).astype(np.float32)
    fit = PCA(keep, svd_solver='covariance_eigh').fit(sample - mean)
    spread = np.sqrt(np.maximum(fit.explained_variance_, 0))
    alive = spread > 1e-4 * max(spread[0], 1e-12)
    weights = fit.components_.T * np.where(alive, 1 / np.sqrt(np.where(alive, spread, 1)), 0)
    out = np.empty((len(others), keep), np.float32)
    for start in range(0, len(others), BLOCK):
      block = np.asarray(others[start:start + BLOCK], np.float32) / np.float32(unit)
      out[start:start + BLOCK] = (block - mean) @ weights.astype(np.float32)
  return out


def best(candidates: Mapping[str, np.ndarray], *, seed: int = 0) -> tuple[str, dict[str, float]]:
  """The embedding of the highest consistency, and that of all: see `consistencies`."""
  scores = consistencies(candidates, seed=seed)
  return max(scores, key=scores.__getitem__), scores


def consistencies(candidates: Mapping[str, np.ndarray], *, seed: int = 0, rows: int = 5_000,
                  numbers: Sequence[int] = (10, 30), graded_neighbors: int = 10) -> dict[str, float]:
  """How well the neighbours in each embedding agree on its clusters, which tells without labels how good it is.

  Each embedding is cut into clusters by k-means, twice. Its score is how often the nearest neighbours of an example
  share its cluster, beyond chance (0: chance, 1: always): the mean of neighbours under the whole embedding
  and under random halves of its dimensions. The whole alone would favour a few dimensions, which k-means cuts
  cleanly whatever they mean; halves alone would favour redundant ones. On digits, among PCA, PCA with noise or few
  components, and encoders from untrained to finished, the score ordered 95 to 98 % of 159 pairs as the share of
  neighbours of one class does (3 seeds; pairs less than half a percent apart left out). On Fashion-MNIST it can rank
  PCA below an encoder with slightly fewer such neighbours and better clusters.

  Args:
    candidates: name -> float32 [N, D], the same N examples, each D its own.
    seed: draws the examples and the halves.
    rows: how many random examples they are scored on at most.
    numbers: how many clusters each is cut into, in turn.
    graded_neighbors: how many nearest neighbours count.
  Returns: name -> score.
  """
  count = len(next(iter(candidates.values())))
  drawn = np.sort(np.random.default_rng(seed).choice(count, min(count, rows), replace=False))
  return {name: _consistency(x_ND[drawn], seed, numbers, graded_neighbors) for name, x_ND in candidates.items()}


def _consistency(x_ND, seed, numbers, graded_neighbors):
  from sklearn.cluster import KMeans
  x_ND = unit_rows(x_ND)
  random = np.random.default_rng(seed)
  with threadpool_limits(1):
    halves = [half for _ in range(2) for half in np.array_split(random.permutation(x_ND.shape[1]), 2) if len(half)]
    whole_NK = _nearest(x_ND, graded_neighbors)
    halves_NK = [_nearest(x_ND[:, half], graded_neighbors) for half in halves]
    agreements = []
    for clusters in numbers:
      clusters = max(2, min(clusters, len(x_ND) // 5))
      labels = fit_kmeans(KMeans(clusters, n_init=2, max_iter=50, random_state=seed), x_ND).labels_
      chance = np.square(np.bincount(labels) / len(labels)).sum()
      def agreement(neighbors_NK):
        return ((labels[neighbors_NK] == labels[:, None]).mean() - chance) / max(1 - chance, 1e-12)
      agreements += [agreement(whole_NK), np.mean([agreement(half_NK) for half_NK in halves_NK])]
  return float(np.mean(agreements))


def _nearest(x_ND, count):
  """The nearest others by cosine similarity, `count` of them or all that there are."""
  from sklearn.neighbors import NearestNeighbors
  x_ND = unit_rows(x_ND)
  return NearestNeighbors(n_neighbors=min(count, len(x_ND) - 1), algorithm='brute').fit(x_ND).kneighbors()[1]


def shrink(images: np.ndarray, side: int) -> np.ndarray:
  """Downscale images by the least whole factor that brings both sides to at most `side`, by the mean of each block.

  Sides that the factor does not divide are padded by repeating the last row and column.

  Args:
    images: uint8 [N, H, W, Ch].
    side: pixels.
  Returns: uint8 [N, ceil(H / f), ceil(W / f), Ch]; the input itself where f is 1.
  """
  count, height, width, channels = images.shape
  factor = -(-max(height, width) // side)
  if factor == 1:
    return images
  high, wide = -(-height // factor), -(-width // factor)
  pad = ((0, 0), (0, high * factor - height), (0, wide * factor - width), (0, 0))
  out = np.empty((count, high, wide, channels), np.uint8)
  for start in range(0, count, 256):
    block = np.pad(images[start:start + 256], pad, mode='edge')
    block = block.reshape(-1, high, factor, wide, factor, channels)
    out[start:start + 256] = np.rint(block.mean((2, 4), dtype=np.float32))
  return out
