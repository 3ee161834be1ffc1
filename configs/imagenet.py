"""ImageNet-1K, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  elfs-jax --config=imagenet --config.data.path=FOLDER --config.select.budget=10%

Images are stored at 160 pixels (98 GB as uint8, over the devices). `--config=imagenet:paper` is the published
experiment, at 224 pixels (193 GB, over two devices).
"""
from elfs_jax import config as base
from elfs_jax import presets


def get_config(variant=''):
  config = base.get_config()
  config.data.name = 'imagenet'
  config.data.size = 224 if variant else 160
  config.cluster.num_classes = 1000
  presets.temi(config)
  presets.resnet34(config)
  presets.variant(config, variant, init='torchvision', shards=2, beta=0.3)
  return config
