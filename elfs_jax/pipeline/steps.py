"""Each step up to the coreset: which of the settings go to which stage, and what is said of it."""
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import cluster, copies, data, embed, encoders, judge, neighbors, proxy, select, table
from elfs_jax.budget import floor_count
from elfs_jax.embed import scaling
from elfs_jax.report import words
from elfs_jax.rounds import classifier, unsure
from elfs_jax.runtime import stages
from elfs_jax.runtime.stages import Known, stage
from elfs_jax.scores import SCORES
from elfs_jax.training import recipe as recipes

JUDGED = 20_000  # Of more examples the judge sees a random sample, at the same rate.


def shards_of(config: ConfigDict, dataset: data.Dataset) -> int:
  """How many logical shards the data are trained in."""
  return recipes.shards(config.mesh.shards, len(dataset.ids))


class Embedded(NamedTuple):
  """The embeddings of all N examples."""
  embeddings: np.ndarray           # float32 [N, D]
  method: str                      # that made them
  scale: Callable | None           # of given ones: rows [M, E], as given -> float32 [M, D], as `embeddings` are
  learned: dict[str, np.ndarray]   # what embeds further examples


def embeddings_of(run, config, dataset) -> Embedded:
  """The embedding stages: of the user's own embeddings, or of images by the best of the encoders that are asked."""
  if dataset.embeddings is not None:
    return _given(run, config, dataset)
  method = config.embed.method
  given = given_to_encoders(run, config, dataset)
  found, learned, scores = {}, {}, {}
  names, why = (method,), 'as it was asked for'
  if method == 'auto':
    names, why = encoders.candidates(dataset.images, dataset.root)
  run.say(words.encoders(names, why))
  for name in names:
    encoder, licence = table.look_up(encoders.ENCODERS, 'embed.method', name), encoders.licence_of(name)
    if licence:
      run.say(licence)
    function = table.load(encoder.function)
    arguments = table.accepted(function, config.embed, given | {'name': name})
    made = stage(run, f'embed_{name}', function, version=encoder.version, **arguments)
    if not encoder.scaled:
      made = _scaled(run, config, name, made)
    made = made if isinstance(made, dict) else {'embeddings': made}
    found[name] = made['embeddings']
    learned[name] = _learned(made)
  if len(found) > 1:
    scores = stage(run, 'embed', embed.consistencies, candidates=found, seed=config.seed)
  best = max(found, key=lambda name: scores.get(name, 0))
  run.say(words.embedding(best, found[best].shape[1], scores))
  return Embedded(found[best], best, None, learned[best])


def given_to_encoders(run, config, dataset):
  """What the functions of encoders may ask for, as `encoders` says."""
  return {'images': Known(dataset.images, dataset.identity), 'seed': config.seed, 'shards': shards_of(config, dataset),
          'neighbors': stages.on_lead(_nearest), 'count': len(dataset.ids),
          'pixels': Known(dataset.pixels, dataset.identity)}


def _given(run, config, dataset):
  """As `embeddings_of`, of the user's own embeddings."""
  embeddings = dataset.embeddings
  run.say(words.embedding('given', embeddings.shape[1], {}))
  if config.embed.method == 'given':
    return Embedded(embeddings, 'given', scale_of({}), {})
  tamed, kept, said = stages.on_each(lambda: scaling.tamed(embeddings, config.embed.wide))
  for line in said:
    run.say(line)
  made = _scaled(run, config, 'given', tamed if said else Known(embeddings, dataset.identity))
  learned = {'kept': kept} | _learned(made)
  return Embedded(made['embeddings'], 'given', scale_of(learned), learned)


def _learned(made):
  """What embeds or scales further examples, of what a stage made."""
  return {part: array for part, array in made.items() if part not in ('embeddings', 'scaling', 'agreements')}


def transform_of(learned: Mapping[str, np.ndarray]) -> scaling.Transform:
  """What scales features as those were from which it was learned."""
  return scaling.Transform(learned['mean'], learned.get('weights'), learned.get('radius'))


def scale_of(learned: Mapping[str, np.ndarray]) -> Callable:
  """What does to further rows, as they were given, what was done to given embeddings."""
  return (lambda rows: transform_of(learned)(rows[:, learned['kept']])) if learned else lambda rows: rows


def _scaled(run, config, name, features):
  made = stage(run, f'scale_{name}', scaling.scaled, embeddings=features, scaling=config.embed.scaling,
               components=config.embed.components, seed=config.seed)
  run.say(words.scaling(made['scaling'], scaling.SCALINGS[made['scaling']].help,
                        dict(zip(scaling.SCALINGS, made['agreements'], strict=True))))
  return made


