"""Settings that several of `configs/` share: the fast ones, and the published hyper-parameters."""

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


def temi(config):
  """TEMI (arXiv 2303.17896, section 4.1): hours on two CPU cores."""
  config.cluster.method = 'temi'
  config.cluster.heads = 50
  config.cluster.hidden = (512, 256)
  config.cluster.epochs = 200
  config.cluster.batch = 1024
  config.cluster.learning_rate = 4e-4  # 1e-4 per 256
  config.cluster.warmup_epochs = 20
  config.cluster.teacher_momentum = 0.996
  config.cluster.init = 'random'


def resnet18(config):
  """ELFS on CIFAR-10, CIFAR-100 and STL-10 (arXiv 2406.04273, code at eltsai/elfs): 3x3 stem, Nesterov, 200 epochs."""
  _elfs(config, 'resnet18', nesterov=True, weight_decay=5e-4)
  config.proxy.crop = config.evaluate.crop = 4
  config.proxy.epochs = 200
  config.evaluate.steps = 40_000


def resnet34(config):
  """ELFS on ImageNet-1K (the same source): no Nesterov, random resized crops, 60 epochs."""
  _elfs(config, 'resnet34', nesterov=False, weight_decay=1e-4)
  config.proxy.resized_crop = config.evaluate.resized_crop = True
  config.proxy.epochs = 60
  config.evaluate.steps = 300_000


def _elfs(config, network, *, nesterov, weight_decay):
  for training in (config.proxy, config.evaluate):
    training.network = network
    training.batch = 256
    training.learning_rate = 0.1
    training.final_rate = 1e-4
    training.momentum = 0.9
    training.nesterov = nesterov
    training.weight_decay = weight_decay
    training.flip = True
  config.embed.flip = True
  config.select.method = 'double_end'


def variant(config, name, *, init='torch', shards=1, beta='auto'):
  """Make the config that of a variant of its settings file: '' as it is, 'paper' the published experiment.

  What is the same in all of ELFS is set here (docs/paper.md); what differs comes in.

  Args: init: what the networks start from; shards: the GPUs whose batch norms were apart; beta: the one that the
    authors give for 90 % pruned, or 'auto' where they give none.
  Raises: ValueError for another name.
  """
  if name not in ('', 'paper'):
    raise ValueError(f'{name!r} is no variant of this settings file: after the colon stands paper, or leave it out')
  if name == 'paper':
    config.embed.method, config.embed.scaling = 'dino_vitb16', 'raw'
    config.mesh.shards = shards
    config.proxy.init = config.evaluate.init = init
    config.select.beta = beta
    config.judge.betas = tuple(tenth / 10 for tenth in range(9))
