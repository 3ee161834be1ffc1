"""Checks of the settings against the data: refused in one line, before any long work."""
import numbers

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import config as config_lib
from elfs_jax import select
from elfs_jax.budget import budget_count, parse_budget, reserve_count
from elfs_jax.encoders import ENCODERS
from elfs_jax.report import plane
from elfs_jax.runtime import mesh
from elfs_jax.table import entry_of
from elfs_jax.training import recipe
from elfs_jax.training.networks import NETWORKS

LEAST_EXAMPLES = 5  # To choose from: neighbours, clusters and a part set aside of fewer mean nothing.
LEAST_ROWS = 4  # Of a batch in each logical shard: batch norm sees no more, and of one row learns nothing.


def check(config: ConfigDict, n: int, *, has_images: bool, has_embeddings: bool, labelled: int = 0,
          side: int | None = None, grouped: bool = False) -> None:
  """Refuse settings that n examples, of which some are labelled already, can't meet. Raises: ValueError.

  Args: side: the shorter side of the images in pixels, None without images; grouped: whether the data have groups.
  """
  config_lib.check(config)
  if n < LEAST_EXAMPLES:
    raise ValueError(f'{n} example{"s" * (n > 1)}: a choice needs at least {LEAST_EXAMPLES} to choose from, bring more')
  _check_embedding(config.embed.method, has_images, has_embeddings)
  _check_choice(config.select, n, labelled)
  share = config.select.group_share
  if share is not None and config.select.group_by is None and not grouped:
    raise ValueError(f'select.group_share={share:g} needs groups: give select.group_by as well, or leave it out')
  for section in ('proxy', 'evaluate'):
    network = config[section].network
    if network is not None and NETWORKS[network].images and not has_images:
      raise ValueError(f'{section}.network={network} needs images, and only embeddings were given: use mlp')
    crop = config[section].crop
    on_images = side is not None and (network is None or NETWORKS[network].images)
    if on_images and crop is not None and crop >= side:  # A reflection has no more pixels than that.
      raise ValueError(f'{section}.crop={crop} must be below the shorter side of the images, {side}: lower it')
  classes = config.cluster.num_classes
  if classes is not None and not (_whole(classes) and 2 <= classes <= n):
    raise ValueError(f'cluster.num_classes={classes!r} must be a whole number from 2 to the number of examples, {n}')
  k = config.neighbors.k
  if k is not None and k >= n:
    raise ValueError(f'neighbors.k={k} must be below the number of examples, {n}: lower it or bring more examples')
  plane.check(config.report.map)
  _check_shards(config, n)


def check_holdout(count: int | None, n: int, labelled: int) -> None:
  """Refuse to hold out more of n examples than leaves some to choose from. Raises: ValueError."""
  if count is None:
    return
  if not _whole(count) or count < 1:
    raise ValueError(f'select.holdout={count!r} must be a whole number, at least 1')
  most = n - max(labelled, LEAST_EXAMPLES)
  if count > most:
    known = f', of which {labelled} are labelled already' if labelled else ''
    raise ValueError(f'select.holdout={count} of {n} examples{known}: hold out at most {max(most, 0)}, so that '
                     f'{LEAST_EXAMPLES} or more are left to choose from')


def _check_embedding(method, has_images, has_embeddings):
  if method == 'given' and not has_embeddings:
    raise ValueError('embed.method=given needs embeddings: use --config=embeddings, or embed.method=auto')
  encodes = entry_of(ENCODERS, method) is not None
  if encodes and not has_images:
    raise ValueError(f'embed.method={method} needs images, and only embeddings were given: use auto')
  if encodes and has_embeddings:
    raise ValueError(f'embed.method={method} makes embeddings, and some were given: use given (as they are) or auto '
                     '(scaled), or leave them out')


def _check_choice(settings, n, labelled):
  budget = budget_count(settings.budget, n)
  typed = parse_budget(settings.budget) if isinstance(settings.budget, str) else settings.budget
  if typed == 1 and not isinstance(typed, float):
    raise ValueError('select.budget=1 could mean one example or all of them: write 100% for all, or a count above 1')
  reserve_count(settings.reserve, budget)
  if budget + labelled > n:
    raise ValueError(f'select.budget={settings.budget} of {n} examples, of which {labelled} are labelled already: '
                     f'at most {n - labelled} are left')
  beta = settings.beta
  if isinstance(beta, str) and beta == 'auto' or not select.METHODS[settings.method].drops_hardest:
    return
  if isinstance(beta, bool) or not isinstance(beta, numbers.Real) or not 0 <= beta < 1:
    raise ValueError(f"select.beta={beta!r} must be a number in [0, 1) or 'auto'")
  select.double_end(np.arange(n), budget, beta)  # Of what is labelled only the choice itself knows where it lies.


def _check_shards(config, n):
  """Refuse logical shards that the proxy's examples or batch can't be shared among."""
  mesh.check_shards(config.mesh.shards)
  shards, batch = recipe.shards(config.mesh.shards, n), recipe.batch(config.proxy, n)
  if batch % shards:
    raise ValueError(f'proxy.batch={batch} must be a multiple of mesh.shards={shards}')
  if batch < LEAST_ROWS * shards:
    raise ValueError(f'proxy.batch={batch} leaves fewer than {LEAST_ROWS} examples of a batch to each of {shards} '
                     f'logical shards, too few for batch norm: raise it to {LEAST_ROWS * shards} or lower mesh.shards')


def _whole(value):
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)
