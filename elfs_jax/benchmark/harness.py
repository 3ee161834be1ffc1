"""The benchmark: every method at every prune rate and seed of one data set, a row each in runs.csv.

A seed sets the split (where there is no test set), the clustering, the proxies, the draws and the classifier's start.
The embedding is made once, for all seeds, from the images alone, the test set's among them. Rows are kept as they
come; a run that was stopped goes on.
"""
import csv
import functools
import importlib.util
import pathlib
import time

import jax
import numpy as np

from elfs_jax import checks, data, evaluate, judge, pipeline, select
from elfs_jax.benchmark import compare, methods
from elfs_jax.runtime import artifacts, mesh, store
from elfs_jax.training import loop as train, recipe as recipes

COLUMNS = ('data', 'encoder', 'clustering', 'proxy', 'classifier', 'settings', 'rate', 'method', 'beta', 'seed', 'n',
           'accuracy', 'choose_seconds', 'train_seconds', 'judge', 'forecast', 'forecast_half')
NUMBERS = {'seed': int, 'n': int} | dict.fromkeys(
    ('rate', 'beta', 'accuracy', 'choose_seconds', 'train_seconds', 'judge', 'forecast', 'forecast_half'), float)


def run(dataset, config, workdir, *, say=print, progress=None):
  """Run what is not yet in `workdir`/runs.csv, then write benchmark.md and benchmark.png there.

  Args: as in `pipeline.run`; `config` has the section `benchmark` of configs/benchmark.py.
  Returns: the rows, a list of dicts by COLUMNS.
  Raises: ValueError for a set without labels or an unknown method, before any work.
  """
  settings, workdir = config.benchmark, pathlib.Path(workdir)
  table = _asked_for(settings.methods, methods.table(config.judge.betas, settings.randoms))
  _check(dataset, config)
  if jax.distributed.is_initialized():
    raise ValueError('the benchmark runs on one host: leave out --hosts')
  with store.alone(workdir):
    return _run(dataset, config, table, workdir, say, progress)


def _run(dataset, config, table, workdir, say, progress):
  settings = config.benchmark
  embeddings, encoder = _embed_all(dataset, config, workdir / 'embed', say, progress)
  parts = (dataset.images, dataset.embeddings, dataset.labels, dataset.test_images, dataset.test_labels)
  fixed = _what_is_compared(config, encoder, artifacts.fingerprint(*(part for part in parts if part is not None)))
  path = workdir / 'runs.csv'
  rows = read(path)
  for seed in range(settings.seeds):
    done = {(row['rate'], row['method']) for row in rows if (row['seed'], row['settings']) == (seed, fixed['settings'])}
    if all((rate, method.name) in done for rate in settings.rates for method in table
           if method.beta is None or method.beta <= rate):
      continue
    start, (pool, grade) = time.monotonic(), _prepare(
        dataset, embeddings, config, workdir / fixed['settings'] / f'seed{seed}', seed)
    orders = {}
    for rate in settings.rates:
      left = [method for method in table if (rate, method.name) not in done]
      if progress:
        left = progress(left, desc=f'seed {seed}, {rate:.0%} pruned', total=len(left))
      for row in _grade_once(grade, _choose(pool, rate, left, min(settings.rates), orders)):
        rows.append(dict.fromkeys(COLUMNS) | fixed | {'rate': rate, 'seed': seed} | row)
        write(path, rows)
    say(f'[seed {seed}] {time.monotonic() - start:.0f} s')
  names = {method.name for method in table}
  mine = [row for row in rows if row['settings'] == fixed['settings'] and row['rate'] in settings.rates
          and row['seed'] < settings.seeds and (row['method'] in names or not row['method'].startswith('random'))]
  report(mine, workdir, say)
  return mine


