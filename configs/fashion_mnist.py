"""Fashion-MNIST, 60,000 real images of 10 kinds of clothing, with the fast recipe for two cores.

  apt-get install dataset-fashion-mnist   # or --config.data.path=FOLDER with its four IDX files
  elfs-jax --config=fashion_mnist
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config():
  config = base.get_config()
  config.data.name = 'fashion_mnist'
  config.cluster.num_classes = 10
  config.select.budget = '10%'
  presets.fashion_mnist(config)
  return config
