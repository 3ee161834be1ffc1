"""What a workdir has handed out: its `coreset.csv`, with which another budget begins, and which is never lost."""
import csv
import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elfs_jax.runtime import artifacts, hosts

ASIDE = {'select': ('budget', 'reserve', 'beta', 'holdout'),
         'data': ('path', 'images', 'labels', 'labelled', 'root_url')}


class Handed(NamedTuple):
  """The choice that stands in a workdir."""
  rows: np.ndarray       # int64 [m], in their order
  beta: float | None     # as it was asked for or found, before it gave way to anything
  searched: int | None   # the budget that this beta was searched for


def key_of(settings: Mapping[str, Any], ids: Sequence[str], labelled: np.ndarray, content: Any) -> str:
  """What two choices share if the larger may begin with the smaller: all that decides them but budget and beta.

  Args: settings: the whole config; ids: of all; labelled: int64 [m], rows; content: what else tells the data, such as a
    fingerprint; None where the ids name files, of which some may come and go.
  """
  parts = {name: {field: value for field, value in part.items() if field not in ASIDE.get(name, ())}
           if isinstance(part, Mapping) else part for name, part in settings.items()
           if name not in ('evaluate', 'benchmark', 'report')}
  return artifacts.fingerprint(json.dumps(parts, sort_keys=True), sorted(ids[i] for i in labelled.tolist()), content)


def read(workdir: pathlib.Path, key: str, ids: Sequence[str], beta: float | str) -> Handed | None:
  """The choice that a run with this key and `select.beta` begins with; None where there is none.

  With beta 'auto' that is one whose beta was searched too, with a number one that has this beta.
  """
  found = hosts.from_lead(lambda: _read(workdir, key, ids, beta))
  return None if found is None else Handed(*found)


def _read(workdir, key, ids, beta):
  try:
    choice = json.loads((workdir / 'config.json').read_text('utf-8'))['choice']
    if choice['key'] != key or beta not in (choice['asked'], choice['beta']):
      return None
    names = chosen_in(workdir)
  except (OSError, ValueError, KeyError, TypeError):
    return None
  place = {name: i for i, name in enumerate(ids)}
  rows = np.array([place[name] for name in names if name in place], np.int64)
  return [rows, choice['beta'], choice['searched']]


def chosen_in(workdir: pathlib.Path) -> list[str]:
  """The ids of the choice in a workdir, in their order. Raises: OSError, KeyError where there is none."""
  with open(workdir / 'coreset.csv', newline='', encoding='utf-8') as file:
    return [row['id'] for row in csv.DictReader(file) if row['kind'] == 'chosen']


def keep(workdir: pathlib.Path, text: str) -> str | None:
  """Put the `coreset.csv` of a workdir aside under its date, if `text` will take its place and is another one.

  Returns: its new name, or None where nothing had to be kept.
  """
  file = workdir / 'coreset.csv'
  if not file.exists() or file.read_bytes() == text.encode():
    return None
  stem = f'coreset-{datetime.datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%dT%H%M}'
  names = (f'{stem}{f"-{turn}" if turn > 1 else ""}.csv' for turn in range(1, 10 ** 6))
  free = next(name for name in names if not (workdir / name).exists())
  file.rename(workdir / free)
  return free
