"""Pictures -> what an encoder takes: resized as Pillow and torchvision do it, cropped, normalised.

Pillow's bicubic filter is antialiased: shrinking widens it, so that every pixel counts. It goes along the rows first,
rounds to whole numbers from 0 to 255, and then along the columns. Here each is one matrix product.
"""
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np


def prepare(images, size: int, mean, std):
  """uint8 [B, H, W, 1 or 3] -> float32 [B, size, size, 3], normalised.

  The shorter side becomes `size`, and the middle of the longer one is kept: a larger picture loses its ends, a smaller
  one is enlarged. A picture of just that size is neither resized nor cropped. Grey becomes colour.

  Args:
    images: uint8, of NumPy or JAX.
    size: the side of the encoder's input.
    mean: of red, green and blue between 0 and 1; subtracted.
    std: what the difference is divided by.
  Raises: ValueError for any other kind of array.
  """
  check(images)
  return _prepare(images, size, tuple(mean), tuple(std))


def check(images) -> None:
  """Raises: ValueError unless `images` are uint8 [B, H, W, 1 or 3]."""
  shape, dtype = np.shape(images), getattr(images, 'dtype', type(images).__name__)
  if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not min(shape[1:3]):
    raise ValueError(f'pictures for an encoder must be uint8 [B, height, width, 3], not {dtype} {list(shape)}')


@partial(jax.jit, static_argnums=(1, 2, 3))
def _prepare(images, size, mean, std):
  x = resize(images, size)
  x = (x / np.float32(255) - np.float32(mean)) / np.float32(std)
  return jnp.broadcast_to(x, (*x.shape[:3], 3))


def resize(images, size: int):
  """uint8 [B, H, W, Ch] -> float32 [B, size, size, Ch], whole numbers from 0 to 255."""
  height, width = images.shape[1:3]
  rows, columns = target(height, width, size)
  x = _resample(images.astype(jnp.float32), 2, columns, size)
  return _resample(x, 1, rows, size)


def _resample(x, axis, new, size):
  """One axis of [B, H, W, Ch] resampled to `new`, of which the middle `size` are computed; whole numbers."""
  old, start = x.shape[axis], int(round((new - size) / 2))
  if old == new:
    return jax.lax.slice_in_dim(x, start, start + size, axis=axis)
  product = 'bhwc,ow->bhoc' if axis == 2 else 'bhwc,oh->bowc'
  # In the factors of less precision that GPUs prefer, the products would be wrong by more than one.
  x = jnp.einsum(product, x, weights(old, new, start, size), precision='highest')
  return jnp.clip(jnp.floor(x + 0.5), 0, 255)


def target(height: int, width: int, size: int) -> tuple[int, int]:
  """(height, width) before the crop: the shorter side is `size`, the longer in proportion, rounded down."""
  if height <= width:
    return size, int(size * width / height)
  return int(size * height / width), size


@lru_cache(maxsize=64)
def weights(old: int, new: int, start: int, count: int) -> np.ndarray:
  """Rows `start` to `start + count` of the matrix [new, old] that resamples a line as Pillow does: float32.

  The filter is cubic (a = -0.5), and as much wider as the line shrinks.
  """
  scale = old / new
  wide = max(scale, 1.)
  middles = (np.arange(start, start + count) + 0.5) * scale
  first = np.maximum(np.floor(middles - 2 * wide + 0.5), 0)
  last = np.minimum(np.floor(middles + 2 * wide + 0.5), old)
  places = np.arange(old)
  near_enough = (places >= first[:, None]) & (places < last[:, None])
  distance = np.abs(places + 0.5 - middles[:, None]) / wide
  near = (1.5 * distance - 2.5) * distance ** 2 + 1
  far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
  matrix = np.where(distance < 1, near, np.where(distance < 2, far, 0.)) * near_enough
  return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)
