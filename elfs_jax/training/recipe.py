"""What a classifier is trained on, how and how long: settings left open are set from the data."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from elfs_jax.training.loop import Recipe


def inputs_of(network: str | None, images: np.ndarray | None, embeddings: np.ndarray) -> np.ndarray:
  """What the network is trained on: the embeddings for `mlp` or where there are no images."""
  return embeddings if network == 'mlp' or images is None else images


def batch_of(batch: int | None, count: int) -> int:
  """The batch as set, or by the number of examples."""
  if batch is not None:
    return batch
  return 256 if count >= 10_000 else 64


def proxy_epochs(epochs: int | None, batch: int, count: int) -> int:
  """The proxy's epochs as set, or about 2,400 steps: at least 10 epochs and at most 40."""
  if epochs is not None:
    return epochs
  per_epoch = -(-count // batch)
  return int(np.clip(round(2400 / per_epoch), 10, 40))


def recipe_of(settings: Mapping[str, Any], network: str | None, inputs: np.ndarray) -> Recipe:
  """A `Recipe` from a training section of the settings for this network; what is left open is set from the inputs."""
  images = inputs.ndim == 4
  chosen = {name: settings[name] for name in Recipe._fields}
  chosen['network'] = network or ('small' if images else 'mlp')
  chosen['batch'] = batch_of(settings['batch'], len(inputs))
  if chosen['crop'] is None:
    chosen['crop'] = min(inputs.shape[1:3]) // 8 if images else 0
  return Recipe(**chosen)
