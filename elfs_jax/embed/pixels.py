"""Embeddings without any download: principal components of the pixels, scaled for cosine neighbours.

A principal component divided by the square root of its standard deviation lies half way between plain PCA, where a
few components drown the others, and whitening, where noise counts as much as signal.
"""
from collections.abc import Mapping

import numpy as np
from threadpoolctl import threadpool_limits

SIDE = 32  # Pixels: PCA of longer images sees them downscaled, or the covariance would not be affordable.
FIT_ROWS = 20_000  # Enough for the directions; every row is then projected.
BLOCK = 8_192  # Rows that are projected at a time.


def pca(images: np.ndarray, *, components: int | None = None, seed: int = 0, side: int = SIDE,
        fit_rows: int = FIT_ROWS) -> np.ndarray:
  """Principal components of the pixels, each divided by the square root of its standard deviation.

  Images longer than `side` pixels are first downscaled by a whole factor, each pixel the mean of its block (224x224 ->
  32x32 by 7), so that 100,000 of any size stay affordable. See `scale` for how components are found.

  Args:
    images: uint8 [N, H, W, Ch].
    components: the largest number of components to keep; default 100.
    seed: draws the images that the components are fitted on, where there are more than `fit_rows`.
    side: the longest side that is not downscaled.
    fit_rows: how many images the components are fitted on at most.
  Returns: float32 [N, D], D = min(components, N - 1, number of pixels after downscaling), pixels counted in [0, 1].
  """
  return learn_pca(images, components=components, seed=seed, side=side, fit_rows=fit_rows)['embeddings']


def learn_pca(images: np.ndarray, *, components: int | None = None, seed: int = 0, side: int = SIDE,
              fit_rows: int = FIT_ROWS) -> dict[str, np.ndarray]:
  """`pca`, as `embeddings`, with the `mean` and the `weights` that `more_pca` embeds further images with."""
  pixels = shrink(images, side).reshape(len(images), -1)
  mean, weights = fit(pixels, components=100 if components is None else components, unit=255., seed=seed,
                      fit_rows=fit_rows)
  return {'embeddings': project(pixels, mean, weights, unit=255.), 'mean': mean, 'weights': weights}


def more_pca(images: np.ndarray, learned: Mapping[str, np.ndarray], *, side: int = SIDE) -> np.ndarray:
  """Further images, of the same size, as `learn_pca` embedded those that it learned from: float32 [M, D]."""
  return project(shrink(images, side).reshape(len(images), -1), learned['mean'], learned['weights'], unit=255.)


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
  return project(embeddings, *fit(embeddings, components=components, unit=unit, seed=seed, fit_rows=fit_rows),
                 unit=unit)


def fit(embeddings: np.ndarray, *, components: int | None = None, unit: float = 1., seed: int = 0,
        fit_rows: int = FIT_ROWS) -> tuple[np.ndarray, np.ndarray]:
  """What `scale` finds, with its arguments: the mean float32 [D], and weights float32 [D, K]."""
  from sklearn.decomposition import PCA
  count, width = embeddings.shape
  keep = max(1, min(width if components is None else components, count - 1, width))
  rows = np.arange(count)
  if count > fit_rows:
    rows = np.sort(np.random.default_rng(seed).choice(count, fit_rows, replace=False))
  with threadpool_limits(1):
    sample = np.asarray(embeddings[rows], np.float32) / np.float32(unit)
    mean = sample.mean(0, dtype=np.float64).astype(np.float32)
    found = PCA(keep, svd_solver='covariance_eigh').fit(sample - mean)
  spread = np.sqrt(np.maximum(found.explained_variance_, 0))
  alive = spread > 1e-4 * max(spread[0], 1e-12)
  weights = found.components_.T * np.where(alive, 1 / np.sqrt(np.where(alive, spread, 1)), 0)
  return mean, weights.astype(np.float32)


def project(embeddings: np.ndarray, mean: np.ndarray, weights: np.ndarray, *, unit: float = 1.) -> np.ndarray:
  """Rows [M, D] by the mean and weights of a fit: float32 [M, K]."""
  out = np.empty((len(embeddings), weights.shape[1]), np.float32)
  with threadpool_limits(1):
    for start in range(0, len(embeddings), BLOCK):
      block = np.asarray(embeddings[start:start + BLOCK], np.float32) / np.float32(unit)
      out[start:start + BLOCK] = (block - mean) @ weights
  return out


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
