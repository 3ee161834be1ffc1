"""What the proxy needs: how many epochs, and how right the pseudo-labels must be.

  python benchmarks/proxy.py --data=digits --embeddings=runs/digits/embeddings.npy --figure=aum.png

Three tables over seeds, all at one prune rate, by the MLP on the embeddings as proxy and (with true labels) as
classifier: Spearman correlation of AUM with that of the longest training, and accuracy, for each number of epochs;
accuracy as a growing share of true labels is replaced by random ones; and, with --figure, the distribution of AUM under
pseudo-labels and under true labels.
"""
import numpy as np
from absl import app, flags
from scipy import stats

from elfs_jax import cluster, config, data, embed, evaluate, judge, neighbors, proxy, select
from elfs_jax.runtime import mesh
from elfs_jax.training import recipe as recipes

DATA = flags.DEFINE_string('data', 'digits', 'A data set with labels, as data.name.')
EMBEDDINGS = flags.DEFINE_string('embeddings', None, 'An .npy [N,D]; default PCA of the pixels.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds 0, 1, ...')
RATE = flags.DEFINE_float('rate', 0.9, 'The share pruned.')
BETA = flags.DEFINE_float('beta', 0.15, 'The share dropped from the hard end.')
FIGURE = flags.DEFINE_string('figure', None, 'Where to draw the distribution of AUM.')
EPOCHS = (1, 2, 5, 10, 20, 40, 80)
NOISE = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)


def main(_):
  mesh.pin_threads()
  dataset = data.load(DATA.value)
  x, y = np.load(EMBEDDINGS.value) if EMBEDDINGS.value else embed.pca(dataset.images), dataset.labels
  classes, by_epochs, by_noise = int(y.max()) + 1, [], []
  for seed in range(SEEDS.value):
    split = evaluate.splits(len(y), seed + 1, has_test_set=False)[seed]
    pool, truth = x[split.pool], y[split.pool]
    graph = neighbors.knn(pool, 50)
    pseudo = cluster.kmeans(pool, classes, neighbors=graph[0], seed=seed)
    def aum(labels, epochs=40):
      recipe = recipes.recipe_of(config.get_config().proxy, pool)
      scores = proxy.dynamics_scores(pool, labels, classes, recipe, epochs=epochs, mesh=mesh.data_mesh(16), seed=seed)
      return scores['aum']
    def accuracies(scores):
      candidates = [select.Candidates(graph.indices, graph.similarity, pseudo,
                                      select.difficulty({'aum': s}, 'aum', seed=seed)) for s in scores]
      cuts = [select.choose('coverage', each, 1 - RATE.value, BETA.value, seed=seed) for each in candidates]
      return judge.grade(x, split.pool[np.stack(cuts)], y[None], split.test, steps=1000, seed=seed)[:, 0]
    runs = [aum(pseudo, epochs) for epochs in EPOCHS]
    by_epochs.append([[stats.spearmanr(run, runs[-1])[0] for run in runs], accuracies(runs)])
    rng = np.random.default_rng(seed)
    wrong, other = rng.random(len(truth)), rng.integers(0, classes, len(truth))
    noisy = [aum(np.where(wrong < share, other, truth)) for share in NOISE]
    by_noise.append(accuracies(noisy))
    print(f'seed {seed}: clusters {evaluate.cluster_accuracy(pseudo, truth):.1%} right', flush=True)
  rank, accuracy = np.transpose(by_epochs, (1, 2, 0))
  print(f'| epochs | Spearman with {EPOCHS[-1]} | accuracy at {RATE.value:.0%} pruned |\n|---|---|---|')
  for epochs, r, a in zip(EPOCHS, rank, accuracy):
    print(f'| {epochs} | {r.mean():.3f} | {_words(a)} |')
  print('| labels replaced by random ones | accuracy |\n|---|---|')
  for share, a in zip(NOISE, np.transpose(by_noise)):
    print(f'| {share:.0%} | {_words(a)} |')
  if FIGURE.value:
    draw(runs[-1], aum(truth, EPOCHS[-1]), pseudo, truth)


def draw(pseudo_aum, true_aum, pseudo, truth):
  """Histograms of AUM, those of wrongly clustered examples (by each cluster's majority) apart."""
  from matplotlib.figure import Figure
  majority = np.array([np.bincount(truth[pseudo == c], minlength=1).argmax() for c in range(pseudo.max() + 1)])
  wrong, picture = majority[pseudo] != truth, Figure(figsize=(7, 3.2), layout='constrained')
  left, right = picture.subplots(1, 2, sharey=True)
  bins = np.linspace(min(pseudo_aum.min(), true_aum.min()), 1, 60)
  left.hist([pseudo_aum[~wrong], pseudo_aum[wrong]], bins, stacked=True,
            label=['rightly clustered', 'wrongly clustered'])
  right.hist(true_aum, bins, color='tab:green', label='true labels')
  for axes, title in ((left, 'pseudo-labels'), (right, 'true labels')):
    axes.set(title=f'AUM under {title}', xlabel='AUM', yscale='log')
    axes.legend(frameon=False, fontsize=8)
  picture.savefig(FIGURE.value, dpi=130)


def _words(values):
  return f'{values.mean():.1%} +- {values.std(ddof=1) * 100:.1f}'


if __name__ == '__main__':
  app.run(main)
