"""The map of decoded files: all images at one size in one file on disk, which is read as an array.

So a hundred thousand photographs need no memory, and each is read once. The map lies in a cache folder, where the next
run finds it and decodes only what has changed since, or else in a temporary file that is gone with the array.
"""
import contextlib
import hashlib
import json
import math
import os
import pathlib
import secrets
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from elfs_jax.data import decode, npz, room

VERSION = 2  # Part of every key and fingerprint: raise it when `decode` gives other pixels of the same file.
HEADER = 128  # Bytes before the pixels, in NumPy's format.


class Entry(NamedTuple):
  """What tells without opening it whether a file has changed; `mtime` in ns."""
  name: str
  size: int
  mtime: int


class Row(NamedTuple):
  """One file, read: its image, or the reason why there is none; `digest` is empty where it could not even be read."""
  image: np.ndarray | None = None  # uint8
  digest: bytes = b''              # 16 bytes, of the content
  note: int = 0                    # whatever the source keeps with an image
  reason: str = ''


class Decoded(NamedTuple):
  """The images of all files that could be decoded, in the order of the files."""
  images: np.ndarray | None        # uint8 [n,H,W,Ch], a read-only np.memmap; None if there are none
  rows: np.ndarray                 # int64 [n], which files they are of
  digests: np.ndarray              # uint8 [n,16]
  notes: np.ndarray                # int64 [n]
  skipped: list[tuple[str, str]]   # (name, reason) of the others


class Undecoded(Exception):
  """Files that are still to be decoded: the names of all and of these, their bytes, and the images' shape [H,W,Ch]."""

  def __init__(self, names, left, size, shape):
    self.names, self.left, self.size, self.shape = names, left, size, shape


class _Kept(NamedTuple):
  """What is known of each of M files, and the map of those that could be decoded."""
  entries: list[Entry]
  digests: np.ndarray              # uint8 [M,16], zeros where the file could not be read
  notes: np.ndarray                # int64 [M]
  reasons: list[str]               # [M], '' where there is an image
  images: np.ndarray | None


def decode_all(entries: Sequence[Entry], read: Callable[[int], Row], shape: tuple[int, int, int], *, cache=None,
               key: Sequence = (), holds: Callable[[int], bool] = lambda note: True, progress: Callable | None = None,
               dry: bool = False) -> Decoded:
  """Decode files into a map.

  Args:
    entries: [M], a name once.
    read: file number -> `Row`, in several threads at once.
    shape: [H,W,Ch] of every image.
    cache: a folder for the map, made if missing, or None. What is found there is used again for files whose `Entry` is
      the same; files that could not be read are tried again.
    key: strings and numbers that tell this map from others in the folder.
    holds: whether a file found in the cache, with this note, would be decoded to the same again.
    progress: optional; called as progress(iterable, desc=..., total=...) where something is to be decoded.
    dry: decode nothing and write nothing.
  Raises: `Undecoded` in place of decoding, with `dry`; ValueError if the map can't be written, there is no room for it,
    or images are of another shape.
  """
  stem = _stem(key, shape)
  old = None if cache is None else _open(cache, stem, shape)
  new = _Kept([Entry(*entry) for entry in entries], np.zeros((len(entries), 16), np.uint8),
              np.zeros(len(entries), np.int64), [''] * len(entries), None)
  source = _reuse(old, new, holds)
  todo = np.flatnonzero(source < 0).tolist()
  if old is not None and not todo and len(old.entries) == len(new.entries):
    return _decoded(old)
  if dry and old is not None and old.entries == new.entries:  # All but those that could not be read before.
    return _decoded(old)
  if dry:
    raise Undecoded([entry.name for entry in entries], [entries[i].name for i in todo],
                    sum(entries[i].size for i in todo), shape)
  size = math.prod(shape)
  room.need_memory(4 * size, f'one image of {shape[0]} x {shape[1]} pixels', 'set a smaller data.size')
  room.need_disk(tempfile.gettempdir() if cache is None else cache, size * len(entries),
                 f'{len(entries):,} images of {shape[0]} x {shape[1]} pixels', 'set a smaller data.size, or choose '
                 f'another {"folder for temporary files by the variable TMPDIR" if cache is None else "--workdir"}')
  with _new_file(cache, stem) as file:
    def work(k):
      i = todo[k]
      row = read(i)
      if row.image is not None:
        if row.image.shape != tuple(shape):
          raise ValueError(f'{new.entries[i].name}: an image of shape {row.image.shape} among others of '
                           f'{tuple(shape)}; set data.size to make them equal')
        _write_at(file, HEADER + i * size, row.image.tobytes())
      if row.digest:
        new.digests[i] = np.frombuffer(row.digest, np.uint8)
      new.notes[i] = row.note
      return row.reason
    for i, reason in zip(todo, decode.parallel(work, len(todo), progress, 'Reading images')):
      new.reasons[i] = reason
    if old is not None and _same(old, new):
      return _decoded(old)
    return _decoded(new._replace(images=_finish(file, cache, stem, shape, new, old, source)))


