"""Labels: files of them, by order or by name, folders named by class, and class names as class indices."""
import collections
import csv
import io
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from elfs_jax.data import names, npz, room

MAX_CLASSES = 100_000  # A classifier has an output for each index up to the largest.
UNLABELLED = -1  # In place of a class index.
NAME_COLUMNS = 'id', 'path', 'file', 'filename'  # Taken first, where several columns hold the ids.


def label_file(path, ids: Sequence[str], root: str | None = None):
  """N labels in the order of `ids` [N], from an .npy, a .txt (one a line) or a .csv (one column, or `label`).

  That is the file's order, but for a .csv that has a column of the ids beside `label`: there each row goes to the
  example that it names, and rows that name none are left out.

  Args: root: the folder that the ids are paths in, or None; the rest as above.
  Returns: (labels, None where a table has none; the name of the column of ids, None without one).
  Raises: FileNotFoundError or ValueError, in one line that names the file and the mend.
  """
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f"{path}: no such file; data.labels is an .npy, .txt or .csv of labels, or 'folders'")
  if file.suffix == '.npy':
    return npz.read(path, 'labels')['labels'], None
  if file.suffix not in ('.txt', '.csv'):
    raise ValueError(f'{path}: labels come as .npy, .txt or .csv')
  if file.suffix == '.txt':
    return [line.strip() for line in text_of(path).rstrip().splitlines()], None
  return _label_table(path, ids, root)


def text_of(path) -> str:
  """A text file's content. Raises: ValueError if it is not UTF-8."""
  file = pathlib.Path(path).expanduser()
  room.need_memory(10 * file.stat().st_size, f'{path}', 'give a smaller file')
  try:
    # Not by read_text, which changes the ends of lines: a name may hold any.
    return file.read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError:
    raise ValueError(f'{path}: not UTF-8 text; save it again as UTF-8') from None


