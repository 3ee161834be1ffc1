"""Clustering: pseudo-labels from frozen embeddings, and label-free ways to tell which clustering is better.

`CLUSTERINGS` is the table of the ways to cluster. Every entry's function is called as
`function(embeddings, num_classes, *, neighbors, seed, ...)`, with those fields of the config's section `cluster` that
its signature names, and returns either labels int32 [N] or a NamedTuple that has them as `labels`.
"""
import importlib
from collections.abc import Callable
from typing import NamedTuple

from elfs_jax.cluster.centroids import (  # noqa: F401
  Smoothing,
  estimate_num_classes,
  fit_kmeans,
  independent,
  kmeans,
  merged_kmeans,
  predict_kmeans,
  smooth,
)
from elfs_jax.cluster.quality import agreement, best, information  # noqa: F401


class Clustering(NamedTuple):
  """One way to cluster."""
  function: str | Callable   # as `table.load` takes it
  help: str
  version: int = 1           # raise it when its labels change for the same arguments


CLUSTERINGS = {
    'kmeans': Clustering('elfs_jax.cluster.centroids:kmeans', 'k-means on smoothed embeddings'),
    'merged': Clustering('elfs_jax.cluster.centroids:merged_kmeans', 'the same, started from merged clusters'),
    'temi': Clustering('elfs_jax.cluster.heads:temi', 'trained heads, as published', version=2),
}

_OF_HEADS = ('State', 'Temi', 'temi', 'temi_loss')  # These need JAX.


def __getattr__(name):
  if name in _OF_HEADS:
    return getattr(importlib.import_module('elfs_jax.cluster.heads'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
