"""`--plan`: what a run would do, which results it would reuse, and about how long it would take.

Nothing is computed and nothing is written. Stages are looked for in the workdir in their order, by the pipeline itself,
up to the first without a result: what comes after it depends on it, and would run.
"""
import contextlib
import json
import os
import pathlib
import platform
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import data, encoders, pipeline, select, table
from elfs_jax.budget import budget_count
from elfs_jax.cluster import CLUSTERINGS
from elfs_jax.data import files
from elfs_jax.encoders import ENCODERS
from elfs_jax.plan import costs, rates
from elfs_jax.training import recipe as recipes

GUESSED_WIDTH, GUESSED_CLASSES = 128, 10


def of(config: ConfigDict, workdir: pathlib.Path) -> str:
  """The plan, as text.

  Raises: FileNotFoundError or ValueError, as the run would before any work.
  """
  workdir, undecoded, fresh = pathlib.Path(workdir), 0, []
  try:
    dataset, decoded = pipeline.read_data(config, workdir, dry=True), True
  except files.Undecoded as left:
    dataset, decoded, undecoded, fresh = _stand_in(left, config), False, left.size, left.left
  pipeline.check(dataset, config)
  added = pipeline.learn.added(config, workdir, dataset.ids, fresh)
  stages = order(config, dataset) if added is None else order_of_added(config, dataset, added)
  before = [name for name in stages if not name.startswith('evaluate')]  # What depends on the choice itself.
  missing = pipeline.first_missing(dataset, config, workdir, before) if decoded else before[0]
  if missing is not None:
    reused = stages[:stages.index(missing.removesuffix('_kept'))]  # Of a larger budget; see `pipeline.steps.beta_of`.
  else:
    reused = stages if _ended(config, workdir) else before
  names = ['read', *stages] if dataset.decode is not None or not decoded else stages
  return _text(names, ['read'] * decoded + reused, _job(dataset, config, undecoded, added),
               rates.read(machine()), f'{workdir}: {len(dataset.ids):,} examples')


