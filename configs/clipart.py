"""Clip art of twelve kinds (animals, food, signs, tools ...) by many people, 32x32, in colour.

The Open Clip Art Library as Debian 12 packs it: 7,629 drawings in folders by kind; kinds of fewer than 100 and what is
unsorted are left out. Nothing else was tidied: at this size a sixth are copies of another, some of them in two folders,
some pictures are nearly blank, long series differ by a number, and the largest kind has sixteen times as many as the
smallest. These settings were fixed before the first run.

  apt-get install openclipart-png   # 131 MB; or --config.data.path=FOLDER that holds its folders
  elfs-jax --config=clipart
"""
from elfs_jax import config as base


def get_config():
  config = base.pictures()
  config.data.name = 'clipart'
  config.cluster.num_classes = 12
  config.select.budget = '10%'
  return config
