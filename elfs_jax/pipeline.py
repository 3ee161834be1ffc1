"""The pipeline: the only module that knows the order of the stages, and which settings go to which.

read -> embed -> neighbors -> cluster -> proxy -> select (judge) -> artifacts -> compare with random -> report. What a
stage computes is kept in `workdir/stages` and reused while its inputs and settings are the same (`runtime.stages`).
"""
import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import checks, cluster, copies, data, embed, encoders, judge, neighbors, outcome, proxy, select, table
from elfs_jax.budget import budget_count
from elfs_jax.embed import scaling
from elfs_jax.report import words
from elfs_jax.runtime import stages, store
from elfs_jax.runtime.stages import Known, stage
from elfs_jax.scores import SCORES
from elfs_jax.training import recipe as recipes

NEIGHBORS = 50  # In the graph, where there are so many.


class Selection(NamedTuple):
  """The coreset and what led to it; arrays are [N] but for `indices` [n]."""
  indices: np.ndarray
  embeddings: np.ndarray
  embedding: str                 # The method that made the embeddings.
  scale: Callable | None         # Of given ones: rows [M,D], as given -> float32 [M,K], as `embeddings` are.
  graph: neighbors.Graph
  num_classes: int
  pseudo_labels: np.ndarray
  scores: dict[str, np.ndarray]
  difficulty: np.ndarray
  beta: float | None
  judged: dict | None            # As `judge.verdict` returns it.
  groups: np.ndarray | tuple     # As `select.Candidates` has them.
  copies: tuple[int, int]        # How many are copies, and how many of those chosen.


def read_data(config: ConfigDict, workdir: pathlib.Path | None = None, progress: Callable | None = None,
              dry: bool = False) -> data.Dataset:
  """The data set that the config names, its decoded images kept in the workdir; `data.load` has `dry` and the errors.
  """
  settings = config.data
  cache = None if workdir is None else store.cache_in(workdir, _source(config))
  return stages.on_each(lambda: data.load(
      settings.name, settings.path, images=settings.images, labels=settings.labels, labelled=settings.labelled,
      size=settings.size, test=settings.test, fit=settings.fit, progress=progress, cache=cache, dry=dry))


def run(dataset: data.Dataset, config: ConfigDict, workdir: pathlib.Path, *, say: Callable = print,
        progress: Callable | None = None) -> tuple[Selection, dict]:
  """`select_from`, then what needs labels, where there are any: the comparison with random choice, and the report.

  Args and errors as in `select_from`. Returns: (`Selection`, metrics: as in metrics.json).
  """
  with _started(dataset, config, workdir, say, progress) as current:
    stages.check_same('labels or test set', dataset.labels, dataset.test_images, dataset.test_labels,
                      dataset.test_embeddings)
    chosen = _choose(current, config, _without_labels(dataset))
    metrics = outcome.report(current, config, dataset, chosen)
  summary = words.summary(metrics)
  if summary:
    current.say(summary)
  current.say(f'results in {current.workdir}: coreset.csv, report.html and more')
  return chosen, metrics


def select_from(dataset: data.Dataset, config: ConfigDict, workdir: pathlib.Path, *, say: Callable = print,
                progress: Callable | None = None) -> Selection:
  """Run every stage up to the coreset and write its artifacts; sees no label.

  Args:
    dataset: its labels are dropped at the door.
    config: from `config.get_config()`.
    workdir: a folder for results, made if missing.
    say, progress: how to print a line, and to show progress as progress(iterable, desc=, total=).
  Raises: ValueError in one line: for settings that the data can't meet, before any long work, and for a workdir that
    holds the results of other data.
  """
  with _started(dataset, config, workdir, say, progress) as current:
    return _choose(current, config, _without_labels(dataset))


def embeddings_of(dataset: data.Dataset, config: ConfigDict, workdir: pathlib.Path, *, say: Callable = print,
                  progress: Callable | None = None) -> tuple[np.ndarray, str, Callable | None]:
  """The embedding stage alone, as in `select_from`. Returns: `embeddings`, `embedding` and `scale` of `Selection`."""
  return _embed(_run_of(dataset, config, workdir, say, progress), config, dataset)


def first_missing(dataset: data.Dataset, config: ConfigDict, workdir: pathlib.Path,
                  names: list[str]) -> str | None:
  """The first of these stages, all up to the coreset, whose result a workdir lacks; None if it has all.

  Nothing is computed and nothing is written. Errors as in `select_from`.
  """
  if store.source_in(workdir) is None:
    return names[0]
  current = _run_of(dataset, config, workdir, lambda line: None, None)
  try:
    _choose(current._replace(last=names[-1]), config, _without_labels(dataset))
  except stages.Sought as end:
    return end.missing
  raise ValueError(f'{names[-1]} is no stage of this run')


def _run_of(dataset, config, workdir, say, progress):
  settings = {name: part for name, part in config.to_dict().items() if name != 'data'}  # A path may be another's own.
  return stages.start(workdir, _shards(config, dataset), settings, say, progress)


