"""Rows of vectors: what several stages do with them. Runs where JAX is not installed."""
import concurrent.futures
import hashlib
import os
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

THREADS = min(os.cpu_count() or 1, 8)
BLOCK = 1 << 26  # Bytes that are read at a time for digests.


def unit_rows(embeddings):
  """Rows scaled to length 1 (rows of zeros stay zero): float32 [N, D]."""
  x_ND = np.asarray(embeddings, np.float32)
  norm_N = np.sqrt(np.einsum('nd,nd->n', x_ND, x_ND, dtype=np.float64))
  return x_ND * (1 / np.where(norm_N > 0, norm_N, 1)).astype(np.float32)[:, None]


def nearest(x_ND, count):
  """The nearest others of each row by cosine similarity, `count` of them or all that there are: int [N, K]."""
  from sklearn.neighbors import NearestNeighbors
  x_ND = unit_rows(x_ND)
  return NearestNeighbors(n_neighbors=min(count, len(x_ND) - 1), algorithm='brute').fit(x_ND).kneighbors()[1]


def digests(array):
  """A digest of each row of [N, ...]: uint8 [N, 16]. A memory map is read in blocks; -0 is 0."""
  out = np.empty((len(array), 16), np.uint8)
  step = max(1, BLOCK // max(1, array[:1].nbytes))
  for start in range(0, len(array), step):
    block = np.ascontiguousarray(array[start:start + step])
    if block.dtype.kind == 'f':
      block = block + 0
    for i, row in enumerate(block, start):
      out[i] = np.frombuffer(hashlib.blake2b(row, digest_size=16).digest(), np.uint8)
  return out


def side_by_side(function, items):
  """function(item) of each, in their order, several at a time: yields what it returns.

  Each runs on one thread of BLAS, so that the bits are those of one after the other. What it calls of scikit-learn must
  keep OpenMP to one thread itself, as `fit_kmeans` does: that is told to each thread alone.
  """
  with threadpool_limits(1), warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    _ignore_few_distinct_rows()  # Here as well, since threads put the filters of each other back.
    yield from pool.map(function, items)


def fit_kmeans(model, x_ND):
  """Fit a k-means of scikit-learn on one thread, as its labels otherwise depend on the thread count; returns it.

  Fewer distinct rows than clusters are no fault and bring no warning: some clusters stay empty.
  """
  with threadpool_limits(1), warnings.catch_warnings():
    _ignore_few_distinct_rows()
    return model.fit(x_ND)


def _ignore_few_distinct_rows():
  from sklearn.exceptions import ConvergenceWarning
  warnings.simplefilter('ignore', ConvergenceWarning)
