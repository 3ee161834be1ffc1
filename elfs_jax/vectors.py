"""Rows of vectors: what several stages do with them. Runs where JAX is not installed."""
import warnings

import numpy as np
from threadpoolctl import threadpool_limits


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


def fit_kmeans(model, x_ND):
  """Fit a k-means of scikit-learn on one thread, as its labels otherwise depend on the thread count; returns it.

  Fewer distinct rows than clusters are no fault and bring no warning: some clusters stay empty.
  """
  from sklearn.exceptions import ConvergenceWarning
  with threadpool_limits(1), warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)
    return model.fit(x_ND)
