"""Readers: one function for each kind of input, from its files to a dict of unchecked arrays. `data` checks them."""
import collections
import csv
import gzip
import io
import os
import pathlib
import zlib

import numpy as np

from elfs_jax.data import folder
from elfs_jax.runtime import artifacts

DEBIAN_FASHION_MNIST = '/usr/share/datasets/fashion-mnist'
FASHION_CLASSES = 'T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot'.split(',')
# Our name -> TensorFlow Datasets' name, the split to choose from and the test split. Of STL-10, the labelled 5,000.
TFDS = {
  'cifar10': ('cifar10', 'train', 'test'),
  'cifar100': ('cifar100', 'train', 'test'),
  'stl10': ('stl10', 'train', 'test'),
  'svhn': ('svhn_cropped', 'train', 'test'),
  'imagenet': ('imagenet2012', 'train', 'validation'),
}
NAME_COLUMNS = 'id', 'path', 'file', 'filename'  # Of a .csv of labels.


def digits():
  from sklearn.datasets import load_digits
  digits = load_digits()
  return {'images': np.round(digits.images * (255 / 16)).astype(np.uint8), 'labels': digits.target,
          'class_names': [str(c) for c in digits.target_names]}


def fashion_mnist(path):
  root = pathlib.Path(DEBIAN_FASHION_MNIST if path is None else path).expanduser()
  def read(stem):
    for file in (root / f'{stem}.gz', root / stem):
      if file.is_file():
        return _idx(file)
    raise FileNotFoundError(f'{root / stem}[.gz]: no such file; run `apt-get install dataset-fashion-mnist`, or set '
                            'data.path to a folder that holds the four IDX files of Fashion-MNIST')
  return {'images': read('train-images-idx3-ubyte'), 'labels': read('train-labels-idx1-ubyte'),
          'test_images': read('t10k-images-idx3-ubyte'), 'test_labels': read('t10k-labels-idx1-ubyte'),
          'class_names': FASHION_CLASSES}


def _idx(file):
  """An IDX file of unsigned bytes: two zeros, the type (8), the number of axes, big-endian sizes, then the values."""
  try:
    content = (gzip.open if file.suffix == '.gz' else open)(file, 'rb').read()
  except (OSError, EOFError, zlib.error) as error:
    raise ValueError(f'{file}: cannot be read ({folder.one_line(error)}); fetch it again') from None
  axes = content[3] if content[:3] == b'\0\0\x08' else 0
  shape = tuple(np.frombuffer(content[4:4 + 4 * axes], '>u4').tolist())
  if not axes or len(content) != 4 + 4 * axes + np.prod(shape, dtype=np.int64):
    raise ValueError(f'{file}: not an IDX file of bytes, or cut short; fetch it again')
  return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def image_folder(path, size, progress):
  images, ids, skipped = folder.read(path, 64 if size is None else int(size), progress)
  return {'images': images, 'ids': ids, 'skipped': skipped}


def images_of(path, size, progress):
  """The images that go with embeddings: none, a folder's or an array's."""
  if path is None:
    return {}
  if os.path.isdir(os.path.expanduser(path)):
    return image_folder(path, size, progress)
  return numpy_file(path, 'images', ())


def numpy_file(path, needed, optional):
  """{name: array} from an .npz, or {needed: array} from an .npy."""
  file = pathlib.Path(path).expanduser()
  if not file.exists():
    raise FileNotFoundError(f'{path}: no such file; give an .npy or .npz file of {needed}')
  if file.is_dir():
    raise ValueError(f"{path}: a folder, not an .npy or .npz file of {needed}; data.name='folder' reads folders")
  try:
    content = np.load(file, allow_pickle=False)
    if isinstance(content, np.ndarray):
      return {needed: content}
    with content:
      if needed in content.files:
        return {key: content[key] for key in (needed, *optional) if key in content.files}
      names = ', '.join(content.files) or 'nothing'
  except artifacts.DAMAGED as error:
    # NumPy takes what it does not know for a pickle, and advises to load it all the same.
    unknown = isinstance(error, ValueError) and 'pickle' in str(error)
    reason = 'another format, or Python objects' if unknown else folder.one_line(error)
    raise ValueError(f'{path}: not a sound .npy or .npz file of plain numbers ({reason}); '
                     'save it again with np.save or np.savez') from None
  raise ValueError(f'{path}: holds {names} and no array named {needed!r}; save it with np.savez(file, {needed}=...)')


