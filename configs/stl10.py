"""STL-10, the 5,000 labelled images, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  elfs-jax --config=stl10 --config.data.path=FOLDER --config.select.budget=10%

At its own 96 pixels. `--config=stl10:paper` is the published experiment.
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'stl10'
  config.cluster.num_classes = 10
  presets.temi(config)
  presets.resnet18(config)
  presets.variant(config, variant)
  return config
