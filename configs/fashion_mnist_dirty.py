"""Fashion-MNIST as it might be scraped: 25,000 images, of which 30 % are near copies and 10 % are corrupted.

15,000 images, 25 copies each of 300 of them (moved by up to a pixel, a little noise), and 2,500 others, spoiled by
noise, blur, occlusion, inversion or darkness. The ids in `coreset.csv` say which is which: `01234`, `01234:copy2`,
`01234:noise`. A fixed seed makes it. The test set is Fashion-MNIST's, clean.

  apt-get install dataset-fashion-mnist   # or --config.data.path=FOLDER with its four IDX files
  elfs-jax --config=fashion_mnist_dirty
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config():
  config = base.get_config()
  config.data.name = 'fashion_mnist_dirty'
  config.cluster.num_classes = 10
  config.select.budget = '10%'
  presets.fashion_mnist(config)
  return config