def copies_of(run, dataset, embeddings):
  """The groups of copies: int32 [N], by the images, or without any by the embeddings as they were given."""
  known = None if dataset.images is None else Known(dataset.images, dataset.identity)
  return stage(run, 'copies', copies.groups, images=known,
               embeddings=embeddings if known else Known(dataset.embeddings, dataset.identity))


def origins_of(config, dataset):
  """The group of each, int32 [N], and the largest share of one; () and 1 without groups."""
  if dataset.group_names is None:
    return (), 1.0
  origins = data.numbered(dataset.group_names)
  return origins, config.select.group_share or select.usual_share(origins)


def given_in_memory(config, dataset):
  """What of the data no setting and no name of a file tells: the content of arrays, and groups given in Python."""
  content = dataset.identity if dataset.root is None else None
  given = dataset.group_names if config.select.group_by is None else None
  return content if given is None else [content, given]


def weight_of(run, config, dataset, embeddings):
  """What the cover of each counts by the labels that have come back: float32 [N]; () where they say nothing."""
  rows, labels = dataset.told
  if not uses_labels(config, dataset):
    return ()
  classes = np.unique(labels, return_inverse=True)[1]
  weight = stage(run, 'unsure', unsure.weights, embeddings=embeddings, rows=rows, classes=classes, seed=config.seed)
  run.say(words.unsure(len(rows)))
  return weight


def uses_labels(config: ConfigDict, dataset: data.Dataset) -> bool:
  """Whether the labels that have come back decide what is chosen next."""
  return select.METHODS[config.select.method].covers and classifier.enough_labels(dataset.told[1])


def _nearest(embeddings, k):
  """The k nearest others of each: int32 [N,k]."""
  return neighbors.knn(embeddings, k)[0]


def graph_of(run, config, embeddings, k):
  """The graph of each one's k nearest others, and which share of them it has."""
  graph = neighbors.Graph(**stage(run, 'neighbors', neighbors.graph, embeddings=embeddings, k=k,
                                  exact_below=config.neighbors.exact_below))
  if len(embeddings) >= config.neighbors.exact_below:
    run.say(words.approximate(graph.recall, config.neighbors.exact_below))
  return graph


def clusters_of(run, config, embeddings, near):
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


def scores_of(run, config, dataset, embeddings, pseudo_labels, num_classes):
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
  return {'inputs': inputs, 'recipe': recipes.recipe_of(settings, inputs), 'shards': shards_of(config, dataset),
          'seed': config.seed, 'epochs': recipes.epochs(settings, len(inputs))}


def beta_of(run, config, embeddings, candidates, num_classes, budget, keep):
  """The beta to choose with, None for a method without one; and the judge's verdict on it, or on `keep` alone."""
  how, settings = config.select, config.judge
  if not select.METHODS[how.method].drops_hardest:
    return None, None
  if how.beta != 'auto':
    return how.beta, None
  stage_name, asked = f'judge_{budget}' + ('' if keep is None else '_kept'), budget
  if len(embeddings) > JUDGED:
    embeddings, candidates, budget = _sample(run, config, embeddings, candidates, budget)
  # Kept apart from the verdict, since they are the same for every budget and score.
  clusterings = stage(run, 'clusterings', cluster.independent, embeddings=embeddings, num_classes=num_classes,
                      neighbors=_nearest, count=settings.clusterings, seed=config.seed)
  covers = select.METHODS[how.method].covers
  choose = functools.partial(select.choose_among, method=how.method, candidates=candidates,
                             balance=how.balance, seed=config.seed, **select.constants(how.method))
  judged = stage(
      run, stage_name, judge.verdict,
      version=judge.VERSION + select.METHODS[how.method].version,  # Both only rise.
      keep=keep, embeddings=embeddings, clusterings=clusterings, budget=budget, choose=choose, draw=select.random,
      difficulty=candidates.difficulty, covers=covers,
      betas=settings.betas, folds=settings.folds, steps=settings.steps, randoms=settings.randoms, seed=config.seed,
      weights=select.judge_weights(candidates.pseudo_labels, how.balance) if covers else None)
  return float(judged['beta']), judged | {'budget': asked}


def _sample(run, config, embeddings, candidates, budget):
  """The same problem for a random sample: its embeddings, candidates with a graph of their own, and budget."""
  count, k = len(embeddings), candidates.neighbors.shape[1]
  rows = np.sort(np.random.default_rng([config.seed, 0x5a3b]).choice(count, JUDGED, replace=False))
  graph = neighbors.Graph(**stage(run, 'judged_neighbors', neighbors.graph, embeddings=embeddings[rows], k=k))
  candidates = select.among(candidates, rows)._replace(neighbors=graph.indices, similarity=graph.similarity)
  run.say(words.sample(JUDGED, count))
  return embeddings[rows], candidates, max(1, floor_count(budget / count, JUDGED))
