"""The benchmark: every method at every prune rate and seed of one data set, a row each in runs.csv.

A seed sets the split (where there is no test set), the clustering, the proxies, the draws and the classifier's start.
The embedding is made once, for all seeds, from the images alone, the test set's among them. Rows are kept as they
come; a run that was stopped goes on.
"""
import dataclasses
import functools
import importlib.util
import pathlib
import time

import numpy as np

from elfs_jax import checks, cluster, data, evaluate, judge, pipeline, proxy, select
from elfs_jax import config as config_lib
from elfs_jax import table as tables
from elfs_jax.benchmark import compare, grade, methods, runs
from elfs_jax.budget import floor_count
from elfs_jax.runtime import artifacts, mesh, stages, store
from elfs_jax.training import loop as train


def run(dataset, config, workdir, *, say=print, progress=None):
  """Run what is not yet in `workdir`/runs.csv, then write benchmark.md and benchmark.png there.

  Args: as in `pipeline.run`; `config` has the section `benchmark` of configs/benchmark.py.
  Returns: the rows, a list of dicts by `runs.COLUMNS`.
  Raises: ValueError for a set without labels or an unknown method, before any work.
  """
  settings, workdir = config.benchmark, pathlib.Path(workdir)
  table = _asked_for(settings.methods, methods.table(config.judge.betas, settings.randoms))
  _check(dataset, config)
  if stages.several_hosts():
    raise ValueError('the benchmark runs on one host: leave out --hosts')
  for line in dataset.notes:
    say(line)
  with store.held(workdir):
    return _run(dataset, config, table, workdir, say, progress)


def _run(dataset, config, table, workdir, say, progress):
  settings = config.benchmark
  embeddings, encoder = _embed_all(dataset, config, workdir / 'embed', say, progress)
  more = [] if dataset.test_embeddings is None else [dataset.test_embeddings]
  content = artifacts.fingerprint(dataset.identity, dataset.labels, dataset.test_images, dataset.test_labels, *more)
  fixed = _what_is_compared(config, encoder, content)
  path = workdir / 'runs.csv'
  rows = runs.read(path)
  for seed in range(settings.seeds):
    own = [row for row in rows if row['settings'] == fixed['settings'] and row['seed'] == seed]
    done = {(row['rate'], row['method']) for row in own}
    wanted = {(rate, method.name) for rate in settings.rates for method in table
              if method.beta is None or method.beta <= rate}
    if wanted <= done:
      continue
    start = time.monotonic()
    pool, grader = _prepare(dataset, embeddings, config, workdir / fixed['settings'] / f'seed{seed}', seed)
    orders = {}
    for rate in settings.rates:
      left = [method for method in table if (rate, method.name) not in done]
      if progress:
        left = progress(left, desc=f'seed {seed}, {rate:.0%} pruned', total=len(left))
      subsets = _choose(pool, rate, left, min(settings.rates), orders)
      for row in grade.grade_once(grader, subsets):
        rows.append(dict.fromkeys(runs.COLUMNS) | fixed | {'rate': rate, 'seed': seed} | row)
        runs.write(path, rows)
    say(f'[seed {seed}] {time.monotonic() - start:.0f} s')
  names = {method.name for method in table}
  mine = [row for row in rows if row['settings'] == fixed['settings'] and row['rate'] in settings.rates
          and row['seed'] < settings.seeds
          # Of methods that were not asked for this time, what is there is shown; of random subsets, no more than asked.
          and (row['method'] in names or not row['method'].startswith('random'))]
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


def _check(dataset, config):
  """Refuse, before any work, what can't be compared. Raises: ValueError."""
  if dataset.labels is None or (dataset.labels < 0).any():
    raise ValueError('a benchmark measures accuracy and needs labels of all: give data.labels, or a set that has them')
  config_lib.check(config)
  if config.select.group_by is not None:
    raise ValueError('select.group_by goes with a choice, not with a benchmark: leave it out')
  if importlib.util.find_spec('matplotlib') is None:
    raise ValueError("a benchmark draws a figure with matplotlib: pip install -e '.[benchmark]'")
  _check_pool(dataset, config)


def _check_pool(dataset, config):
  """Refuse settings that the pool can't meet: all but the fifth that is set aside, if it is."""
  pool = len(evaluate.splits(len(dataset.ids), 1, has_test_set=_has_test_set(dataset, config))[0].pool)
  least = max(config.benchmark.rates)
  if floor_count(1 - least, pool) < 2:
    raise ValueError(f'benchmark.rates: {least:g} pruned leaves fewer than two of {pool} examples: prune less')
  config = config.copy_and_resolve_references()
  with config.ignore_type():
    config.select.budget = 1 - min(config.benchmark.rates)
  try:
    checks.check(config, pool, has_images=dataset.images is not None, has_embeddings=dataset.embeddings is not None)
  except ValueError as error:
    aside = len(dataset.ids) - pool
    raise ValueError(f'{error}' + (f' ({aside} of {aside + pool} are set aside to test on)' if aside else '')) from None


def _on_images(dataset, config):
  """Whether the classifier is trained on images, else on embeddings."""
  return (config.benchmark.classifier == 'network' and dataset.images is not None
          and config.evaluate.network != 'mlp')