def note(dataset: data.Dataset, config: ConfigDict, seconds: Mapping[str, float], decoded: int = 0) -> None:
  """Keep for later plans how long the stages of a run took that were computed.

  Args: seconds: by stage, as in metrics.json, and of `read`; decoded: how many files that was.
  """
  size = 0
  if dataset.root is not None and decoded:
    with contextlib.suppress(OSError):  # Files may have gone since.
      size = sum(os.path.getsize(os.path.join(dataset.root, name)) for name in dataset.ids)
  job = _job(dataset, config, size * decoded // len(dataset.ids))
  rates.note(machine(), {costs.kind_of(stage, job): (costs.cost(stage, job)[0], took)
                         for stage, took in seconds.items()})


def machine() -> str:
  """What tells this machine, its devices and what they are compared with from others."""
  import jax
  devices = f'{jax.devices()[0].device_kind} x{jax.device_count()}'
  return f'{platform.node()} {devices} of {os.cpu_count()} cores, costs {costs.VERSION}'


def order(config: ConfigDict, dataset: data.Dataset) -> list[str]:
  """The stages of a run, in the order in which `pipeline` calls them."""
  found = []
  if dataset.embeddings is not None:
    found += ['scale_given'] * (config.embed.method != 'given')
  else:
    method = config.embed.method
    names = encoders.candidates(dataset.images, dataset.root)[0] if method == 'auto' else (method,)
    for name in names:
      found += [f'embed_{name}'] + [f'scale_{name}'] * (not table.look_up(ENCODERS, 'embed.method', name).scaled)
    found += ['embed'] * (len(names) > 1)
  found += ['neighbors'] + ['num_classes'] * (config.cluster.num_classes is None)
  method = config.cluster.method
  found += [f'cluster_{name}' for name in (CLUSTERINGS if method == 'auto' else (method,))] + ['proxy', 'copies']
  found += ['unsure'] * pipeline.steps.uses_labels(config, dataset)
  if select.METHODS[config.select.method].drops_hardest and config.select.beta == 'auto':
    budget = budget_count(config.select.budget, len(dataset.ids)) + len(dataset.labelled)
    found += ['judged_neighbors'] * (len(dataset.ids) > pipeline.steps.JUDGED) + ['clusterings', f'judge_{budget}']
  if dataset.labels is not None and config.evaluate.enabled:
    found += ['evaluate_coreset', 'evaluate_random', 'evaluate_everything']
  return found


def order_of_added(config: ConfigDict, dataset: data.Dataset, added: int) -> list[str]:
  """As `order`, of a run that adds so many examples to what an earlier one knew."""
  scaled = dataset.embeddings is None and added
  return ['embed_added'] * bool(scaled) + ['neighbors', 'copies'] + [
      name for name in order(config, dataset) if name.startswith(('unsure', 'evaluate'))]


def _stand_in(left, config):
  """A data set as large as the one that is not decoded yet. Its images may turn out to be grey."""
  count = len(left.names)
  images = np.broadcast_to(np.arange(left.shape[2], dtype=np.uint8), (count, *left.shape))
  labels = None if config.data.labels is None else np.zeros(count, np.int32)
  return data.Dataset(images, left.names, labels, root=config.data.path)


def _ended(config, workdir):
  """Whether the run that the workdir holds had these settings and compared its choice."""
  try:
    settings = json.loads((workdir / 'config.json').read_text('utf-8'))
    metrics = json.loads((workdir / 'metrics.json').read_text('utf-8'))
  except (OSError, ValueError):
    return False
  return 'accuracy' in metrics and json.loads(config.to_json()).items() <= settings.items()


def _job(dataset, config, undecoded, added=None):
  shape = (0, 0, 0) if dataset.images is None else dataset.images.shape[1:]
  width = GUESSED_WIDTH if dataset.embeddings is None else min(dataset.embeddings.shape[1], 256)
  has_images = dataset.images is not None
  networks = []
  for section, default in (('proxy', select.METHODS[config.select.method].network), ('evaluate', 'small')):
    networks.append(recipes.with_network(config[section], default if has_images else 'mlp')['network'])
  return costs.Job(len(dataset.ids), added or 0, shape[0] * shape[1], shape[2], undecoded, width,
                   config.cluster.num_classes or GUESSED_CLASSES,
                   config.neighbors.k or min(pipeline.learn.NEIGHBORS, len(dataset.ids) - 1), config, *networks)


def _text(names, reused, job, known, title):
  """The table."""
  rows, total, peak, guessed = [], 0.0, costs.BASE, False
  for name in names:
    if name in reused:
      rows.append((name, 'reused', '', ''))
      continue
    reference, memory = costs.cost(name, job)
    took = rates.seconds(known.get(costs.kind_of(name, job), []), reference)
    guessed |= took is None
    seconds = reference if took is None else took
    total, peak = total + seconds, max(peak, memory)
    rows.append((name, 'run', _duration(seconds) + ' ?' * (took is None), _size(memory)))
  rows.append(('total', '', _duration(total), _size(peak)))
  width = max(len(name) for name in names) + 2
  lines = [f'plan for {title}', f'  {"stage":<{width}}{"":<9}{"about":<12}memory']
  lines += [f'  {name:<{width}}{what:<9}{seconds:<12}{memory}'.rstrip() for name, what, seconds, memory in rows]
  if guessed:
    lines.append('  ?: a guess, for two CPU cores; a run on this machine measures it for the next plan')
  return '\n'.join([*lines, 'nothing was computed; without --plan it runs'])


def _duration(seconds):
  if seconds < 1:
    return 'below 1 s'
  if seconds < 90:
    return f'{seconds:.0f} s'
  return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


def _size(memory):
  return f'{memory / 1e9:.1f} GB'
