"""The target `folder`: copies of the chosen images."""
import contextlib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator

from elfs_jax import export


def write(chosen: export.Chosen, folder: pathlib.Path) -> pathlib.Path:
  """A folder with copies of the images, in the subfolders that they lay in; an earlier choice there goes."""
  target = folder / 'folder'
  with _replaced(target) as new:
    paths = export.paths_of(chosen)
    for name, path in zip(_names_within(chosen.ids, paths), paths, strict=True):
      copy = new / name
      copy.parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(path, copy)
  return target


def _names_within(ids, paths):
  """Names that stay in a folder: the ids, or where one leads out of it the paths from where all images lie."""
  if not any(os.path.isabs(name) or '..' in pathlib.PurePath(name).parts for name in ids):
    return ids
  real = [os.path.normpath(os.path.abspath(path)) for path in paths]
  return [os.path.relpath(path, os.path.commonpath([os.path.dirname(path) for path in real])) for path in real]


@contextlib.contextmanager
def _replaced(path) -> Iterator[pathlib.Path]:
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
