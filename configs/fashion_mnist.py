"""Fashion-MNIST, 60,000 real images of 10 kinds of clothing, with the fast recipe for two cores.

  apt-get install dataset-fashion-mnist   # or --config.data.path=FOLDER with its four IDX files
  python launch.py --config=configs/fashion_mnist.py
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'fashion_mnist'
  config.cluster.num_classes = 10
  config.select.budget = '10%'
  config.cluster.batch = 1024
  config.cluster.epochs = 8
  config.cluster.warmup_epochs = 2
  config.cluster.teacher_momentum = 0.95
  config.proxy.flip = True
  config.evaluate.flip = True
  config.evaluate.steps = 600
  config.evaluate.seeds = 3
  return config
