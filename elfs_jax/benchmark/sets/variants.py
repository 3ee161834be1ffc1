"""Variants of a labelled set of images, made from it by a seed: a long tail of rare classes, and a dirty collection."""
import numpy as np

from elfs_jax.data.sources import fashion_mnist

IMBALANCE = 100  # The largest class over the smallest.
COPIES = 25  # Of each original that is copied: 300 of Fashion-MNIST's.
CORRUPTIONS = ('noise', 'blur', 'occlusion', 'inverted', 'dark')


def read_long_tail(path=None) -> dict:
  """`long_tail` of Fashion-MNIST; `path` as `fashion_mnist.read` has it."""
  return long_tail(fashion_mnist.read(path))


def read_dirty(path=None) -> dict:
  """`dirty` of Fashion-MNIST; `path` as `fashion_mnist.read` has it."""
  return dirty(fashion_mnist.read(path))


def long_tail(fields, seed=0):
  """Class sizes that fall exponentially to a hundredth, as in Cao et al. 2019 (arXiv 1906.07413); the test set stays.

  Args:
    fields: dict of `images` [N,H,W], `labels` [N] and what else a reader returns.
    seed: of which class is how large, and which of its examples stay.
  Returns: `fields` with fewer `images`, their `labels`, and `ids`: the index in the whole set.
  """
  rng = np.random.default_rng(seed)
  labels = np.asarray(fields['labels'])
  classes, counts = np.unique(labels, return_counts=True)
  sizes = tail_sizes(counts.min(), len(classes))
  kept = [rng.permutation(np.flatnonzero(labels == c))[:size] for c, size in zip(rng.permutation(classes), sizes)]
  kept = np.sort(np.concatenate(kept))
  return fields | {'images': fields['images'][kept], 'labels': labels[kept], 'ids': _names(kept)}


def tail_sizes(largest, classes):
  """The sizes of the classes, largest first: 6000, 3596, ... 60."""
  return [int(largest * IMBALANCE ** (-c / (classes - 1)) + 1e-9) for c in range(classes)]


def dirty(fields, seed=0):
  """A quarter of a set, as it might be scraped: of the result 30 % are near copies of a few, 10 % are corrupted.

  Copies are moved by up to a pixel, with a little noise. Corrupted ones are unusable, or nearly, and come from images
  that are not there otherwise. All keep their labels; the order is shuffled; the test set stays.

  Args:
    fields: dict of `images` uint8 [N,H,W], `labels` [N] and what else a reader returns.
    seed: of the choice, the dirt and the order.
  Returns: `fields` with other `images`, `labels` and `ids`: '01234', '01234:copy2', '01234:noise' (or another of
    `CORRUPTIONS`), by the index in the whole set.
  """
  rng = np.random.default_rng(seed)
  images, order = fields['images'], rng.permutation(len(fields['images']))
  originals = order[:len(order) // 4]
  copies = len(originals) // 2  # 60 % are originals.
  sources = np.repeat(originals[:-(-copies // COPIES)], COPIES)[:copies]
  spoiled = order[len(originals):len(originals) + len(originals) // 6]
  kinds = [CORRUPTIONS[i % len(CORRUPTIONS)] for i in range(len(spoiled))]
  names = _names(originals) + [f'{name}:copy{i % COPIES + 1}' for i, name in enumerate(_names(sources))]
  names += [f'{name}:{kind}' for name, kind in zip(_names(spoiled), kinds)]
  pixels = np.concatenate([images[originals], _copies(rng, images[sources]),
                           *(_corrupted(rng, images[i], kind)[None] for i, kind in zip(spoiled, kinds))])
  labels = np.asarray(fields['labels'])[np.concatenate([originals, sources, spoiled])]
  shuffled = rng.permutation(len(pixels))
  return fields | {'images': pixels[shuffled], 'labels': labels[shuffled], 'ids': [names[i] for i in shuffled]}


def _names(indices):
  return [f'{index:05d}' for index in indices]


def _copies(rng, images):
  """Each image moved by up to a pixel either way, the edge filled with its own, and with a little noise."""
  n, height, width = images.shape
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode='edge')
  moved = np.stack([image[y:y + height, x:x + width] for image, (y, x) in zip(padded, rng.integers(0, 3, (n, 2)))])
  return (moved + rng.normal(0, 4, moved.shape)).round().clip(0, 255).astype(np.uint8)


def _corrupted(rng, image, kind):
  from scipy import ndimage
  if kind == 'noise':
    image = 0.2 * image + rng.uniform(0, 204, image.shape)
  elif kind == 'blur':
    image = ndimage.gaussian_filter(image.astype(np.float32), 6, mode='constant')
  elif kind == 'occlusion':  # All but a corner of a third of the height and width.
    height, width = (side // 3 for side in image.shape)
    y, x = rng.integers(0, 2, 2) * (np.array(image.shape) - (height, width))
    seen, image = image[y:y + height, x:x + width], np.full(image.shape, rng.integers(64, 192))
    image[y:y + height, x:x + width] = seen
  elif kind == 'inverted':
    image = 255 - image
  else:
    image = image / 16
  return np.asarray(image).round().clip(0, 255).astype(np.uint8)
