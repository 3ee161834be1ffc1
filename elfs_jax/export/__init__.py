"""Export: the choice of a workdir, and its held-out test set, handed over in the form that another tool takes.

A target is one file with a function (`Chosen`, folder) -> the path that it wrote, or `Written`, and one entry of
`EXPORTS`.
"""
import csv
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from elfs_jax import table

NO_NUMBERS = 'index', 'id', 'path', 'kind', 'nearest'  # Columns of coreset.csv that name something.
NO_FILES = 'these examples are rows of an array, without files: coreset.csv and coreset.npy have their indices'
NO_CLASSES = ['class 1', 'class 2']  # To be replaced by the user's own.


class Export(NamedTuple):
  """A target to hand over to."""
  function: str | Callable
  help: str
  files: bool = True   # It needs the images' files, so that a run without any is refused before it begins.


EXPORTS = {
    'list': Export('elfs_jax.export.text:write', 'coreset.txt, the path of one image a line'),
    'folder': Export('elfs_jax.export.folder:write', 'a folder with copies of the images'),
    'label-studio': Export('elfs_jax.export.label_studio:write', 'tasks and a labelling interface for Label Studio'),
    'cvat': Export('elfs_jax.export.cvat:write', 'an archive and labels for cvat-cli'),
    'fiftyone': Export('elfs_jax.export.fiftyone:write', 'a data set for FiftyOne, with tags and scores'),
    'coco': Export('elfs_jax.export.coco:write', 'a list of the images as COCO has it, without annotations'),
    'hf': Export('elfs_jax.export.huggingface:write', 'a folder with metadata.csv for Hugging Face datasets'),
}


class Chosen(NamedTuple):
  """Examples to hand over: the chosen ones in the order of `coreset.csv`, or the held-out ones."""
  ids: list[str]
  paths: list[pathlib.Path] | None           # Of their files; None where they have none.
  links: list[str] | None = None             # Of the same on a server, where the data have one.
  root: pathlib.Path | None = None           # The folder that the ids are paths in.
  numbers: dict[str, list[int | float]] = {} # Columns of coreset.csv that hold numbers, such as the scores.
  classes: list[str] | None = None           # Names of all classes, where they are known; of no image its own.
  served: str | None = None                  # The folder or URL that a labelling tool serves files from, if named.
  part: str = 'coreset'                      # Or holdout.

  def named(self, name: str) -> str:
    """The name of a file to write: those of the held-out begin with holdout-."""
    return name if self.part == 'coreset' else f'{self.part}-{name}'


class Written(NamedTuple):
  """What a target wrote, and a line that says how its tool takes it."""
  path: pathlib.Path
  how: str | None = None


def check(targets: Iterable[str], served: str | None = None) -> None:
  """Raises: ValueError unless all are names of `EXPORTS`, and `served` is a URL or a folder."""
  for target in targets:
    table.check_name(EXPORTS, 'export', target)
  if served is not None and not is_url(served) and not os.path.isdir(served):
    raise ValueError(f'--root={served}: no such folder; name the folder that the labelling tool serves files from, or '
                     'a URL that begins with https://')


def check_files(targets: Iterable[str], files: Any) -> None:
  """Raises: ValueError if a target needs files and the images have none, or no folder: if `files` is None."""
  if files is None and any(EXPORTS[target].files for target in targets):
    raise ValueError(NO_FILES)


def write(workdir: pathlib.Path, target: str, *, served: str | None = None,
          say: Callable[[str], Any] | None = None) -> pathlib.Path:
  """Write what a run chose, and what it held out, to `workdir`/export/, for one target.

  Args:
    served: the folder or the URL that a labelling tool serves the images from; None: as suits the target.
    say: what prints a line for each thing written, and one on how to take it.
  Returns: the file or folder of the choice. Raises: FileNotFoundError where the workdir holds no choice; ValueError for
    an unknown target, or where the target needs files and the images have none.
  """
  check([target], served)
  function = table.load(EXPORTS[target].function)
  folder = workdir / 'export'
  parts = [read(workdir, 'coreset')]
  if (workdir / 'holdout.csv').is_file():
    parts.append(read(workdir, 'holdout'))
  made = [function(chosen._replace(served=served), folder) for chosen in parts]
  made = [one if isinstance(one, Written) else Written(one) for one in made]
  if say is not None:
    for one in made:
      say(f'exported to {one.path}' + (f'\n  {one.how}' if one.how else ''))
  return made[0].path


def read(workdir: pathlib.Path, part: str = 'coreset') -> Chosen:
  """The choice in a workdir, or its held-out images. Raises: FileNotFoundError where there is none."""
  file = workdir / f'{part}.csv'
  if not file.is_file():
    raise FileNotFoundError(f'{file}: no such file; give the workdir of a run that has ended, such as runs/folder')
  with open(file, newline='', encoding='utf-8') as text:
    rows = [row for row in csv.DictReader(text) if row.get('kind', 'chosen') == 'chosen']
  root = json.loads((workdir / 'config.json').read_text('utf-8')).get('root')
  metrics = workdir / 'metrics.json'
  classes = json.loads(metrics.read_text('utf-8')).get('class_names') if metrics.is_file() else None
  ids, paths = [row['id'] for row in rows], [row.get('path') or '' for row in rows]
  links = paths if paths and all(map(is_url, paths)) else None
  if root is not None and (links or not all(paths)):
    paths = [os.path.join(root, name) for name in ids]
  elif links or not all(paths):
    paths = []
  return Chosen(ids, [pathlib.Path(path) for path in paths] or None, links, root and pathlib.Path(root),
                _numbers(rows), classes, part=part)


def _numbers(rows):
  """The columns that hold numbers in every row."""
  found = {}
  for name in rows[0] if rows else ():
    try:
      if name not in NO_NUMBERS:
        found[name] = [int(text) if re.fullmatch('-?[0-9]+', text) else float(text) for text in
                       (row[name] for row in rows)]
    except ValueError:
      pass  # Words.
  return found


def is_url(text: str) -> bool:
  """Whether a path is a URL."""
  return re.match('[A-Za-z][A-Za-z0-9+.-]*://', text) is not None


def paths_of(chosen: Chosen) -> list[pathlib.Path]:
  """The files of the chosen. Raises: ValueError where they have none."""
  if chosen.paths is None:
    raise ValueError(NO_FILES)
  return chosen.paths


def placed(chosen: Chosen) -> tuple[pathlib.Path, list[str]]:
  """The folder that all files lie below, and their posix paths in it: the folder of the data, where that holds all."""
  paths = [os.path.normpath(os.path.abspath(path)) for path in paths_of(chosen)]
  folder = os.path.commonpath([os.path.dirname(path) for path in paths])
  root = None if chosen.root is None else os.path.normpath(os.path.abspath(chosen.root))
  if root is not None and os.path.commonpath([root, folder]) == root:
    folder = root
  return pathlib.Path(folder), [pathlib.Path(os.path.relpath(path, folder)).as_posix() for path in paths]
