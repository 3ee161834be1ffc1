"""What is known of every example before anything is chosen: computed whole, or added to what an earlier run knew."""
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from elfs_jax import arrivals, data, encoders, neighbors, table
from elfs_jax.pipeline import steps
from elfs_jax.report import words
from elfs_jax.runtime import artifacts, base, handed, stages
from elfs_jax.runtime.stages import stage
from elfs_jax.vectors import digests

NEIGHBORS = 50  # In the graph, where there are so many.


class Learned(NamedTuple):
  """Arrays are [N]."""
  embedded: steps.Embedded
  graph: neighbors.Graph
  pseudo_labels: np.ndarray
  num_classes: int
  scores: dict[str, np.ndarray]
  whole: np.ndarray     # bool: all else was computed with it, not taken over from its neighbours
  digests: np.ndarray   # uint8 [N, 16]
  beta: float | None    # That of the run whose knowledge was added to, None where all was computed.
  came: int = 0         # How many are new or changed since the last run.


def key_of(config) -> str:
  """The key of what a run learns: all settings that decide it."""
  settings = json.loads(config.to_json())
  parts = [settings[name] for name in ('seed', 'embed', 'neighbors', 'cluster', 'proxy', 'mesh')]
  of_data = {name: value for name, value in settings['data'].items() if name not in handed.ASIDE['data']}
  return artifacts.fingerprint(stages.VERSION, json.dumps([*parts, of_data, settings['select']['method']],
                                                          sort_keys=True))


def learn(run, config, dataset) -> Learned:
  """Every stage between the data and the choice; of examples that came since an earlier run in the workdir only what
  they need by themselves, as long as they are few (`arrivals.few`)."""
  before = base.read(run.workdir, key_of(config))
  content = digests(dataset.embeddings if dataset.images is None else dataset.images)
  if before is None or not _fits(before, dataset):
    return _whole(run, config, dataset, content)
  change = arrivals.compare(dataset.ids, content, before.ids, before.digests)
  if not change.none:
    run.say(words.change(len(dataset.ids), len(change.new), change.changed, change.gone,
                         arrivals.few(change, before.whole)))
  elif not before.whole.all():
    run.say(words.came(len(dataset.ids), np.count_nonzero(~before.whole)))
  if arrivals.added_to(change, before.whole):
    found = _added(run, config, dataset, content, before, change)
  else:
    found = _whole(run, config, dataset, content)
  return found._replace(came=len(change.new))


def added(config, workdir, ids, fresh) -> int | None:
  """How many of the examples `learn` would embed alone; None where it would compute all.

  Args: ids: of all; fresh: of those whose content is known to be new.
  """
  before = base.read(workdir, key_of(config))
  if before is None:
    return None
  fresh = set(fresh)
  content = np.array([name in fresh for name in ids], np.uint8)[:, None]
  change = arrivals.compare(ids, content, before.ids, np.zeros((len(before.ids), 1), np.uint8))
  return len(change.new) if arrivals.added_to(change, before.whole) else None


def keep(run, config, dataset, learned: Learned, beta: float | None) -> None:
  """Keep what was learned for later runs, once its artifacts are written. Args: beta: that `auto` found, or None."""
  embedded = learned.embedded
  facts = {'method': embedded.method, 'num_classes': learned.num_classes, 'beta': beta}
  base.write(run.workdir, key_of(config), base.Base(dataset.ids, learned.digests, learned.whole, embedded.embeddings,
                                                    learned.pseudo_labels, learned.scores, facts, embedded.learned))


def _fits(before, dataset):
  """Whether what is known is of examples like these."""
  return (before.facts['method'] == 'given') == (dataset.embeddings is not None)


def _whole(run, config, dataset, content):
  embedded = steps.embeddings_of(run, config, dataset)
  graph = _graph(run, config, embedded.embeddings)
  pseudo_labels, num_classes = steps.clusters_of(run, config, embedded.embeddings, graph.indices)
  scores = steps.scores_of(run, config, dataset, embedded.embeddings, pseudo_labels, num_classes)
  return Learned(embedded, graph, pseudo_labels, num_classes, scores, np.ones(len(content), bool), content, None)


def _added(run, config, dataset, content, before, change):
  embedded = _embedded(run, config, dataset, before, change)
  graph = _graph(run, config, embedded.embeddings)
  pseudo_labels, scores = arrivals.taken_over(change.place, embedded.embeddings, graph.indices, graph.similarity,
                                              before.pseudo_labels, before.scores)
  whole = (change.place >= 0) & before.whole[change.place]
  return Learned(embedded, graph, pseudo_labels, before.facts['num_classes'], scores, whole, content,
                 before.facts['beta'])


def _graph(run, config, embeddings):
  return steps.graph_of(run, config, embeddings, config.neighbors.k or min(NEIGHBORS, len(embeddings) - 1))


def _embedded(run, config, dataset, before, change):
  """The embeddings of all, those of the new ones made by what was learned before."""
  method, embeddings = before.facts['method'], np.asarray(before.embeddings)[change.place]
  if len(change.new):
    found = _embed_more(run, config, data.take(dataset, change.new), method, before.learned)
    embeddings[change.new] = found
  scale = steps.scale_of(before.learned) if method == 'given' else None
  return steps.Embedded(embeddings, method, scale, before.learned)


def _embed_more(run, config, dataset, method, learned):
  """Embeddings of further examples."""
  if method == 'given':
    return steps.scale_of(learned)(dataset.embeddings)
  encoder = table.look_up(encoders.ENCODERS, 'embed.method', method)
  function: Callable = table.load(encoder.more or encoder.function)
  given = steps.given_to_encoders(run, config, dataset) | {'name': method}
  if encoder.more:
    given['learned'] = learned
  found = stage(run, 'embed_added', function, **table.accepted(function, config.embed, given))
  return found if encoder.scaled else steps.transform_of(learned)(found)
