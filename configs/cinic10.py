"""CINIC-10 (arXiv 1810.03505), with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

ELFS chooses among the train and valid parts together, 180,000 images, and tests on the test part. Its folder as it is
unpacked is read so.

  elfs-jax --config=cinic10 --config.data.path=FOLDER --config.select.budget=10%   # with train/, valid/ and test/

`--config=cinic10:paper` is the published experiment.
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'folder'
  config.data.path = 'cinic10'
  config.data.labels = 'folders'
  config.data.size = 32
  config.cluster.num_classes = 10
  presets.temi(config)
  presets.resnet18(config)
  presets.variant(config, variant)
  return config
