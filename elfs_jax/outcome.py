"""What comes once the coreset is decided: the lists of it, how it compares with a random choice, and the report.

Nothing here decides anything. What needs labels comes when `pipeline.select_from` has written the coreset.
"""
import jax
import numpy as np

from elfs_jax import config as config_lib
from elfs_jax import evaluate, select
from elfs_jax.budget import floor_count
from elfs_jax.report import page, suspects, texts, words
from elfs_jax.rounds import enough
from elfs_jax.runtime import lists, store
from elfs_jax.runtime.stages import Known, stage
from elfs_jax.scores import SCORES
from elfs_jax.training import recipe as recipes

LEAST = 10  # Labels that a comparison takes, where not all have one: a fifth of them is what is tested on.
DRAWS = 3   # Random choices that the curve of coverage is compared with.


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
  metrics |= {'seconds': run.times, 'seconds_before': run.earlier}
  store.write_report(run.workdir, metrics, lambda: _page(run, config, dataset, chosen, metrics))
  return metrics


def lists_of(config, dataset, chosen):
  """The texts of coreset.csv and items.csv. Args: chosen: `pipeline.Selection`."""
  stand = chosen.standing
  status = np.array(select.STATUSES)[stand.status].tolist()
  names = dataset.group_names
  coreset = lists.coreset(ids=dataset.ids, indices=chosen.indices, reserve=chosen.reserve, nearest=stand.nearest,
                          duplicates=stand.duplicates, pseudo_labels=chosen.pseudo_labels, scores=chosen.scores,
                          root=dataset.root, root_url=config.data.root_url, groups=names)
  return coreset, lists.items(ids=dataset.ids, status=status, by=stand.by, skipped=dataset.skipped, groups=names)


def groups_of(dataset, chosen):
  """How many groups there are, and what the fullest has of all that is labelled or chosen; None without groups."""
  if dataset.group_names is None:
    return None
  rows = np.append(dataset.labelled, chosen.indices)
  has = np.bincount(chosen.origins[rows])
  name = dataset.group_names[int(np.argmax(chosen.origins == has.argmax()))]
  return {'count': int(chosen.origins.max()) + 1, 'fullest': name, 'has': int(has.max()), 'of': len(rows),
          'share': chosen.share, 'bound': select.bound_at(chosen.share, len(rows))}


def _facts(run, config, dataset, chosen):
  method = select.METHODS[config.select.method]
  return {'n': len(dataset.ids), 'budget': len(chosen.indices), 'labelled': len(dataset.labelled),
          'method': config.select.method, 'name': 'ELFS' if method.is_elfs else config.select.method,
          'beta': chosen.beta, 'embedding': chosen.embedding, 'num_classes': chosen.num_classes,
          'copies': chosen.copies[0], 'copies_chosen': chosen.copies[1], 'held_out': len(dataset.holdout),
          'groups': groups_of(dataset, chosen),
          'class_names': dataset.class_names, 'skipped': len(dataset.skipped),
          'fit': None if dataset.decode is None else dataset.fit,
          'shards': recipes.shards(config.mesh.shards, len(dataset.ids)),
          'devices': run.mesh.devices.size, 'device': run.mesh.devices.flat[0].device_kind, 'jax': jax.__version__}


def _expected(config, dataset, chosen):
  """`enough.Expected` of the labels that there are, of those and the budget, and of all; None without labels."""
  rows, labels = dataset.told
  return enough.forecast(chosen.embeddings[rows], labels,
                         [len(rows), len(rows) + len(chosen.indices), len(dataset.ids)], seed=config.seed)


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
                                 groups=chosen.groups, origins=chosen.origins, share=chosen.share)
  return select.choose(how.method, candidates, count, chosen.beta, seed=config.seed, balance=how.balance, rows=pool)


def _page(run, config, dataset, chosen, metrics):
  score, method = config.select.score, select.METHODS[config.select.method]
  sign = '\u2212' if SCORES[score].harder < 0 else ''
  covered, at_random = _curves(config, dataset, chosen, method)
  first = int(np.searchsorted(covered, 0.9 * covered[-1]))
  what = 'examples' if dataset.images is None else 'images'
  answer, verdict, note = texts.verdict(metrics)
  repeat = None
  if not _given_in_python(config, dataset):
    repeat = config_lib.typed(config)
  words_of_page = {
      'title': texts.title(metrics, what), 'answer': answer, 'verdict': verdict, 'verdict_note': note,
      'steps': texts.next_steps(run.workdir, files=dataset.root is not None, nests=method.nests,
                                repeat=repeat is not None or (run.workdir / store.LABELS).is_file()),
      'curve': texts.curve(covered, at_random, first, what), 'hardest': texts.HARDEST,
      'facts': texts.facts(config, metrics), 'tables': texts.tables(chosen.judged, metrics),
      'settings': config_lib.listed(config), 'versions': texts.versions(),
      'repeat': texts.command(repeat, run.workdir) if repeat else ''}
  by, copy_of = _stood_for(dataset, chosen)
  paths = ['' if dataset.root is None else lists.path_of(dataset.ids[i], dataset.root, config.data.root_url)
           for i in chosen.indices]
  return page.render(
      page.Choice(dataset.ids, paths, chosen.indices, chosen.beta or 0.0, chosen.difficulty, chosen.pseudo_labels,
                  chosen.embeddings, chosen.graph.indices, chosen.graph.similarity, by, copy_of, covered, at_random,
                  first, _suspects(dataset, chosen.alike), dataset.skipped, config.report.map),
      words=words_of_page, score_name=sign + score.upper(),
      pictures=dataset.pixels if dataset.images is not None else None, decodes=dataset.decode is not None)


def _suspects(dataset, groups):
  """Images that may show nothing, by what they seem to be."""
  found = {} if dataset.images is None else suspects.find(dataset.images, groups)
  return {suspects.KINDS[kind]: rows for kind, rows in found.items()}


def _given_in_python(config, dataset):
  """Whether the data were, or a part of them, so that no command brings them again."""
  if dataset.group_names is not None and config.select.group_by is None:
    return True
  return config.data.name == 'memory' or (config.data.name == 'folder' and dataset.embeddings is not None) or (
      len(dataset.labelled) > 0 and config.data.labelled is None and config.data.name == 'folder')


def _curves(config, dataset, chosen, method):
  """Coverage of the first ones of the choice, and of as many random ones, on average over `DRAWS`: float [n + 1]."""
  weight = select.class_weights(chosen.pseudo_labels, config.select.balance) if method.covers else None
  def curve(order):
    return select.coverage_curve(chosen.graph.indices, chosen.graph.similarity, order, weight=weight,
                                 labelled=dataset.labelled)
  left = np.setdiff1d(np.arange(len(dataset.ids)), dataset.labelled)
  drawn = [left[select.random(len(left), len(chosen.indices), seed=[config.seed, turn, 0xc0])] for turn in range(DRAWS)]
  return curve(chosen.indices), np.mean([curve(np.random.default_rng([config.seed, turn]).permutation(rows))
                                         for turn, rows in enumerate(drawn)], axis=0)


def _stood_for(dataset, chosen):
  """For each the one that stands for it, and the one that it is a copy of: int64 [N], -1 for none."""
  status, by = chosen.standing.status, chosen.standing.by
  of = select.Candidates(chosen.graph.indices, chosen.graph.similarity, chosen.pseudo_labels, chosen.difficulty,
                         dataset.labelled, chosen.alike).stand
  indirect = (status == select.STATUSES.index('duplicate')) & (by[by] >= 0)
  return np.where(indirect, by[by], by), np.where(of == np.arange(len(of)), -1, of)
