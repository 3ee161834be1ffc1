"""The target `list`: a text file of paths."""
import pathlib

from elfs_jax import export
from elfs_jax.runtime import artifacts


def write(chosen: export.Chosen, folder: pathlib.Path) -> pathlib.Path:
  """coreset.txt: the path of one image a line, or its URL where the data have one."""
  paths = [str(path) for path in chosen.links or export.paths_of(chosen)]
  broken = next((path for path in paths if '\n' in path or '\r' in path), None)
  if broken is not None:
    raise ValueError(f'{broken!r}: a list cannot hold a name with a line break; rename the file')
  file = folder / ('coreset.txt' if chosen.part == 'coreset' else chosen.named('list.txt'))
  artifacts.write_text(file, ''.join(f'{path}\n' for path in paths))
  return file
