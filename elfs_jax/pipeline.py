"""The pipeline: the only module that knows the stages' order, the settings and the workdir.

data -> embed -> neighbors -> cluster -> proxy -> select (judge) -> artifacts -> evaluate -> report. A stage's result
is kept in `workdir/stages` under a fingerprint of its inputs and settings, and reused while both are the same.
"""
import contextlib
import dataclasses
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from elfs_jax import checks, cluster, data, embed, judge, neighbors, proxy, select
from elfs_jax.report import comparison as outcome, words as summary
from elfs_jax.runtime import artifacts, hosts, mesh as mesh_lib, store
from elfs_jax.training import recipe as recipes
from elfs_jax.encoders import self_supervised

NEIGHBORS = 50  # In the graph, where there are so many.


class Selection(NamedTuple):
  """The coreset and what led to it; arrays are [N] but for `indices` [n]; `graph`: `knn`'s two."""
  indices: np.ndarray
  embeddings: np.ndarray
  graph: tuple
  beta: float | None
  difficulty: np.ndarray
  scores: dict
  pseudo_labels: np.ndarray
  judged: dict | None
  num_classes: int
  embedding: str | None = None  # The method that made the embeddings.


def select_from(dataset, config, workdir, *, say=print, progress=None):
  """Run every stage up to the coreset and write its artifacts; sees no label.

  Args:
    dataset: `data.Dataset`; its labels are dropped at the door.
    config: from `config.get_config()`.
    workdir: a folder for results, made if missing; results of other data in it are an error.
    say, progress: how to print a line, and to show progress as progress(iterable, desc=, total=); on the lead alone.
  Returns: (`Selection`, `Run`).
  Raises: ValueError in one line for settings that the data can't meet, before any long work.
  """
  with _alone(dataset, config, workdir, say, progress) as run:
    return _choose(run, _without_labels(dataset)), run


def _choose(run, dataset):
  identity = store.claim(run.workdir, run.config, dataset)
  embeddings, method, key = _embed(run, dataset, identity)
  graph, key_near = _neighbors(run, embeddings, key)
  labels, num_classes, key = _cluster(run, embeddings, graph[0], key_near)
  scores, key_scores = _proxy(run, dataset, embeddings, labels, num_classes, key)
  chosen = _select(run, embeddings, graph, labels, num_classes, scores, key_scores, key_near)
  hosts.from_lead(lambda: store.write(run, dataset, chosen, identity))
  return chosen._replace(embedding=method)


def embeddings_of(dataset, config, workdir, *, say=print, progress=None):
  """The embedding stage alone, as in `select_from`. Returns: (embeddings float32 [N,D], the method that made them)."""
  run = _start(workdir, config, say, progress)
  content = dataset.embeddings if dataset.images is None else dataset.images
  return _embed(run, dataset, artifacts.fingerprint(content))[:2]


def read_data(config, progress=None):
  """The data set that the config names; `data.load` has the errors."""
  settings = config.data
  return hosts.on_each(lambda: data.load(settings.name, settings.path, images=settings.images, labels=settings.labels,
                                         size=settings.size, progress=progress))


def bar(iterable, *, desc, total):
  """A progress bar with an estimate, for what takes over two seconds."""
  from tqdm import tqdm
  return tqdm(iterable, desc=f'  {desc}', total=total, delay=2, leave=False, dynamic_ncols=True)


def run(dataset, config, workdir, *, say=print, progress=None):
  """`select_from`, then what needs labels, where there are any: the comparison with random choice, and the report.

  Args and errors as in `select_from`. Returns: (`Selection`, metrics: dict as in metrics.json).
  """
  with _alone(dataset, config, workdir, say, progress) as current:
    hosts.check_same('labels or test set', dataset.labels, dataset.test_images, dataset.test_labels)
    chosen = _choose(current, _without_labels(dataset))
    metrics = outcome.write_report(current, dataset, chosen)
  words = summary.text(metrics)
  if words:
    current.say(words)
  current.say(f'results in {current.workdir}: coreset.csv, report.html and more')
  return chosen, metrics


@contextlib.contextmanager
def _alone(dataset, config, workdir, say, progress):
  """The `Run` of settings that were checked, in a workdir that no other run uses."""
  hosts.on_each(lambda: checks.check(config, len(dataset.ids), has_images=dataset.images is not None,
                                     has_embeddings=dataset.embeddings is not None))
  run = _start(workdir, config, say, progress)
  with store.alone(run.workdir):
    yield run


