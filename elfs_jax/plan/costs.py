"""What a stage costs: seconds on the reference machine, two CPU cores with nothing else running, and peak memory.

Rough, and made from a few measurements (docs/lab/results-0.1.md, "Time"): `rates` corrects the seconds by what runs on
this machine took.
"""
from typing import Any, NamedTuple

from elfs_jax import judge
from elfs_jax.embed import pixels
from elfs_jax.pipeline.steps import JUDGED
from elfs_jax.training import recipe as recipes

VERSION = 3               # Raise it when seconds change: what was noted with others is left.
MB = 1e6
BASE = 450 * MB           # Python, JAX and what it has compiled before any data.
COMPILED = 250 * MB       # A training's program.
BOUND = 1.3e9             # Of pictures that are decoded at a time (`data.decode`).
BYTES_PER_BYTE = 80       # Of a compressed picture that is decoded.


class Job(NamedTuple):
  """A run's data and settings."""
  n: int
  added: int             # of them to embed alone, where the others are known
  side: int              # pixels of an image, H times W; 0 without images
  channels: int
  bytes: int             # of files to decode
  width: int             # D of the embeddings; a guess, where they are not there yet
  classes: int           # a guess where it is open
  k: int
  config: Any
  proxy: str             # network
  evaluation: str        # network

  @property
  def images(self):
    """Bytes of all images."""
    return self.n * self.side * self.channels


def kind_of(stage: str, job: Job) -> str:
  """What runs of a stage have in common in which one tells how long another takes."""
  first = stage.split('_')[0]
  if first in ('judge', 'scale'):
    return first
  return {'proxy': f'proxy_{job.proxy}', 'evaluate': f'evaluate_{job.evaluation}'}.get(first, stage)


def cost(stage: str, job: Job) -> tuple[float, float]:
  """(seconds on the reference machine, bytes at the peak) of a stage."""
  for name, function in COSTS.items():
    if stage == name or stage.startswith(name.rstrip('_') + '_'):
      seconds, memory = function(job)
      return seconds, BASE + memory
  raise KeyError(stage)


def _read(job):
  return 1e-8 * job.bytes + 5e-4 * job.n, min(BOUND, 2 * BYTES_PER_BYTE * job.bytes / job.n)


def _pca(job):
  rows, width = min(job.n, pixels.FIT_ROWS), min(job.side, pixels.SIDE ** 2) * job.channels
  return (0.1 + 5e-9 * job.images + 1e-10 * (rows * width ** 2 + width ** 3),
          8 * rows * width + 24 * width ** 2 + job.n * width)


def _self_supervised(job):
  settings = job.config.embed
  epochs = settings.epochs or (20 if job.n <= 15_000 else 11)
  batch = settings.batch or (512 if job.n >= 10_000 else 256)
  scale = (settings.width / 24) ** 2
  return (20 + 9e-7 * scale * epochs * job.n * (job.side + 600),
          COMPILED + 2 * job.images + 400 * batch * job.side * settings.width / 24)


def _neighbors(job):
  if job.n >= job.config.neighbors.exact_below:  # By cells: docs/performance.md.
    return 2 + 2.4e-10 * job.n ** 1.5 * job.width, 400 * MB + job.n * (8 * job.width + 8 * job.k)
  blocks = 4 * min(1 << 28, 4 * 512 * job.n)
  return 0.3 + 6e-11 * job.n ** 2 * job.width, blocks + job.n * (12 * job.width + 16 * job.k)


def _kmeans(job):
  rows = min(job.n, max(60_000, 20 * job.classes))
  starts = 20 if rows == job.n else min(20, max(2, 2000 // job.classes))
  return 0.3 + (5e-9 * rows * starts + 2e-8 * job.n) * job.classes * job.width, 12 * job.n * job.width


def _temi(job):
  settings = job.config.cluster
  widths = (job.width, *settings.hidden)
  products = sum(a * b for a, b in zip(widths, widths[1:]))
  return 10 + 3e-10 * settings.epochs * job.n * settings.heads * products, COMPILED + 12 * job.n * job.width


def _training(job, network, settings):
  """Seconds for each example, and the bytes of all examples and of a batch."""
  if network == 'mlp':
    return 3e-10 * job.width * 16 * settings.width, 4 * job.n * job.width
  weight = {'small': 3.3e-7 * (settings.width / 16) ** 2, 'resnet18': 2.9e-5, 'resnet34': 4e-6}[network]
  return weight * (job.side + 100), job.images + 2000 * recipes.batch(settings, job.n) * job.side


def _proxy(job):
  seconds, memory = _training(job, job.proxy, job.config.proxy)
  return 4 + seconds * recipes.epochs(job.config.proxy, job.n) * job.n, COMPILED + memory


def _evaluate(job):
  settings = job.config.evaluate
  seconds, memory = _training(job, job.evaluation, settings)
  return 4 + seconds * settings.seeds * settings.steps * recipes.batch(settings, job.n), COMPILED + 2 * memory


def _judged(job):
  return job._replace(n=min(job.n, JUDGED))


def _clusterings(job):
  job, count = _judged(job), job.config.judge.clusterings
  each = 4.5e-11 * job.n ** 2 * job.width + 2.5e-8 * min(job.n, 10_000) * job.classes * job.width
  return 0.1 + count * each, _neighbors(job)[1] + 12 * job.n * job.width


def _judge(job):
  job, settings = _judged(job), job.config.judge
  subsets = len(settings.betas) + settings.randoms + len(judge.BESIDE) * judge.DRAWS
  trained = settings.folds * settings.clusterings * settings.steps * subsets
  return 5 + 1.5e-4 * trained + 5e-4 * job.n, COMPILED + job.n * (4 * job.width + 24 * job.k)


# The first that a stage's name begins with counts.
COSTS = {
    'read': _read,
    'embed_pca': _pca,
    'embed_self_supervised': _self_supervised,
    'embed_added': lambda job: (5 + 0.045 * job.added, 2 * COMPILED + 4 * job.n * 1000),
    'embed_': lambda job: (5 + 0.045 * job.n, 2 * COMPILED + 4 * job.n * 1000),  # A pretrained one.
    'embed': lambda job: (0.5 + 3e-5 * job.n, 8 * job.n * job.width),
    'scale': lambda job: (0.2 + 1e-7 * job.n * job.width, 16 * job.n * job.width),
    'neighbors': _neighbors,
    'num_classes': lambda job: (1.5e-3 * min(job.n, 3000), 100 * MB),
    'cluster_temi': _temi,
    'cluster_merged': lambda job: (0.3 + 1e-7 * job.n * (job.classes + 20) * job.width, 12 * job.n * job.width),
    'cluster_kmeans': _kmeans,
    'proxy': _proxy,
    'copies': lambda job: (1e-5 * job.n + 2e-9 * job.images, 150 * job.n),
    'unsure': lambda job: (0.2 + 2e-9 * job.n * job.classes * job.width, 100 * MB + 8 * job.n),
    'judged_neighbors': lambda job: _neighbors(_judged(job)),
    'clusterings': _clusterings,
    'judge': _judge,
    'evaluate': _evaluate,
}
