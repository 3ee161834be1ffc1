"""Data: where images, embeddings and labels come from, checked once, here.

Labels are optional everywhere, and only `evaluate` may see them.
"""
import collections
import dataclasses
import difflib
import numbers

import numpy as np

from elfs_jax.benchmark.sets import clipart, emoji, glyphs, synthetic, variants
from elfs_jax.data import readers

NEEDS_PATH = {
  'arrays': 'an .npz or .npy file of uint8 images',
  'emoji': 'the node_modules that holds the packages of emoji',
  'folder': 'a folder of images',
  'embeddings': 'an .npy or .npz file of float embeddings [N,D]',
}
FASHION_MNIST = {'fashion_mnist': dict, 'fashion_mnist_long_tail': variants.long_tail,
                 'fashion_mnist_dirty': variants.dirty}
MAX_CLASSES = 100_000  # A classifier has an output for each index up to the largest.
NO_PATH = ('digits', 'synthetic')
NAMES = (*NO_PATH, *FASHION_MNIST, 'clipart', 'glyphs', *NEEDS_PATH, *readers.TFDS)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """N examples. `images` or `embeddings` may be None, not both; `test_images` and `test_labels` come together."""
  images: np.ndarray | None  # uint8 [N,H,W,Ch], Ch 1 (grey) or 3 (RGB)
  ids: list[str]  # [N] unique: a posix path relative to the folder, else str(index) or the maker's
  labels: np.ndarray | None = None  # int32 [N]
  embeddings: np.ndarray | None = None  # float32 [N,D]
  test_images: np.ndarray | None = None  # uint8 [M,H,W,Ch]
  test_labels: np.ndarray | None = None  # int32 [M]
  class_names: list[str] | None = None
  skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # (path, reason), in path order


