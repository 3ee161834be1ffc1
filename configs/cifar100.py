"""CIFAR-100, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  elfs-jax --config=cifar100 --config.data.path=FOLDER --config.select.budget=10%

`--config=cifar100:paper` is the published experiment. Without `:paper`, embeddings come from pixels or from an encoder
trained in place.
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'cifar100'
  config.cluster.num_classes = 100
  presets.temi(config)
  presets.resnet18(config)
  presets.variant(config, variant)
  return config
