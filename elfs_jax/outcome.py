"""What comes once the coreset is decided: the lists of it, how it compares with a random choice, and the report.

Nothing here decides anything. What needs labels comes when `pipeline.select_from` has written the coreset.
"""
import jax
import numpy as np

from elfs_jax import evaluate, select
from elfs_jax.budget import floor_count
from elfs_jax.report import page, words
from elfs_jax.rounds import enough
from elfs_jax.runtime import lists, store
from elfs_jax.runtime.stages import Known, stage
from elfs_jax.scores import SCORES
from elfs_jax.training import recipe as recipes

LEAST = 10  # Labels that a comparison takes, where not all have one: a fifth of them is what is tested on.


def report(run, config, dataset, chosen) -> dict:
  """metrics.json and report.html; where there are labels, with the comparison. Returns: the metrics.

  Args: run: `stages.Run`; dataset: with its labels; chosen: `pipeline.Selection`.
  """
  metrics = _facts(run, config, dataset, chosen)
  if chosen.judged:
    metrics['judge'] = {name: np.asarray(value).tolist() for name, value in chosen.judged.items()}
    metrics['forecast'] = words.forecast(chosen.judged)
  if dataset.labels is not None:
    known = np.flatnonzero(dataset.labels >= 0)
    if len(known) < min(LEAST, len(dataset.ids)):
      run.say(f'{len(known)} labels are too few to compare by; give {LEAST} or more')
    else:
      metrics['quality'] = _quality(dataset.labels, known, chosen)
    if config.evaluate.enabled and 'quality' in metrics:
      run.say('comparing it with random subsets by the labels; --config.evaluate.enabled=False leaves that out')
      metrics['accuracy'] = _compare(run, config, dataset, known, chosen)
  expected = _expected(config, dataset, chosen)
  if expected is not None:
    metrics['enough'] = {'labels': int(expected.counts[0]), 'budget': len(chosen.indices)} | {
        name: np.asarray(value).tolist() for name, value in expected._asdict().items()}
  metrics['seconds'] = run.times
  store.write_report(run.workdir, metrics, lambda: _page(config, dataset, chosen, metrics))
  return metrics


def lists_of(config, dataset, candidates, chosen):
  """The texts of coreset.csv and items.csv. Args: candidates: what was chosen from; chosen: `pipeline.Selection`."""
  stand = select.standing(candidates, chosen.embeddings, chosen.indices, chosen.reserve, chosen.beta)
  status = np.array(select.STATUSES)[stand.status].tolist()
  coreset = lists.coreset(ids=dataset.ids, indices=chosen.indices, reserve=chosen.reserve, nearest=stand.nearest,
                          duplicates=stand.duplicates, pseudo_labels=chosen.pseudo_labels, scores=chosen.scores,
                          root=dataset.root, root_url=config.data.root_url)
  return coreset, lists.items(ids=dataset.ids, status=status, by=stand.by, skipped=dataset.skipped)


def _facts(run, config, dataset, chosen):
  method = select.METHODS[config.select.method]
  return {'n': len(dataset.ids), 'budget': len(chosen.indices), 'labelled': len(dataset.labelled),
          'method': config.select.method, 'name': 'ELFS' if method.is_elfs else config.select.method,
          'beta': chosen.beta, 'embedding': chosen.embedding, 'num_classes': chosen.num_classes,
          'copies': chosen.copies[0], 'copies_chosen': chosen.copies[1], 'held_out': len(dataset.holdout),
          'class_names': dataset.class_names, 'skipped': len(dataset.skipped),
          'fit': None if dataset.decode is None else dataset.fit,
          'shards': recipes.shards(config.mesh.shards, len(dataset.ids)),
          'devices': run.mesh.devices.size, 'device': run.mesh.devices.flat[0].device_kind, 'jax': jax.__version__}


