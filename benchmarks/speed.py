"""Each stage beside what bounds it and beside its peer, in one run: a Markdown table.

  python benchmarks/speed.py                                               all rows, at the sizes of docs/performance.md
  python benchmarks/speed.py --rows=exact,cover --counts=100000             some rows, at another size
  python benchmarks/speed.py --rows=whole --counts=10000,30000,100000       the seconds of every stage as N grows

Clustered rows of 384 features (benchmarks/clustered.py), written to --folder and kept there. Each row runs in a process
of its own, which tells its peak memory; the part of it that is mapped from files is told apart. The limit is the time
that the same sums take as one large matrix product, or the same bytes as one large copy, measured in that process just
before. Peers: faiss-cpu where it is installed (pip install faiss-cpu), scikit-learn. Seconds are of a clock on the
wall, those of all cores together stand in brackets: on a machine that others use, compare these.
"""
import concurrent.futures
import importlib.util
import multiprocessing
import pathlib
import resource
import tempfile
import time

import clustered
import numpy as np
from absl import app, flags

K = 50
WIDTH = 384
FAISS = importlib.util.find_spec('faiss') is not None


class Clock:
  """Seconds on the wall and of all cores since it was made."""

  def __init__(self):
    self.wall, self.cores = time.monotonic(), time.process_time()

  def __call__(self):
    return time.monotonic() - self.wall, time.process_time() - self.cores


def product_seconds(flops):
  """How long so many operations take as one large matrix product of NumPy's."""
  x = np.random.default_rng(0).normal(size=(3000, 3000)).astype(np.float32)
  def once():
    clock = Clock()
    x @ x
    return clock()[0]
  return flops / (2 * 3000 ** 3) * min(once() for _ in range(5))


def copy_seconds(size):
  """How long it takes to copy so many bytes."""
  x = np.ones(1 << 26, np.float32)
  def once():
    clock = Clock()
    x.copy()
    return clock()[0]
  return size / x.nbytes * min(once() for _ in range(5))


def exact(folder, count):
  from elfs_jax import neighbors
  x_ND, limit = rows_of(folder, count), product_seconds(2 * count ** 2 * WIDTH)
  neighbors.knn(x_ND[:2000], K)  # Compiles.
  clock = Clock()
  found, _ = neighbors.knn(x_ND, K)
  took = clock()
  if not FAISS:
    return took, limit, None, ''
  import faiss
  clock, index = Clock(), faiss.IndexFlatIP(WIDTH)
  index.add(unit(x_ND))
  _, theirs = index.search(unit(x_ND), K + 1)
  return took, limit, clock(), f'faiss, flat; {share(found, theirs[:, 1:]):.2%} the same neighbours'