def fingerprint(names: Sequence[str], sizes: Sequence[int], digests: np.ndarray, shape: Sequence[int],
                notes: np.ndarray | None = None) -> str:
  """A hex digest of files by their relative names, sizes, digests uint8 [n,16] and notes [n], and the images' shape."""
  known = [VERSION, list(names), [int(size) for size in sizes], list(map(int, shape))]
  sums = hashlib.sha256(json.dumps(known + ([] if notes is None else [notes.tolist()])).encode())
  sums.update(np.ascontiguousarray(digests).tobytes())
  return sums.hexdigest()


def _stem(key, shape):
  import PIL
  known = json.dumps([VERSION, PIL.__version__, list(shape), *map(str, key)])
  return 'images-' + hashlib.sha256(known.encode('utf-8', 'surrogateescape')).hexdigest()[:16]


def _reuse(old, new, holds):
  """Copy into `new` what `old` knows of the same files. Returns: [M] their numbers in `old`, -1 if it is to read."""
  source = np.full(len(new.entries), -1)
  if old is None:
    return source
  held = {note: holds(note) for note in set(old.notes.tolist())}
  known = {entry: i for i, entry in enumerate(old.entries) if old.digests[i].any() and held[int(old.notes[i])]}
  for to, entry in enumerate(new.entries):
    i = known.get(entry, -1)
    if i >= 0:
      source[to] = i
      new.digests[to] = old.digests[i]
      new.notes[to] = old.notes[i]
      new.reasons[to] = old.reasons[i]
  return source


def _same(old, new):
  return (old.entries == new.entries and old.reasons == new.reasons and np.array_equal(old.digests, new.digests)
          and np.array_equal(old.notes, new.notes))


def _decoded(kept):
  rows = np.flatnonzero([not reason for reason in kept.reasons])
  skipped = [(entry.name, reason) for entry, reason in zip(kept.entries, kept.reasons) if reason]
  return Decoded(kept.images, rows, kept.digests[rows], kept.notes[rows], skipped)


# The files


@contextlib.contextmanager
def _new_file(cache, stem):
  """An empty file for a map; in a cache under a temporary name, which it loses at the end unless it was renamed."""
  place = tempfile.gettempdir() if cache is None else pathlib.Path(cache).expanduser()
  with _explained(place):
    if cache is None:
      file = tempfile.TemporaryFile()
    else:
      place.mkdir(parents=True, exist_ok=True)
      file = open(place / f'.{stem}.npy.{secrets.token_hex(4)}', 'xb+')
  with file:
    try:
      yield file
    finally:
      if cache is not None:
        pathlib.Path(file.name).unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(place):
  try:
    yield
  except OSError as error:
    raise ValueError(f'{place}: no map of decoded images can be written there ({decode.reason_of(error)}); free some '
                     'space, or choose another folder (for temporary files by the variable TMPDIR)') from None


