"""What is given as images, embeddings, names or a size, checked: the array that it is, or one line that says the mend.

`what` and `where` name the input in the message.
"""
import collections
import numbers

import numpy as np

from elfs_jax.data import given, room

BLOCK = 8192  # Rows that are looked at at a time.


def size(size, what='size') -> None:
  """Raises: ValueError unless it is a whole number of pixels, or None."""
  if size is not None and (not isinstance(size, numbers.Integral) or isinstance(size, bool) or size < 1):
    raise ValueError(f'{what}={size} must be a whole number of pixels, 1 or more')


def names(ids, n: int, where: str) -> list[str]:
  """N unique ids as strings; the index where there are none. Raises: ValueError."""
  if isinstance(ids, np.ndarray) and ids.ndim != 1:
    raise ValueError(f'{where}: ids have shape {ids.shape}; give one row of names')
  ids = [given.text(i) for i in (range(n) if ids is None else ids)]
  if len(ids) != n:
    raise ValueError(f'{where}: {len(ids)} ids for {n} examples; give one each')
  if len(set(ids)) != n:
    again = collections.Counter(ids).most_common(1)[0][0]
    raise ValueError(f'{where}: ids must be unique, but {again!r} stands more than once')
  return ids


def images(images, what: str) -> np.ndarray:
  """uint8 [N,H,W,Ch], Ch 1 or 3. Raises: ValueError."""
  images = given.array(images, what)
  if images.dtype.kind in 'OSUV':
    raise ValueError(f"{what} are no pixels but {images.dtype}: give a folder's path, a list or one column of paths, "
                     'or an array uint8 [N,H,W,Ch]')
  if images.ndim == 2 and images.size:
    mend = ('reshape them: images.reshape(-1, height, width)' if images.dtype == np.uint8 else
            'vectors are embeddings: give embeddings=, and a file of them to --config=embeddings')
    raise ValueError(f'{what} have shape {images.shape}, a row of numbers each and no pictures; {mend}')
  if images.ndim not in (3, 4) or not images.size:
    raise ValueError(f'{what} have shape {images.shape}; give [N,H,W] or [N,H,W,Ch] with at least one image')
  if images.dtype != np.uint8:
    raise ValueError(f'{what} are {images.dtype}, not uint8; convert them: {given.to_bytes(images)}')
  images = images[..., None] if images.ndim == 3 else images
  channels = images.shape[3]
  if channels not in (1, 3):
    mend = 'drop the fourth, alpha: images[..., :3]' if channels == 4 else (
        'put channels last: images.transpose(0, 2, 3, 1), of PyTorch images.permute(0, 2, 3, 1)'
        if images.shape[1] in (1, 3) else 'convert them')
    raise ValueError(f'{what} have {channels} channels (shape {images.shape}), not 1 (grey) or 3 (RGB); {mend}')
  return images


def embeddings(embeddings, what: str) -> np.ndarray:
  """float32 [N,D], finite; of a memory map the map, where it is float32. Raises: ValueError."""
  embeddings = given.array(embeddings, what)
  if embeddings.dtype == object and embeddings.ndim == 2:
    try:
      embeddings = embeddings.astype(np.float32)
    except (TypeError, ValueError):
      raise ValueError(f'{what} hold values that are no numbers; give the columns of numbers alone, such as '
                       'table[columns].to_numpy(np.float32)') from None
  if embeddings.dtype.kind not in 'fiu' or embeddings.ndim != 2 or not embeddings.size:
    raise ValueError(f'{what} are {embeddings.dtype} {embeddings.shape}; give floats [N,D] with at least one row'
                     + given.to_vectors(embeddings))
  if embeddings.dtype != np.float32:
    room.need_memory(4 * embeddings.size, what, 'bring fewer rows, or an .npy of float32, which stays in its file')
  with np.errstate(over='ignore'):
    single = embeddings.astype(np.float32, copy=not isinstance(embeddings, np.memmap))
  finite = [np.isfinite(single[start:start + BLOCK]).all(axis=1) for start in range(0, len(single), BLOCK)]
  bad = np.flatnonzero(~np.concatenate(finite))
  if len(bad) and not (len(bad) == len(embeddings) and np.isfinite(embeddings).all()):
    rows = ', '.join(map(str, bad[:5])) + (', ...' if len(bad) > 5 else '')
    raise ValueError(f'{what} hold NaN or infinity in {len(bad)} of {len(embeddings)} rows ({rows}); '
                     'leave those examples out or embed them again')
  largest = max(float(embeddings.max()), -float(embeddings.min()))
  if largest and not 1e-9 < largest < 1e12:  # Beyond, float32 has no room for their squares.
    raise ValueError(f'{what} reach {largest:.1e}; scale them all by one number so that they reach about 1')
  return single
