"""Fashion-MNIST with a long tail: the classes' sizes fall exponentially from 6,000 to 60; 14,886 images.

As in Cao et al. 2019 (arXiv 1906.07413) at an imbalance of 100; a fixed seed says which class is how large. The test
set is Fashion-MNIST's, 1,000 of each, so rare classes matter as much as common ones, and `select.balance` says so.

  apt-get install dataset-fashion-mnist   # or --config.data.path=FOLDER with its four IDX files
  elfs-jax --config=fashion_mnist_long_tail
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config():
  config = base.get_config()
  config.data.name = 'fashion_mnist_long_tail'
  config.cluster.num_classes = 10
  config.select.budget = '10%'
  config.select.balance = 1.0
  presets.fashion_mnist(config)
  return config
