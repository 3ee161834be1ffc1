"""Checks of the settings against the data: refused in one line, before any long work."""
import numpy as np

from elfs_jax import select
from elfs_jax.runtime import mesh
from elfs_jax.training import networks, recipe as recipes

MAX_SEED = 2 ** 31  # scikit-learn's end at 2 ** 32, and some stages count up from it.
LEAST_ROWS = 4  # Of a batch in each logical shard: batch norm sees no more, and of one row learns nothing.


def check(config, n, *, has_images, has_embeddings):
  """Refuse, in one line and before any long work, settings that n examples can't meet. Raises: ValueError."""
  _one_of('embed.method', config.embed.method, ('auto', 'pca', 'self_supervised', 'given'))
  _one_of('cluster.method', config.cluster.method, ('auto', 'kmeans', 'merged', 'temi'))
  _one_of('select.method', config.select.method, (*select.WITH_BETA, 'random', 'hardest', 'easiest'))
  _one_of('select.score', config.select.score, ('aum', 'forgetting', 'el2n', 'correctness'))
  if config.embed.method == 'given' and not has_embeddings:
    raise ValueError('embed.method=given needs embeddings: use configs/embeddings.py, or embed.method=auto')
  if config.embed.method in ('pca', 'self_supervised') and not has_images:
    raise ValueError(f'embed.method={config.embed.method} needs images, and only embeddings were given: use auto')
  if config.embed.method in ('pca', 'self_supervised') and has_embeddings:
    raise ValueError(f'embed.method={config.embed.method} makes embeddings, and some were given: use given (as they '
                     'are) or auto (scaled), or leave them out')
  budget = config.select.budget
  typed = select.parse_budget(budget) if isinstance(budget, str) else budget
  if typed == 1 and not isinstance(typed, float):
    raise ValueError('select.budget=1 could mean one example or all of them: write 100% for all, or a count above 1')
  budget = select.budget_count(budget, n)
  if config.select.beta != 'auto' and config.select.method in select.WITH_BETA:
    if isinstance(config.select.beta, str):
      raise ValueError(f"select.beta={config.select.beta!r} must be a number in [0, 1) or 'auto'")
    select.double_end(np.arange(n), budget, config.select.beta)
  if not all(_is_number(beta) and 0 <= beta < 1 for beta in config.judge.betas):
    raise ValueError(f'judge.betas={config.judge.betas} must be numbers in [0, 1)')
  if not (_is_number(config.select.balance) and 0 <= config.select.balance <= 1):
    raise ValueError(f'select.balance={config.select.balance} must be a number from 0 to 1')
  if not isinstance(config.seed, int) or not 0 <= config.seed < MAX_SEED:
    raise ValueError(f'seed={config.seed!r} must be a whole number from 0 to {MAX_SEED - 1}')
  _check_sizes(config)
  _check_rates(config)
  _check_training('proxy', config, has_images)
  _check_training('evaluate', config, has_images)
  classes = config.cluster.num_classes
  if classes is not None and not (isinstance(classes, int) and 2 <= classes <= n):
    raise ValueError(f'cluster.num_classes={classes!r} must be a whole number from 2 to the number of examples, {n}')
  k = config.neighbors.k
  if k is not None and not (isinstance(k, int) and 1 <= k < n):
    raise ValueError(f'neighbors.k={k!r} must be a whole number, at least 1 and below the number of examples, {n}: '
                     'lower it or bring more examples')
  _check_shards(config, n)


def _check_sizes(config):
  """Refuse counts below what the stages need."""
  least = {'judge': {'folds': 1, 'clusterings': 2, 'randoms': 2, 'steps': 1},
           'cluster': {'heads': 1, 'epochs': 1, 'batch': 1, 'warmup_epochs': 0},
           'embed': {'components': 1, 'epochs': 1, 'batch': 1, 'width': 1, 'refresh': 0},
           'proxy': {'epochs': 1, 'batch': 1, 'width': 1, 'crop': 0},
           'evaluate': {'seeds': 1, 'steps': 1, 'batch': LEAST_ROWS, 'width': 1, 'crop': 0}}
  for section, fields in least.items():
    for name, bound in fields.items():
      value = config[section][name]
      if value is not None and (not isinstance(value, int) or value < bound):
        raise ValueError(f'{section}.{name}={value!r} must be a whole number, at least {bound}')
  if not all(isinstance(width, int) and width >= 1 for width in config.cluster.hidden):
    raise ValueError(f'cluster.hidden={config.cluster.hidden} must be whole numbers, 1 or more, such as (128, 64)')
  _one_of('cluster.init', config.cluster.init, ('random', 'kmeans'))


def _check_rates(config):
  """Refuse rates, decays and momenta that no training can have."""
  for section in ('embed', 'cluster', 'proxy', 'evaluate'):
    for name, value in config[section].items():
      if name == 'learning_rate':
        allowed, words = _is_number(value) and 0 < value < np.inf, 'a number above 0'
      elif name in ('final_rate', 'weight_decay'):
        allowed, words = _is_number(value) and 0 <= value < np.inf, 'a number, 0 or more'
      elif name in ('momentum', 'teacher_momentum'):
        allowed, words = _is_number(value) and 0 <= value < 1, 'a number in [0, 1)'
      else:
        continue
      if not allowed:
        raise ValueError(f'{section}.{name}={value!r} must be {words}')


def _check_shards(config, n):
  """Refuse logical shards that the proxy's examples or batch can't be shared among."""
  shards, batch = config.mesh.shards, recipes.batch(config.proxy, n)
  mesh.check_shards(shards)
  if n < 2 * shards:
    raise ValueError(f'mesh.shards={shards} leaves fewer than two of {n} examples to each logical shard: lower it to a '
                     'smaller power of two or bring more examples')
  if batch % shards:
    raise ValueError(f'proxy.batch={batch} must be a multiple of mesh.shards={shards}')
  if batch < LEAST_ROWS * shards:
    raise ValueError(f'proxy.batch={batch} leaves fewer than {LEAST_ROWS} examples of a batch to each of {shards} '
                     f'logical shards, too few for batch norm: raise it to {LEAST_ROWS * shards} or lower mesh.shards')


def _check_training(section, config, has_images):
  """Refuse what `train.fit` could not train; None is chosen from the data."""
  settings = config[section]
  if settings.network is not None:
    _one_of(f'{section}.network', settings.network, networks.NETWORKS)
  if settings.network not in (None, 'mlp') and not has_images:
    raise ValueError(f'{section}.network={settings.network} needs images, and only embeddings were given: use mlp')


def _one_of(name, value, choices):
  if value not in choices:
    raise ValueError(f'{name}={value!r} is unknown: choose one of {", ".join(choices)}')


def _is_number(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool)
