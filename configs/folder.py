"""My own images: a folder of any sizes and formats, searched recursively.

  elfs-jax --config=folder --config.data.path=PICTURES --config.select.budget=500

If you know how many kinds of things the images show, say so: --config.cluster.num_classes=20. If subfolders are classes
and you want to see how the coreset compares with a random choice: --config.data.labels=folders (used for that alone).
"""
from elfs_jax import config as base


def get_config():
  config = base.pictures()
  config.data.name = 'folder'
  config.data.size = 64
  return config