def _start(workdir, config, say, progress):
  how = {name: part for name, part in config.to_dict().items() if name != 'data'}  # A path may be another's own.
  hosts.check_same('settings or another JAX', how, jax.__version__)
  if not hosts.lead():
    say, progress = lambda _: None, None
  return store.Run(pathlib.Path(workdir), config, mesh_lib.data_mesh(config.mesh.shards), say,
                   progress or (lambda iterable, **_: iterable), {})


def _embed(run, dataset, identity):
  settings = run.config.embed
  key = artifacts.fingerprint(artifacts.VERSION, identity, settings.to_dict(), run.config.seed, run.config.mesh.shards)
  def compute():
    if dataset.embeddings is not None:
      given = settings.method == 'given'
      return {'embeddings': dataset.embeddings if given else embed.scale(dataset.embeddings), 'method': 'given'}
    found = {}
    if settings.method in ('pca', 'auto'):
      found['pca'] = embed.pca(dataset.images, components=settings.components, seed=run.config.seed)
    if settings.method in ('self_supervised', 'auto'):
      found['self_supervised'] = _self_supervised(run, dataset.images, key)
    if len(found) == 1:
      return {'embeddings': found[settings.method], 'method': settings.method}
    best, scores = embed.best(found, seed=run.config.seed)
    return {'embeddings': found[best], 'method': best} | {f'score_{name}': s for name, s in scores.items()}
  result = store.stage(run, 'embed', key, compute, shared=True)
  run.say(f'  {result["embeddings"].shape[1]} dimensions, method {result["method"]}{_listing(result)}')
  return result['embeddings'], str(result['method']), key


def _self_supervised(run, images, key):
  settings = run.config.embed
  def near(features, k):
    return hosts.from_lead(lambda: neighbors.knn(features, k)[0])
  return self_supervised.embed(
      images, mesh=run.mesh, neighbors=near, shards=run.config.mesh.shards, epochs=settings.epochs,
      batch=settings.batch, width=settings.width, refresh=settings.refresh, learning_rate=settings.learning_rate,
      flip=settings.flip, seed=run.config.seed,
      progress=run.progress, **store.checkpointed(run, 'embed', key))


def _neighbors(run, embeddings, key):
  k = run.config.neighbors.k or min(NEIGHBORS, len(embeddings) - 1)
  key = artifacts.fingerprint(key, k)
  found = store.stage(run, 'neighbors', key, lambda: neighbors.graph(embeddings, k, progress=run.progress)._asdict())
  return (found['indices'], found['similarity']), key


def _cluster(run, embeddings, near, key):
  settings, seed = run.config.cluster, run.config.seed
  key = artifacts.fingerprint(key, settings.to_dict(), seed)
  def compute():
    classes = settings.num_classes or cluster.estimate_num_classes(embeddings, seed=seed)
    found, extra = {}, {}
    if settings.method in ('kmeans', 'auto'):
      found['kmeans'] = cluster.kmeans(embeddings, classes, neighbors=near, seed=seed)
    if settings.method in ('merged', 'auto'):
      found['merged'] = cluster.merged_kmeans(embeddings, classes, neighbors=near, seed=seed)
    if settings.method in ('temi', 'auto'):
      result = _temi(run, embeddings, near, classes, key)
      found['temi'] = result.labels
      if result.changed is not None:
        extra['changed'] = result.changed
    best, scores = (settings.method, {}) if len(found) == 1 else cluster.best(found, near)
    return ({'labels': found[best], 'method': best, 'num_classes': classes} | extra
            | {f'score_{name}': s for name, s in scores.items()})
  result = store.stage(run, 'cluster', key, compute)
  run.say(f'  {result["num_classes"]} clusters, method {result["method"]}{_listing(result)}')
  return result['labels'], int(result['num_classes']), key


def _temi(run, embeddings, near, classes, key):
  settings = run.config.cluster
  return cluster.temi(
      embeddings, classes, neighbors=near, heads=settings.heads, hidden=tuple(settings.hidden), epochs=settings.epochs,
      batch=settings.batch, learning_rate=settings.learning_rate, warmup_epochs=settings.warmup_epochs,
      teacher_momentum=settings.teacher_momentum, init=settings.init, seed=run.config.seed, progress=run.progress,
      **store.checkpointed(run, 'cluster', key))


