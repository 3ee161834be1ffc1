"""How features are scaled before they are compared, chosen without labels.

Every stage compares embeddings by their directions (cosine similarity), so what counts is where the origin lies and how
far each component spreads. No one scaling suits all features: half-whitened components are best for pixels and worst
for the features of a network trained on ImageNet, so `scaled` picks one, by how well neighbours agree (`agreements`).
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from elfs_jax.vectors import fit_kmeans, nearest, unit_rows

FIT_ROWS = 20_000  # Enough for the directions; every row is then projected.
BLOCK = 8_192  # Rows that are scaled at a time.
FEW = 16  # Features: below, as in what UMAP gives, they are places on a map, whose distances mean something.


class Scaling(NamedTuple):
  """One way to scale features; `rotate` and what follows it work on features less their mean."""
  help: str
  centre: bool = True
  rotate: bool = False             # To principal components,
  components: int | None = None    # of which so many are kept,
  power: float = 0                 # each divided by its standard deviation to this power.
  sphere: bool = False             # Points are mapped onto a sphere, where directions compare as distances do here.


SCALINGS: dict[str, Scaling] = {
    'raw': Scaling('as they are', centre=False),
    'centred': Scaling('less their mean'),
    'pca256': Scaling('the first 256 principal components', rotate=True, components=256),
    'pca128': Scaling('the first 128 principal components', rotate=True, components=128),
    'whitened': Scaling('principal components, each divided by the root of its standard deviation', rotate=True,
                        power=0.5),
    'distances': Scaling('less their mean, compared by distance in place of direction', sphere=True),
}


class Transform(NamedTuple):
  """What `fit` found: x -> (x - mean) @ weights, and onto a sphere where there is a radius."""
  mean: np.ndarray                 # float32 [D]
  weights: np.ndarray | None       # float32 [D, K]
  radius: float | None

  def __call__(self, embeddings: np.ndarray) -> np.ndarray:
    """Scale rows [M, D], of the same kind as those of the fit: float32 [M, K]."""
    width = len(self.mean) if self.weights is None else self.weights.shape[1]
    out = np.empty((len(embeddings), width + (self.radius is not None)), np.float32)
    with threadpool_limits(1):  # Sums by several threads have other last bits.
      for start in range(0, len(embeddings), BLOCK):
        block = np.asarray(embeddings[start:start + BLOCK], np.float32) - self.mean
        if self.weights is not None:
          block = block @ self.weights
        out[start:start + BLOCK] = block if self.radius is None else _on_sphere(block, self.radius)
    return out


def fit(embeddings: np.ndarray, name: str, *, components: int | None = None, seed: int = 0,
        fit_rows: int = FIT_ROWS) -> Transform:
  """The transform of a scaling, found from features alone, deterministic to the bit.

  Args:
    embeddings: [N, D], any real dtype.
    name: one of `SCALINGS`.
    components: the largest number of principal components to keep, of any scaling; default: as the scaling has it.
    seed: draws the rows to fit on, where N exceeds `fit_rows`.
    fit_rows: how many rows to fit on at most.
  """
  scaling = SCALINGS[name]
  width = embeddings.shape[1]
  sample = np.asarray(embeddings[_drawn(len(embeddings), fit_rows, seed)], np.float32)
  mean = sample.mean(0, dtype=np.float64).astype(np.float32) if scaling.centre else np.zeros(width, np.float32)
  weights = radius = None
  if scaling.rotate or components is not None:
    keep = min(size for size in (scaling.components, components, width, max(1, len(sample) - 1)) if size)
    weights = rotation(sample - mean, keep, scaling.power)
  if scaling.sphere:
    radius = max(float(np.sqrt(np.square(sample - mean, dtype=np.float64).sum(1).max())), 1e-12)
  return Transform(mean, weights, radius)


def rotation(centred: np.ndarray, components: int, power: float) -> np.ndarray:
  """Principal components [D, K] of rows whose mean is 0, each over its standard deviation to `power`.

  Exact (the eigenvectors of the covariance), with fixed signs, on one thread. A component that does not vary is 0.
  """
  from sklearn.decomposition import PCA
  with threadpool_limits(1):
    found = PCA(components, svd_solver='covariance_eigh').fit(centred)
  spread = np.sqrt(np.maximum(found.explained_variance_, 0))
  alive = spread > 1e-4 * max(spread[0], 1e-12)
  return (found.components_.T * np.where(alive, np.where(alive, spread, 1) ** -power, 0)).astype(np.float32)


def _on_sphere(x_NK, radius):
  """The inverse stereographic projection of points within a radius: float32 [N, K + 1], on half of the unit sphere.

  It keeps angles, so the nearest points stay the nearest.
  """
  x_NK = x_NK / np.float32(radius)
  square_N1 = np.square(x_NK).sum(1, keepdims=True)
  return np.concatenate([2 * x_NK, 1 - square_N1], 1) / (1 + square_N1)


def scaled(embeddings: np.ndarray, scaling: str = 'auto', *, components: int | None = None, seed: int = 0) -> dict:
  """Features, scaled as told, or as suits them.

  Args:
    embeddings: [N, D], any real dtype.
    scaling: one of `SCALINGS`; or 'auto': of D below `FEW`, distances; else of the others that of the best agreement.
    components, seed: as in `fit`.
  Returns: `embeddings` float32 [N, K]; `scaling`, its name; `agreements`, of each in the order of `SCALINGS`, NaN where
    it was not asked; and `mean`, `weights` and `radius` of the `Transform`, where it has them.
  """
  scores = {}
  if scaling == 'auto' and embeddings.shape[1] < FEW:
    scaling = 'distances'
  elif scaling == 'auto':
    scores = agreements(embeddings, [name for name in SCALINGS if not SCALINGS[name].sphere], components=components,
                        seed=seed)
    scaling = max(scores, key=scores.__getitem__)
  transform = fit(embeddings, scaling, components=components, seed=seed)
  return {'embeddings': transform(embeddings), 'scaling': scaling,
          'agreements': np.array([scores.get(name, np.nan) for name in SCALINGS]),
          **{name: value for name, value in transform._asdict().items() if value is not None}}


def agreements(embeddings: np.ndarray, names: Sequence[str], *, components: int | None = None,
               seed: int = 0, rows: int = 2_500, numbers: Sequence[int] = (10, 30),
               graded_neighbors: int = 10) -> dict[str, float]:
  """How well neighbours under each scaling agree with clusters that other features show: higher is better, no label.

  Features are cut into two random halves. Under each scaling of one half, neighbours are found, and k-means finds
  clusters in the other half under each scaling in turn. The score is how often neighbours share a cluster, beyond
  chance (0: chance, 1: always). A scaling can't win by cutting its own space cleanly, since all are graded by the same
  clusters of features that they did not see.

  Args:
    embeddings: [N, D], any real dtype.
    names: of `SCALINGS`.
    components: as in `fit`.
    seed: draws the rows and the halves.
    rows: how many random rows are graded at most.
    numbers: how many clusters each is cut into, in turn.
    graded_neighbors: how many nearest neighbours count.
  Returns: name -> score, in the order of `names`.
  """
  from sklearn.cluster import KMeans
  x_ND = np.asarray(embeddings[_drawn(len(embeddings), rows, seed)], np.float32)
  halves = np.array_split(np.random.default_rng(seed).permutation(x_ND.shape[1]), 2)
  def view(half, name):
    return fit(x_ND[:, half], name, components=components, seed=seed)(x_ND[:, half])
  found = [{name: view(half, name) for name in names} for half in halves]
  def clusters(x_NK, number):
    model = KMeans(max(2, min(number, len(x_NK) // 5)), n_init=1, max_iter=50, random_state=seed)
    return fit_kmeans(model, unit_rows(x_NK)).labels_
  labels = [[clusters(views[name], number) for name in names for number in numbers] for views in found]
  def score(name):
    return np.mean([_agreement(near_NK, seen) for views, others in zip(found, reversed(labels), strict=True)
                    for near_NK in [nearest(views[name], graded_neighbors)] for seen in others])
  return {name: float(score(name)) for name in names}


def _agreement(near_NK, labels):
  """How often neighbours share a cluster, beyond chance."""
  chance = np.square(np.bincount(labels) / len(labels)).sum()
  return ((labels[near_NK] == labels[:, None]).mean() - chance) / max(1 - chance, 1e-12)


def tamed(embeddings: np.ndarray, wide: str = 'refuse') -> tuple[np.ndarray, np.ndarray, list[str]]:
  """Features without the few rows and columns that outweigh all others, such as a time stamp or a row in another unit.

  They hold nearly all of the spread, so that all else would look alike. A few rows or columns (at most a hundredth or a
  quarter of all) count as such where each spreads ten times as far as the median and they hold nine tenths of the
  variance together.

  Args:
    embeddings: float32 [N, D].
    wide: 'refuse', or 'drop': such columns are left out, such rows are scaled to the length of the others.
  Returns: embeddings float32 [N, K]; the columns that were kept, int64 [K]; a line on rows and one on columns, if any.
  Raises: ValueError in one line that names the row or column.
  """
  kept, said = np.arange(embeddings.shape[1]), []
  mean = embeddings.mean(0, dtype=np.float64)
  rows, share = _outweighing(_in_blocks(lambda block: np.square(block - mean).sum(1), embeddings), 100)
  if len(rows):
    said.append(_outweigh_words('row', rows, share, wide))
    length = np.sqrt(_in_blocks(lambda block: np.square(block, dtype=np.float64).sum(1), embeddings))
    embeddings = np.array(embeddings)
    embeddings[rows] *= (np.median(length) / length[rows]).astype(np.float32)[:, None]
  spread = np.concatenate([embeddings[:, start:start + 64].var(0, dtype=np.float64)
                           for start in range(0, embeddings.shape[1], 64)])
  columns, share = _outweighing(spread, 4)
  if len(columns):
    said.append(_outweigh_words('column', columns, share, wide))
    kept = np.setdiff1d(kept, columns)
    embeddings = embeddings[:, kept]
  return embeddings, kept, said


def _outweighing(variance, among):
  """The few that hold nearly all of a variance, at most one `among` so many, and their share of it; or none."""
  order = np.argsort(variance)[::-1][:len(variance) // among]
  found = order[variance[order] > 100 * np.quantile(variance, 0.5, method='lower')]
  share = variance[found].sum() / max(variance.sum(), 1e-300)
  return (np.sort(found), share) if share > 0.9 else (found[:0], 0.)


def _outweigh_words(kind, found, share, wide):
  """What outweighs all else. Raises: it, where that is refused."""
  listed = ', '.join(map(str, found[:5])) + (', ...' if len(found) > 5 else '')
  one = len(found) == 1
  line = f'embeddings: {kind}{"" if one else "s"} {listed} (from 0) hold{"s" * one} {share:.2%} of the variance'
  if wide == 'drop':
    return f'  {line}: ' + ('left out' if kind == 'column' else 'scaled to the length of the others')
  raise ValueError(f'{line}, so all else would count for nothing: leave {"it" if one else "them"} out, or set '
                   f'embed.wide=drop to go on without, or embed.method=given to keep all as they are')


def _in_blocks(function, embeddings):
  return np.concatenate([function(embeddings[start:start + BLOCK]) for start in range(0, len(embeddings), BLOCK)])


def _drawn(count, most, seed):
  """Rows drawn at random, in order; all where there are no more than `most`."""
  if count <= most:
    return np.arange(count)
  return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