def table_of(path, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
  """A .csv with commas, or with semicolons or tabs: where these find one of `columns` in the first line, or it has no
  comma.

  Returns: (the first row in small letters, all rows that are not empty, the first among them).
  """
  text = text_of(path)
  first = text.lstrip().partition('\n')[0].lower()
  def titles(delimiter):
    return {title.strip(' \r"') for title in first.split(delimiter)}
  delimiter = next((d for d in ';\t' if d in first and (',' not in first or not titles(d).isdisjoint(columns))), ',')
  try:
    table = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = [row for row in table if any(cell.strip() for cell in row)]
  except csv.Error as error:
    raise ValueError(f'{path}: not a sound .csv ({error}); save it again') from None
  return [cell.strip().lower() for cell in rows[0]] if rows else [], rows


def _label_table(path, ids, root):
  header, rows = table_of(path, ['label'])
  if 'label' not in header:
    if any(len(row) > 1 for row in rows):
      raise ValueError(f"{path}: several columns and none named 'label'; name the one that holds the labels")
    return [row[0].strip() for row in rows], None
  column = header.index('label')
  short = next((i for i, row in enumerate(rows) if len(row) <= max(column, *_hinted(header), 0)), None)
  if short is not None:
    raise ValueError(f'{path}: row {short + 1} has no label; give every row one')
  labels = [row[column].strip() for row in rows[1:]]
  others = {i: cells(rows, i) for i in range(len(header)) if i != column}
  found = name_column(path, header, others, ids, root)
  if found is None:
    refuse_strange(path, header, others, ids)
    return labels, None
  place, rows_found = found
  given = others[place]
  check_once(path, given, rows_found)
  by_row = dict(zip(rows_found, labels))
  return [by_row.get(row) or None for row in range(len(ids))], header[place]


def _hinted(header):
  return [header.index(name) for name in NAME_COLUMNS if name in header]


def cells(rows: Sequence[Sequence[str]], column: int) -> list[str]:
  """What stands in a column below the header; '' where a row is too short."""
  return [row[column] if column < len(row) else '' for row in rows[1:]]


def name_column(path, header: Sequence[str], columns: dict[int, list[str]], ids: Sequence[str],
                root: str | None, *, numbers_count: bool = False) -> tuple[int, list[int]] | None:
  """The column whose values are the ids, whatever it is called, and the row of each value as `names.find` has it.

  A column of whole numbers may only count the rows. It is taken after one of words, and only if all are ids and no two
  are the same, or if it is called one of NAME_COLUMNS.

  Args: columns: number of a column -> its values; numbers_count: whole numbers may be indices, so that they are ids
    only as these are spelled; the rest as `label_file` has it.
  Returns: None where there is none. Raises: ValueError where two columns hold ids, and differ.
  """
  found = {}
  for i, values in columns.items():
    usual, words = header[i] in NAME_COLUMNS, not names.are_whole(values)
    rows = names.find(values, ids, root) if words or not numbers_count else names.find_exact(values, ids)
    count = len({row for row in rows if row >= 0})
    if count and (usual or words or count == len(values)):
      found[i] = (words, count, usual), rows
  if not found:
    return None
  best = max(found, key=lambda i: found[i][0])
  for i, (rank, rows) in found.items():
    if rank == found[best][0] and rows != found[best][1]:
      raise ValueError(f'{path}: the columns {header[best]!r} and {header[i]!r} both hold ids, and differ; call the '
                       "right one 'id'")
  names.refuse_ambiguous(path, columns[best], found[best][1])
  return best, found[best][1]


def refuse_strange(path, header: Sequence[str], columns: dict[int, list[str]], ids: Sequence[str]) -> None:
  """Raises: ValueError where a column looks like names, none of which is an id."""
  by_title = sorted(columns, key=lambda i: header[i] not in NAME_COLUMNS)
  strange = next((i for i in by_title if columns[i] and _looks_like_names(header[i], columns[i])), None)
  if strange is not None:
    raise ValueError(f'{path}: no example is called {columns[strange][0]!r}, as column {header[strange]!r} has it; they'
                     f" are called {ids[0]!r} and so on. Write the names as coreset.csv's column id does")


def _looks_like_names(title, values):
  """Words; or whole numbers, all different, that do not just count the rows."""
  if title in NAME_COLUMNS or not names.are_numbers(values):
    return True
  if not names.are_whole(values) or len(set(values)) < len(values):
    return False
  numbers = [float(value) for value in values]
  return sorted(numbers) != numbers


def check_once(path, given: Sequence[str], rows: Sequence[int], what: str = 'label') -> None:
  """Raises: ValueError where two names are those of one example."""
  times = collections.Counter(row for row in rows if row >= 0)
  again = next((name for name, row in zip(given, rows) if times[row] > 1), None)
  if again is not None:
    raise ValueError(f'{path}: {again!r} stands more than once; give every example one {what}')


def parents(ids: Sequence[str] | None, path) -> list[str]:
  """The name of the folder that each file lies in; `ids`: posix paths relative to `path`. Raises: ValueError."""
  if ids is None:
    raise ValueError("data.labels='folders' needs a folder of images; give a file of labels")
  flat = next((i for i in ids if '/' not in i), None)
  if flat is not None:
    raise ValueError(f"{path}: data.labels='folders' takes the parent folder as the class, but {flat!r} lies in none; "
                     'put every image into a folder of its class, or drop data.labels')
  return [i.split('/')[-2] for i in ids]


def class_indices(labels, n: int, class_names: list[str] | None, what: str, missing: str = '', partial: bool = False
                  ) -> tuple[np.ndarray, list[str] | None]:
  """N class indices or names -> (int32 [N], class names or None). Names not given are numbered in sorted order.

  what, missing: for errors, what these labels are and how many examples could not be read; partial: None stands for no
  label, and becomes `UNLABELLED`. Raises: ValueError.
  """
  labels = np.asarray(labels)
  if labels.shape != (n,):
    header = '; is the first a header? Call that column label' if labels.shape == (n + 1,) else ''
    raise ValueError(f'{what} have shape {labels.shape} for {n} examples{missing}{header}; give one label for each')
  if partial and labels.dtype.kind == 'O':
    given = np.array([label is not None for label in labels])
    if not given.all() and given.any():
      indices = np.full(n, UNLABELLED, np.int32)
      indices[given], class_names = class_indices(labels[given].tolist(), int(given.sum()), class_names, what)
      return indices, class_names
  if labels.dtype.kind == 'O' and all(isinstance(label, str) for label in labels):
    labels = labels.astype(str)
  if labels.dtype.kind in 'US':
    labels = labels.astype(str)
    whole = all(re.fullmatch('-?[0-9]{1,18}', label) for label in labels.tolist())  # -1 is not a name either.
    if class_names is not None or not whole:
      return _named(labels, class_names, what)
    labels = labels.astype(np.int64)
  finite = labels.dtype.kind in 'iub' or labels.dtype.kind == 'f' and np.isfinite(labels).all()
  if not finite or (labels != np.floor(labels)).any() or labels.min() < 0 or labels.max() >= MAX_CLASSES:
    raise ValueError(f'{what} must be class indices from 0 to {MAX_CLASSES - 1}, or class names')
  return labels.astype(np.int32), class_names


def notes(labels: np.ndarray, column: str | None) -> list[str]:
  """What is to be said of class indices [N]: by which column of a table they were found, and how many there are."""
  count = int((labels >= 0).sum())
  by = '' if column is None else f', by the column {column!r}' if column else ', by the column without a title'
  if count < len(labels):
    return [f'labels for {count} of {len(labels)}{by}; the comparison uses those']
  return [f'labels for all {count}{by}'] if by else []


def _named(labels, class_names, what):
  if (labels == '').any():
    raise ValueError(f'{what}: row {np.flatnonzero(labels == "")[0]} is empty; give every example a label')
  class_names = np.unique(labels).tolist() if class_names is None else class_names
  index = {name: i for i, name in enumerate(class_names)}
  unknown = next((label for label in labels.tolist() if label not in index), None)
  if unknown is not None:
    raise ValueError(f'{what} hold {unknown!r}, which is none of the classes {", ".join(class_names[:10])}')
  return np.array([index[label] for label in labels.tolist()], np.int32), class_names
