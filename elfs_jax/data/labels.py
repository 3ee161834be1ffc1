"""Labels: files of them, by order or by name, folders named by class, and class names as class indices."""
import collections
import csv
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from elfs_jax.data import npz

MAX_CLASSES = 100_000  # A classifier has an output for each index up to the largest.
NAME_COLUMNS = 'id', 'path', 'file', 'filename'  # Of a .csv of labels.


def label_file(path, ids: Sequence[str]):
  """N labels in the order of `ids` [N], from an .npy, a .txt (one a line) or a .csv (one column, or `label`).

  That is the file's order, but for a .csv with one of NAME_COLUMNS beside `label`: there each row goes to the example
  of that name, and rows of other names are left out.

  Raises: FileNotFoundError or ValueError, in one line that names the file and the mend.
  """
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f"{path}: no such file; data.labels is an .npy, .txt or .csv of labels, or 'folders'")
  if file.suffix == '.npy':
    return npz.read(path, 'labels')['labels']
  if file.suffix not in ('.txt', '.csv'):
    raise ValueError(f'{path}: labels come as .npy, .txt or .csv')
  if file.suffix == '.txt':
    return [line.strip() for line in text_of(path).rstrip().splitlines()]
  return _label_table(path, ids)


def text_of(path) -> str:
  """A text file's content. Raises: ValueError if it is not UTF-8."""
  try:
    # Not by read_text, which changes the ends of lines: a name may hold any.
    return pathlib.Path(path).expanduser().read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError:
    raise ValueError(f'{path}: not UTF-8 text; save it again as UTF-8') from None


def table_of(path, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
  """A .csv with commas, or where that finds one of `columns` in the first line, with semicolons or tabs.

  Returns: (the first row in small letters, all rows that are not empty, the first among them).
  """
  text = text_of(path)
  first = text.lstrip().partition('\n')[0].lower()
  def names(delimiter):
    return {name.strip(' \r"') for name in first.split(delimiter)}
  delimiter = next((d for d in ';\t' if d in first and not names(d).isdisjoint(columns)), ',')
  try:
    table = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = [row for row in table if any(cell.strip() for cell in row)]
  except csv.Error as error:
    raise ValueError(f'{path}: not a sound .csv ({error}); save it again') from None
  return [cell.strip().lower() for cell in rows[0]] if rows else [], rows


def _label_table(path, ids):
  header, rows = table_of(path, ['label'])
  if 'label' not in header:
    if any(len(row) > 1 for row in rows):
      raise ValueError(f"{path}: several columns and none named 'label'; name the one that holds the labels")
    return [row[0].strip() for row in rows]
  column = header.index('label')
  named = [header.index(name) for name in NAME_COLUMNS if name in header]
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


def parents(ids: Sequence[str] | None, path) -> list[str]:
  """The name of the folder that each file lies in; `ids`: posix paths relative to `path`. Raises: ValueError."""
  if ids is None:
    raise ValueError("data.labels='folders' needs a folder of images; give a file of labels")
  flat = next((i for i in ids if '/' not in i), None)
  if flat is not None:
    raise ValueError(f"{path}: data.labels='folders' takes the parent folder as the class, but {flat!r} lies in none; "
                     'put every image into a folder of its class, or drop data.labels')
  return [i.split('/')[-2] for i in ids]


def class_indices(labels, n: int, class_names: list[str] | None, what: str, missing: str = ''
                  ) -> tuple[np.ndarray, list[str] | None]:
  """N class indices or names -> (int32 [N], class names or None). Names not given are numbered in sorted order.

  what, missing: for errors, what these labels are and how many examples could not be read. Raises: ValueError.
  """
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
      return _named(labels, class_names, what)
    labels = labels.astype(np.int64)
  finite = labels.dtype.kind in 'iub' or labels.dtype.kind == 'f' and np.isfinite(labels).all()
  if not finite or (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= MAX_CLASSES:
    raise ValueError(f'{what} must be class indices from 0 to {MAX_CLASSES - 1}, or class names')
  return labels.astype(np.int32), class_names


def _named(labels, class_names, what):
  if (labels == '').any():
    raise ValueError(f'{what}: row {np.flatnonzero(labels == "")[0]} is empty; give every example a label')
  class_names = np.unique(labels).tolist() if class_names is None else class_names
  index = {name: i for i, name in enumerate(class_names)}
  unknown = next((label for label in labels.tolist() if label not in index), None)
  if unknown is not None:
    raise ValueError(f'{what} hold {unknown!r}, which is none of the classes {", ".join(class_names[:10])}')
  return np.array([index[label] for label in labels.tolist()], np.int32), class_names
