"""Are labels worth more in rounds? One choice of n against several in turn, which may use the labels that came back.

  python benchmarks/rounds.py                                                digits and Fashion-MNIST
  python benchmarks/rounds.py --sets=digits,icons.npz,PICTURES --rows=rows.csv

A set is a name of data.name, an .npz with `embeddings` and `labels`, or a folder with a folder of pictures for each
class, embedded by efficientnet_lite2. For each seed a fifth is set aside to test on. An MLP on the embeddings is
trained on each choice, with the same starts for all. Prints Markdown: points above one round of the default method.
"""
import csv
import functools
import pathlib
from typing import NamedTuple

import numpy as np
from absl import app, flags
from scipy import stats

from elfs_jax import cluster, config, data, embed, encoders, evaluate, judge, neighbors, proxy, select
from elfs_jax.embed import scaling
from elfs_jax.rounds import enough, unsure
from elfs_jax.runtime import mesh
from elfs_jax.training import recipe as recipes
from elfs_jax.vectors import unit_rows

SETS = flags.DEFINE_list('sets', ['digits', 'fashion_mnist'], 'Names, .npz files or folders.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Seeds 0, 1, ...', lower_bound=2)
TOTALS = flags.DEFINE_list('totals', ['0.1'], 'Shares of the pool that are labelled in the end.')
ROUNDS = flags.DEFINE_list('rounds', ['2'], 'In how many rounds.')
MOST = flags.DEFINE_integer('most', 6000, 'Of a larger set so many are drawn at random.')
METHODS = flags.DEFINE_list('methods', [], 'Of `LATER`; default all.')
ROWS = flags.DEFINE_string('rows', None, 'A .csv that rows are added to as they come; what it has is not run again.')

RANDOMS, STARTS, STEPS = 6, 3, 1000


class Pool(NamedTuple):
  """What is chosen from. Methods see labels of known rows alone, through `truth`."""
  x: np.ndarray             # float32 [N,D]
  graph: neighbors.Graph
  clusters: np.ndarray      # int32 [N]
  truth: np.ndarray         # int [N]
  harden: callable          # labels int [N] -> difficulty float [N], of a proxy trained on these
  seed: int
  kept: dict                # what `once` has found


def main(_):
  mesh.pin_threads()
  cells = [(float(total), int(turns)) for total in TOTALS.value for turns in ROUNDS.value]
  rows = []
  if ROWS.value and pathlib.Path(ROWS.value).exists():
    with open(ROWS.value, newline='') as file:
      rows = [(n, int(s), float(t), int(r), what, float(v)) for n, s, t, r, what, v in csv.reader(file)]
  for seed in range(SEEDS.value):
    for name in SETS.value:
      left = [cell for cell in cells if (title(name), seed, *cell) not in {row[:4] for row in rows}]
      made = [(title(name), seed, *row) for row in run(*load(name), seed, left)] if left else []
      rows += made
      if ROWS.value:
        with open(ROWS.value, 'a', newline='') as file:
          csv.writer(file, lineterminator='\n').writerows(made)
  for cell in sorted({row[2:4] for row in rows}):
    print('\n'.join(table([row for row in rows if row[2:4] == cell], *cell)))


def title(name):
  return pathlib.Path(name).stem


