"""Labelled rows: which examples the user has labelled already, by id or by index."""
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from elfs_jax.data import given as given_lib
from elfs_jax.data import labels as labels_lib
from elfs_jax.data import names, npz

COLUMNS = (*labels_lib.NAME_COLUMNS, 'index')


def labelled_rows(labelled, ids: Sequence[str], root: str | None = None) -> tuple[np.ndarray, list | None]:
  """Find the examples that are labelled already.

  Where all that is given are ids, they are taken as ids, compared as `names.find` does, numbers as strings; else all
  must be indices.

  Args:
    labelled: a .csv (with a column of ids, or else `index`, and perhaps `label`; of a coreset.csv its reserve counts
      only where it has labels), a .txt (an id or an index a line) or an .npy of them; or in Python a sequence of ids or
      of indices, or a dict from them to labels; None for none.
    ids: [N] unique.
    root: the folder that the ids are paths in, or None.
  Returns: (int64 [m], rows in the order given; their m labels, strings from a file and whatever stands in a dict, or
    None where there are no labels).
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  if labelled is None:
    return np.zeros(0, np.int64), None
  if isinstance(labelled, (str, os.PathLike)):
    return _of_file(labelled, ids, root)
  given = list(labelled) if isinstance(labelled, Mapping) else _sequence(labelled)
  rows = _rows('labelled', list(map(given_lib.text, given)), ids, root)
  return rows, list(labelled.values()) if isinstance(labelled, Mapping) else None


def _sequence(given):
  try:
    given = list(given)
  except TypeError:
    raise ValueError(f'labelled: {given!r} is no sequence; give a list of indices or ids, a dict from them to labels, '
                     'or a file') from None
  if any(isinstance(one, (bool, np.bool_)) for one in given):
    raise ValueError('labelled: these are true or false, not indices; give np.flatnonzero of them')
  return given


def _of_file(path, ids, root):
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f'{path}: no such file; data.labelled is a .csv, .txt or .npy of ids or indices')
  if file.suffix == '.csv':
    return _of_table(path, ids, root)
  if file.suffix == '.npy':
    given = npz.read(path, 'labelled')['labelled']
    if given.ndim != 1:
      raise ValueError(f'{path}: has shape {given.shape}; give one row of indices or ids')
    return _rows(path, list(map(given_lib.text, _sequence(given))), ids, root), None
  if file.suffix != '.txt':
    raise ValueError(f'{path}: labelled examples come as .csv, .txt or .npy')
  lines = [line for line in labels_lib.text_of(path).splitlines() if line.strip()]
  return _rows(path, lines, ids, root), None


def _of_table(path, ids, root):
  header, rows = labels_lib.table_of(path, COLUMNS)
  label = header.index('label') if 'label' in header else None
  rows = [row for row in rows if not _in_reserve(row, header)]
  empty = None if label is None else next(
      (i for i, row in enumerate(rows) if not ''.join(row[label:label + 1]).strip()), None)
  if empty is not None:
    raise ValueError(f'{path}: row {empty + 1} has no label; give every row one, or leave that column out')
  place = _column_of_ids(path, header, rows, ids, root)
  short = next((i for i, row in enumerate(rows) if len(row) <= place), None)
  if short is not None:
    raise ValueError(f'{path}: row {short + 1} is too short; give every row all columns')
  found = _rows(path, [row[place] for row in rows[1:]], ids, root, indices=header[place] == 'index')
  return found, None if label is None else [row[label].strip() for row in rows[1:]]


def _in_reserve(row, header):
  """Whether a row of a coreset.csv is of the reserve, and without a label."""
  cells = dict(zip(header, row))
  return 'rank' in header and cells.get('kind') == 'reserve' and not cells.get('label', '').strip()


def _column_of_ids(path, header, rows, ids, root):
  """The column of ids, whatever it is called, or else of indices. Numbers beside a column `index` are no ids."""
  columns = {i: [row[i] if i < len(row) else '' for row in rows[1:]] for i, name in enumerate(header)
             if name not in ('label', 'index')}
  if 'index' in header:
    columns = {i: values for i, values in columns.items()
               if header[i] in labels_lib.NAME_COLUMNS or not names.are_numbers(values)}
  found = labels_lib.name_column(path, header, columns, ids, root, numbers_count=True)
  if found is not None:
    return found[0]
  for name in ('index', *labels_lib.NAME_COLUMNS):
    if name in header:
      return header.index(name)
  labels_lib.refuse_strange(path, header, columns, ids)
  raise ValueError(f'{path}: no column id or index; name the one that says which examples are labelled')


def _rows(what, given, ids, root, indices=False):
  """Strings -> int64 rows; `indices`: they are no ids."""
  if indices:
    rows = [names.UNKNOWN] * len(given)
  else:  # A number is an index before it is the name of a file without its ending.
    rows = names.find_exact(given, ids) if names.are_whole(given) else names.find(given, ids, root)
  if names.UNKNOWN in rows:
    numbers = [_index(name, len(ids)) for name in given]
    unknown = next((name for name, row, number in zip(given, rows, numbers)
                    if row == names.UNKNOWN and number is None), None)
    if unknown is not None:
      raise ValueError(f'{what}: there is no example {unknown!r}; give ids such as {ids[0]!r}, or indices from 0 to '
                       f'{len(ids) - 1}')
    if None in numbers:
      raise ValueError(f'{what}: {given[rows.index(names.UNKNOWN)]!r} is an index and {given[numbers.index(None)]!r} '
                       'an id; give one or the other')
    rows = numbers
  names.refuse_ambiguous(what, given, rows)
  first = {}
  for name, row in zip(given, rows):
    if row in first:
      raise ValueError(f'{what}: {name!r} stands more than once; give every example once')
    first[row] = name
  return np.array(rows, np.int64)


def _index(name, n):
  """The whole number that a string is, if it is an index below n, or else None."""
  name = name.strip()
  return int(name) if re.fullmatch('[0-9]{1,18}', name) and int(name) < n else None