def _shards(config, dataset):
  return recipes.shards(config.mesh.shards, len(dataset.ids))


def check(dataset: data.Dataset, config: ConfigDict) -> None:
  """Refuse settings that the data can't meet. Raises: ValueError."""
  checks.check(config, len(dataset.ids), has_images=dataset.images is not None,
               has_embeddings=dataset.embeddings is not None, labelled=len(dataset.labelled))


@contextlib.contextmanager
def _started(dataset, config, workdir, say, progress):
  """The run, its settings checked, in a workdir that no other run uses."""
  stages.on_each(lambda: check(dataset, config))
  current = _run_of(dataset, config, workdir, say, progress)
  with store.held(current.workdir):
    yield current


def _without_labels(dataset):
  return dataclasses.replace(dataset, labels=None, test_images=None, test_labels=None, class_names=None,
                             labelled_labels=None, test_embeddings=None)


def _source(config, identity=None):
  return store.source_of(config.data.name, config.data.path, config.data.images, identity)


def _choose(run, config, dataset):
  if dataset.note:
    run.say(dataset.note)
  source, settings = _source(config, dataset.identity), json.loads(config.to_json())
  stages.check_same('images or embeddings', dataset.identity)
  stages.check_same('labelled rows', dataset.labelled)
  store.claim(run.workdir, source, settings)
  embeddings, method, scale = _embed(run, config, dataset)
  k = config.neighbors.k or min(NEIGHBORS, len(embeddings) - 1)
  graph = neighbors.Graph(**stage(run, 'neighbors', neighbors.graph, embeddings=embeddings, k=k))
  pseudo_labels, num_classes = _cluster(run, config, embeddings, graph.indices)
  scores = _proxy(run, config, dataset, embeddings, pseudo_labels, num_classes)
  difficulty = select.difficulty(scores, config.select.score, seed=config.seed)
  found = _copies(run, dataset, embeddings)
  count = len(found) - len(np.unique(found))
  groups = found if count and config.select.duplicates == 'one' else ()
  candidates = select.Candidates(graph.indices, graph.similarity, pseudo_labels, difficulty, dataset.labelled, groups)
  budget = budget_count(config.select.budget, len(embeddings))
  # The judge grades what will be labelled in all, as if none of it were yet.
  beta, judged = _beta(run, config, embeddings, candidates._replace(labelled=()), num_classes,
                       budget + len(dataset.labelled))
  beta = select.with_room(candidates, budget, beta)
  indices = select.choose(config.select.method, candidates, budget, beta, seed=config.seed,
                          balance=config.select.balance)
  run.say(words.choice(len(indices), len(embeddings), config.select, beta, judged))
  chosen_copies = len(indices) - len(np.setdiff1d(found[indices], found[dataset.labelled]))
  if count:
    run.say(words.copies(len(found), count, len(indices), chosen_copies, config.select.duplicates))
  store.write(run.workdir, source, settings, ids=dataset.ids, indices=indices, embeddings=embeddings,
              pseudo_labels=pseudo_labels, scores=scores, skipped=dataset.skipped, root=dataset.root)
  run.say(words.written(run.workdir, dataset.skipped))
  return Selection(indices, embeddings, method, scale, graph, num_classes, pseudo_labels, scores, difficulty, beta,
                   judged, groups, (count, chosen_copies))


def _embed(run, config, dataset):
  """Embeddings float32 [N,D], the method that made them, and what does the same to further rows of given ones."""
  if dataset.embeddings is not None:
    return _given(run, config, dataset)
  method = config.embed.method
  given = {'images': Known(dataset.images, dataset.identity), 'seed': config.seed, 'shards': _shards(config, dataset),
           'neighbors': stages.on_lead(_nearest), 'count': len(dataset.ids),
           'pixels': Known(dataset.pixels, dataset.identity)}
  found, scores = {}, {}
  for name in encoders.candidates(dataset.images, dataset.root) if method == 'auto' else (method,):
    encoder, licence = table.look_up(encoders.ENCODERS, 'embed.method', name), encoders.licence_of(name)
    if licence:
      run.say(licence)
    function = table.load(encoder.function)
    arguments = table.accepted(function, config.embed, given | {'name': name})
    found[name] = stage(run, f'embed_{name}', function, **arguments)
    if not encoder.scaled:
      found[name] = _scaled(run, config, name, found[name])['embeddings']
  if len(found) > 1:
    scores = stage(run, 'embed', embed.consistencies, candidates=found, seed=config.seed)
  best = max(found, key=lambda name: scores.get(name, 0))
  run.say(words.embedding(best, found[best].shape[1], scores))
  return found[best], best, None


