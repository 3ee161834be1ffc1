"""An array that is filled a chunk of rows at a time, on disk: a memory map, which a killed run goes on to fill."""
import json
import os
import pathlib
import shutil
import zlib

import numpy as np

from elfs_jax.runtime import artifacts

BLOCK = 1 << 26  # Bytes that are read at a time for a checksum.


class Rows:
  """One such array: filled in `folder`, and kept at `path` (.npy) once it is whole, with a note of key and checksums.

  One process alone uses it, whatever others there are.
  """

  def __init__(self, path, folder, key):
    self.path, self.folder, self.key = pathlib.Path(path), pathlib.Path(folder), key
    self.array, self.chunks = None, []

  def __call__(self, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The array to fill, float32 of this shape, and how many of its first rows are filled already."""
    part = self.folder / 'rows.npy'
    self.array, self.chunks = _read(part, self.key, 'r+') or (None, [])
    if self.array is None or self.array.shape != tuple(shape):
      self.clear()
      self.folder.mkdir(parents=True)
      self.array, self.chunks = np.lib.format.open_memmap(part, 'w+', np.float32, tuple(shape)), []
    return self.array, self.chunks[-1][0] if self.chunks else 0

  def filled(self, done: int) -> None:
    """Note that the first `done` rows are filled."""
    start = self.chunks[-1][0] if self.chunks else 0
    self.array.flush()
    self.chunks.append([done, _checksum(self.array[start:done])])
    self._note()

  def keep(self) -> None:
    """Move the filled array to its place."""
    self.path.parent.mkdir(parents=True, exist_ok=True)
    _note_of(self.path).unlink(missing_ok=True)
    os.replace(self.folder / 'rows.npy', self.path)
    os.replace(_note_of(self.folder / 'rows.npy'), _note_of(self.path))
    self.clear()

  def kept(self) -> dict[str, np.ndarray] | None:
    """The array that was kept under this key, a read-only memory map `result`; None without one or if damaged."""
    array, chunks = _read(self.path, self.key, 'r') or (None, [])
    return {'result': array} if chunks and chunks[-1][0] == len(array) else None

  def begun(self) -> bool:
    """Whether a run that was stopped has filled some of it."""
    return _read(self.folder / 'rows.npy', self.key, 'r') is not None

  def clear(self) -> None:
    """Drop what is not finished."""
    shutil.rmtree(self.folder, ignore_errors=True)

  def _note(self):
    artifacts.write_text(_note_of(self.folder / 'rows.npy'), json.dumps({'key': self.key, 'chunks': self.chunks}))


def _read(path, key, mode):
  """(array, its chunks as [end, checksum]) where the note fits, at least one chunk is sound, else None.

  Chunks from the first damaged one on are left out.
  """
  try:
    note = json.loads(_note_of(path).read_text('utf-8'))
    array = np.lib.format.open_memmap(path, mode)
    chunks, start = [], 0
    for end, checksum in note['chunks'] if note['key'] == key else []:
      if _checksum(array[start:end]) != checksum:
        break
      chunks.append([end, checksum])
      start = end
  except (OSError, ValueError, KeyError, TypeError):
    return None
  return (array, chunks) if chunks else None


def _note_of(path):
  return path.with_suffix('.json')


def _checksum(rows):
  checksum, step = 0, max(1, BLOCK // max(1, rows[:1].nbytes))
  for start in range(0, len(rows), step):
    checksum = zlib.crc32(np.ascontiguousarray(rows[start:start + step]), checksum)
  return checksum
