"""Data sets of Hugging Face, and what its package `datasets` reads from disk: its own folders, Parquet, WebDataset."""
import hashlib
import io
import os
import pathlib

from elfs_jax import connection
from elfs_jax.data import decode, files
from elfs_jax.data import parts as parts_lib
from elfs_jax.data.sources import folder

HUB = 'https://huggingface.co'
READERS = {'.parquet': 'parquet', '.tar': 'webdataset'}  # Of single files.


def read(name, *, size=None, progress=None, cache=None, test='auto', fit='crop', dry=False) -> dict:
  """The images of a data set, and the labels that come with it. The columns are found by their types.

  Args:
    name: `hf:NAME` or `hf:NAME:CONFIG` of the hub, or `hf:` and a path: of what `save_to_disk` wrote, of a folder that
      `datasets.load_dataset` reads, or of one .parquet or .tar file.
    size: as `folder.read` has it; default 64, or the shorter side of the first image where that is less.
    progress, cache, fit, dry: as `folder.read` has them.
    test: auto: of parts such as train and test, what `parts.of` says; none: all are chosen from.
  Returns: as `folder.read`, `ids` such as train/17; with a column of classes `labels`, `class_names`, `test_labels`.
  Raises: ValueError in one line where the library or the data set can't be had, or no column holds images.
  """
  splits = _open(name)
  image, label, class_names = _columns(name, next(iter(splits.values())).features)
  parts, note = _parts(splits, label, test)
  data = _joined([splits[part] for part in (*parts.pool, *parts.test)], image, label)
  ids = [f'{part}/{i}' for part in (*parts.pool, *parts.test) for i in range(len(splits[part]))]
  side = int(size or min(folder.SIZE, _shorter_side(data[0][image])))
  def one(row):
    return _row(data[row], image, label, side, fit)
  made = 0 if cache is None else _stamp(data)
  found = files.decode_all([files.Entry(row, 0, made) for row in ids], one, (side, side, 3), cache=cache,
                           key=('hf', name, image, fit), progress=progress, dry=dry)
  count = int((found.rows < sum(len(splits[part]) for part in parts.pool)).sum())
  if not count:
    raise ValueError(f'data.name={name!r}: none of its images can be read ({found.skipped[0][1]})')
  kept = [ids[row] for row in found.rows]
  fields = {'images': found.images[:count], 'ids': kept[:count], 'skipped': found.skipped, 'notes': [note],
            'decode': lambda row, size: decode.decode(_content(data[int(found.rows[row])][image]), size, how=fit),
            'content': files.fingerprint(kept[:count], [0] * count, found.digests[:count], (side, side, 3))}
  if label and found.notes[:count].min() >= 0:
    fields |= {'labels': found.notes[:count], 'class_names': class_names}
  if count < len(kept):
    fields |= {'test_images': found.images[count:], 'test_labels': found.notes[count:]}
  return fields


def _open(name):
  """{part: datasets.Dataset}, none of them empty."""
  try:
    import datasets
  except ImportError as error:
    raise ValueError(f"data.name={name!r} needs the package datasets ({decode.one_line(error)}): "
                     "pip install 'elfs_jax[hf]'") from None
  what = name.removeprefix('hf:')
  path = pathlib.Path(what).expanduser()
  try:
    if (path / 'dataset_dict.json').is_file() or (path / 'state.json').is_file():
      found = datasets.load_from_disk(str(path))
    elif path.is_file():
      found = datasets.load_dataset(READERS.get(path.suffix, path.suffix[1:]), data_files=str(path))
    elif path.is_dir():
      found = datasets.load_dataset(str(path))
    else:
      if not connection.offline() and not connection.answers(HUB):
        raise ValueError('there is no such path, and no connection to the hub; where it has been loaded on this '
                         'machine before, set HF_HUB_OFFLINE=1')
      found = datasets.load_dataset(*what.split(':', 1))
  except Exception as error:  # The library's errors are of many kinds.
    raise ValueError(f'data.name={name!r} cannot be loaded: {decode.one_line(error)[:300]}') from None
  found = found if isinstance(found, dict) else {str(found.split or 'train'): found}
  splits = {part: data for part, data in found.items() if len(data)}
  if not splits:
    raise ValueError(f'data.name={name!r} holds no examples')
  return splits


def _columns(name, features):
  """The first columns of images and of classes, and the classes' names; None where there are no classes."""
  import datasets
  def first(kind):
    return next((column for column, feature in features.items() if isinstance(feature, kind)), None)
  image, label = first(datasets.Image), first(datasets.ClassLabel)
  if image is None:
    raise ValueError(f'data.name={name!r} has no column of images; it has {", ".join(features)}')
  return image, label, features[label].names if label else None


def _parts(splits, label, test):
  """What is chosen from and what is the test set; and the line that says so."""
  known = [part for part in splits if part.lower() in parts_lib.KINDS]
  parts = parts_lib.Parts(list(splits), []) if test == 'none' else parts_lib.of(known) or parts_lib.Parts(
      known or list(splits), [])
  tested = label is not None and all(value is not None and value >= 0 for part in parts.test
                                     for value in splits[part][label])
  rest = [part for part in splits if part not in (*parts.pool, *parts.test)]
  more = (f'; {" and ".join(rest)} left out' if rest else '') + (f'; labels from the column {label}' if label else '')
  note = parts_lib.note(parts, tested, more + ('; --config.data.test=none chooses from all' if parts.test else ''))
  return (parts if tested else parts._replace(test=[])), note


def _joined(parts, image, label):
  """One `datasets.Dataset` of two columns, images as they are encoded."""
  import datasets
  columns = [image, label] if label else [image]
  return datasets.concatenate_datasets([
      part.select_columns(columns).cast_column(image, datasets.Image(decode=False)) for part in parts])


def _content(value):
  return decode.file_content(value['path']) if value['bytes'] is None else value['bytes']


def _row(example, image, label, side, fit):
  digest, note = b'', -1 if label is None or example[label] is None else example[label]
  try:
    content = _content(example[image])
    digest = decode.digest(content)
    return files.Row(decode.decode(content, side, how=fit), digest, note)
  except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
    return files.Row(digest=digest, note=note, reason=decode.reason_of(error))


def _shorter_side(value):
  from PIL import Image
  try:
    return min(Image.open(io.BytesIO(_content(value))).size)
  except Exception:  # It is listed as skipped.
    return folder.SIZE


def _stamp(data):
  """A number that changes when the data set is prepared anew, from the sizes and times of its files."""
  stats = [os.stat(file['filename']) for file in data.cache_files]
  listed = sorted((stat.st_size, stat.st_mtime_ns) for stat in stats)
  return int.from_bytes(hashlib.sha256(repr(listed).encode()).digest()[:7])
