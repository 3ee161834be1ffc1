"""Export: the choice of a workdir, handed over in the form that another tool takes.

A target is one file with a function (`Chosen`, folder) -> the path that it wrote, and one entry of `EXPORTS`.
"""
import csv
import json
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from elfs_jax import table


class Export(NamedTuple):
  """A target to hand over to."""
  function: str
  help: str


EXPORTS = {
    'list': Export('elfs_jax.export.text:write', 'coreset.txt, the path of one image a line'),
    'folder': Export('elfs_jax.export.folder:write', 'a folder with copies of the images'),
}


class Chosen(NamedTuple):
  """The chosen examples, in the order of `coreset.csv`."""
  ids: list[str]
  paths: list[pathlib.Path] | None   # Of their files; None where they have none.


def check(targets: Iterable[str]) -> None:
  """Raises: ValueError unless all are names of `EXPORTS`."""
  for target in targets:
    table.check_name(EXPORTS, 'export', target)


def write(workdir: pathlib.Path, target: str) -> pathlib.Path:
  """Write what a run chose to `workdir`/export/, for one target.

  Returns: the file or folder written. Raises: FileNotFoundError where the workdir holds no choice; ValueError for an
  unknown target, or where the target needs files and the images have none.
  """
  entry = table.look_up(EXPORTS, 'export', target)
  return table.load(entry.function)(read(workdir), workdir / 'export')


def read(workdir: pathlib.Path) -> Chosen:
  """The choice in a workdir. Raises: FileNotFoundError where there is none."""
  file = workdir / 'coreset.csv'
  if not file.is_file():
    raise FileNotFoundError(f'{file}: no such file; give the workdir of a run that has ended, such as runs/folder')
  with open(file, newline='', encoding='utf-8') as text:
    ids = [row['id'] for row in csv.DictReader(text) if row.get('kind') != 'reserve']
  root = json.loads((workdir / 'config.json').read_text('utf-8')).get('root')
  return Chosen(ids, None if root is None else [pathlib.Path(root, name) for name in ids])


def paths_of(chosen: Chosen) -> list[pathlib.Path]:
  """The files of the chosen. Raises: ValueError where they have none."""
  if chosen.paths is None:
    raise ValueError('these examples are rows of an array, without files: coreset.csv and coreset.npy have their '
                     'indices')
  return chosen.paths
