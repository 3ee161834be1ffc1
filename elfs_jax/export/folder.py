"""The target `folder`: copies of the chosen images."""
import contextlib
import os
import pathlib
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence

from elfs_jax import export


def write(chosen: export.Chosen, folder: pathlib.Path) -> pathlib.Path:
  """A folder with copies of the images, in the subfolders that they lay in; an earlier choice there goes."""
  target = folder / chosen.named('folder')
  paths, (_, names) = export.paths_of(chosen), export.placed(chosen)
  with replaced(target) as new:
    for name, path in zip(kept_apart(names), paths, strict=True):
      copy = new / name
      copy.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(path, copy)
  return target


def kept_apart(names: Sequence[str]) -> list[str]:
  """The names, with a number behind each that an earlier one has; case does not tell files apart on every disk."""
  taken: set[str] = set()
  apart = []
  for name in names:
    stem, ending = os.path.splitext(name)
    number, free = 1, name
    while _alike(free) in taken:
      number += 1
      free = f'{stem} ({number}){ending}'
    taken.add(_alike(free))
    apart.append(free)
  return apart


def _alike(name):
  return unicodedata.normalize('NFC', name).casefold()


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A new folder to write into, which takes the place of `path` at the end; after an error `path` is as it was."""
  new, old = (path.with_name(f'.{path.name}.{secrets.token_hex(4)}') for _ in range(2))
  new.mkdir(parents=True)
  try:
    yield new
    if path.exists():
      os.replace(path, old)
    os.replace(new, path)
  finally:
    for left in (new, old):
      shutil.rmtree(left, ignore_errors=True)