def _has_test_set(dataset, config):
  """Whether there is a test set of what the classifier is trained on; images of one are embedded with the others."""
  images = dataset.embeddings is None or _on_images(dataset, config)
  return (dataset.test_images if images else dataset.test_embeddings) is not None


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
    images = data.from_memory(embeddings=dataset.embeddings)
  elif dataset.test_images is None:  # Files are decoded at the encoder's size.
    images = dataclasses.replace(dataset, labels=None)
  else:
    images = data.from_memory(images=np.concatenate([dataset.images, dataset.test_images]))
  embeddings, name, scale = pipeline.embeddings_of(images, config, workdir, say=say, progress=progress)
  if dataset.embeddings is not None and dataset.test_embeddings is not None:
    embeddings = np.concatenate([embeddings, scale(dataset.test_embeddings)])
  return embeddings, name


def _what_is_compared(config, encoder, content):
  """The columns that all rows of this run share; `settings` tells rows of other settings apart."""
  parts = {name: config[name].to_dict() for name in ('embed', 'neighbors', 'cluster', 'proxy', 'select', 'judge',
                                                     'evaluate')}
  for name in ('budget', 'reserve'):
    parts['select'].pop(name)
  method = config.cluster.method
  clusterings = cluster.CLUSTERINGS if method == 'auto' else (method,)
  functions = [judge.verdict, judge.grade, cluster.independent, cluster.estimate_num_classes, proxy.dynamics_scores,
               *(tables.load(cluster.CLUSTERINGS[name].function) for name in clusterings)]
  versions = [cluster.CLUSTERINGS[name].version for name in clusterings]
  more = [versions, select.METHODS[config.select.method].version, config.benchmark.classifier, config.benchmark.steps,
          config.mesh.shards, config.seed, content, stages.constants_of(functions),
          select.constants(config.select.method)]
  name = config.data.name
  if name in ('folder', 'arrays', 'embeddings'):  # These say only how it is read.
    name = pathlib.Path(config.data.path).absolute().name
  return {'data': name, 'encoder': encoder, 'clustering': config.cluster.method,
          'proxy': config.proxy.network or select.METHODS[config.select.method].network,
          'classifier': config.benchmark.classifier,
          'settings': artifacts.fingerprint(parts, more)[:8]}


def _prepare(dataset, embeddings, config, workdir, seed):
  """One seed's `methods.Pool`, and its grader: subsets -> rows."""
  own_test = _has_test_set(dataset, config)
  split = evaluate.splits(len(dataset.ids), seed + 1, has_test_set=own_test)[seed]
  test = len(dataset.ids) + np.arange(len(dataset.test_labels)) if own_test else split.test
  labels = np.concatenate([dataset.labels, dataset.test_labels]) if own_test else dataset.labels
  inputs = embeddings
  if _on_images(dataset, config):
    inputs = np.concatenate([dataset.images, dataset.test_images]) if own_test else dataset.images
  unlabelled = data.from_memory(images=None if dataset.images is None else dataset.images[split.pool],
                                embeddings=embeddings[split.pool])
  pool = _pool(unlabelled, labels[split.pool], config, workdir, seed)
  grader = grade.GRADERS[config.benchmark.classifier]
  return pool, functools.partial(grader, inputs, labels, split.pool, test, config, seed)


def _pool(unlabelled, labels, config, workdir, seed):
  config = config.copy_and_resolve_references()
  config.seed, config.data.name, config.embed.method = seed, 'memory', 'given'

  @functools.cache
  def coreset(budget):
    with config.ignore_type():
      config.select.budget = budget
    (workdir / 'coreset.csv').unlink(missing_ok=True)  # Handed out to nobody: each budget is a choice of its own.
    start = time.monotonic()
    selection = pipeline.select_from(unlabelled, config, workdir, say=_silent)
    return selection, time.monotonic() - start

  first, _ = coreset(floor_count(1 - config.benchmark.rates[0], len(labels)))
  training = pipeline.steps.proxy_training(config, unlabelled, unlabelled.embeddings)

  @functools.cache
  def supervised():
    current = stages.start(workdir, training['shards'], {}, _silent, None)
    return stages.stage(current, 'supervised', proxy.dynamics_scores, pseudo_labels=labels,
                        num_classes=int(labels.max()) + 1, **training)

  def represent():
    targets = first.pseudo_labels
    fitted = train.fit(labels=targets, num_classes=int(targets.max()) + 1, mesh=mesh.data_mesh(training['shards']),
                       **training)
    return fitted.represent(training['inputs'])

  def cut(difficulty, budget, beta):
    candidates = select.Candidates(first.graph.indices, first.graph.similarity, first.pseudo_labels, difficulty,
                                   groups=first.groups)
    return select.choose(config.select.method, candidates, budget, beta, seed=seed, balance=config.select.balance)

  return methods.Pool(unlabelled.embeddings, first.graph.indices, coreset, cut, first.pseudo_labels, first.scores,
                      represent, supervised, seed)


def _silent(line):
  pass


def _choose(pool, rate, table, least_rate, orders):
  """[(row so far, indices into the pool)] of each method; a nested one runs once, at the largest budget."""
  count, out = len(pool.embeddings), []
  budget = floor_count(1 - rate, count)
  for method in table:
    if method.nested:
      if method.name not in orders:
        orders[method.name] = _timed(method.choose, pool, floor_count(1 - least_rate, count))
      chosen, seconds = orders[method.name]
    else:
      chosen, seconds = _timed(method.choose, pool, budget)
    if chosen is not None:
      row = {'method': method.name, 'beta': method.beta, 'n': budget, 'choose_seconds': round(seconds, 3)}
      out.append((row | _judged(pool, method, budget), chosen[:budget]))
  return out


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


def _timed(function, *args, **kwargs):
  start = time.monotonic()
  return function(*args, **kwargs), time.monotonic() - start
