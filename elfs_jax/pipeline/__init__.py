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

from elfs_jax import checks, copies, data, neighbors, outcome, select
from elfs_jax import config as config_lib
from elfs_jax.budget import budget_count, reserve_count
from elfs_jax.pipeline import learn, steps
from elfs_jax.report import words
from elfs_jax.runtime import handed, stages, store


class Selection(NamedTuple):
  """The coreset and what led to it; arrays are [N] but for `indices` [n] and `reserve` [r]."""
  indices: np.ndarray            # In the order in which to label,
  reserve: np.ndarray            # and what comes next.
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
  groups: np.ndarray | tuple     # As `select.Candidates` has them,
  alike: np.ndarray              # and those of all copies, int32, of whom several may be chosen too.
  standing: select.Standing
  copies: tuple[int, int]        # How many are copies, and how many of those chosen.
  origins: np.ndarray | tuple    # As `select.Candidates` has them,
  share: float                   # and the largest share of one.


def read_data(config: ConfigDict, workdir: pathlib.Path | None = None, progress: Callable | None = None,
              dry: bool = False, labelling: Callable | None = None) -> data.Dataset:
  """The data set that the config names, without what is held out; its decoded images are kept in the workdir.

  What an earlier run held out in the workdir stays held out. `labelling` gives the data more labelled rows, as
  labelling(dataset) -> dataset, before anything is held out. `data.load` has `dry` and the errors.
  """
  config_lib.check(config)
  settings = config.data
  cache = None if workdir is None else store.cache_in(workdir, _source(config))
  dataset = stages.on_each(lambda: data.load(
      settings.name, settings.path, images=settings.images, labels=settings.labels, labelled=settings.labelled,
      size=settings.size, test=settings.test, value_range=settings.range, max_pixels=settings.max_pixels,
      fit=settings.fit, progress=progress, cache=cache, dry=dry))
  dataset = dataset if labelling is None else labelling(dataset)
  dataset = stages.on_each(lambda: data.with_groups(dataset, config.select.group_by))
  count, standing = config.select.holdout, [] if workdir is None else store.holdout_in(workdir)
  if count is None and not standing:
    return dataset
  stages.on_each(lambda: checks.check_holdout(count, len(dataset.ids), len(dataset.labelled)))
  groups = copies.equal_rows(dataset.embeddings if dataset.images is None else dataset.images)
  return stages.on_each(lambda: data.hold_out(dataset, count, groups=groups, standing=standing, seed=config.seed))


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
  """Run every stage up to the coreset and write its artifacts; sees no label but those that `labelled` has.

  Args:
    dataset: its other labels are dropped at the door.
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
  return steps.embeddings_of(_run_of(dataset, config, workdir, say, progress), config, dataset)[:3]


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
  return stages.start(workdir, steps.shards_of(config, dataset), settings, say, progress)


def check(dataset: data.Dataset, config: ConfigDict) -> None:
  """Refuse settings that the data can't meet. Raises: ValueError."""
  checks.check(config, len(dataset.ids), has_images=dataset.images is not None,
               has_embeddings=dataset.embeddings is not None, labelled=len(dataset.labelled),
               side=None if dataset.images is None else min(dataset.images.shape[1:3]),
               grouped=dataset.group_names is not None)


@contextlib.contextmanager
def _started(dataset, config, workdir, say, progress):
  """The run, its settings checked, in a workdir that no other run uses."""
  stages.on_each(lambda: check(dataset, config))
  current = _run_of(dataset, config, workdir, say, progress)
  with store.held(current.workdir):
    for line in dataset.notes:
      current.say(line)
    yield current


def _without_labels(dataset):
  """The data without the labels that no one has paid for yet: those of `labelled` stay."""
  return dataclasses.replace(dataset, labels=None, test_images=None, test_labels=None, class_names=None,
                             test_embeddings=None)


