"""ImageNet-1K, with the hyper-parameters of ELFS (arXiv 2406.04273; eltsai/elfs).

  pip install -e '.[tfds]'   # and prepare it once; the error says how
  python launch.py --config=configs/imagenet.py --config.data.path=FOLDER --config.select.budget=10%

Images are stored at 160 pixels (98 GB as uint8, over the devices); the paper trains at 224 and tests at 256/224.
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'imagenet'
  config.data.size = 160
  config.cluster.num_classes = 1000
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

  # ResNet-34: SGD without Nesterov, weight decay 1e-4, 60 epochs (the ELFS table for ImageNet-1K).
  for training in (config.proxy, config.evaluate):
    training.network = 'resnet34'
    training.batch = 256
    training.learning_rate = 0.1
    training.final_rate = 1e-4
    training.momentum = 0.9
    training.nesterov = False
    training.weight_decay = 1e-4
    training.resized_crop = True
    training.flip = True
  config.proxy.epochs = 60
  config.evaluate.steps = 300_000
  config.embed.flip = True
  return config