def _expected(config, dataset, chosen):
  """`enough.Expected` of the labels that there are, of those and the budget, and of all; None without labels."""
  given = dataset.labelled_labels or []
  known = np.array([i for i, label in enumerate(given) if label is not None], np.int64)
  rows, count = np.asarray(dataset.labelled)[known] if len(known) else known, len(known)
  return enough.forecast(chosen.embeddings[rows], [given[i] for i in known],
                         [count, count + len(chosen.indices), len(dataset.ids)], seed=config.seed)


def _quality(labels, known, chosen):
  """How well neighbours and clusters follow the true classes, of the examples that have a label."""
  clusters, classes = chosen.pseudo_labels[known], labels[known]
  purity = evaluate.purity(chosen.graph.indices, labels)
  return ({} if np.isnan(purity) else {'neighbor_purity': purity}) | {
      'cluster_accuracy': evaluate.cluster_accuracy(clusters, classes),
      'nmi': evaluate.nmi(clusters, classes), 'ari': evaluate.ari(clusters, classes)}


def _compare(run, config, dataset, known, chosen):
  """Test accuracy for each seed of a classifier trained on the coreset, on random subsets and on everything.

  All are drawn from the rows `known`, which have a label.
  """
  settings = config.evaluate
  on_images = recipes.takes_images(settings, dataset.images is not None)
  inputs = dataset.images if on_images else chosen.embeddings
  tests = dataset.test_images if on_images else dataset.test_embeddings
  if not on_images and tests is not None:
    tests = chosen.scale(tests)
  own_test = tests is not None
  splits = [evaluate.Split(known[split.pool], None if split.test is None else known[split.test])
            for split in evaluate.splits(len(known), settings.seeds, has_test_set=own_test)]
  pool_size = len(splits[0].pool)
  count = max(1, floor_count(len(chosen.indices) / len(dataset.ids), pool_size))
  subsets = {
      'coreset': [_coreset_of(config, dataset, chosen, split.pool, count) for split in splits],
      'random': [split.pool[select.random(pool_size, count, seed=[config.seed, turn])]
                 for turn, split in enumerate(splits)],
      'everything': [split.pool for split in splits]}
  common = {
      'inputs': Known(inputs, dataset.identity) if on_images else inputs, 'labels': dataset.labels,
      'tests': [(tests, dataset.test_labels) if own_test else split.test for split in splits],
      'num_classes': int(dataset.labels.max()) + 1, 'recipe': recipes.recipe_of(settings, inputs),
      'steps': settings.steps, 'shards': run.mesh.devices.size}
  accuracy = {name: stage(run, f'evaluate_{name}', evaluate.accuracies, subsets=rows, **common).tolist()
              for name, rows in subsets.items()}
  summary = {name: evaluate.summary(values, accuracy['random']) for name, values in accuracy.items()}
  some = '' if len(known) == len(inputs) else f' of the {len(known):,} that have labels'
  return accuracy | {
      'examples': {'coreset': count, 'random': count, 'everything': pool_size}, 'summary': summary,
      'test': f'its own test set{some and ", trained on part"}{some}' if own_test else
      f'a fifth{some} set aside anew for each seed, subsets at the same rate from the rest'}


def _coreset_of(config, dataset, chosen, pool, count):
  """A coreset of the pool alone, chosen as the whole one was."""
  how = config.select
  candidates = select.Candidates(chosen.graph.indices, chosen.graph.similarity, chosen.pseudo_labels, chosen.difficulty,
                                 groups=chosen.groups)
  return select.choose(how.method, candidates, count, chosen.beta, seed=config.seed, balance=how.balance, rows=pool)


def _page(config, dataset, chosen, metrics):
  score = config.select.score
  sign = '\u2212' if SCORES[score].harder < 0 else ''
  return page.render(
      title=words.title(metrics, 'examples' if dataset.images is None else 'images'),
      result=words.headline(metrics), facts=words.facts(config, metrics), tables=words.tables(chosen.judged, metrics),
      difficulty=chosen.difficulty, kept=chosen.indices, beta=chosen.beta or 0.0, score_name=sign + score.upper(),
      pictures=dataset.pixels if dataset.images is not None else None, decodes=dataset.decode is not None,
      ids=dataset.ids, pseudo_labels=chosen.pseudo_labels)
