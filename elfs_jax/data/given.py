"""What people hand over in Python -> plain arrays: tensors, columns of tables, lists of vectors, paths or pictures.

What a thing is is told by its methods, so that neither PyTorch nor pandas need be there.
"""
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elfs_jax.data import decode
from elfs_jax.data.sources import folder


def array(given: Any, what: str) -> np.ndarray:
  """A NumPy array of anything like one.

  Tensors may need gradients, lie on a device or be bfloat16, which becomes float32. Vectors or images in a list or in
  a column are stacked. Arrays are not copied. Raises: ValueError where rows differ in shape.
  """
  found = _plain(given)
  if isinstance(found, (list, tuple)) or found.dtype == object and found.ndim == 1:
    rows = [_plain(row) for row in found]
    shapes = {np.shape(row) for row in rows}
    if len(shapes) > 1:
      first, other, *_ = sorted(shapes)
      raise ValueError(f'{what} differ in shape, such as {first} and {other}; bring them to one shape: np.stack takes '
                       'them then')
    found = np.array(rows) if shapes != {()} else np.asarray(found)
  if found.dtype.kind == 'V' and 'float' in found.dtype.name:  # bfloat16 and what else NumPy itself does not know.
    found = found.astype(np.float32)
  return found


def _plain(given):
  """A tensor or a table's column as an array, a list or an array as it is."""
  if isinstance(given, (np.ndarray, list, tuple)):
    return given
  if hasattr(given, 'detach'):  # PyTorch's.
    given = given.detach().cpu()
    try:
      return given.numpy()
    except TypeError:  # bfloat16.
      return given.float().numpy()
  return np.asarray(given.to_numpy() if hasattr(given, 'to_numpy') else given)


def text(value: Any) -> str:
  """A name as text: bytes are UTF-8. Raises: ValueError."""
  try:
    return value.decode() if isinstance(value, bytes) else str(value)
  except UnicodeDecodeError:
    raise ValueError(f'ids: {value!r} is not UTF-8 text; decode it first') from None


def paths_in(images: Any) -> list[str] | None:
  """The paths of a list or of a table's column of paths, or None for anything else."""
  return _all(images, lambda one: isinstance(one, (str, os.PathLike)), os.fspath)


def pictures_in(images: Any) -> list | None:
  """The pictures of a list or of a column of Pillow's, or None for anything else."""
  return _all(images, lambda one: hasattr(one, 'getbands') and hasattr(one, 'convert'))


def _all(given, is_one, made=lambda one: one):
  found = given if isinstance(given, (list, tuple)) else None
  if hasattr(given, 'to_numpy'):
    given = given.to_numpy()
  if isinstance(given, np.ndarray) and given.dtype.kind in 'OU':
    found = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given if given.ndim == 1 else None
  return [made(one) for one in found] if found is not None and len(found) and all(map(is_one, found)) else None


def read_files(paths: Sequence[str], size: int | None = None, progress: Callable | None = None,
               fit: str = 'crop') -> dict:
  """The fields of a `Dataset` of image files, read as `folder` reads them; their ids are the paths as given.

  A row must stay the row of the list, so none is left out. Args: paths: relative ones start at the working directory.
  Raises: FileNotFoundError; ValueError where a file can't be read.
  """
  fields = folder.read(os.getcwd(), size=size, progress=progress, names=paths, fit=fit)
  if fields['skipped']:
    name, reason = fields['skipped'][0]
    raise ValueError(f'images: {len(fields["skipped"])} of {len(paths)} files cannot be read ({name}: {reason}); leave '
                     'them out of the list')
  return fields


def of_pictures(pictures: Sequence, size: int | None = None, fit: str = 'crop') -> dict:
  """The fields of a `Dataset` of Pillow's pictures: as they are where all have one size, else fitted as files are."""
  from PIL import ImageOps
  upright = [ImageOps.exif_transpose(picture) for picture in pictures]
  if any(picture.mode != 'L' for picture in upright):
    upright = [decode.to_rgb(picture) for picture in upright]
  if size is None and len({picture.size for picture in upright}) == 1:
    return {'images': np.stack([np.asarray(picture) for picture in upright])}
  side = folder.SIZE if size is None else size
  def fitted(row, size):
    return np.atleast_3d(decode.fit(upright[row], size, fit))
  return {'images': np.stack([fitted(row, side) for row in range(len(upright))]), 'decode': fitted}


def to_bytes(images: np.ndarray) -> str:
  """For an error: the call that makes uint8 of other numbers, by their range."""
  if images.dtype.kind == 'b':
    return 'images.astype(np.uint8) * 255'
  if images.dtype.kind != 'f':
    return 'images.astype(np.uint8) if they lie in 0 to 255'
  low, high = (float(extreme.reduce(images, axis=None)) for extreme in (np.fmin, np.fmax))  # Without NaN.
  if low >= 0 and high <= 1:
    return '(images * 255).round().astype(np.uint8) if they lie in 0 to 1'
  if low >= -1 and high <= 1:
    return '((images + 1) * 127.5).round().astype(np.uint8) if they lie in -1 to 1'
  if low >= 0 and high <= 255:
    return 'images.round().astype(np.uint8) if they lie in 0 to 255'
  return f'they lie in {low:.3g} to {high:.3g}, so undo the normalisation that they went through'


def to_vectors(embeddings: np.ndarray) -> str:
  """For an error: what makes vectors of something else, after a semicolon; or nothing."""
  if embeddings.dtype.kind in 'OSU':
    return '; read a file by np.load first, and text such as [1, 2] by np.stack([json.loads(t) for t in column])'
  if embeddings.dtype.kind == 'V':
    return '; bfloat16 loses its name in a file, so save them as float32'
  if embeddings.ndim > 2:
    return '; pictures are images=, and of several vectors each take one, such as embeddings.mean(1)'
  return '; one number each is embeddings.reshape(-1, 1)' if embeddings.ndim == 1 else ''
