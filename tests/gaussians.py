"""Embeddings that the tests of clusterings share, and settings of TEMI that are fast on them."""
import numpy as np

from elfs_jax import neighbors


def blobs(count=400, classes=4, width=8, seed=0):
  """Well separated Gaussians: embeddings [N, D], class [N]."""
  rng = np.random.default_rng(seed)
  class_N = rng.integers(0, classes, count)
  return (3 * rng.normal(size=(classes, width))[class_N] + rng.normal(size=(count, width))).astype(np.float32), class_N


X_ND, CLASS_N = blobs()
NEAR_NK = neighbors.knn(X_ND, 10)[0]
FAST = dict(heads=3, hidden=(16, 8), batch=100, learning_rate=1e-2, warmup_epochs=2, teacher_momentum=0.9)
