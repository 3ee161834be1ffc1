"""Sources: where data come from. A new one is one file with one function, and one entry here.

A source's function takes those of these arguments that it names, and returns a dict of fields, unchecked: `images`
[N,H,W] or [N,H,W,Ch] or `embeddings` [N,D], and what there is of `ids`, `labels`, `class_names`, `test_images`,
`test_embeddings`, `test_labels`, `skipped` [(path, reason)] and `notes` (lines on how it was read). Images in files
also have `decode`, (row, size) -> uint8 [size,size,Ch], and `content`, a fingerprint of the files.

  name: that it was asked for by, for an entry such as `hf:NAME`.
  path: a file or folder, or None.
  images: what the images that go with embeddings lie in, or None.
  size: side of the images in pixels, or None.
  labels, test: the settings data.labels and data.test.
  value_range, max_pixels: as `folder.read` has them.
  progress: None, or called as progress(iterable, desc=..., total=...).
  cache: a folder for decoded images, or None.
  fit: how a picture of another shape becomes a square, one of `decode.FITS`.
  dry: decode no file, but raise `files.Undecoded` where some are to be decoded.
"""
import inspect
import os
from collections.abc import Callable
from typing import NamedTuple

from elfs_jax import bounds, table


class Source(NamedTuple):
  """An entry: the function or where it stands, what the source is, and which settings it takes."""
  function: str | Callable
  help: str
  path: str = 'none'      # data.path is 'needed', 'optional' or 'none'
  path_help: str = ''     # what it is
  sized: bool = False     # takes data.size
  images: bool = False    # takes data.images
  parts: bool = False     # takes data.test


SOURCES = {
  'digits': Source('elfs_jax.data.sources.digits:read', "scikit-learn's handwritten digits, 8x8"),
  'folder': Source('elfs_jax.data.sources.folder:read', 'images of any size and format, searched recursively',
                   'needed', 'a folder of images', sized=True, parts=True),
  'arrays': Source('elfs_jax.data.sources.arrays:read', 'images as an array, in an .npz perhaps with labels, ids and a '
                   'test set', 'needed', 'an .npz or .npy file of uint8 images'),
  'embeddings': Source('elfs_jax.data.sources.embeddings:read', 'embeddings as an array, perhaps with images', 'needed',
                       'an .npy or .npz file of float embeddings [N,D]', sized=True, images=True),
  'fashion_mnist': Source('elfs_jax.data.sources.fashion_mnist:read', 'Fashion-MNIST, grey, 28x28', 'optional',
                          "the folder of the four IDX files; default where Debian's package puts them"),
  'fashion_mnist_long_tail': Source('elfs_jax.benchmark.sets.variants:read_long_tail', 'Fashion-MNIST with classes '
                                    'that grow rare', 'optional', 'as for fashion_mnist'),
  'fashion_mnist_dirty': Source('elfs_jax.benchmark.sets.variants:read_dirty', 'a quarter of Fashion-MNIST with near '
                                'copies and unusable images', 'optional', 'as for fashion_mnist'),
  'cifar10': Source('elfs_jax.data.sources.tfds:cifar10', 'CIFAR-10, by TensorFlow Datasets', 'optional',
                    "TensorFlow Datasets' data_dir", sized=True),
  'cifar100': Source('elfs_jax.data.sources.tfds:cifar100', 'CIFAR-100, by TensorFlow Datasets', 'optional',
                     "TensorFlow Datasets' data_dir", sized=True),
  'stl10': Source('elfs_jax.data.sources.tfds:stl10', "STL-10's 5,000 labelled images, by TensorFlow Datasets",
                  'optional', "TensorFlow Datasets' data_dir", sized=True),
  'svhn': Source('elfs_jax.data.sources.tfds:svhn', 'house numbers, cropped, by TensorFlow Datasets', 'optional',
                 "TensorFlow Datasets' data_dir", sized=True),
  'imagenet': Source('elfs_jax.data.sources.tfds:imagenet', 'ImageNet at 160 pixels, by TensorFlow Datasets',
                     'optional', "TensorFlow Datasets' data_dir", sized=True),
  'hf:NAME': Source('elfs_jax.data.sources.huggingface:read', 'a data set of Hugging Face, by its package datasets: '
                    'hf:NAME, hf:NAME:CONFIG, or hf: and the path of one, of Parquet files or of shards', sized=True,
                    parts=True),
  'emoji': Source('elfs_jax.benchmark.sets.emoji:read', 'emoji of nine kinds in two designs', 'needed',
                  'the node_modules that holds the packages of emoji'),
  'clipart': Source('elfs_jax.benchmark.sets.clipart:read', 'clip art by the kind of thing', 'optional',
                    "a folder of folders; default where Debian's openclipart-png puts it"),
  'glyphs': Source('elfs_jax.benchmark.sets.glyphs:read', 'letters and digits in the fonts that there are', 'optional',
                   "a folder of fonts; default the system's"),
  'synthetic': Source('elfs_jax.benchmark.sets.synthetic:read', '8x8 patterns of which the best choice is known'),
}
NAMES = SOURCES.keys()
FOLDERS = {'range': bounds.span(), 'max_pixels': bounds.whole(1, 1 << 40, none=True)}  # Of a folder alone.


def check(name: str, path, *, images=None, size=None, test='auto', **of_folders) -> None:
  """Refuse what a source does not take, or needs and does not get. Raises: ValueError.

  Args: images, size, test: as above; of_folders: the settings of `FOLDERS`.
  """
  source = table.look_up(SOURCES, 'data.name', name)
  if path in (None, '') and source.path == 'needed':
    raise ValueError(f'data.name={name!r} needs data.path: {source.path_help}')
  if path is not None and source.path == 'none':
    raise ValueError(f"data.path={str(path)!r} is not read by data.name={name!r}: use configs/folder.py, "
                     'configs/arrays.py or configs/embeddings.py for your own data')
  if images is not None and not source.images:
    takers = ' or '.join(repr(other) for other, entry in SOURCES.items() if entry.images)
    raise ValueError(f'data.images={str(images)!r} goes with data.name={takers}; here images are data.path')
  if size is not None and not source.sized:
    takers = ', '.join(other for other, entry in SOURCES.items() if entry.sized)
    raise ValueError(f'data.size={size} is for {takers}; resize {name!r} yourself')
  table.check_name(('auto', 'none'), 'data.test', test)
  if test != 'auto' and not source.parts:
    raise ValueError(f"data.test={test!r} is for data that come in parts, such as a folder's; leave it at auto")
  for setting, value in of_folders.items():
    if value is not None and name != 'folder' and images is None:
      raise ValueError(f'data.{setting}={value} is for a folder of images, not for {name!r}')
    if not FOLDERS[setting].holds(value):
      raise ValueError(f'data.{setting}={value!r} {FOLDERS[setting].words}')


def read(source: str, **arguments) -> dict:
  """The fields of a source, which gets those of the arguments that it names."""
  function = table.load(table.look_up(SOURCES, 'data.name', source).function)
  named = inspect.signature(function).parameters
  return function(**{key: value for key, value in arguments.items() if key in named})


def reading(name: str, path=None) -> str:
  """One line on what is about to be read; of a folder with the number of its image files, as far as they are counted
  in a moment.
  """
  if path is None or name != 'folder' or not os.path.isdir(os.path.expanduser(path)):
    return f'reading {name}' + (f' from {path}' if path is not None else '')
  from elfs_jax.data.sources import folder
  count, whole = folder.count(path)
  return f'reading {path}: {"" if whole else "more than "}{count:,} image files'
