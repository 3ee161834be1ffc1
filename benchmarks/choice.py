"""What the choice gains over random ones on the features of a pretrained encoder, on several sets and many splits.

  python benchmarks/choice.py --rows=choice.csv clothing=clothing.npz icons=icons.npz digits
  python benchmarks/choice.py --rows=choice.csv --figure=choice.png                        what is there already

A set is NAME=FILE, an .npz with `features` [N,D] and `labels` [N], or a data set with labels by its name, as data.name,
by PCA of the pixels. Features are scaled as `embed.scaling=auto` does. Each split sets a fifth aside and chooses from
the rest; every choice is made from the same graph, clusters (k-means, the true number) and difficulty (AUM). An MLP on
the scaled features is trained on each choice, with the same starts and draws for all. Rows are added as they come, and
what is there is not run again. Methods:

  ours      the defaults; beta is the least that the rules allow, as the judge would take it where no other is better
  location  facility location, cosine
  ccs       CCS, by a proxy that saw the true labels: a ceiling, since no one has it before labelling
  elfs      the band of ELFS as published, at its published beta, by the proxy that ours uses
  random    the mean of several random choices; the gains are over it

With --forecast the judge also says what it expects of ours, and a second table compares that with what came out.
"""
import csv
import pathlib

import numpy as np
from absl import app, flags
from matplotlib import figure

from elfs_jax import cluster, config, data, embed, evaluate, judge, learning_curve, neighbors, proxy, select
from elfs_jax.benchmark import compare, methods
from elfs_jax.embed import scaling
from elfs_jax.runtime import mesh
from elfs_jax.training import recipe

COLUMNS = ('data', 'seed', 'rate', 'n', 'method', 'accuracy', 'gap', 'half', 'worth', 'low', 'high', 'fewest', 'most')
NAMES = {'ours': 'ours', 'location': 'facility location', 'ccs': 'CCS, true labels', 'elfs': 'ELFS as published'}
COLORS = {'ours': 'tab:red', 'location': 'tab:blue', 'ccs': 'tab:green', 'elfs': 'tab:gray'}
RATES = (0.9, 0.8, 0.7)
CURVE = (0.95, 0.5, 0.2)  # Further sizes of random choices: the labels that a choice is worth are read on their curve.
LEAST = -8  # Points; what is below is drawn at the edge, as an arrow.

ROWS = flags.DEFINE_string('rows', 'choice.csv', 'Where the rows are kept.')
SPLITS = flags.DEFINE_integer('splits', 10, 'How many splits.')
STARTS = flags.DEFINE_integer('starts', 3, 'How often the MLP is trained on each choice.')
RANDOMS = flags.DEFINE_integer('randoms', 6, 'Random choices of each split and size.')
STEPS = flags.DEFINE_integer('steps', 400, 'Of each training.')
MOST = flags.DEFINE_integer('most', 2000, 'Of a larger set so many are drawn at random.')
FORECAST = flags.DEFINE_integer('forecast', 0, 'On how many of the splits the judge forecasts as well.')
FIGURE = flags.DEFINE_string('figure', None, 'Where to draw the gains.')


def main(argv):
  path = pathlib.Path(ROWS.value)
  sets = {spec.partition('=')[0]: load(spec) for spec in argv[1:]}
  for seed in range(SPLITS.value):
    for name, (embeddings, labels) in sets.items():
      done = [row for row in read(path) if row['data'] == name and row['seed'] == seed]
      graded, said = any(row['method'] == 'ours' for row in done), any(row['method'] == 'forecast' for row in done)
      if graded and (said or seed >= FORECAST.value):
        continue
      pool, test = evaluate.splits(len(labels), seed + 1, has_test_set=False)[seed]
      prepared = prepare(embeddings[pool], labels[pool], seed)
      if not graded:
        add(path, [{'data': name, 'seed': seed} | row for row in grade(embeddings, labels, pool, test, prepared)])
      if seed < FORECAST.value and not said:
        add(path, [{'data': name, 'seed': seed} | row for row in forecasts(prepared)])
  rows = read(path)
  print(gains(rows))
  if any(row['method'] == 'forecast' for row in rows):
    print('\n' + calibration(rows))
  if FIGURE.value:
    draw(rows)


