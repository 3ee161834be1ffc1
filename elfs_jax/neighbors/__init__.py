"""Cosine neighbours: exact ones in blocks of one big matrix product, or of very many examples nearly all."""
import collections
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from elfs_jax.neighbors import cells
from elfs_jax.runtime import mesh
from elfs_jax.vectors import unit_rows

BLOCK_ROWS = 512
BLOCK_ELEMENTS = 1 << 26  # 256 MB of similarities: at a million examples a block has 67 rows.


class Graph(NamedTuple):
  """Every example's nearest neighbours, best first."""
  indices: np.ndarray      # int32 [N, k]
  similarity: np.ndarray   # float32 [N, k], cosine
  recall: float = 1.       # The share of the true nearest that are here; told by a sample where it is below 1.


def graph(embeddings: np.ndarray, k: int, *, order_seed: int = 0x7135, exact_below: int | None = None,
          recall: float = 0.98, progress: Callable | None = None) -> Graph:
  """The neighbours that the clustering and the selection use: `knn`, but ties do not follow the order of the files.

  Exact copies of an image tie, and `knn` gives ties to the lower index. Files often come class by class, so that copies
  would all point to the first ones of the list; so the neighbours are found in a random order of the examples.

  Args: as in `knn`; order_seed: draws that order; exact_below: of so many examples or more `cells.knn` finds nearly all
    neighbours, in time that grows less than with the square of N; None: never; recall: what share of them.
  Returns: `Graph`, in the order of the embeddings. Raises: as `knn`.
  """
  count = len(embeddings)
  _check(k, count)
  order = np.random.default_rng(order_seed).permutation(count)
  if exact_below is not None and count >= exact_below:
    return Graph(*cells.knn(embeddings, k, order, recall=recall, progress=progress))
  place = np.argsort(order)
  indices, similarity = knn(embeddings[order], k, progress=progress)
  return Graph(order[indices[place]].astype(np.int32), similarity[place])


def knn(embeddings: np.ndarray, k: int, *, progress: Callable | None = None) -> tuple[np.ndarray, np.ndarray]:
  """The k nearest neighbours of every example by cosine similarity, the example itself excluded.

  Every block has the same number of rows and is computed alone, so the result does not depend on the number of
  devices; blocks go round-robin over the local devices, each of which holds all embeddings.

  Args:
    embeddings: float [N, D], finite. A row of zeros has similarity 0 with every other row.
    k: neighbours per example, 1 <= k < N.
    progress: called as `progress(iterable, desc=..., total=...)`, returns an iterable; default none.
  Returns: indices int32 [N, k], best first, ties to the lower index; cosine similarity float32 [N, k].
  Raises: ValueError if `k` is below 1 or above N - 1.
  """
  count = len(embeddings)
  _check(k, count)
  x_ND = unit_rows(embeddings)
  devices = jax.local_devices()
  copies = [jax.device_put(x_ND, device) for device in devices]
  rows = min(BLOCK_ROWS, max(8, BLOCK_ELEMENTS // count), count)
  starts = range(0, count, rows)
  indices = np.empty((count, k), np.int32)
  similarity = np.empty((count, k), np.float32)

  def store(start, found):
    keep = slice(start, min(start + rows, count))
    size = keep.stop - start
    indices[keep] = np.asarray(found[0])[:size]
    similarity[keep] = np.asarray(found[1])[:size]

  # Two blocks a device in flight: the devices stay busy, memory stays bounded and the progress bar tells the truth.
  pending: collections.deque = collections.deque()
  bar = starts if progress is None else progress(starts, desc='neighbours', total=len(starts))
  for block, start in enumerate(bar):
    pending.append((start, _block(copies[block % len(devices)], np.int32(start), rows=rows, k=k)))
    if len(pending) >= 2 * len(devices):
      store(*pending.popleft())
  for start, found in pending:
    store(start, found)
  return indices, similarity


def _check(k, count):
  if k < 1:
    raise ValueError(f'neighbors.k={k} must be at least 1')
  if k >= count:
    raise ValueError(f'{k} neighbours need at least {k + 1} examples, got N={count}; '
                     f'lower neighbors.k to at most {max(count - 1, 0)} or bring more examples')


@mesh.repeatable(static_argnames=('rows', 'k'))
def _block(x_ND, start, *, rows, k):
  """Neighbours of the examples start, ..., start + rows - 1; beyond the last example the rows repeat it."""
  row_R = jnp.minimum(start + jnp.arange(rows), len(x_ND) - 1)
  cosine_RN = jnp.matmul(x_ND[row_R], x_ND.T, precision=jax.lax.Precision.HIGHEST)
  cosine_RN = cosine_RN.at[jnp.arange(rows), row_R].set(-jnp.inf)
  similarity_Rk, index_Rk = jax.lax.top_k(cosine_RN, k)
  return index_Rk.astype(jnp.int32), jnp.clip(similarity_Rk, -1, 1)
