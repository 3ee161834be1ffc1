"""What needs labels, once the coreset is decided: how it compares with a random choice; and the report.

Nothing here decides anything: `pipeline.select_from` has written the coreset before.
"""
import json

import jax
import numpy as np

from elfs_jax import evaluate, select
from elfs_jax.report import words as summary
from elfs_jax.runtime import artifacts, hosts, store
from elfs_jax.training import recipe as recipes


def write_report(current, dataset, chosen):
  """metrics.json and report.html; where there are labels, with the comparison. Returns: the metrics, a dict."""
  config = current.config
  metrics = {'n': len(dataset.ids), 'budget': len(chosen.indices), 'method': config.select.method,
             'beta': chosen.beta, 'embedding': chosen.embedding, 'num_classes': chosen.num_classes,
             'skipped': len(dataset.skipped), 'shards': config.mesh.shards, 'devices': current.mesh.devices.size,
             'device': current.mesh.devices.flat[0].device_kind, 'jax': jax.__version__}
  if chosen.judged:
    metrics['judge'] = {name: np.asarray(value).tolist() for name, value in chosen.judged.items()}
  if dataset.labels is not None:
    metrics['quality'] = _quality(dataset, chosen)
    if config.evaluate.enabled:
      current.say('comparing it with random subsets by the labels; --config.evaluate.enabled=False leaves that out')
      metrics['accuracy'] = _compare(current, dataset, chosen)
  metrics['seconds'] = current.times
  hosts.from_lead(lambda: _write(current.workdir, metrics, summary.page(dataset, config, chosen, metrics)))
  return metrics


def _write(workdir, metrics, page):
  artifacts.write_text(workdir / 'metrics.json', json.dumps(metrics, indent=2))
  artifacts.write_text(workdir / 'report.html', page)


def _quality(dataset, chosen):
  """How well neighbours and clusters follow the true classes."""
  labels = dataset.labels
  return {'neighbor_purity': evaluate.purity(chosen.graph[0], labels),
          'cluster_accuracy': evaluate.cluster_accuracy(chosen.pseudo_labels, labels),
          'nmi': evaluate.nmi(chosen.pseudo_labels, labels), 'ari': evaluate.ari(chosen.pseudo_labels, labels)}


def _compare(current, dataset, chosen):
  """Test accuracy per seed of a classifier trained on the coreset, on random subsets and on everything."""
  settings, seed = current.config.evaluate, current.config.seed
  use_images = recipes.takes_images(settings, dataset.images is not None)
  inputs = dataset.images if use_images else chosen.embeddings
  recipe, has_test_set = recipes.recipe_of(settings, inputs), dataset.test_images is not None and inputs.ndim == 4
  splits = evaluate.splits(len(inputs), settings.seeds, has_test_set=has_test_set)
  classes, pool_size = int(dataset.labels.max()) + 1, len(splits[0].pool)
  count = max(1, select.floor_count(len(chosen.indices) / len(dataset.ids), pool_size))
  key = artifacts.fingerprint(artifacts.VERSION, inputs, dataset.labels, recipe._asdict(), settings.steps,
                              settings.seeds, seed, current.mesh.devices.size,
                              *((dataset.test_images, dataset.test_labels) if has_test_set else ()))
  how = current.config.select
  def subset(name, pool, run_seed):
    if name == 'coreset':
      return hosts.from_lead(lambda: select.cut(how.method, chosen.graph, chosen.pseudo_labels, chosen.difficulty,
                                                count, chosen.beta, seed, balance=how.balance, rows=pool))
    return pool[select.random(len(pool), count, seed=[seed, run_seed])] if name == 'random' else pool
  def accuracies(name):
    out = []
    for run_seed, split in enumerate(current.progress(splits, desc=f'training on {name}', total=len(splits))):
      test = (dataset.test_images, dataset.test_labels) if split.test is None else (
          inputs[split.test], dataset.labels[split.test])
      out.append(evaluate.downstream_accuracy(
          inputs, dataset.labels, subset(name, split.pool, run_seed), *test, classes, recipe, steps=settings.steps,
          mesh=current.mesh, seed=run_seed))
    return {'accuracy': out}
  made_by = {'coreset': (chosen.indices, chosen.difficulty, chosen.beta, how.method, how.balance),
             'random': (len(chosen.indices),), 'everything': ()}
  accuracy = {name: store.stage(current, f'evaluate_{name}', artifacts.fingerprint(key, *parts),
                                lambda: accuracies(name), shared=True)['accuracy'].tolist()
              for name, parts in made_by.items()}
  return accuracy | {'examples': {'coreset': count, 'random': count, 'everything': pool_size},
                     'test': 'its own test set' if has_test_set else
                     'a fifth set aside anew for each seed, subsets at the same rate from the rest'}
