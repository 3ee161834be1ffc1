"""scikit-learn's 1,797 digits: real images and no download; a first look in a minute or two.

  elfs-jax
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'digits'
  config.cluster.num_classes = 10
  config.select.budget = '10%'
  return config
