"""Clustering: pseudo-labels from frozen embeddings by TEMI or k-means, and label-free ways to tell which is better."""
import importlib

from elfs_jax.cluster.centroids import (  # noqa: F401
    INDEPENDENT, choose_num_classes, fit_kmeans, independent, kmeans, made_by, merged_kmeans, predict_kmeans, smooth)
from elfs_jax.cluster.quality import agreement, choose, information  # noqa: F401

_TEMI = ('State', 'Temi', 'temi', 'temi_loss')  # These need JAX.


def __getattr__(name):
  if name in _TEMI:
    return getattr(importlib.import_module('elfs_jax.cluster.heads'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
