"""The fast settings that several of `configs/` share: minutes to an hour on two CPU cores."""


def fashion_mnist(config):
  """Fashion-MNIST, whole, long-tailed or dirty: few epochs of clustering, and a mirrored garment is the same."""
  config.cluster.batch = 1024
  config.cluster.epochs = 8
  config.cluster.warmup_epochs = 2
  config.cluster.teacher_momentum = 0.95
  config.proxy.flip = True
  config.evaluate.flip = True
  config.evaluate.steps = 600
  config.evaluate.seeds = 3
