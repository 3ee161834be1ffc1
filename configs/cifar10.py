"""CIFAR-10, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  elfs-jax --config=cifar10 --config.data.path=FOLDER --config.select.budget=10%

`--config=cifar10:paper` is the published experiment. Without `:paper`, embeddings come from pixels or from an encoder
trained in place.
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'cifar10'
  config.cluster.num_classes = 10
  presets.temi(config)
  presets.resnet18(config)
  presets.variant(config, variant, beta=0.4)
  return config