def approximate(folder, count, queries=2000):
  from elfs_jax import neighbors
  from elfs_jax.neighbors import cells
  x_ND, compared, largest = rows_of(folder, count), [], cells.largest
  cells.largest = lambda value, k: compared.append(value.size) or largest(value, k)
  clock = Clock()
  graph = neighbors.graph(x_ND, K, exact_below=1)
  took, peak = clock(), memory()
  limit = product_seconds(2 * sum(compared) * WIDTH)
  np.savez(folder / f'graph-{count}.npz', indices=graph.indices, similarity=graph.similarity)
  drawn = np.sort(np.random.default_rng(1).choice(count, min(count, queries), replace=False))
  true = exact_of(x_ND, drawn)
  note = f'recall {share(graph.indices[drawn], true):.4f} (it says {graph.recall:.4f})'
  if not FAISS:
    return took, limit, None, note, peak
  import faiss
  part = np.arange(min(count, 20_000))
  clock = Clock()
  index = faiss.index_factory(WIDTH, f'IVF{round(2 * np.sqrt(count))},Flat', faiss.METRIC_INNER_PRODUCT)
  index.train(unit(x_ND[::max(1, count // (100 * index.nlist))]))
  for start in range(0, count, 1 << 16):
    index.add(unit(x_ND[start:start + (1 << 16)]))
  built = clock()
  for index.nprobe in (2, 4, 8, 16, 32):
    theirs = share(index.search(unit(x_ND[drawn]), K + 1)[1][:, 1:], true)
    if theirs >= 0.975:
      break
  clock = Clock()
  index.search(unit(x_ND[part]), K + 1)
  peer = tuple(b + s * count / len(part) for b, s in zip(built, clock()))
  return took, limit, peer, f'{note}; faiss, IVF, {index.nprobe} probes, told from {len(part):,}: {theirs:.4f}', peak


def clusters(folder, count, classes=1000, rounds=10):
  from elfs_jax import cluster
  x_ND, near_NK = rows_of(folder, count), graph_of(folder, count)[0]
  classes = min(classes, count // 200)
  limit = product_seconds(2 * rounds * count * classes * WIDTH) + copy_seconds(100 * x_ND.nbytes)
  clock = Clock()
  labels = cluster.kmeans(x_ND, classes, neighbors=near_NK)
  took, peak = clock(), memory()
  smooth_ND = cluster.smooth(x_ND, near_NK)
  from sklearn.cluster import MiniBatchKMeans
  clock = Clock()
  theirs = MiniBatchKMeans(classes, batch_size=16_384, n_init=1, random_state=0).fit(smooth_ND).labels_
  peer = clock()
  ours, others = (inertia(smooth_ND, made) for made in (labels, theirs))
  note = f'{classes} clusters; MiniBatchKMeans of what is smoothed: inertia {others / ours - 1:+.1%}'
  return took, limit, peer, note, peak


def cover(folder, count):
  from elfs_jax import select
  near_NK, similarity = graph_of(folder, count)
  labels, limit = nearest_of(rows_of(folder, count), 1000), copy_seconds(16 * near_NK.size)
  difficulty = np.random.default_rng(0).normal(size=count)
  clock = Clock()
  select.coverage(near_NK, similarity, difficulty, 0.1, 0.05, weight=select.class_weights(labels), groups=labels)
  return clock(), limit, None, '10 %, 1,000 groups; the limit copies the graph once'


def proxy(folder, count, classes=1000, epochs=3):
  import jax

  from elfs_jax import config
  from elfs_jax.runtime import mesh
  from elfs_jax.training import loop
  from elfs_jax.training import recipe as recipes
  x_ND, ends = rows_of(folder, count), []
  labels, settings = nearest_of(x_ND, classes), recipes.with_network(config.get_config().proxy, 'mlp')
  hidden = 16 * settings['width']
  limit = product_seconds(6 * count * (WIDTH * hidden + hidden * classes))
  def on_epoch(_, state):
    jax.block_until_ready(state)
    ends.append((time.monotonic(), time.process_time()))
  loop.fit(np.asarray(x_ND), labels, classes, recipes.recipe_of(settings, x_ND), epochs=epochs,
           mesh=mesh.data_mesh(16), shards=16, on_epoch=on_epoch)
  return tuple(np.subtract(ends[-1], ends[0]) / (epochs - 1)), limit, None, 'an epoch, with dynamics'


def whole(folder, count):
  from elfs_jax import config, pipeline
  settings, seconds = config.get_config(), []
  settings.update_from_flattened_dict({'data.name': 'embeddings', 'data.path': str(folder / f'rows-{count}.npy'),
                                       'cluster.num_classes': 100, 'select.budget': '10%'})
  rows_of(folder, count)
  with tempfile.TemporaryDirectory(dir=folder) as workdir:
    clock = Clock()
    dataset = pipeline.read_data(settings)
    pipeline.select_from(dataset, settings, pathlib.Path(workdir), say=seconds.append)
    took = clock()
  stages = [line.split(' done in ') for line in seconds if ' done in ' in line]
  return took, None, None, ', '.join(f'{name.strip("[]")} {time_.split()[0]}' for name, time_ in stages)


ROWS = {'exact': (exact, 60_000), 'approximate': (approximate, 1_281_167), 'clusters': (clusters, 1_281_167),
        'cover': (cover, 1_281_167), 'proxy': (proxy, 1_281_167), 'whole': (whole, 100_000)}
NAMES = flags.DEFINE_list('rows', list(ROWS), f'Of {", ".join(ROWS)}.')
COUNTS = flags.DEFINE_list('counts', [], 'How many examples, in place of the sizes of each row.')
FOLDER = flags.DEFINE_string('folder', 'runs/speed', 'Where the rows and their graph are written and kept.')


def rows_of(folder, count):
  """Clustered rows float32 [count, WIDTH], mapped from a file."""
  path = folder / f'rows-{count}.npy'
  if not path.exists():
    clustered.write(path, count, WIDTH)
  return np.load(path, mmap_mode='r')


def graph_of(folder, count):
  path = folder / f'graph-{count}.npz'
  if not path.exists():
    from elfs_jax import neighbors
    graph = neighbors.graph(rows_of(folder, count), K, exact_below=1)
    np.savez(path, indices=graph.indices, similarity=graph.similarity)
  with np.load(path) as file:
    return file['indices'], file['similarity']


def nearest_of(x_ND, number):
  """For each row the nearest of so many random ones: int32 [N]."""
  some = np.asarray(x_ND[np.random.default_rng(0).choice(len(x_ND), number, replace=False)])
  half = np.square(some).sum(1) / 2
  return np.concatenate([(x_ND[start:start + 8192] @ some.T - half).argmax(1)
                         for start in range(0, len(x_ND), 8192)]).astype(np.int32)


def exact_of(x_ND, drawn):
  """The exact neighbours of some rows: int [drawn, K]."""
  wanted = unit(x_ND[drawn])
  best, index = np.empty((len(drawn), 0), np.float32), np.empty((len(drawn), 0), int)
  for start in range(0, len(x_ND), 8192):
    cosine = wanted @ unit(x_ND[start:start + 8192]).T
    rows = np.arange(start, start + cosine.shape[1])
    cosine[drawn[:, None] == rows] = -np.inf
    best, index = np.append(best, cosine, 1), np.append(index, np.broadcast_to(rows, cosine.shape), 1)
    kept = np.argpartition(-best, K - 1, axis=1)[:, :K]
    best, index = np.take_along_axis(best, kept, 1), np.take_along_axis(index, kept, 1)
  return index


def share(found, true):
  return np.mean([len(np.intersect1d(*pair)) / len(pair[1]) for pair in zip(found, true)])


def inertia(x_ND, labels):
  centres = np.stack([x_ND[labels == c].mean(0) if (labels == c).any() else x_ND[0] for c in range(labels.max() + 1)])
  return sum(float(np.square(x_ND[start:start + 8192] - centres[labels[start:start + 8192]]).sum())
             for start in range(0, len(x_ND), 8192))


def unit(x_ND):
  from elfs_jax.vectors import unit_rows
  return unit_rows(x_ND)


def memory():
  """Peak memory of this process in GB, with what is mapped from files, and what of that is mapped now."""
  try:
    mapped = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssFile'))
  except OSError:
    mapped = 0
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, mapped / 1e6


def measure(name, folder, count):
  took, limit, peer, note, *peak = ROWS[name][0](folder, count)
  return took, limit, peer, note, *(peak or [memory()])


def main(_):
  folder = pathlib.Path(FOLDER.value).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  print('| row | examples | ours, s | limit, s | ours / limit | peer, s | peak (mapped), GB | |\n' + '|---' * 8 + '|')
  for name in NAMES.value:
    for count in [int(count) for count in COUNTS.value] or [ROWS[name][1]]:
      # A process of its own for each, so that peaks are of one row.
      with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        pool.submit(rows_of, folder, count).result()
        if name in ('clusters', 'cover'):
          pool.submit(graph_of, folder, count).result()
      with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        took, limit, peer, note, (peak, mapped) = pool.submit(measure, name, folder, count).result()
      bound = ('', '') if limit is None else (f'{limit:.1f}', f'{took[0] / limit:.1f}')
      print(f'| {name} | {count:,} | {_words(took)} | {bound[0]} | {bound[1]} | {_words(peer) if peer else ""} | '
            f'{peak:.1f} ({mapped:.1f}) | {note} |', flush=True)


def _words(times):
  return f'{times[0]:.1f} ({times[1]:.1f})'


if __name__ == '__main__':
  app.run(main)