def load(name, path=None, *, images=None, labels=None, size=None, progress=None):
  """Read a data set.

  Args:
    name: `digits` (scikit-learn's, 8x8), `fashion_mnist` (`path`: the folder of the four IDX files, default where
      Debian's package puts them), `fashion_mnist_long_tail` and `fashion_mnist_dirty` (from the same files: see
      `variants`), `glyphs` (`path`: a folder of fonts, default the system's: see `glyphs`), `emoji` (`path`: a
      node_modules: see `emoji`), `clipart` (`path`: the folder of folders, default where Debian's package puts it),
      `synthetic` (8x8, the best choice known: see `synthetic`), `arrays` (`path`: an .npz with `images` uint8 [N,H,W]
      or [N,H,W,Ch] and perhaps `labels`, `ids`, `test_images`, `test_labels`, or an .npy of images), `folder` (`path`:
      images of any size and mode, searched recursively), `embeddings` (`path`: an .npy of floats [N,D], or an .npz
      with `embeddings` and perhaps `labels` and `ids`), or a data set of TensorFlow Datasets (`cifar10`, `cifar100`,
      `stl10`, `svhn`, `imagenet`; `path`: its data_dir).
    images: for `embeddings`: the images that they came from, an .npy, an .npz or a folder.
    labels: an .npy, .txt or .csv of N labels in the order of the ids, or a .csv with a column `label` and one of
      `readers.NAME_COLUMNS`, in any order; for a folder also the word `folders` (the parent folder's name).
    size: side in pixels that a folder's images (default 64) or those of TensorFlow Datasets are resized to
      (ImageNet by default 160, others not): the shorter side becomes `size`, the centre is cut out.
    progress: optional; called as progress(iterable, desc=..., total=...).
  Returns: `Dataset`.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  _check_arguments(name, path, images, size)
  if name == 'digits':
    fields = readers.digits()
  elif name == 'synthetic':
    fields = synthetic.make()
  elif name in FASHION_MNIST:
    fields = FASHION_MNIST[name](readers.fashion_mnist(path))
  elif name == 'clipart':
    fields = clipart.read(path, progress=progress)
  elif name == 'glyphs':
    fields = glyphs.read(path, progress=progress)
  elif name == 'emoji':
    fields = emoji.read(path, progress=progress)
  elif name == 'arrays':
    fields = readers.numpy_file(path, 'images', ('labels', 'ids', 'test_images', 'test_labels'))
  elif name == 'folder':
    fields = readers.image_folder(path, size, progress)
  elif name == 'embeddings':
    fields = readers.numpy_file(path, 'embeddings', ('labels', 'ids')) | readers.images_of(images, size, progress)
  else:
    fields = readers.tensorflow_datasets(name, path, size, progress)
  if str(labels) == 'folders':
    fields['labels'] = readers.parents(fields.get('ids'), path if images is None else images)
    fields['class_names'] = sorted(set(fields['labels']))
  elif labels is not None:
    count = (*np.shape(fields['embeddings'] if 'embeddings' in fields else fields['images']), 0)[0]
    ids = [str(i) for i in fields.get('ids', range(count))]
    fields |= {'labels': readers.label_file(labels, ids), 'labels_from': labels}
    fields.pop('class_names', None)
  return _dataset(where=f'{name} data' if path is None else str(path), **fields)


def from_memory(images=None, embeddings=None, labels=None, ids=None):
  """A `Dataset` of arrays in memory, checked as `load` checks files.

  Args:
    images: uint8 [N,H,W] or [N,H,W,Ch], Ch 1 or 3.
    embeddings: real numbers [N,D]; images, embeddings or both.
    labels: N class indices or class names.
    ids: N unique names; default the index.
  Raises: ValueError, in one line that names the input and the mend.
  """
  return _dataset(images=images, embeddings=embeddings, labels=labels, ids=ids)


def _check_arguments(name, path, images, size):
  if name not in NAMES:
    near = difflib.get_close_matches(str(name), NAMES, 1)
    raise ValueError(f'data.name={name!r} is unknown' + (f': did you mean {near[0]!r}? There' if near else '; there')
                     + f' are {", ".join(NAMES)}')
  if path in (None, '') and name in NEEDS_PATH:
    raise ValueError(f'data.name={name!r} needs data.path: {NEEDS_PATH[name]}')
  if path is not None and name in NO_PATH:
    raise ValueError(f"data.path={str(path)!r} is not read by data.name={name!r}: use configs/folder.py, "
                     'configs/arrays.py or configs/embeddings.py for your own data')
  if images is not None and name != 'embeddings':
    raise ValueError(f"data.images={str(images)!r} goes with data.name='embeddings'; here images are data.path")
  if size is not None:
    if name not in ('folder', 'embeddings', *readers.TFDS):
      raise ValueError(f"data.size={size} is for folders and TensorFlow Datasets; resize {name!r} yourself")
    if not isinstance(size, numbers.Integral) or isinstance(size, bool) or size < 1:
      raise ValueError(f'data.size={size} must be a whole number of pixels, 1 or more')


def _dataset(*, images=None, embeddings=None, labels=None, ids=None, test_images=None, test_labels=None,
             class_names=None, skipped=(), where='input', labels_from=None):
  """The one validator: checked arrays of matching lengths -> Dataset."""
  if images is None and embeddings is None:
    raise ValueError('give images (uint8 [N,H,W,Ch]), embeddings (float [N,D]) or both')
  if (test_images is None) != (test_labels is None):
    raise ValueError(f'{where}: test_images and test_labels go together; give both or neither')
  if images is not None:
    images = _images(images, f'{where}: images')
  if embeddings is not None:
    embeddings = _embeddings(embeddings, f'{where}: embeddings')
  n = len(embeddings if images is None else images)
  missing = f' ({len(skipped)} files could not be read, the first {skipped[0][0]!r})' if skipped else ''
  if embeddings is not None and len(embeddings) != n:
    raise ValueError(f'{where}: {len(embeddings)} embeddings but {n} images{missing}; give one row for each image')
  if labels is not None:
    labels, class_names = _labels(labels, n, class_names, f'{labels_from or where}: labels', missing)
  if test_images is not None:
    test_images = _images(test_images, f'{where}: test_images')
    test_labels, class_names = _labels(test_labels, len(test_images), class_names, f'{where}: test_labels')
    if images is not None and test_images.shape[1:] != images.shape[1:]:
      raise ValueError(f'{where}: test_images are {test_images.shape[1:]}, images {images.shape[1:]}; make them equal')
  ids = [str(i) for i in (range(n) if ids is None else ids)]
  if len(ids) != n:
    raise ValueError(f'{where}: {len(ids)} ids for {n} examples; give one each')
  if len(set(ids)) != n:
    again = collections.Counter(ids).most_common(1)[0][0]
    raise ValueError(f'{where}: ids must be unique, but {again!r} stands more than once')
  decides, what = (images, 'images') if embeddings is None else (embeddings, 'embeddings')
  if n > 1 and all(np.array_equal(one, decides[0]) for one in decides[1:]):
    raise ValueError(f'{where}: all {n} {what} are the same; there is nothing to choose between')
  return Dataset(images, ids, labels, embeddings, test_images, test_labels, class_names, list(skipped))


def _images(images, what):
  try:
    images = np.asarray(images)
  except ValueError:
    raise ValueError(f'{what} differ in shape; resize them to one shape, or give a folder') from None
  if images.dtype.kind in 'OSU':
    raise ValueError(f"{what} are no pixels but {images.dtype}: give a folder's path, or an array uint8 [N,H,W,Ch]")
  if images.dtype != np.uint8:
    mend = '(images * 255).round().astype(np.uint8) if they lie in 0 to 1' if images.dtype.kind == 'f' else (
        'images.astype(np.uint8) if they lie in 0 to 255')
    raise ValueError(f'{what} are {images.dtype}, not uint8; convert them: {mend}')
  if images.ndim not in (3, 4) or not images.size:
    raise ValueError(f'{what} have shape {images.shape}; give [N,H,W] or [N,H,W,Ch] with at least one image')
  images = images[..., None] if images.ndim == 3 else images
  channels = images.shape[3]
  if channels not in (1, 3):
    mend = 'drop the fourth, alpha: images[..., :3]' if channels == 4 else (
        'put channels last: images.transpose(0, 2, 3, 1)' if images.shape[1] in (1, 3) else 'convert them')
    raise ValueError(f'{what} have {channels} channels (shape {images.shape}), not 1 (grey) or 3 (RGB); {mend}')
  return images


def _embeddings(embeddings, what):
  embeddings = np.asarray(embeddings)
  if embeddings.dtype.kind not in 'fiu' or embeddings.ndim != 2 or not embeddings.size:
    file = '; read a file by np.load first' if embeddings.dtype.kind in 'OSU' else ''
    raise ValueError(f'{what} are {embeddings.dtype} {embeddings.shape}; give floats [N,D] with at least one row{file}')
  with np.errstate(over='ignore'):
    single = embeddings.astype(np.float32)
  bad = np.flatnonzero(~np.isfinite(single).all(axis=1))
  if len(bad) and not (len(bad) == len(embeddings) and np.isfinite(embeddings).all()):
    rows = ', '.join(map(str, bad[:5])) + (', ...' if len(bad) > 5 else '')
    raise ValueError(f'{what} hold NaN or infinity in {len(bad)} of {len(embeddings)} rows ({rows}); '
                     'leave those examples out or embed them again')
  largest = max(float(embeddings.max()), -float(embeddings.min()))
  if largest and not 1e-9 < largest < 1e12:  # Beyond, float32 has no room for their squares.
    raise ValueError(f'{what} reach {largest:.1e}; scale them all by one number so that they reach about 1')
  return single


def _labels(labels, n, class_names, what, missing=''):
  """N class indices or names -> (int32 [N], class names or None). Names not given are numbered in sorted order."""
  labels = np.asarray(labels)
  if labels.shape != (n,):
    header = '; is the first a header? Call that column label' if labels.shape == (n + 1,) else ''
    raise ValueError(f'{what} have shape {labels.shape} for {n} examples{missing}{header}; give one label for each')
  if labels.dtype.kind == 'O' and all(isinstance(label, str) for label in labels):
    labels = labels.astype(str)
  if labels.dtype.kind in 'US':
    labels = labels.astype(str)
    whole = np.char.isdecimal(np.char.lstrip(labels, '-')) & (np.char.str_len(labels) < 19)  # -1 is not a name either.
    if class_names is not None or not whole.all():
      return _named_labels(labels, class_names, what)
    labels = labels.astype(np.int64)
  finite = labels.dtype.kind in 'iub' or labels.dtype.kind == 'f' and np.isfinite(labels).all()
  if not finite or (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= MAX_CLASSES:
    raise ValueError(f'{what} must be class indices from 0 to {MAX_CLASSES - 1}, or class names')
  return labels.astype(np.int32), class_names


def _named_labels(labels, class_names, what):
  if (labels == '').any():
    raise ValueError(f'{what}: row {np.flatnonzero(labels == "")[0]} is empty; give every example a label')
  class_names = np.unique(labels).tolist() if class_names is None else class_names
  index = {name: i for i, name in enumerate(class_names)}
  unknown = next((label for label in labels.tolist() if label not in index), None)
  if unknown is not None:
    raise ValueError(f'{what} hold {unknown!r}, which is none of the classes {", ".join(class_names[:10])}')
  return np.array([index[label] for label in labels.tolist()], np.int32), class_names