def report(rows, workdir, say=print):
  """benchmark.md and benchmark.png from rows; says the former."""
  lines = compare.table(rows)
  words = (_heading(rows) if lines else '') + compare.summary(rows)
  artifacts.write_text(workdir / 'benchmark.md', words)
  say(words)
  if lines:
    seeds = len(lines[rows[0]['rate']][0].accuracy)
    title = f'{rows[0]["data"]}, {_classifier(rows)}\nbars: one standard deviation over {seeds} seeds'
    artifacts.write(workdir / 'benchmark.png', lambda file: compare.figure(lines, file, title))
  say(f'results in {workdir}: runs.csv, benchmark.md, benchmark.png')


def _heading(rows):
  """What was compared, and what the columns are."""
  draws = len({row['method'] for row in rows if row['method'].startswith('random')})
  return (f'# {rows[0]["data"]}, {_classifier(rows)}\n\n'
          'Accuracy: of the last step on the test set, mean over seeds; spread: its standard deviation. Gain: points '
          f'above the mean of {draws} random subsets a seed, [95 % interval]. Gap closure: gain in % of that of the '
          'best choice that saw all true labels (supervised_...), where there is one. Beta: the share left out at the '
          'hard end, mean over seeds.\n\n')


def _classifier(rows):
  return 'an MLP on the embeddings' if rows[0]['classifier'] == 'head' else 'a network on the images'


def read(path):
  """The rows of a runs.csv, numbers as numbers and empty cells as None; [] if there is none."""
  if not pathlib.Path(path).exists():
    return []
  with open(path, newline='') as file:
    return [{name: NUMBERS.get(name, str)(row[name]) if row.get(name) else None for name in COLUMNS}
            for row in csv.DictReader(file)]


def write(path, rows):
  """Write rows; None becomes an empty cell."""
  cells = [['' if row[name] is None else row[name] for name in COLUMNS] for row in rows]
  artifacts.write_rows(path, COLUMNS, cells)


def _check(dataset, config):
  """Refuse, before any work, what can't be compared. Raises: ValueError."""
  settings = config.benchmark
  if dataset.labels is None:
    raise ValueError('a benchmark measures accuracy and needs labels: give data.labels, or a set that has them')
  if settings.classifier not in GRADERS:
    raise ValueError(f'benchmark.classifier={settings.classifier!r} is unknown: choose one of {", ".join(GRADERS)}')
  for name in ('randoms', 'steps'):
    if settings[name] < 1:
      raise ValueError(f'benchmark.{name}={settings[name]} must be 1 or more')
  if settings.seeds < 1 or not settings.rates or not all(0 < rate < 1 for rate in settings.rates):
    raise ValueError(f'benchmark.seeds={settings.seeds} must be 1 or more and benchmark.rates={settings.rates} shares '
                     'pruned, between 0 and 1')
  if importlib.util.find_spec('matplotlib') is None:
    raise ValueError("a benchmark draws a figure with matplotlib: pip install -e '.[benchmark]'")
  _check_pool(dataset, config)


def _check_pool(dataset, config):
  """Refuse settings that the pool can't meet: all but the fifth that is set aside, if it is."""
  pool = len(evaluate.splits(len(dataset.ids), 1, has_test_set=dataset.test_images is not None)[0].pool)
  least = max(config.benchmark.rates)
  if select.floor_count(1 - least, pool) < 2:
    raise ValueError(f'benchmark.rates: {least:g} pruned leaves fewer than two of {pool} examples: prune less')
  config = config.copy_and_resolve_references()
  with config.ignore_type():
    config.select.budget = 1 - min(config.benchmark.rates)
  try:
    checks.check(config, pool, has_images=dataset.images is not None, has_embeddings=dataset.embeddings is not None)
  except ValueError as error:
    aside = len(dataset.ids) - pool
    raise ValueError(f'{error}' + (f' ({aside} of {aside + pool} are set aside to test on)' if aside else '')) from None


