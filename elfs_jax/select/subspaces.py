"""ZCore's score of every example, on the device: how much of random 2-D subspaces it covers, less its redundancy.

Griffin et al., "Zero-shot coreset selection via iterative subspace sampling" (WACV 2026, arXiv 2411.15349), code
voxel51/zcore. `select.zcore` chooses the highest scores.
"""
import concurrent.futures
import os

import jax
import jax.numpy as jnp
import numpy as np

from elfs_jax.runtime import mesh

BLOCK_ELEMENTS = 1 << 16  # 256 KB an array: on a CPU all of a block's arrays stay in the cache, larger was slower.
ACCELERATOR_ELEMENTS = 1 << 24
LANES = 256
CHUNK = 8_192  # Samples a call: float32 sums of so few are exact enough, and the host adds the calls up in float64.


def scores(embeddings, *, samples, seed):
  """Coverage less redundancy of every example, plus a random start in [0, 1) that orders the ones never touched.

  Args: embeddings: float [N, D], finite, N > 1; samples: random points, each in a random 2-D subspace; seed.
  Returns: float64 [N], higher is more worth keeping.
  """
  rng = np.random.default_rng(seed)
  x_DN = np.ascontiguousarray(np.asarray(embeddings, np.float32).T)
  width, size = x_DN.shape
  total_N = rng.random(size)
  low_D, middle_D, high_D = x_DN.min(1), np.median(x_DN, axis=1), x_DN.max(1)
  # Rows of lanes, as only a reduction over rows vectorises on CPUs; what fills the last row is infinitely far away.
  x_DML = np.pad(x_DN, ((0, 0), (0, -size % LANES)), constant_values=np.inf).reshape(width, -1, LANES)
  x_DML = jax.device_put(x_DML, jax.local_devices()[0])
  on_cpu = jax.default_backend() == 'cpu'
  block = int(np.clip((BLOCK_ELEMENTS if on_cpu else ACCELERATOR_ELEMENTS) // size, 1, CHUNK))

  def chunk(start):
    rng = np.random.default_rng([seed, start])
    dims_S2 = subspaces(rng, CHUNK, width)
    point_S2 = triangular(rng.random(dims_S2.shape), low_D[dims_S2], middle_D[dims_S2], high_D[dims_S2])
    count = np.int32(min(CHUNK, samples - start))
    return np.asarray(_chunk(x_DML, dims_S2, point_S2.astype(np.float32), count, block=block)).ravel()[:size]

  # A call keeps one CPU core busy. The sum is in the order of the calls, so it does not depend on the threads.
  with concurrent.futures.ThreadPoolExecutor((os.cpu_count() or 1) if on_cpu else 2) as pool:
    for part_N in pool.map(chunk, range(0, samples, CHUNK)):
      total_N += part_N
  return total_N


def subspaces(rng, count, width):
  """Pairs of distinct dimensions (one dimension twice where there is only one): int32 [count, 2]."""
  first_S = rng.integers(width, size=count)
  second_S = (first_S + 1 + rng.integers(max(width - 1, 1), size=count)) % width
  return np.stack([first_S, second_S], 1).astype(np.int32)


def triangular(uniform, low, middle, high):
  """Quantiles of triangular distributions; unlike NumPy's own draw, low = high is allowed."""
  rising = uniform * (high - low) < middle - low
  up = low + np.sqrt(uniform * (high - low) * (middle - low))
  return np.where(rising, up, high - np.sqrt((1 - uniform) * (high - low) * (high - middle)))


@mesh.repeatable(static_argnames='block')
def _chunk(x_DML, dims_S2, point_S2, count, *, block):
  """The summed scores of the first `count` samples: float32 [M, L]."""
  places, lanes = x_DML.shape[1:]
  index_ML = jnp.arange(places * lanes, dtype=jnp.int32).reshape(places, lanes)

  def distance(first_BML, second_BML, point_B2):
    return jnp.abs(first_BML - point_B2[:, :1, None]) + jnp.abs(second_BML - point_B2[:, 1:, None])

  def over_all(reduce, values_BML):
    return reduce(reduce(values_BML, 1, keepdims=True), 2, keepdims=True)

  def step(number, total_ML):
    # The last block moves back to fit: its first samples were seen by the one before and are not live.
    start = jnp.minimum(number * block, len(dims_S2) - block)
    sample_B = start + jnp.arange(block)
    live_B11 = ((sample_B >= number * block) & (sample_B < count))[:, None, None]
    dims_B2, point_B2 = dims_S2[sample_B], point_S2[sample_B]
    first_BML, second_BML = x_DML[dims_B2[:, 0]], x_DML[dims_B2[:, 1]]
    away_BML = distance(first_BML, second_BML, point_B2)
    # The lowest index of the least, as argmin does not vectorise on CPUs.
    near_B11 = over_all(jnp.min, jnp.where(away_BML == over_all(jnp.min, away_BML), index_ML, index_ML.size))
    near_B1, chosen_BML = near_B11[:, 0], index_ML == near_B11
    near_B2 = x_DML[dims_B2, near_B1 // lanes, near_B1 % lanes]
    away_BML = jnp.where(chosen_BML, jnp.inf, distance(first_BML, second_BML, near_B2))
    least_B11 = over_all(jnp.min, away_BML)
    ratio_BML = jnp.where(least_B11 > 0, least_B11 / away_BML, away_BML == 0)
    weight_BML = jnp.square(jnp.square(ratio_BML))
    share_BML = weight_BML * (1 / over_all(jnp.sum, weight_BML))
    return total_ML + jnp.where(live_B11, chosen_BML - share_BML, 0).sum(0)

  return jax.lax.fori_loop(0, -(-count // block), step, jnp.zeros((places, lanes)))