def load(spec):
  """(embeddings float32 [N,K], labels int32 [N]) of NAME=FILE or of a data set's name."""
  name, _, file = spec.partition('=')
  if file:
    with np.load(file) as kept:
      features, labels = kept['features'], kept['labels']
  else:
    found = data.load(name)
    features, labels = None, found.labels
  rows = np.arange(len(labels))
  if len(rows) > MOST.value:
    rows = np.sort(np.random.default_rng(0).choice(len(rows), MOST.value, replace=False))
  _, labels = np.unique(labels[rows], return_inverse=True)
  if file:
    return np.asarray(scaling.scaled(features[rows])['embeddings']), labels.astype(np.int32)
  return np.asarray(embed.pca(found.images[rows])), labels.astype(np.int32)


def prepare(embeddings, labels, seed):
  """The `methods.Pool` of a split, as the pipeline makes it, and the number of classes."""
  classes = int(labels.max()) + 1
  graph = neighbors.graph(embeddings, 50)
  clusters = cluster.kmeans(embeddings, classes, neighbors=graph.indices, seed=seed)
  settings = recipe.with_network(config.get_config().proxy, 'mlp')
  def scores(labels):
    return proxy.dynamics_scores(
        embeddings, labels, classes, recipe.recipe_of(settings, embeddings), seed=seed, names=('aum',),
        epochs=recipe.epochs(settings, len(embeddings)), mesh=mesh.data_mesh(1), shards=16)
  own = scores(clusters)
  candidates = select.Candidates(graph.indices, graph.similarity, clusters, select.difficulty(own, 'aum', seed=seed))
  def cut(budget, beta, rows=None):
    return select.choose('coverage', candidates, budget, beta, seed=seed, rows=rows)
  return methods.Pool(embeddings, graph.indices, None, cut, clusters, own, None, lambda: scores(labels), seed), classes


def least(pool, count):
  """The least beta that the rules allow a cover of so many."""
  hard = select.difficulty(pool.scores, 'aum', seed=pool.seed)
  noisy = judge.outlier_share(lambda rows, n, beta: pool.cut(n, beta, rows), hard) > judge.OUTLIER_LIMIT
  return judge.least(noisy, 1 - count / len(hard))