def label_file(path, ids):
  """N labels in the order of `ids` [N], from an .npy, a .txt (one a line) or a .csv (one column, or `label`).

  That is the file's order, but for a .csv with one of NAME_COLUMNS beside `label`: there each row goes to the example
  of that name, and rows of other names are left out.
  """
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f"{path}: no such file; data.labels is an .npy, .txt or .csv of labels, or 'folders'")
  if file.suffix == '.npy':
    return numpy_file(path, 'labels', ())['labels']
  if file.suffix not in ('.txt', '.csv'):
    raise ValueError(f'{path}: labels come as .npy, .txt or .csv')
  try:
    text = file.read_bytes().decode('utf-8-sig')  # A name may hold any kind of line's end.
  except UnicodeDecodeError:
    raise ValueError(f'{path}: not UTF-8 text; save the labels again as UTF-8') from None
  if file.suffix == '.txt':
    return [line.strip() for line in text.rstrip().splitlines()]
  return _label_table(path, text, ids)


def _label_table(path, text, ids):
  first = text.lstrip().partition('\n')[0].lower()
  delimiter = next((d for d in ';\t' if 'label' in [name.strip(' \r"') for name in first.split(d)] and d in first), ',')
  try:
    table = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = [row for row in table if any(cell.strip() for cell in row)]
  except csv.Error as error:
    raise ValueError(f'{path}: not a sound .csv ({error}); save it again') from None
  header = [cell.strip().lower() for cell in rows[0]] if rows else []
  if 'label' not in header:
    if any(len(row) > 1 for row in rows):
      raise ValueError(f"{path}: several columns and none named 'label'; name the one that holds the labels")
    return [row[0].strip() for row in rows]
  column, named = header.index('label'), [header.index(name) for name in NAME_COLUMNS if name in header]
  short = next((i for i, row in enumerate(rows) if len(row) <= max(column, *named, 0)), None)
  if short is not None:
    raise ValueError(f'{path}: row {short + 1} has no label; give every row one')
  labels = [row[column].strip() for row in rows[1:]]
  return _by_name(path, [[row[i] for row in rows[1:]] for i in named], labels, ids) if named else labels


def _by_name(path, columns, labels, ids):
  """The labels of `ids` by the column, a list of names, that knows most of them."""
  tables = [dict(zip(map(str.strip, names), labels)) | dict(zip(names, labels)) for names in columns]
  missing = [[name for name in ids if name not in table] for table in tables]
  best = min(range(len(tables)), key=lambda column: len(missing[column]))
  times = collections.Counter(columns[best])
  again = next((name for name in ids if times[name] > 1), None)
  if again is not None:
    raise ValueError(f'{path}: {again!r} stands more than once; give every example one label')
  if missing[best]:
    raise ValueError(f'{path}: no row for {missing[best][0]!r} ({len(missing[best])} of {len(ids)} have none); name '
                     "the examples as coreset.csv's column id does, or leave that column out and keep their order")
  return [tables[best][name] for name in ids]


def parents(ids, path):
  if ids is None:
    raise ValueError("data.labels='folders' needs a folder of images; give a file of labels")
  flat = next((i for i in ids if '/' not in i), None)
  if flat is not None:
    raise ValueError(f"{path}: data.labels='folders' takes the parent folder as the class, but {flat!r} lies in none; "
                     'put every image into a folder of its class, or drop data.labels')
  return [i.split('/')[-2] for i in ids]


def tensorflow_datasets(name, path, size, progress):
  """A data set that TensorFlow Datasets has prepared as array_record files, which it reads without TensorFlow."""
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ValueError(f"data.name={name!r} needs TensorFlow Datasets ({folder.one_line(error)}): "
                     "pip install 'elfs_jax[tfds]'") from None
  tfds_name, *splits = TFDS[name]
  keywords = {'file_format': 'array_record'} | ({} if path is None else {'data_dir': str(path)})
  try:
    builder = tfds.builder(tfds_name, **keywords)
    sources = [builder.as_data_source(split) for split in splits]
  except Exception as error:  # TensorFlow Datasets raises KeyError, NotImplementedError and others of its own.
    arguments = ', '.join([repr(tfds_name)] + [f'{key}={value!r}' for key, value in keywords.items()])
    raise ValueError(
        f"data.name={name!r} is not prepared as array_record files: pip install 'elfs_jax[tfds]', then run in Python "
        f'`import tensorflow_datasets as tfds; tfds.builder({arguments}).download_and_prepare()` (with another '
        'data_dir, given as data.path, if it lies there in another format)') from error
  side = 160 if size is None and name == 'imagenet' else size
  (images, labels), (test_images, test_labels) = (_read_source(source, side, progress) for source in sources)
  return {'images': images, 'labels': labels, 'test_images': test_images, 'test_labels': test_labels,
          'class_names': list(builder.info.features['label'].names)}


def _read_source(source, size, progress):
  from PIL import Image
  def square(image):
    return image if size is None else folder.fit(Image.fromarray(image), int(size))
  images = np.empty((len(source), *square(source[0]['image']).shape), np.uint8)
  def read(i):
    example = source[i]
    images[i] = square(example['image'])
    return example['label']
  return images, list(folder.parallel(read, len(source), progress, 'Reading images'))
