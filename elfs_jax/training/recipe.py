"""What the sections `proxy` and `evaluate` train, on what and how long: fields left open are set from the data."""
import numpy as np

from elfs_jax.training import loop as train


def proxy_settings(config):
  """The section `proxy`; a network left open is the one that `select.method` was published with, or ours with ours."""
  settings = config.proxy.copy_and_resolve_references()
  if settings.network is None and config.select.method not in ('double_end', 'stratified'):
    settings.network = 'mlp'
  return settings


def inputs_of(settings, dataset, embeddings):
  """What a training section trains on: the embeddings for the network `mlp` or where there are no images."""
  return embeddings if settings.network == 'mlp' or dataset.images is None else dataset.images


def proxy_epochs(settings, inputs):
  """The proxy's epochs as set, or about 2,400 steps: at least 10 epochs and at most 40."""
  if settings.epochs is not None:
    return settings.epochs
  per_epoch = -(-len(inputs) // recipe_of(settings, inputs).batch)
  return int(np.clip(round(2400 / per_epoch), 10, 40))


def batch_of(settings, count):
  """The batch as set, or by the number of examples."""
  if settings.batch is not None:
    return settings.batch
  return 256 if count >= 10_000 else 64


def recipe_of(settings, inputs):
  """`train.Recipe` from a config's training section, its None fields set from the data."""
  images = inputs.ndim == 4
  chosen = {name: settings[name] for name in train.Recipe._fields}
  if chosen['network'] is None:
    chosen['network'] = 'small' if images else 'mlp'
  chosen['batch'] = batch_of(settings, len(inputs))
  if chosen['crop'] is None:
    chosen['crop'] = min(inputs.shape[1:3]) // 8 if images else 0
  return train.Recipe(**chosen)