def grade(embeddings, labels, pool_rows, test, prepared):
  """A row for each choice and rate, with its accuracy on the part set aside, by the true labels."""
  pool, _ = prepared
  n = len(pool_rows)
  truth = pool.supervised()
  pool = pool._replace(supervised=lambda: truth)
  greedy = select.facility_location(pool.embeddings, select.floor_count(1 - min(RATES), n))
  for rate in (*RATES, *CURVE):
    count = select.floor_count(1 - rate, n)
    chosen = {'random' if not turn else f'random_{turn + 1}': methods.random(pool, count, turn)
              for turn in range(RANDOMS.value if rate in RATES else RANDOMS.value // 2)}
    if rate in RATES:
      chosen |= {'ours': pool.cut(count, least(pool, count)), 'location': greedy[:count],
                 'ccs': methods.supervised_ccs(pool, count),
                 'elfs': methods.double_end(pool, count, beta=judge.interpolate(judge.PUBLISHED_BETA, rate))}
    subsets = pool_rows[np.stack(list(chosen.values()))]
    accuracy = np.mean([judge.grade(embeddings, subsets, labels[None], test, steps=STEPS.value,
                                    seed=STARTS.value * pool.seed + start) for start in range(STARTS.value)], 0)[:, 0]
    for method, value in zip(chosen, accuracy, strict=True):
      yield {'rate': rate, 'n': count, 'method': method, 'accuracy': float(value)}


def forecasts(prepared):
  """A row for each rate with what the judge, without labels, expects of ours: `gap`, `half`, and `worth` in labels."""
  pool, classes = prepared
  settings = config.get_config().judge
  clusterings = cluster.independent(pool.embeddings, classes, neighbors=lambda x, k: neighbors.knn(x, k)[0],
                                    count=settings.clusterings, seed=pool.seed)
  for rate in RATES:
    count = select.floor_count(1 - rate, len(pool.embeddings))
    found = judge.verdict(
        pool.embeddings, clusterings, select.difficulty(pool.scores, 'aum', seed=pool.seed),
        lambda rows, count, beta: pool.cut(count, beta, rows), select.random, count, covers=True,
        betas=settings.betas, folds=settings.folds, randoms=settings.randoms, steps=settings.steps, seed=pool.seed,
        keep=least(pool, count))
    row = {'rate': rate, 'n': count, 'method': 'forecast', 'gap': found['gap'], 'half': found['half']}
    if 'worth' in found:
      fewest, _, most = count * found['sizes']
      row |= dict(zip(('worth', 'low', 'high'), count * found['worth'])) | {'fewest': fewest, 'most': most}
    yield row


def read(path):
  """The rows, numbers as numbers and empty cells as None."""
  if not path.exists():
    return []
  with open(path, newline='') as file:
    return [{name: None if value == '' else value if name in ('data', 'method') else int(value)
             if name in ('seed', 'n') else float(value) for name, value in row.items()} | {'beta': None}
            for row in csv.DictReader(file)]


def add(path, rows):
  """Append rows, below the names of the columns."""
  rows = [{name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()} for row in rows]
  new = not path.exists()
  with open(path, 'a', newline='') as file:
    table = csv.DictWriter(file, COLUMNS, lineterminator='\n')
    if new:
      table.writeheader()
    table.writerows(rows)


def of_sets(rows):
  """{name of a set: its graded rows}, in the order of the file."""
  return {name: [row for row in rows if row['data'] == name and row['accuracy'] is not None]
          for name in dict.fromkeys(row['data'] for row in rows)}


def gains(rows):
  """Points above random with 95 % intervals over splits, per set and rate and for all, and ours against location."""
  lines = ['| set | pruned | splits | random | ' + ' | '.join(NAMES.values()) + ' | ours less facility location |',
           '|---' * (len(NAMES) + 5) + '|']
  cells, against = {name: [] for name in NAMES}, []
  for name, own in of_sets(rows).items():
    for rate, table in compare.table(own).items():
      if rate not in RATES:
        continue
      accuracy = {line.method: 100 * line.accuracy for line in table}
      for method in NAMES:
        cells[method].append(accuracy[method] - accuracy['random'])
      against.append(compare.gain(accuracy['ours'], accuracy['location']))
      lines.append(f'| {name} | {rate:.0%} | {len(accuracy["ours"])} | {accuracy["random"].mean():.1f} | '
                   + ' | '.join(points(compare.gain(accuracy[method], accuracy['random'])) for method in NAMES)
                   + f' | {points(against[-1])} |')
  splits = min(map(len, cells['ours']))
  means = {method: np.mean([cell[:splits] for cell in found], 0) for method, found in cells.items()}
  zero = np.zeros(splits)
  lines.append(f'| **mean of {len(against)} cells** | | {splits} | | '
               + ' | '.join(points(compare.gain(means[method], zero)) for method in NAMES)
               + f' | {points(compare.gain(means["ours"], means["location"]))} |')
  ahead, behind = sum(gap.low > 0 for gap in against), sum(gap.high < 0 for gap in against)
  lines.append(f'\nOurs against facility location: ahead in {ahead}, level in {len(against) - ahead - behind}, behind '
               f'in {behind} of {len(against)} cells.')
  return '\n'.join(lines)


def points(gain):
  return f'{gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]'


def calibration(rows):
  """What the forecasts said, on average over their splits, beside what came out over all splits, per set and rate."""
  lines = ['| set | pruned | gain forecast | gain | inside | chosen | labels forecast | labels | inside |',
           '|---' * 9 + '|']
  right, close, off = [], [], []
  for name, own in of_sets(rows).items():
    said = [row for row in rows if row['data'] == name and row['method'] == 'forecast']
    sizes = {row['rate']: row['n'] for row in own}
    found = {rate: {line.method: line.accuracy for line in table} for rate, table in compare.table(own).items()}
    law = learning_curve.power_laws(np.array([sizes[rate] for rate in found]),
                                    np.array([[found[rate]['random'].mean() for rate in found]]))[0]
    for rate in dict.fromkeys(row['rate'] for row in said):
      here = [row for row in said if row['rate'] == rate and row['worth'] is not None]
      gap, half, worth, low, high, fewest, most = (np.array([row[column] for row in here]) for column in (
          'gap', 'half', 'worth', 'low', 'high', 'fewest', 'most'))
      gain = (found[rate]['ours'] - found[rate]['random']).mean()
      labels = learning_curve.counts(law, [found[rate]['ours'].mean()])[0]
      told = np.clip(labels, fewest, most)  # What is beyond these is told by a word.
      right.append(abs(gap - gain) <= half)
      close.append((low <= told) & (told <= high))
      off.append(worth / told)
      middle = [np.exp(np.log(values).mean()) for values in (worth, low, high)]
      lines.append(f'| {name} | {rate:.0%} | {100 * gap.mean():+.1f} +- {100 * half.mean():.1f} | {100 * gain:+.1f} | '
                   f'{right[-1].sum()} of {len(here)} | {sizes[rate]} | {middle[0]:.0f} ({middle[1]:.0f} to '
                   f'{middle[2]:.0f}) | {labels:.0f} | {close[-1].sum()} of {len(here)} |')
  right, close, factor = (np.concatenate(values) for values in (right, close, off))
  far = np.exp(abs(np.log(factor)))
  lines.append(f'\nThe gain was inside in {right.sum()} of {len(right)} forecasts, the number of labels in '
               f'{close.sum()}. That number was off by a factor of {np.median(far):.2f} in the middle and '
               f'{far.max():.2f} at most.')
  return '\n'.join(lines)


def draw(rows):
  """Points above random with 95 % intervals: a panel per rate, a column per set."""
  tables = {name: compare.table(own) for name, own in of_sets(rows).items()}
  picture = figure.Figure(figsize=(13, 3.6), layout='constrained')
  panels = picture.subplots(1, len(RATES), sharey=True)
  for axes, rate in zip(panels, RATES):
    axes.axhline(0, color='black', linewidth=0.8)
    for turn, (method, color) in enumerate(COLORS.items()):
      found = [next(line.gain for line in table[rate] if line.method == method) for table in tables.values()]
      mean, low, high = 100 * np.array(found).T
      place, inside = np.arange(len(tables)) + 0.15 * (turn - 1.5), mean >= LEAST
      axes.errorbar(place[inside], mean[inside], (mean - low)[inside], fmt='o', color=color, label=NAMES[method],
                    markersize=5 if method == 'ours' else 3.5, elinewidth=0.9)
      axes.plot(place[~inside], np.full((~inside).sum(), LEAST + 0.3), 'v', color=color, markersize=5)
    axes.set(title=f'{rate:.0%} pruned', xticks=np.arange(len(tables)))
    axes.set_xticklabels(tables, fontsize=7.5)
    axes.grid(axis='y', alpha=0.3)
  panels[0].set(ylabel='points above random', ylim=(max(LEAST, panels[0].get_ylim()[0]), None))
  picture.legend(*panels[0].get_legend_handles_labels(), loc='outside lower center', ncols=4, fontsize=9, frameon=False)
  picture.savefig(FIGURE.value, dpi=130)


if __name__ == '__main__':
  app.run(main)
