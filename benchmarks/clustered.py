"""Clustered embeddings of any number, as an .npy that is written a block at a time.

  python benchmarks/clustered.py --count=1281167 --path=rows.npy
  elfs-jax --config=embeddings --config.data.path=rows.npy --config.select.budget=10%

Each cluster lies around a centre, near the centres of its family, and spreads along a few directions of its own, as
embeddings of pictures do; sizes differ. The first rows of two files of one seed are the same.
"""
import pathlib

import numpy as np
from absl import app, flags

COUNT = flags.DEFINE_integer('count', 1_281_167, 'Rows.', lower_bound=1)
WIDTH = flags.DEFINE_integer('width', 384, 'Features.', lower_bound=1)
CLUSTERS = flags.DEFINE_integer('clusters', 1000, 'Clusters.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Draws all.')
PATH = flags.DEFINE_string('path', None, 'Where to write the .npy.')
BLOCK = 8192
DIRECTIONS = 12


def main(_):
  if PATH.value is None:
    raise app.UsageError('--path names the .npy to write')
  write(pathlib.Path(PATH.value), COUNT.value, WIDTH.value, CLUSTERS.value, SEED.value)


def write(path, count, width=384, clusters=1000, seed=0):
  """Rows float32 [count, width], written to `path`; returns the clusters that they were drawn from, int [count]."""
  rng = np.random.default_rng(seed)
  families = rng.normal(size=(max(1, clusters // 10), width))
  centres = (families[rng.integers(len(families), size=clusters)] + 0.8 * rng.normal(size=(clusters, width)))
  spread = rng.normal(size=(clusters, DIRECTIONS, width)).astype(np.float32) / np.sqrt(DIRECTIONS)
  spread *= rng.gamma(4, 1 / 4, size=(clusters, DIRECTIONS, 1)).astype(np.float32)
  share = rng.gamma(2, size=clusters)
  centres, share = centres.astype(np.float32), share / share.sum()
  partial = path.with_suffix('.partial')
  out = np.lib.format.open_memmap(partial, 'w+', np.float32, (count, width))
  drawn = np.empty(count, np.int32)
  for start in range(0, count, BLOCK):
    rng = np.random.default_rng([seed, start])  # A block is drawn whole, so that fewer rows are the first ones of more.
    of = np.sort(rng.choice(clusters, BLOCK, p=share))
    rows = centres[of] + 0.35 * rng.standard_normal((BLOCK, width), np.float32)
    along = rng.standard_normal((BLOCK, DIRECTIONS), np.float32)
    for cluster in np.unique(of):
      rows[of == cluster] += along[of == cluster] @ spread[cluster]
    shuffled = rng.permutation(BLOCK)[:count - start]
    out[start:start + BLOCK], drawn[start:start + BLOCK] = rows[shuffled], of[shuffled]
  out.flush()
  partial.replace(path)
  return drawn


if __name__ == '__main__':
  app.run(main)
