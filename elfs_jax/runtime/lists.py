"""The two lists of a workdir: `coreset.csv`, what to label in which order, and `items.csv`, what became of each."""
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence

import numpy as np

from elfs_jax.runtime import artifacts

COLUMNS = ('rank', 'index', 'id', 'pseudo_label', 'path', 'kind', 'nearest', 'duplicates')
ITEM_COLUMNS = ('index', 'id', 'status', 'by', 'reason')


def coreset(*, ids: Sequence[str], indices: np.ndarray, reserve: np.ndarray, nearest: np.ndarray,
            duplicates: np.ndarray, pseudo_labels: np.ndarray, scores: Mapping[str, np.ndarray],
            root: pathlib.Path | str | None, root_url: str | None, groups: Sequence[str] | None = None) -> str:
  """The text of coreset.csv: a row for each chosen one, in the order in which to label, then the reserve.

  Args: ids: [N]; indices, reserve: int64 [n], [r]; nearest: int64 [n + r], a row or -1; duplicates: int [N];
    pseudo_labels: int [N]; scores: name -> float32 [N]; root: the folder that the ids are paths in, None where they
    are not; root_url: what stands for it in the column path, None for the folder itself; groups: [N], a
    column of their names; None for no such column.
  """
  names, rows = sorted(scores), []
  for rank, (i, by) in enumerate(zip([*indices.tolist(), *reserve.tolist()], nearest.tolist(), strict=True)):
    path = '' if root is None else path_of(ids[i], root, root_url)
    rows.append([rank, i, ids[i], int(pseudo_labels[i]), path, 'chosen' if rank < len(indices) else 'reserve',
                 '' if by < 0 else ids[by], int(duplicates[i]), *_group(groups, i),
                 *(repr(float(scores[name][i])) for name in names)])
  return artifacts.csv_text([*COLUMNS, *_group(groups), *names], rows)


def _group(groups, row=None):
  """What the column `group` has for a row, or its title; nothing without groups."""
  return [] if groups is None else ['group' if row is None else groups[row]]


def path_of(name: str, root: pathlib.Path | str, root_url: str | None = None) -> str:
  """Where an image is: its absolute path, or its address below a prefix."""
  path = os.path.abspath(os.path.join(root, name))
  if root_url is None:
    return path
  below = os.path.relpath(path, os.path.abspath(root)).replace(os.sep, '/')
  return root_url.rstrip('/') + '/' + urllib.parse.quote(below, errors='surrogateescape')


def items(*, ids: Sequence[str], status: Sequence[str], by: np.ndarray, skipped: Sequence[tuple[str, str]],
          groups: Sequence[str] | None = None) -> str:
  """The text of items.csv: a row for each of N examples, then one for each file that could not be read.

  Args: status: [N]; by: int64 [N], a row or -1; skipped: (path, reason); groups: as in
    `coreset`.
  """
  names = [*ids, '']  # The last for -1.
  rows = [(i, name, part, names[place], '', *_group(groups, i))
          for i, (name, part, place) in enumerate(zip(ids, status, by.tolist(), strict=True))]
  unread = [('', path, 'skipped', '', reason, *[''] * (groups is not None)) for path, reason in skipped]
  return artifacts.csv_text([*ITEM_COLUMNS, *_group(groups)], rows + unread)