def _source(config, identity=None):
  return store.source_of(config.data.name, config.data.path, config.data.images, identity)


def _choose(run, config, dataset):
  source, settings = _source(config, dataset.identity), json.loads(config.to_json())
  stages.check_same('images or embeddings', dataset.identity)
  stages.check_same('labelled rows', dataset.labelled, dataset.told[1])
  stages.check_same('groups', dataset.group_names)
  store.claim(run.workdir, source, settings)
  if run.last is None:
    store.write_holdout(run.workdir, dataset.holdout, dataset.root, config.data.root_url)
  learned = learn.learn(run, config, dataset)
  embeddings, graph, pseudo_labels = learned.embedded.embeddings, learned.graph, learned.pseudo_labels
  difficulty = select.difficulty(learned.scores, config.select.score, seed=config.seed)
  found = steps.copies_of(run, dataset, embeddings)
  count = len(found) - len(np.unique(found))
  groups = found if count and config.select.duplicates == 'one' else ()
  origins, share = steps.origins_of(config, dataset)
  candidates = select.Candidates(graph.indices, graph.similarity, pseudo_labels, difficulty, dataset.labelled, groups,
                                 origins, share, steps.weight_of(run, config, dataset, embeddings))
  budget = budget_count(config.select.budget, len(embeddings))
  key = handed.key_of(settings, dataset.ids, dataset.labelled, steps.given_in_memory(config, dataset))
  before = handed.read(run.workdir, key, dataset.ids, config.select.beta) or handed.Handed(found[:0], None, budget)
  if len(dataset.labelled) and learned.came:  # A round goes by its labels: what is new competes with what waits.
    before = before._replace(rows=found[:0])
  # The judge grades what will be labelled in all, as if none of it were yet.
  judged_with = functools.partial(steps.beta_of, run, config, embeddings, candidates._replace(labelled=(), weight=()),
                                  learned.num_classes, budget + len(dataset.labelled))
  if config.select.beta == 'auto' and learned.beta is not None:
    asked, judged = learned.beta, None
  else:
    asked, judged = judged_with(None if budget == before.searched else before.beta)
  if before.beta not in (None, asked):  # Files came or went, and the judge would now take another.
    asked, judged = judged_with(before.beta)
  indices, reserve = select.choose_on(before.rows, config.select.method, candidates, budget, asked, seed=config.seed,
                                      balance=config.select.balance,
                                      reserve=reserve_count(config.select.reserve, budget))
  beta = select.with_room(candidates, budget, asked)
  run.say(words.choice(len(indices), len(embeddings), config.select, beta, judged))
  if len(before.rows) not in (0, budget):
    run.say(words.begun(len(before.rows), budget))
  chosen_copies = len(indices) - len(np.setdiff1d(found[indices], found[dataset.labelled]))
  if count:
    run.say(words.copies(len(found), count, len(indices), chosen_copies, config.select.duplicates))
  chosen = Selection(indices, reserve, *learned.embedded[:3], graph, learned.num_classes, pseudo_labels,
                     learned.scores, difficulty, beta, judged, groups, found,
                     select.standing(candidates, embeddings, indices, reserve, beta), (count, chosen_copies),
                     origins, share)
  if dataset.group_names is not None:
    run.say(f'  {words.groups(outcome.groups_of(dataset, chosen))}')
  choice = {'key': key, 'asked': config.select.beta, 'beta': asked, 'searched': before.searched}
  replaced = store.write(run.workdir, source, settings, choice=choice, indices=indices, embeddings=embeddings,
                         pseudo_labels=pseudo_labels, scores=learned.scores, skipped=dataset.skipped, root=dataset.root,
                         lists=lambda: outcome.lists_of(config, dataset, chosen))
  learn.keep(run, config, dataset, learned, asked if config.select.beta == 'auto' else None)
  run.say(words.written(run.workdir, dataset.skipped, replaced))
  return chosen