def _given(run, config, dataset):
  """As `_embed`, of the user's own embeddings."""
  embeddings = dataset.embeddings
  run.say(words.embedding('given', embeddings.shape[1], {}))
  if config.embed.method == 'given':
    return embeddings, 'given', lambda rows: rows
  tamed, kept, said = stages.on_each(lambda: scaling.tamed(embeddings, config.embed.wide))
  for line in said:
    run.say(line)
  made = _scaled(run, config, 'given', tamed if said else Known(embeddings, dataset.identity))
  transform = scaling.Transform(made['mean'], made.get('weights'), made.get('radius'))
  return made['embeddings'], 'given', lambda rows: transform(rows[:, kept])


def _scaled(run, config, name, features):
  made = stage(run, f'scale_{name}', scaling.scaled, embeddings=features, scaling=config.embed.scaling,
               components=config.embed.components, seed=config.seed)
  run.say(words.scaling(made['scaling'], scaling.SCALINGS[made['scaling']].help,
                        dict(zip(scaling.SCALINGS, made['agreements'], strict=True))))
  return made


def _copies(run, dataset, embeddings):
  """The groups of copies: int32 [N], by the images, or without any by the embeddings as they were given."""
  known = None if dataset.images is None else Known(dataset.images, dataset.identity)
  return stage(run, 'copies', copies.groups, images=known,
               embeddings=embeddings if known else Known(dataset.embeddings, dataset.identity))


def _nearest(embeddings, k):
  """The k nearest others of each: int32 [N,k]."""
  return neighbors.knn(embeddings, k)[0]


def _cluster(run, config, embeddings, near):
  """Pseudo-labels int32 [N], and the number of clusters that was asked for or guessed."""
  settings = config.cluster
  classes = settings.num_classes
  if classes is None:
    classes = stage(run, 'num_classes', cluster.estimate_num_classes, embeddings=embeddings, seed=config.seed)
  given = {'embeddings': embeddings, 'neighbors': near, 'num_classes': classes, 'seed': config.seed}
  found, scores = {}, {}
  for name in cluster.CLUSTERINGS if settings.method == 'auto' else (settings.method,):
    entry = cluster.CLUSTERINGS[name]
    function = table.load(entry.function)
    made = stage(run, f'cluster_{name}', function, version=entry.version, **table.accepted(function, settings, given))
    found[name] = made['labels'] if isinstance(made, dict) else made
  if len(found) > 1:
    scores = {name: cluster.information(labels, near) for name, labels in found.items()}
  best = max(found, key=lambda name: scores.get(name, 0))
  run.say(words.clustering(best, classes, scores))
  return found[best], classes


def _proxy(run, config, dataset, embeddings, pseudo_labels, num_classes):
  """How the proxy learned every example: name of a score -> float32 [N]."""
  training = proxy_training(config, dataset, embeddings)
  if training['inputs'] is dataset.images:
    training['inputs'] = Known(dataset.images, dataset.identity)
  scores = stage(run, 'proxy', proxy.dynamics_scores, pseudo_labels=pseudo_labels, num_classes=num_classes,
                 names=tuple(SCORES), **training)
  run.say(words.proxy(training['recipe'], training['epochs'], scores))
  return scores


def proxy_training(config: ConfigDict, dataset: data.Dataset, embeddings: np.ndarray) -> dict:
  """What the proxy is trained on and how, as arguments of `training.loop.fit`; what is left open is set."""
  has_images = dataset.images is not None
  settings = recipes.with_network(config.proxy, select.METHODS[config.select.method].network if has_images else 'mlp')
  inputs = dataset.images if recipes.takes_images(settings, has_images) else embeddings
  return {'inputs': inputs, 'recipe': recipes.recipe_of(settings, inputs), 'shards': _shards(config, dataset),
          'seed': config.seed, 'epochs': recipes.epochs(settings, len(inputs))}


def _beta(run, config, embeddings, candidates, num_classes, budget):
  """The beta to choose with, None for a method without one; and the judge's verdict, where it was asked."""
  how, settings = config.select, config.judge
  if not select.METHODS[how.method].drops_hardest:
    return None, None
  if how.beta != 'auto':
    return how.beta, None
  # Kept apart from the verdict, since they are the same for every budget and score.
  clusterings = stage(run, 'clusterings', cluster.independent, embeddings=embeddings, num_classes=num_classes,
                      neighbors=_nearest, count=settings.clusterings, seed=config.seed)
  covers = select.METHODS[how.method].covers
  choose = functools.partial(select.choose_among, method=how.method, candidates=candidates,
                             balance=how.balance, seed=config.seed, **select.constants(how.method))
  judged = stage(
      run, f'judge_{budget}', judge.verdict, embeddings=embeddings, clusterings=clusterings, budget=budget,
      choose=choose, draw=select.random, difficulty=candidates.difficulty, covers=covers, betas=settings.betas,
      weights=select.judge_weights(candidates.pseudo_labels, how.balance) if covers else None, folds=settings.folds,
      steps=settings.steps, randoms=settings.randoms, seed=config.seed)
  return float(judged['beta']), judged