@functools.cache
def load(name):
  """Embeddings float32 [N,D] as the pipeline would have them, and labels int [N]."""
  encoder = None
  if name.endswith('.npz'):
    dataset = data.load('embeddings', name)
  elif name in data.SOURCES:
    dataset = data.load(name)
  else:
    encoder = encoders.load('efficientnet_lite2')
    dataset = data.load('folder', name, labels='folders', size=encoder.input_size)
  rows = np.sort(np.random.default_rng(0).permutation(len(dataset.ids))[:MOST.value])
  labels = dataset.labels[rows].astype(np.int64)
  if dataset.embeddings is None and encoder is None:
    return np.asarray(embed.pca(dataset.images[rows])), labels
  parts = np.array_split(rows, -(-len(rows) // 64))
  features = np.concatenate([encoder(dataset.images[part]) if encoder else dataset.embeddings[part] for part in parts])
  return scaling.scaled(features, seed=0)['embeddings'], labels


def run(x, y, seed, cells):
  """Rows (total, rounds, what, value) of one set and split."""
  split = evaluate.splits(len(y), seed + 1, has_test_set=False)[seed]
  pool, out = pool_of(x[split.pool], y[split.pool], seed), []
  for total, turns in cells:
    counts = np.diff(np.rint(total * len(pool.x) * np.arange(turns + 1) / turns).astype(int))
    nothing, count = np.zeros(0, np.int64), counts.sum()
    chosen = {f'random {i}': select.random(len(pool.x), count, seed=[seed, i]) for i in range(RANDOMS)}
    chosen |= {name: choose(pool, nothing, count) for name, choose in ONCE.items()}
    first = cover(pool, nothing, counts[0])
    for name in METHODS.value or LATER:
      known = first
      for more in counts[1:]:
        known = np.append(known, LATER[name](pool, known, more))
      assert len(np.unique(known)) == count, name
      chosen[name] = known
    grade = functools.partial(judge.grade, x, split.pool[np.stack(list(chosen.values()))], y[None], split.test,
                              steps=STEPS, seed=seed)
    accuracy = np.mean([grade(fold=start)[:, 0] for start in range(STARTS)], 0)
    out += [(total, turns, name, value) for name, value in zip(chosen, accuracy, strict=True)]
  return out


def pool_of(x, y, seed):
  """The pool with what the pipeline knows of it before any label."""
  cfg, classes = config.get_config(), int(y.max()) + 1
  graph = neighbors.graph(x, min(50, len(x) - 1))
  clusters = cluster.kmeans(x, classes, neighbors=graph.indices, seed=seed)
  recipe = recipes.recipe_of(recipes.with_network(cfg.proxy, 'mlp'), x)
  @functools.cache
  def difficulty(labels):
    scores = proxy.dynamics_scores(x, np.frombuffer(labels, np.int32), classes, recipe, mesh=mesh.data_mesh(1),
                                   epochs=recipes.epochs(cfg.proxy, len(x)), seed=seed, names=('aum',))
    return select.difficulty(scores, 'aum', seed=seed)
  return Pool(x, graph, clusters, y, lambda labels: difficulty(np.asarray(labels, np.int32).tobytes()), seed, {})


# Methods: (pool, known rows, count) -> that many new rows.

def cover(pool, known, count, *, hard=None, groups=None, weigh=None):
  """The default. `hard`: labels that the proxy is trained on anew; `groups`: in place of clusters; `weigh`: weights."""
  difficulty = pool.harden(hard(pool, known) if hard else pool.clusters)
  groups = groups(pool, known) if groups else pool.clusters
  def choose(rows, budget, beta):
    return select.coverage(*pool.graph, difficulty, budget, beta, groups=groups, weight=select.class_weights(groups))
  noisy = judge.outlier_share(choose, difficulty) > judge.OUTLIER_LIMIT
  beta = judge.least(noisy, 1 - (len(known) + count) / len(pool.x))
  weight = select.class_weights(groups) * (weigh(pool, known) if weigh else 1)
  return select.coverage(*pool.graph, difficulty, count, beta, labelled=known, groups=groups, weight=weight)


def margin(pool, known, count):
  unsure = uncertainty(pool, known)
  return np.setdiff1d(np.argsort(-unsure, kind='stable')[:count + len(known)], known, assume_unique=True)[:count]


def herding(pool, known, count, *, any_pair=False):
  """UHerding (Bae et al., ICLR 2025): cover by a Gaussian kernel, each times how unsure a classifier is of it.

  Its radius is the least distance of two labelled examples: of two classes, or of `any_pair`, as in their code.
  """
  units = unit_rows(pool.x)
  far = np.maximum(2 - 2 * units @ units.T, 0)
  labels, between = pool.truth[known], far[np.ix_(known, known)]
  square = between[(between > 1e-6) & (any_pair | (labels[:, None] != labels))].min()
  return greedy(np.exp(-far / square) * uncertainty(pool, known)[:, None], known, count)


def greedy(value, known, count):
  """Rows that add most to the sum of each one's best value by a chosen one, where `known` are. value: [N, by N]."""
  best = value[:, known].max(1, initial=0)
  gain, chosen = np.maximum(value - best[:, None], 0).sum(0), []
  gain[known] = -np.inf
  exact = np.zeros(len(gain), int)
  while len(chosen) < count:
    j = int(gain.argmax())
    if exact[j] == len(chosen):
      chosen.append(j)
      best = np.maximum(best, value[:, j])
      gain[j] = -np.inf
    else:  # Gains only fall, so an old one is an upper bound.
      gain[j], exact[j] = np.maximum(value[:, j] - best, 0).sum(), len(chosen)
  return np.array(chosen, np.int64)


# What labels say of the rest.

def once(function):
  """The same for the same known rows is computed once."""
  def call(pool, known):
    key = function.__name__, known.tobytes()
    if key not in pool.kept:
      pool.kept[key] = function(pool, known)
    return pool.kept[key].copy()
  return call


@once
def named(pool, known):
  """Clusters by the name that most of their labelled ones have; without any by the nearest labelled one."""
  count = np.zeros((pool.clusters.max() + 1, pool.truth[known].max() + 1))
  np.add.at(count, (pool.clusters[known], pool.truth[known]), 1)
  told = np.where(count.any(1)[pool.clusters], count.argmax(1)[pool.clusters], nearest(pool, known))
  told[known] = pool.truth[known]
  return told


@once
def corrected(pool, known):
  """`named`, then labels spread over the graph, in which what the clusters say counts a tenth of a label."""
  near, weights = pool.graph.indices[:, :10], np.maximum(pool.graph.similarity[:, :10], 0)
  weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
  start = np.eye(pool.truth[known].max() + 1)[named(pool, known)]
  start[np.setdiff1d(np.arange(len(start)), known)] *= 0.1
  votes = start
  for _ in range(20):
    votes = 0.9 * np.einsum('nk,nkc->nc', weights, votes[near]) + 0.1 * start
    votes[known] = start[known]
  return votes.argmax(1)


@once
def nearest(pool, known):
  """The label of the nearest labelled one."""
  return pool.truth[known][(unit_rows(pool.x) @ unit_rows(pool.x[known]).T).argmax(1)]


@once
def classified(pool, known):
  """What a logistic regression on the labels says; known rows as they are."""
  told = enough.logistic(pool.x[known], pool.truth[known], pool.x)
  told[known] = pool.truth[known]
  return told


@once
def uncertainty(pool, known):
  return unsure.uncertainty(pool.x, known, pool.truth[known], seed=pool.seed)


@once
def root(pool, known):
  return unsure.weights(pool.x, known, pool.truth[known], seed=pool.seed)


LATER = {  # What chooses from the second round on; the default chooses the first.
    'cover': cover,  # Labels count as cover alone.
    'proxy=named': functools.partial(cover, hard=named),
    'proxy=corrected': functools.partial(cover, hard=corrected),
    'groups=corrected': functools.partial(cover, groups=corrected),
    'groups=classifier': functools.partial(cover, groups=classified),
    'both=corrected': functools.partial(cover, hard=corrected, groups=corrected),
    'both=nearest': functools.partial(cover, hard=nearest, groups=nearest),
    'both=classifier': functools.partial(cover, hard=classified, groups=classified),
    'weights=unsure': functools.partial(cover, weigh=uncertainty),
    'weights=root': functools.partial(cover, weigh=root),  # As `elfs-jax next` does.
    'weights=root groups=classifier': functools.partial(cover, groups=classified, weigh=root),
    'weights=root both=classifier': functools.partial(cover, hard=classified, groups=classified, weigh=root),
    'UHerding': herding,
    'UHerding any pair': functools.partial(herding, any_pair=True),
    'margin': margin,
}
ONCE = {'one round': cover, 'facility location': lambda pool, _, count: select.facility_location(pool.x, count)}


# Tables.

def table(rows, total, turns):
  """Points above one round, paired by seed: means of each set and their mean, +- its standard error over sets.

  Ahead and behind count the sets whose own 95 % interval is clear of zero.
  """
  sets = _by_set(rows)
  random = {name: np.mean([found[f'random {i}'] for i in range(RANDOMS)], 0) for name, found in sets.items()}
  yield f'\n**{total:.0%} in {turns} rounds**\n\n| | {" | ".join(sets)} | mean | ahead | behind |'
  yield '|---' * (len(sets) + 4) + '|'
  yield '| random, right in % | ' + ' | '.join(f'{random[name].mean():.1f}' for name in sets) + ' | | | |'
  for method in [method for method in (*ONCE, *LATER) if all(method in found for found in sets.values())]:
    beside = random if method == 'one round' else {name: found['one round'] for name, found in sets.items()}
    gains = np.array([found[method] - beside[name] for name, found in sets.items()])
    means, half = gains.mean(1), stats.t.ppf(0.975, gains.shape[1] - 1) * stats.sem(gains, 1)
    yield (f'| {method}{", above random" * (method == "one round")} | ' + ' | '.join(f'{mean:+.1f}' for mean in means)
           + f' | {means.mean():+.2f} +- {stats.sem(means):.2f} | {(means > half).sum()} | {(means < -half).sum()} |')


def _by_set(rows):
  """{set: {what: values in %, by seed}}."""
  sets = {}
  for name, _, _, _, what, value in sorted(rows, key=lambda row: row[1]):
    sets.setdefault(name, {}).setdefault(what, []).append(100 * value)
  return {name: {what: np.array(values) for what, values in found.items()} for name, found in sets.items()}


if __name__ == '__main__':
  app.run(main)
