"""The table of classifiers that can be trained: as the proxy, and to evaluate a coreset. Light to import."""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elfs_jax import table


class Network(NamedTuple):
  """One classifier: the function that builds it from (num_classes, width, dtype), as `table.load` takes it, what
  `--help` says of it, and whether it takes images (if not, embeddings)."""
  function: str | Callable
  help: str
  images: bool


NETWORKS = {
    'small': Network('elfs_jax.training.architectures:small', 'three convolutions, for small machines', True),
    'resnet18': Network('elfs_jax.training.architectures:resnet18', 'as published for images to 96 pixels', True),
    'resnet34': Network('elfs_jax.training.architectures:resnet34', 'as published for ImageNet', True),
    'mlp': Network('elfs_jax.training.architectures:mlp', 'one hidden layer, on the embeddings', False),
}


def build(name: str, num_classes: int, *, width: int = 16, dtype: Any = np.float32):
  """A linen module: float [B,H,W,Ch] or [B,D] -> logits float32 [B,C]; called with `train=` True or False.

  Args: name: of `NETWORKS`; num_classes: C; width: of the networks whose width is not fixed; dtype: that of matmuls and
    convolutions.
  Raises: ValueError for an unknown name.
  """
  entry = table.look_up(NETWORKS, 'network', name)
  return table.load(entry.function)(num_classes, width, dtype)