def _proxy(run, dataset, embeddings, labels, num_classes, key):
  settings = proxy_settings(run.config)
  inputs = dataset.images if recipes.takes_images(settings, dataset.images is not None) else embeddings
  recipe = recipes.recipe_of(settings, inputs)
  epochs = recipes.epochs(settings, len(inputs))
  key = artifacts.fingerprint(key, recipe._asdict(), epochs, run.config.mesh.shards)
  def compute():
    return proxy.dynamics_scores(inputs, labels, num_classes, recipe, epochs=epochs, mesh=run.mesh,
                                 shards=run.config.mesh.shards, seed=run.config.seed, progress=run.progress,
                                 **store.checkpointed(run, 'proxy', key))
  scores = store.stage(run, 'proxy', key, compute, shared=True)
  run.say(f'  {recipe.network}, {epochs} epochs of batch {recipe.batch}; mean AUM {scores["aum"].mean():.3f}')
  return scores, key


def proxy_settings(config):
  """The section `proxy`; a network left open is the one that `select.method` was published with, or ours with ours."""
  published = config.select.method in ('double_end', 'stratified')
  return dict(config.proxy) if published else recipes.with_network(config.proxy, 'mlp')


def _select(run, embeddings, graph, labels, num_classes, scores, key, key_embeddings):
  settings, seed = run.config.select, run.config.seed
  difficulty = proxy.difficulty(scores, settings.score, seed=seed)
  budget = select.budget_count(settings.budget, len(labels))
  beta, judged = settings.beta, None
  if settings.method not in select.WITH_BETA:
    beta = None
  elif beta == 'auto':
    clusterings, key_clusterings = _clusterings(run, embeddings, num_classes, key_embeddings)
    key = artifacts.fingerprint(key, key_clusterings, settings.score, settings.method, settings.balance,
                                budget, run.config.judge.to_dict(), *judge.CONSTANTS, seed)
    judged = store.stage(run, f'judge_{budget}', key,
                         lambda: _judge(run, embeddings, graph, labels, clusterings, difficulty, budget))
    beta = float(judged['beta'])
  chosen = hosts.from_lead(lambda: select.cut(settings.method, graph, labels, difficulty, budget, beta, seed,
                                              balance=settings.balance))
  run.say(f'[select] {len(chosen)} of {len(labels)} by {settings.method} of {settings.score}'
          + (f', beta {beta:g}' if beta is not None else ''))
  if judged:
    run.say(summary.judgement(judged))
  return Selection(chosen, embeddings, graph, beta, difficulty, scores, labels, judged, num_classes)


def _clusterings(run, embeddings, num_classes, key):
  """What the judge grades by; kept apart from its verdict, since it is the same for every budget and score."""
  settings, seed = run.config.judge, run.config.seed
  key = artifacts.fingerprint(key, num_classes, settings.clusterings, seed)
  return store.stage(run, 'clusterings', key, lambda: {'labels': cluster.independent(
      embeddings, num_classes, neighbors=lambda x, k: neighbors.knn(x, k)[0], count=settings.clusterings,
      seed=seed)})['labels'], key


def _judge(run, embeddings, graph, labels, clusterings, difficulty, budget):
  """The judge's verdict on each beta, and its forecast."""
  settings, method, n, seed = run.config.judge, run.config.select.method, len(difficulty), run.config.seed
  balance, weights = run.config.select.balance, None
  def choose(rows, count, beta):
    return select.cut(method, graph, labels, difficulty, count, beta, seed, balance=balance, rows=rows)
  if method == 'coverage':
    weights = judge.image_weights(labels, balance)
    flock = {'flock': judge.flock(choose, difficulty)}
    expected = judge.least_beta(flock['flock'], 1 - budget / n)
    betas = {expected, *(b for b in settings.betas if b > expected)}
  else:
    flock, expected, betas = {}, judge.published_beta(1 - budget / n), settings.betas
  return judge.search(embeddings, clusterings, choose, budget, betas, expected, weights=weights,
                      folds=settings.folds, randoms=settings.randoms, steps=settings.steps, seed=seed,
                      progress=run.progress) | flock


def _without_labels(dataset):
  return dataclasses.replace(dataset, labels=None, test_images=None, test_labels=None, class_names=None)


def _listing(result):
  scores = [f'{name[6:]} {value:.3f}' for name, value in result.items() if name.startswith('score_')]
  return f' ({", ".join(scores)})' if scores else ''