def _asked_for(names, table):
  if names == 'all':
    return table
  names = [name.strip() for name in names.split(',')]
  known = [method.name for method in table if not method.name.startswith('random_')]
  unknown = set(names) - set(known)
  if unknown:
    raise ValueError(f'benchmark.methods: there is no {sorted(unknown)[0]!r}; there are all, or ' + ', '.join(known))
  return [method for method in table if method.name in names
          or method.name.startswith('random')]  # Which all are compared with.


def _embed_all(dataset, config, workdir, say, progress):
  """Embeddings of the examples and, after them, of the test set, and what made them. No label is seen."""
  if dataset.embeddings is not None:
    alone = data.from_memory(embeddings=dataset.embeddings)
    return pipeline.embeddings_of(alone, config, workdir, say=say, progress=progress)
  images = dataset.images if dataset.test_images is None else np.concatenate([dataset.images, dataset.test_images])
  return pipeline.embeddings_of(data.from_memory(images=images), config, workdir, say=say, progress=progress)


def _what_is_compared(config, encoder, content):
  """The columns that all rows of this run share; `settings` tells rows of other settings apart."""
  parts = {name: config[name].to_dict() for name in ('embed', 'neighbors', 'cluster', 'proxy', 'select', 'judge',
                                                     'evaluate')}
  parts['select'].pop('budget')
  more = [config.benchmark.classifier, config.benchmark.steps, config.mesh.shards, config.seed, artifacts.VERSION,
          *judge.CONSTANTS, content]
  name = config.data.name
  if name in ('folder', 'arrays', 'embeddings'):  # These say only how it is read.
    name = pathlib.Path(config.data.path).absolute().name
  return {'data': name, 'encoder': encoder, 'clustering': config.cluster.method,
          'proxy': pipeline.proxy_settings(config)['network'] or 'auto', 'classifier': config.benchmark.classifier,
          'settings': artifacts.fingerprint(parts, more)[:8]}


def _prepare(dataset, embeddings, config, workdir, seed):
  """One seed's `methods.Pool`, and grade(subsets) -> rows."""
  own_test = dataset.test_images is not None
  split = evaluate.splits(len(dataset.ids), seed + 1, has_test_set=own_test)[seed]
  test = np.arange(len(dataset.ids), len(embeddings)) if own_test else split.test
  labels = np.concatenate([dataset.labels, dataset.test_labels]) if own_test else dataset.labels
  inputs = embeddings
  if (config.benchmark.classifier == 'network' and dataset.images is not None
      and config.evaluate.network != 'mlp'):
    inputs = np.concatenate([dataset.images, dataset.test_images]) if own_test else dataset.images
  unlabelled = data.from_memory(images=None if dataset.images is None else dataset.images[split.pool],
                                embeddings=embeddings[split.pool])
  pool = _pool(unlabelled, labels[split.pool], config, workdir, seed)
  grader = GRADERS[config.benchmark.classifier]
  return pool, functools.partial(grader, inputs, labels, split.pool, test, config, seed)


def _pool(unlabelled, labels, config, workdir, seed):
  config = config.copy_and_resolve_references()
  config.seed, config.data.name, config.embed.method = seed, 'memory', 'given'

  @functools.cache
  def coreset(budget):
    with config.ignore_type():
      config.select.budget = budget
    start = time.monotonic()
    selection = pipeline.select_from(unlabelled, config, workdir, say=lambda _: None)[0]
    return selection, time.monotonic() - start

  first, _ = coreset(select.floor_count(1 - config.benchmark.rates[0], len(labels)))
  settings = pipeline.proxy_settings(config)
  use_images = recipes.takes_images(settings, unlabelled.images is not None)
  inputs = unlabelled.images if use_images else unlabelled.embeddings

  def fit(targets):
    return train.fit(inputs, targets, int(targets.max()) + 1, recipes.recipe_of(settings, inputs),
                     epochs=recipes.epochs(settings, len(inputs)), mesh=mesh.data_mesh(config.mesh.shards),
                     shards=config.mesh.shards, seed=seed)

  @functools.cache
  def supervised():
    key = artifacts.fingerprint(artifacts.VERSION, labels, inputs, settings, config.mesh.shards, seed)
    return artifacts.cached(workdir / 'stages' / 'supervised.npz', key, lambda: fit(labels).scores)[0]

  def cut(difficulty, budget, beta):
    return select.cut(config.select.method, first.graph, first.pseudo_labels, difficulty, budget, beta, seed,
                      balance=config.select.balance)

  return methods.Pool(unlabelled.embeddings, first.graph[0], coreset, cut, first.pseudo_labels, first.scores,
                      lambda: fit(first.pseudo_labels).represent(inputs), supervised, seed)


