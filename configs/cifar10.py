"""CIFAR-10, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  python launch.py --config=configs/cifar10.py --config.data.path=FOLDER --config.select.budget=10%

Embeddings here come from pixels or from an encoder trained in place; the paper's come from pretrained DINO.
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'cifar10'
  config.cluster.num_classes = 10
  # TEMI as published (arXiv 2303.17896, section 4.1): hours on two CPU cores, minutes on an accelerator.
  config.cluster.method = 'temi'
  config.cluster.heads = 50
  config.cluster.hidden = (512, 256)
  config.cluster.epochs = 200
  config.cluster.batch = 1024
  config.cluster.learning_rate = 4e-4
  config.cluster.warmup_epochs = 20
  config.cluster.teacher_momentum = 0.996
  config.cluster.init = 'random'

  # ResNet-18 with a 3x3 stem: the ELFS table for CIFAR-10 and CIFAR-100.
  for training in (config.proxy, config.evaluate):
    training.network = 'resnet18'
    training.batch = 256
    training.learning_rate = 0.1
    training.final_rate = 1e-4
    training.momentum = 0.9
    training.nesterov = True
    training.weight_decay = 5e-4
    training.crop = 4
    training.flip = True
  config.proxy.epochs = 200
  config.evaluate.steps = 40_000
  config.embed.flip = True
  return config
