"""Clusterings of one embedding against the true classes: k-means plain, smoothed and from merged clusters, TEMI from
random and from k-means.

  python benchmarks/clusterings.py --data=digits                             PCA of the pixels
  python benchmarks/clusterings.py --data=fashion_mnist --embeddings=runs/fashion_mnist/embeddings.npy

A row per method and seed: accuracy (Hungarian), NMI, agreement and information of the 10 nearest neighbours (neither
sees a label), the share of k-means labels that TEMI changed, and the CPU seconds of the process.
"""
import time

import numpy as np
from absl import app, flags

from elfs_jax import cluster, data, embed, evaluate, neighbors

DATA = flags.DEFINE_string('data', 'digits', 'A data set with labels, as data.name.')
EMBEDDINGS = flags.DEFINE_string('embeddings', None, 'An .npy [N,D]; default PCA of the pixels.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds 0, 1, ...')
TEMI = flags.DEFINE_bool('temi', True, 'Also TEMI, which takes a minute or more at 60,000.')


def main(_):
  dataset = data.load(DATA.value)
  x = np.load(EMBEDDINGS.value) if EMBEDDINGS.value else embed.pca(dataset.images)
  near, _ = neighbors.knn(x, 50)
  classes, large = len(np.unique(dataset.labels)), len(x) >= 10_000
  schedule = dict(heads=8, hidden=(128, 64), learning_rate=3e-3, batch=1024 if large else 256,
                  teacher_momentum=0.95 if large else 0.9, warmup_epochs=2 if large else 4)
  print(f'{DATA.value}, {x.shape[1]} dimensions, purity of 50 neighbours {evaluate.purity(near, dataset.labels):.3f}')
  print('method          seed  accuracy    NMI  agreement  information  changed  CPU s')
  for seed in range(SEEDS.value):
    methods = {'k-means plain': lambda: (cluster.kmeans(x, classes, seed=seed), None),
               'k-means smoothed': lambda: (cluster.kmeans(x, classes, neighbors=near, seed=seed), None),
               'k-means merged': lambda: (cluster.merged_kmeans(x, classes, neighbors=near, seed=seed), None)}
    if TEMI.value:
      methods['TEMI random'] = lambda: temi('random', 20 if large else 40)
      methods['TEMI from k-means'] = lambda: temi('kmeans', 8 if large else 40)
    def temi(init, epochs):
      found = cluster.temi(x, classes, neighbors=near, init=init, epochs=epochs, seed=seed, **schedule)
      return found.labels, found.changed
    for name, method in methods.items():
      start = time.process_time()
      labels, changed = method()
      seconds = time.process_time() - start
      print(f'{name:17} {seed:2}     {evaluate.cluster_accuracy(labels, dataset.labels):.3f}  '
            f'{evaluate.nmi(labels, dataset.labels):.3f}      {cluster.agreement(labels, near):.3f}        '
            f'{cluster.information(labels, near):.3f}   {"" if changed is None else f"{changed:.3f}":6}  {seconds:.1f}',
            flush=True)


if __name__ == '__main__':
  app.run(main)
