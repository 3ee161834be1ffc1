"""SVHN, cropped house numbers, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs): no augmentation.

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  elfs-jax --config=svhn --config.data.path=FOLDER --config.select.budget=10%

`--config=svhn:paper` is the published experiment.
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'svhn'
  config.cluster.num_classes = 10
  presets.temi(config)
  presets.resnet18(config)
  for training in (config.proxy, config.evaluate):
    training.crop, training.flip = 0, False
  config.embed.flip = False
  presets.variant(config, variant)
  return config
