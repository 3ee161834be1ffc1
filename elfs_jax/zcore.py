"""ZCore's score of every example, on the device: how much of random 2-D subspaces it covers, less its redundancy.

Griffin et al., "Zero-shot coreset selection via iterative subspace sampling" (WACV 2026, arXiv 2411.15349), code
voxel51/zcore. `select.zcore` chooses the highest scores.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_ELEMENTS = 1 << 16  # 256 KB an array: on a CPU all of a block's arrays stay in the cache, larger was slower.
ACCELERATOR_ELEMENTS = 1 << 24
CHUNK = 8_192  # Samples a call: float32 sums of so few are exact enough, and the host adds the calls up in float64.


def scores(embeddings, *, samples, seed):
  """Coverage less redundancy of every example, plus a random start in [0, 1) that orders the ones never touched.

  Args: embeddings: float [N, D], finite, N > 1; samples: random points, each in a random 2-D subspace; seed.
  Returns: float64 [N], higher is more worth keeping.
  """
  rng, x_DN = np.random.default_rng(seed), np.ascontiguousarray(np.asarray(embeddings, np.float32).T)
  total_N = rng.random(x_DN.shape[1])
  low_D, middle_D, high_D = x_DN.min(1), np.median(x_DN, axis=1), x_DN.max(1)
  x_DN = jax.device_put(x_DN, jax.local_devices()[0])
  elements = BLOCK_ELEMENTS if jax.default_backend() == 'cpu' else ACCELERATOR_ELEMENTS
  block = int(np.clip(elements // len(total_N), 1, CHUNK))
  for start in range(0, samples, CHUNK):
    dims_S2 = subspaces(rng, CHUNK, len(low_D))
    point_S2 = triangular(rng.random(dims_S2.shape), low_D[dims_S2], middle_D[dims_S2], high_D[dims_S2])
    count = min(CHUNK, samples - start)
    total_N += np.asarray(_chunk(x_DN, dims_S2, point_S2.astype(np.float32), np.int32(count), block=block))
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


@functools.partial(jax.jit, static_argnames='block')
def _chunk(x_DN, dims_S2, point_S2, count, *, block):
  """The summed scores of the first `count` samples: float32 [N]."""
  size, index_N = x_DN.shape[1], jnp.arange(x_DN.shape[1], dtype=jnp.int32)

  def distance(first_BN, second_BN, point_B2):
    return jnp.abs(first_BN - point_B2[:, :1]) + jnp.abs(second_BN - point_B2[:, 1:])

  def step(number, total_N):
    take = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=number * block, slice_size=block)
    dims_B2, point_B2 = take(dims_S2), take(point_S2)
    # The last block is moved back to fit, so some of its samples were seen by the one before.
    sample_B = jnp.minimum(number * block, len(dims_S2) - block) + jnp.arange(block)
    live_B1 = ((sample_B >= number * block) & (sample_B < count))[:, None]
    first_BN, second_BN = x_DN[dims_B2[:, 0]], x_DN[dims_B2[:, 1]]
    away_BN = distance(first_BN, second_BN, point_B2)
    # The lowest index of the least: argmin itself does not vectorise on CPUs.
    near_B1 = jnp.where(away_BN == away_BN.min(1, keepdims=True), index_N, size).min(1, keepdims=True)
    near_B2 = x_DN[dims_B2, near_B1]
    chosen_BN = index_N == near_B1
    away_BN = jnp.where(chosen_BN, jnp.inf, distance(first_BN, second_BN, near_B2))
    least_B1 = away_BN.min(1, keepdims=True)
    ratio_BN = jnp.where(least_B1 > 0, least_B1 / away_BN, away_BN == 0)
    weight_BN = jnp.square(jnp.square(ratio_BN))
    share_BN = weight_BN / weight_BN.sum(1, keepdims=True)
    return total_N + jnp.where(live_B1, chosen_BN - share_BN, 0).sum(0)

  return jax.lax.fori_loop(0, -(-count // block), step, jnp.zeros(size))