def _choose(pool, rate, table, least_rate, orders):
  """[(row so far, indices into the pool)] of each method; a nested one runs once, at the largest budget."""
  count, out = len(pool.embeddings), []
  budget = select.floor_count(1 - rate, count)
  for method in table:
    if method.nested:
      if method.name not in orders:
        orders[method.name] = _timed(method.choose, pool, select.floor_count(1 - least_rate, count))
      chosen, seconds = orders[method.name]
    else:
      chosen, seconds = _timed(method.choose, pool, budget)
    if chosen is not None:
      row = {'method': method.name, 'beta': method.beta, 'n': budget, 'choose_seconds': round(seconds, 3)}
      out.append((row | _judged(pool, method, budget), chosen[:budget]))
  return out


def _grade_once(grade, subsets):
  """Rows of all subsets; several methods that chose the same, in the same order, share one training."""
  same = {}
  for row, chosen in subsets:
    same.setdefault(chosen.tobytes(), []).append((row, chosen))
  for group, graded in zip(same.values(), grade([group[0] for group in same.values()])):
    for row, _ in group:
      yield row | {name: graded[name] for name in ('accuracy', 'train_seconds')}


def _judged(pool, method, budget):
  """What the judge, without labels, said of this subset or of others like it."""
  selection, seconds = pool.coreset(budget)
  judged = selection.judged
  if method.name == 'elfs':
    row = {'beta': selection.beta, 'choose_seconds': round(seconds, 3)}
    return row | ({'forecast': float(judged['gap']), 'forecast_half': float(judged['half'])} if judged else {})
  if judged is None:
    return {}
  if method.name == 'random':
    return {'judge': float(judged['random_scores'].mean())}
  at = np.flatnonzero(np.isclose(judged['betas'], method.beta)) if method.name.startswith('elfs_beta_') else []
  return {'judge': float(judged['scores'][at[0]].mean())} if len(at) else {}


def _grade_by_head(embeddings, labels, pool_rows, test, config, seed, subsets):
  """Accuracy of an MLP on the embeddings: all subsets at once, with one start and the same draws."""
  if not subsets:
    return []
  start = time.monotonic()
  accuracy = judge.grade(embeddings, np.stack([pool_rows[chosen] for _, chosen in subsets]), labels[None], test,
                         steps=config.benchmark.steps, seed=seed)[:, 0]
  seconds = round((time.monotonic() - start) / len(subsets), 3)
  return [row | {'accuracy': float(value), 'train_seconds': seconds} for (row, _), value in zip(subsets, accuracy)]


def _grade_by_network(inputs, labels, pool_rows, test, config, seed, subsets):
  """Accuracy of the evaluation's network, one subset after the other."""
  recipe = recipes.recipe_of(config.evaluate, inputs)
  for row, chosen in subsets:
    accuracy, seconds = _timed(
        evaluate.downstream_accuracy, inputs, labels, pool_rows[chosen], inputs[test], labels[test],
        int(labels.max()) + 1, recipe, steps=config.benchmark.steps, mesh=mesh.data_mesh(config.mesh.shards), seed=seed)
    yield row | {'accuracy': accuracy, 'train_seconds': round(seconds, 3)}


GRADERS = {'head': _grade_by_head, 'network': _grade_by_network}


def _timed(function, *args, **kwargs):
  start = time.monotonic()
  return function(*args, **kwargs), time.monotonic() - start
