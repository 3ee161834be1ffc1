"""Groups: which examples are of one video, patient, place or the like, by their folders, by a table, or as given."""
import dataclasses
import numbers
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.data import given as given_lib
from elfs_jax.data import labels as labels_lib
from elfs_jax.data.dataset import Dataset

WAYS = 'a folder level such as 1 or -1, or a .csv with a column of ids and a column group'


def with_groups(dataset: Dataset, group_by) -> Dataset:
  """The data with the name of each one's group.

  Args: group_by: a folder level, a whole number: 1 for the first folder of an id below the data's folder, 2 for the
    first two, -1 for the folder that an image lies in, -2 for the one above that; or a .csv with a column of ids, as
    for labels, and a column `group`; or N names, in Python; None for no groups. Who is not in the table, or has an
    empty name or None there, is alone.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  if group_by is None:
    return dataset
  if isinstance(group_by, numbers.Integral) and not isinstance(group_by, bool):
    names, by = _of_folders(int(group_by), dataset.ids, dataset.root), f'folder level {group_by}'
  elif isinstance(group_by, (str, os.PathLike)):
    names, by = _of_table(group_by, dataset.ids, dataset.root), str(group_by)
  elif np.ndim(group_by) == 0:
    raise ValueError(f'select.group_by={group_by!r} must be {WAYS}')
  else:
    names, by = _of_names(group_by, len(dataset.ids)), 'names that were given'
  alone, count = names.count(''), len({*names} - {''})
  if count + alone == 1:
    raise ValueError(f'select.group_by={group_by}: all {len(names)} examples are of one group, {names[0]!r}; '
                     'take another level or table, or leave it out')
  line = f'{count:,} groups by {by}'
  if alone:
    line += f'; {alone:,} of {len(names):,} examples are in none and count as alone'
  return dataclasses.replace(dataset, group_names=names, notes=[*dataset.notes, line])


def numbered(names: Sequence[str]) -> NDArray[np.int32]:
  """A number in 0..G-1 for the group of each, where an empty name is a group of its own: int32 [N]."""
  keys = [name or row for row, name in enumerate(names)]
  number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
  return np.array([number[key] for key in keys], np.int32)


def joined(*groupings: ArrayLike) -> NDArray[np.int32]:
  """One grouping in which all stay together that do so in any of some: int [N] each -> int32 [N]."""
  from scipy import sparse
  n, offset, pairs = len(np.asarray(groupings[0])), 0, []
  for grouping in groupings:  # Rows and groups are the nodes of a graph, a row's groups its neighbours.
    _, number = np.unique(grouping, return_inverse=True)
    pairs.append(n + offset + number)
    offset += int(number.max()) + 1
  ends = np.concatenate(pairs)
  edges = sparse.coo_array((np.ones(len(ends), bool), (np.tile(np.arange(n), len(pairs)), ends)),
                           shape=(n + offset, n + offset))
  return sparse.csgraph.connected_components(edges, directed=False)[1][:n]


def _of_folders(level, ids, root):
  if root is None:
    raise ValueError(f'select.group_by={level} is a folder level, and these examples are no files in folders: give a '
                     '.csv with a column of ids and a column group, or in Python N names')
  if level == 0:
    raise ValueError('select.group_by=0: levels count from 1, the first folder below the data, or from -1, the folder '
                     'that an image lies in')
  folders = [name.split('/')[:-1] for name in ids]
  short = next((i for i, parts in enumerate(folders) if len(parts) < abs(level)), None)
  if short is not None:
    least = min(map(len, folders))
    mend = f'take at most {least}, or -{least}' if least else 'give a .csv with the columns id and group'
    raise ValueError(f'select.group_by={level} goes deeper than the folders of {ids[short]!r}, which lies in '
                     f'{len(folders[short]) or "none"}: {mend}')
  return ['/'.join(parts[:level if level > 0 else len(parts) + 1 + level]) for parts in folders]


def _of_table(path, ids, root):
  file = pathlib.Path(path).expanduser()
  if not file.is_file():
    raise FileNotFoundError(f'select.group_by={path}: no such file; it is {WAYS}')
  header, rows = labels_lib.table_of(path, ['group'])
  if file.suffix != '.csv' or 'group' not in header:
    raise ValueError(f"{path}: a .csv with a column 'group' is needed, to say which group each one is of")
  column = header.index('group')
  others = {i: labels_lib.cells(rows, i) for i in range(len(header)) if i != column}
  found = labels_lib.name_column(path, header, others, ids, root)
  if found is None:
    labels_lib.refuse_strange(path, header, others, ids)
    raise ValueError(f"{path}: no column of ids; add one, called 'id', with names such as {ids[0]!r}")
  place, places = found
  labels_lib.check_once(path, others[place], places, 'group')
  by_row = dict(zip(places, [name.strip() for name in labels_lib.cells(rows, column)], strict=True))
  return [by_row.get(row, '') for row in range(len(ids))]


def _of_names(given, n):
  names = given_lib.array(given, 'group_by').tolist()
  if len(names) != n:
    raise ValueError(f'group_by has {len(names)} names for {n} examples; give one for each, None for who is alone')
  return ['' if name is None or name != name else given_lib.text(name).strip() for name in names]  # NaN is not itself.
