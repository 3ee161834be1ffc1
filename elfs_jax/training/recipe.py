"""What a training section of the config means: on what it trains, how, and how long.

`settings` is any mapping with the fields of the sections `proxy` and `evaluate`; fields that are None are set from the
data.
"""
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from elfs_jax.training.networks import NETWORKS

STEPS = 2400  # Of a proxy whose epochs are left open, about,
LEAST_EPOCHS, MOST_EPOCHS = 10, 40  # in no fewer and no more epochs than these.
LARGE_SET = 10_000  # From as many examples on, a batch that is left open is the larger one.
SMALL_BATCH, LARGE_BATCH = 64, 256


class Recipe(NamedTuple):
  """How to train: SGD with momentum, a cosine from `learning_rate` to `final_rate` over all steps."""
  network: str = 'small'
  width: int = 16
  batch: int = 256
  learning_rate: float = 0.1
  final_rate: float = 1e-4
  momentum: float = 0.9
  nesterov: bool = True
  weight_decay: float = 5e-4
  crop: int = 4
  flip: bool = False
  resized_crop: bool = False
  init: str = 'he'


def with_network(settings: Mapping[str, Any], network: str) -> dict[str, Any]:
  """The settings as a dict; a network that they leave open is `network`."""
  return {**settings, 'network': network if settings['network'] is None else settings['network']}


def takes_images(settings: Mapping[str, Any], has_images: bool) -> bool:
  """Whether these settings train on images, else on embeddings; a network left open on images, where there are any."""
  return has_images and (settings['network'] is None or NETWORKS[settings['network']].images)


def recipe_of(settings: Mapping[str, Any], inputs: np.ndarray) -> Recipe:
  """The `Recipe` of settings, for images uint8 [N,H,W,Ch] or embeddings [N,D]."""
  images = inputs.ndim == 4
  chosen = {name: settings[name] for name in Recipe._fields}
  if chosen['network'] is None:
    chosen['network'] = 'small' if images else 'mlp'
  chosen['batch'] = batch(settings, len(inputs))
  if chosen['crop'] is None:
    chosen['crop'] = min(inputs.shape[1:3]) // 8 if images else 0
  return Recipe(**chosen)


def epochs(settings: Mapping[str, Any], count: int) -> int:
  """The proxy's epochs as set, or about `STEPS` steps over `count` examples."""
  if settings['epochs'] is not None:
    return settings['epochs']
  steps_per_epoch = -(-count // batch(settings, count))
  return int(np.clip(round(STEPS / steps_per_epoch), LEAST_EPOCHS, MOST_EPOCHS))


def batch(settings: Mapping[str, Any], count: int) -> int:
  """The batch as set, or by the number of examples: of fewer than 32 it is small, as then `shards` are few."""
  if settings['batch'] is not None:
    return settings['batch']
  return LARGE_BATCH if count >= LARGE_SET else min(SMALL_BATCH, 2 * _power_of_two(count))


def shards(most: int, count: int) -> int:
  """The logical shards that share `count` examples: `most`, or as many as get two examples each; a power of two."""
  return min(most, _power_of_two(count) // 2)


def _power_of_two(count):
  """The largest power of two up to `count`."""
  return 1 << (count.bit_length() - 1)
