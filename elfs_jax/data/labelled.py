"""Labelled rows: which examples the user has labelled already, by id or by index."""
import collections
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from elfs_jax.data import given as given_lib
from elfs_jax.data import labels as labels_lib
from elfs_jax.data import names, npz, returned

COLUMNS = (*labels_lib.NAME_COLUMNS, 'index')


class Labelled(NamedTuple):
  """Examples that are labelled already."""
  rows: np.ndarray                     # int64 [m], in the order given
  labels: list | None = None           # [m], strings from a file and whatever stands in a dict; None without any
  notes: tuple[str, ...] = ()          # What is to be said of how they were read


def labelled_rows(labelled, ids: Sequence[str], root: str | None = None) -> tuple[np.ndarray, list | None]:
  """`rows` and `labels` of what `read` returns; the rest as there."""
  return read(labelled, ids, root)[:2]


def read(labelled, ids: Sequence[str], root: str | None = None) -> Labelled:
  """Find the examples that are labelled already.

  Where all that is given are ids, they are taken as ids, compared as `names.find` does, numbers as strings; else all
  must be indices.

  Args:
    labelled: an export of a labelling tool, one of `returned.FORMATS`; a .csv (with a column of ids, or else `index`,
      and perhaps `label`: then rows without one do not count; without, a reserve does not), a .txt (an id or an index a
      line) or an .npy of them; or in Python a sequence of ids or of indices, or a dict from them to labels; None for
      none.
    ids: [N] unique.
    root: the folder that the ids are paths in, or None.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  if labelled is None:
    return Labelled(np.zeros(0, np.int64))
  if isinstance(labelled, (str, os.PathLike)):
    return _of_file(labelled, ids, root)
  given = list(labelled) if isinstance(labelled, Mapping) else _sequence(labelled)
  rows = _rows('labelled', list(map(given_lib.text, given)), ids, root)
  return Labelled(rows, list(labelled.values()) if isinstance(labelled, Mapping) else None)


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
    raise FileNotFoundError(f'{path}: no such file; data.labelled is a .csv, .txt or .npy of ids or indices, or the '
                            'export of a labelling tool')
  if file.suffix == '.npy':
    given = npz.read(path, 'labelled')['labelled']
    if given.ndim != 1:
      raise ValueError(f'{path}: has shape {given.shape}; give one row of indices or ids')
    return Labelled(_rows(path, list(map(given_lib.text, _sequence(given))), ids, root))
  export = returned.read(path)
  if export is not None:
    return _of_export(path, *export, ids, root)
  if file.suffix == '.csv':
    return _of_table(path, ids, root)
  if file.suffix != '.txt':
    raise ValueError(f'{path}: labelled examples come as .csv, .txt or .npy, or as an export of '
                     f'{", ".join(returned.FORMATS)}')
  lines = [line for line in labels_lib.text_of(path).splitlines() if line.strip()]
  return Labelled(_rows(path, lines, ids, root))


def _of_export(path, kind, found, ids, root):
  """Of each image the label that most of its answers have; none where no one has."""
  ways = [names.find(way, ids, root) for way in found.names]
  best = max(range(len(ways)), key=lambda i: sum(row >= 0 for row in ways[i]))  # The first of equals.
  given, rows = found.names[best], ways[best]
  votes: dict[int, collections.Counter] = {}
  for row, answers in zip(rows, found.answers, strict=True):
    votes.setdefault(row, collections.Counter()).update(answers)
  if not any(votes.values()):
    raise ValueError(f'{path}: no labels in it ({kind}, {len(rows)} images); label some and export it again')
  answered = [i for i, answers in enumerate(found.answers) if answers]
  if not any(rows[i] >= 0 for i in answered):
    names.refuse_ambiguous(path, given, rows)
    raise ValueError(f'{path}: no example is called {given[answered[0]]!r}, as {kind} has it; they are called '
                     f'{ids[0]!r} and so on')
  names.refuse_ambiguous(path, [given[i] for i in answered], [rows[i] for i in answered])
  strange = sum(rows[i] == names.UNKNOWN for i in answered)
  votes.pop(names.UNKNOWN, None)
  votes.pop(names.AMBIGUOUS, None)
  first = {row: count.most_common(2) for row, count in votes.items()}
  labels = {row: top[0][0] for row, top in first.items() if len(top) == 1 or top[1:] and top[0][1] > top[1][1]}
  ties = [row for row, top in first.items() if row not in labels and top]
  if not labels:
    raise ValueError(f'{path}: every image in it has as many answers of one kind as of another; label some again')
  return Labelled(np.array(list(labels), np.int64), list(labels.values()),
                  (_said(path, kind, len(labels), len(votes) - len(labels) - len(ties), [ids[row] for row in ties],
                         strange),))


def _said(path, kind, count, without, ties, strange):
  """One line on an export: how many labels it brings, and what does not count."""
  parts = [f'{count} labels from {path} ({kind})']
  if without:
    parts.append(f'{without} images in it have none')
  if ties:
    parts.append(f'{len(ties)} have as many answers of one kind as of another, such as {ties[0]!r}, and count as not '
                 'labelled')
  if strange:
    parts.append(f'{strange} labels are of images that are not here')
  return '; '.join(parts)


def _of_table(path, ids, root):
  header, rows = labels_lib.table_of(path, COLUMNS)
  label = header.index('label') if 'label' in header else None
  every = len(rows)
  if label is None:
    rows = [row for row in rows if not _in_reserve(row, header)]
  else:
    rows = rows[:1] + [row for row in rows[1:] if ''.join(row[label:label + 1]).strip()]
    if len(rows) == 1 < every:
      raise ValueError(f'{path}: no row has a label; fill in the column label, or leave it out')
  place = _column_of_ids(path, header, rows, ids, root)
  short = next((i for i, row in enumerate(rows) if len(row) <= place), None)
  if short is not None:
    raise ValueError(f'{path}: row {short + 1} is too short; give every row all columns')
  found = _rows(path, [row[place] for row in rows[1:]], ids, root, indices=header[place] == 'index')
  if label is None:
    return Labelled(found)
  said = (f'{len(found)} labels from {path}; {every - len(rows)} rows in it have none and do not count',)
  return Labelled(found, [row[label].strip() for row in rows[1:]], said if every > len(rows) else ())


def _in_reserve(row, header):
  """Whether a row of a coreset.csv is of the reserve."""
  return 'rank' in header and dict(zip(header, row)).get('kind') == 'reserve'


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
