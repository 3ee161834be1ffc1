"""A set made up so that the best choice is known: redundant cores, informative borders, labels that tell nothing.

Every class has a centre. The border between two classes lies somewhere between their centres, elsewhere for every
pair: cores can't say where, examples beside it can. A random choice is mostly cores and noise.
"""
import numpy as np

CLASSES = 8
KINDS = {'core': 456, 'border': 190, 'noise': 114}  # Of every class: 60, 25 and 15 %.
TEST = {'core': 180, 'border': 75}  # The same mixture without the noise.
SIDE = 8
CORE_SPREAD, BORDER_SPREAD = 0.08, 0.05  # Standard deviations; 1 is from the middle of all classes to a centre.
CONTRAST = 230  # Pixel values' standard deviation times SIDE for a latent vector of length 1.


def read() -> dict:
  """The set that the benchmark is about."""
  return make()


def make(seed=0):
  """The set, from a seed alone.

  Returns: a dict of `images` uint8 [6080,8,8], `labels` [6080], `ids` ('core:17', 'border:3', 'noise:5'), shuffled;
    `test_images` uint8 [2040,8,8] and `test_labels`, drawn from cores and borders alone.
  """
  rng = np.random.default_rng(seed)
  edges = rng.uniform(0.2, 0.8, (CLASSES, CLASSES))
  edges = np.where(np.tri(CLASSES, dtype=bool), 1 - edges.T, edges)  # Where it lies seen from the other side.
  basis = _basis(rng)
  parts = [_draw(rng, edges, KINDS), _draw(rng, edges, TEST)]
  (latent, labels, ids), (test_latent, test_labels, _) = parts
  order = rng.permutation(len(labels))
  return {'images': _images(rng, latent[order], basis), 'labels': labels[order], 'ids': [ids[i] for i in order],
          'test_images': _images(rng, test_latent, basis), 'test_labels': test_labels,
          'class_names': [f'class {c}' for c in range(CLASSES)]}


def _draw(rng, edges, kinds):
  """Latent vectors [N,C], labels [N] and ids [N] of so many examples of each kind in every class."""
  makers = {'core': _core, 'border': _border, 'noise': _noise}
  latent, labels, ids = [], [], []
  for kind, count in kinds.items():
    own = np.repeat(np.arange(CLASSES), count)
    latent.append(makers[kind](rng, own, edges))
    labels.append(own)
    ids += [f'{kind}:{i}' for i in range(len(own))]
  return np.concatenate(latent), np.concatenate(labels), ids


def _core(rng, own, edges):
  return np.eye(CLASSES)[own] + rng.normal(0, CORE_SPREAD, (len(own), CLASSES))


def _border(rng, own, edges):
  """Between the own centre and another, a little on the own side of the border."""
  other = _other(rng, own)
  along = edges[own, other] - rng.uniform(0.03, 0.12, len(own))
  return _between(own, other, along) + rng.normal(0, BORDER_SPREAD, (len(own), CLASSES))


def _noise(rng, own, edges):
  """Half lie in another class's core, half in the middle of three others: their label is of no use there."""
  others = np.array([rng.permutation(np.delete(np.arange(CLASSES), c))[:3] for c in own])
  middle = np.eye(CLASSES)[others].mean(1)
  place = np.where((np.arange(len(own)) % 2 == 0)[:, None], np.eye(CLASSES)[others[:, 0]], middle)
  return place + rng.normal(0, CORE_SPREAD, (len(own), CLASSES))


def _other(rng, own):
  return (own + rng.integers(1, CLASSES, len(own))) % CLASSES


def _between(own, other, along):
  centres = np.eye(CLASSES)
  return centres[own] * (1 - along)[:, None] + centres[other] * along[:, None]


def _basis(rng):
  """[C,SIDE,SIDE]: smooth random patterns, orthonormal, so that a shift by a pixel changes little."""
  from scipy import ndimage
  smooth = ndimage.gaussian_filter(rng.normal(size=(CLASSES, SIDE, SIDE)), (0, 1, 1), mode='reflect')
  return np.linalg.qr(smooth.reshape(CLASSES, -1).T)[0].T


def _images(rng, latent, basis):
  pixels = 128 + CONTRAST * (latent - 1 / CLASSES) @ basis + rng.normal(0, 4, (len(latent), SIDE * SIDE))
  return pixels.round().clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)