def _write_at(file, offset, content):
  """Not by a writable memory map: on a full disk that kills the process."""
  with _explained(pathlib.Path(str(file.name)).parent if isinstance(file.name, (str, os.PathLike))
                  else tempfile.gettempdir()):
    while content:
      written = os.pwrite(file.fileno(), content, offset)
      content, offset = content[written:], offset + written


def _finish(file, cache, stem, shape, new, old, source):
  """Move the images together behind a header, and in a cache keep the file. Returns: the map."""
  size, count = int(np.prod(shape)), 0
  before = {} if old is None else {i: row for row, i in enumerate(np.flatnonzero([not r for r in old.reasons]))}
  for i, reason in enumerate(new.reasons):
    if reason:
      continue
    if source[i] >= 0:
      _write_at(file, HEADER + count * size, old.images[before[source[i]]].tobytes())
    elif count != i:
      _write_at(file, HEADER + count * size, os.pread(file.fileno(), size, HEADER + i * size))
    count += 1
  if not count:
    return None
  os.truncate(file.fileno(), HEADER + count * size)
  _write_at(file, 0, _header((count, *shape)))
  if cache is not None:
    with _explained(cache):
      os.fsync(file.fileno())
      _keep(pathlib.Path(file.name), stem, new)
  return np.memmap(file, np.uint8, 'r', HEADER, (count, *shape))


def _header(shape):
  """That of an .npy file, padded so that its length does not depend on the shape."""
  words = repr({'descr': '|u1', 'fortran_order': False, 'shape': tuple(map(int, shape))}).ljust(HEADER - 11) + '\n'
  return b'\x93NUMPY\x01\x00' + (HEADER - 10).to_bytes(2, 'little') + words.encode()


def _keep(temporary, stem, new):
  """Give the map its name, and write beside it what is known of the files, which is what makes it count."""
  stat = temporary.stat()
  table = {'map': np.array([stat.st_size, stat.st_mtime_ns]), 'names': _pack([entry.name for entry in new.entries]),
           'sizes': np.array([entry.size for entry in new.entries]),
           'mtimes': np.array([entry.mtime for entry in new.entries]), 'digests': new.digests, 'notes': new.notes,
           'reasons': _pack(new.reasons)}
  beside = temporary.with_name(f'.{stem}.npz.{secrets.token_hex(4)}')
  try:
    with open(beside, 'xb') as file:
      np.savez(file, **table)
    os.replace(temporary, temporary.with_name(f'{stem}.npy'))
    os.replace(beside, temporary.with_name(f'{stem}.npz'))
  finally:
    beside.unlink(missing_ok=True)


def _open(cache, stem, shape):
  """The `_Kept` of a cache; None where there is none, it is damaged, or the map is not the one it was made with."""
  place = pathlib.Path(cache).expanduser()
  try:
    with open(place / f'{stem}.npz', 'rb') as opened, np.load(opened, allow_pickle=False) as table:
      entries = list(map(Entry, _unpack(table['names']), table['sizes'].tolist(), table['mtimes'].tolist()))
      reasons, digests, notes, made = _unpack(table['reasons']), table['digests'], table['notes'], table['map'].tolist()
    with open(place / f'{stem}.npy', 'rb') as file:
      stat = os.fstat(file.fileno())
      count = sum(not reason for reason in reasons)
      if [stat.st_size, stat.st_mtime_ns] != made or made[0] != HEADER + count * int(np.prod(shape)):
        return None
      return _Kept(entries, digests, notes, reasons, np.memmap(file, np.uint8, 'r', HEADER, (count, *shape)))
  except npz.DAMAGED:
    return None


def _pack(words):
  """Strings as an array of bytes that needs no pickle; a file's name may be no valid UTF-8."""
  return np.frombuffer('\0'.join(words).encode('utf-8', 'surrogateescape'), np.uint8)


def _unpack(packed):
  return packed.tobytes().decode('utf-8', 'surrogateescape').split('\0')
