"""Data sets that TensorFlow Datasets has prepared as array_record files, which it reads without TensorFlow."""
import functools
import hashlib
import pathlib

from elfs_jax.data import decode, files


def read(name, tfds_name, split, test_split, path=None, *, size=None, progress=None, cache=None,
         fit='crop', dry=False) -> dict:
  """The images and labels of a data set, and its test set's.

  Args:
    name: ours; tfds_name: theirs; split, test_split: the split to choose from and the one to test on.
    path: their data_dir; default what they take.
    size: side in pixels of the squares that images become; default: as they are.
    progress, cache, fit, dry: as `folder.read` has them.
  Raises: ValueError where the library or the data set is missing.
  """
  builder, sources = _open(name, tfds_name, (split, test_split), path)
  made = 0 if cache is None else _stamp(builder)
  key = ('tfds', tfds_name, getattr(builder, 'data_path', path), fit)
  fields = {'class_names': list(builder.info.features['label'].names)}
  for prefix, part, source in zip(('', 'test_'), (split, test_split), sources):
    shape = _square(source[0]['image'], size, fit).shape
    entries = [files.Entry(str(i), 0, made) for i in range(len(source))]
    found = files.decode_all(entries, functools.partial(_row, source, size, fit), shape, cache=cache, key=(*key, part),
                             progress=progress, dry=dry)
    fields |= {f'{prefix}images': found.images, f'{prefix}labels': found.notes}
    if not prefix:
      fields['content'] = files.fingerprint([entry.name for entry in entries], [0] * len(entries), found.digests, shape)
  def anew(row, size):
    return decode.resize(sources[0][row]['image'], size, fit)
  return fields | {'decode': anew}


def _open(name, tfds_name, splits, path):
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ValueError(f"data.name={name!r} needs TensorFlow Datasets ({decode.one_line(error)}): "
                     "pip install 'elfs_jax[tfds]'") from None
  keywords = {'file_format': 'array_record'} | ({} if path is None else {'data_dir': str(path)})
  try:
    builder = tfds.builder(tfds_name, **keywords)
    return builder, [builder.as_data_source(split) for split in splits]
  except Exception as error:  # TensorFlow Datasets raises KeyError, NotImplementedError and others of its own.
    arguments = ', '.join([repr(tfds_name)] + [f'{key}={value!r}' for key, value in keywords.items()])
    raise ValueError(
        f"data.name={name!r} is not prepared as array_record files: pip install 'elfs_jax[tfds]', then run in Python "
        f'`import tensorflow_datasets as tfds; tfds.builder({arguments}).download_and_prepare()` (with another '
        'data_dir, given as data.path, if it lies there in another format)') from error


def _stamp(builder):
  """A number that changes when the data set is prepared anew, from the sizes and times of its files."""
  listed = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns)
                  for file in pathlib.Path(builder.data_path).iterdir())
  return int.from_bytes(hashlib.sha256(repr(listed).encode()).digest()[:7])


def _row(source, size, fit, i):
  example = source[i]
  return files.Row(_square(example['image'], size, fit), decode.digest(example['image']), int(example['label']))


def _square(image, size, fit):
  return image if size is None else decode.resize(image, int(size), fit)


# Our names: theirs, the split to choose from and the test split.
cifar10 = functools.partial(read, 'cifar10', 'cifar10', 'train', 'test')
cifar100 = functools.partial(read, 'cifar100', 'cifar100', 'train', 'test')
stl10 = functools.partial(read, 'stl10', 'stl10', 'train', 'test')
svhn = functools.partial(read, 'svhn', 'svhn_cropped', 'train', 'test')


def imagenet(path=None, *, size=None, progress=None, cache=None, fit='crop', dry=False) -> dict:
  """ImageNet, whose images are of unequal size: by default at 160 pixels."""
  return read('imagenet', 'imagenet2012', 'train', 'validation', path, size=160 if size is None else size,
              progress=progress, cache=cache, fit=fit, dry=dry)
