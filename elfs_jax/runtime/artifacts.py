"""Artifacts: files that are whole or absent, fingerprints of what made them, and checkpoints of long stages."""
import csv
import functools
import hashlib
import inspect
import io
import json
import os
import pathlib
import secrets
import shutil
import time
import zipfile
import zlib

import numpy as np

CHECKPOINT_SECONDS = 60
# Of a zip (.npz) with changed bytes: also an unknown compression, or one that seems encrypted.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def fingerprint(*parts) -> str:
  """A hex digest of arrays, numbers, strings, functions, and lists, tuples or dicts of them.

  Equal content gives an equal digest. A function counts by its name, a `functools.partial` by that and by its
  arguments. Raises: TypeError for other objects.
  """
  digest = hashlib.sha256()
  for part in parts:
    _add(digest, part)
  return digest.hexdigest()


def _add(digest, part):
  if isinstance(part, np.ndarray):
    digest.update(f'{part.dtype}{part.shape}'.encode())
    digest.update(memoryview(np.ascontiguousarray(part)).cast('B') if part.size else b'')
  elif isinstance(part, dict):
    digest.update(f'dict {len(part)}\n'.encode())
    for name in sorted(part):
      _add(digest, name)
      _add(digest, part[name])
  elif isinstance(part, (list, tuple)):
    digest.update(f'list {len(part)}\n'.encode())
    for item in part:
      _add(digest, item)
  elif isinstance(part, functools.partial):
    _add(digest, [part.func, part.args, part.keywords])
  elif callable(part):
    part = inspect.unwrap(part)
    _add(digest, f'{part.__module__}:{part.__qualname__}')
  else:
    part = part.item() if isinstance(part, np.generic) else part
    digest.update(json.dumps(part).encode() + b'\n')  # The line's end: 1, 32 is not 13, 2.


def write(path, save):
  """Write a file by `save(open binary file)`, under a temporary name first, so that it is whole or absent."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
  try:
    with open(temporary, 'xb') as file:
      save(file)
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def write_text(path, text):
  """Write a text file, UTF-8."""
  write(path, lambda file: file.write(text.encode()))


def write_array(path, array):
  """Write an .npy file."""
  write(path, lambda file: np.save(file, array, allow_pickle=False))


def write_arrays(path, arrays):
  """Write a dict of arrays as .npz."""
  write(path, lambda file: np.savez(file, **arrays))


def write_rows(path, columns, rows):
  """Write a .csv with a header."""
  write_text(path, csv_text(columns, rows))


def csv_text(columns, rows):
  """The text of a .csv with a header."""
  text = io.StringIO()
  plain, quoted = (csv.writer(text, lineterminator='\n', quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
  for row in [columns, *rows]:
    # Python before 3.13 quotes no carriage return that is not its line's end, and every reader takes it for one.
    (quoted if any('\r' in str(cell) for cell in row) else plain).writerow(row)
  return text.getvalue()


def kept(path, key):
  """The dict of arrays that `keep` wrote under this key; None without one or where it is damaged (by its checksums)."""
  try:
    with open(path, 'rb') as opened, np.load(opened, allow_pickle=False) as file:
      if str(file['key']) == key:
        return {name: file[name] for name in file.files if name != 'key'}
  except DAMAGED:
    pass
  return None


def keep(path, key, arrays):
  """Write a dict of arrays as .npz under a key. Returns: the dict, its values NumPy arrays."""
  arrays = {name: np.asarray(value) for name, value in arrays.items()}
  write_arrays(path, arrays | {'key': np.array(key)})
  return arrays


class Checkpoint:
  """The state of one long stage on disk (Orbax), so that a killed run goes on where it was, to the same bits.

  A checkpoint that is damaged (by its checksum) or made under another key is dropped. Save where it is `due`:
  at most once a minute. One process alone uses it, whatever others there are.
  """

  def __init__(self, folder, key):
    self.folder, self.path, self.saved = pathlib.Path(folder), pathlib.Path(folder).absolute() / key, time.monotonic()

  def restore(self):
    """The leaves of the last state saved, in order, or None."""
    for name in reversed(self._kept()):
      try:
        with _checkpointer() as checkpointer:
          found = checkpointer.restore(self.path / name)
        checksum = int(found.pop('checksum'))
        leaves = [np.asarray(found[leaf]) for leaf in sorted(found)]
        if _checksum(leaves) == checksum:
          return leaves
      except Exception:  # A damaged one: whatever Orbax and what it is built on may raise.
        pass
    self.clear()
    return None

  def due(self):
    """Whether the last state saved is a minute old."""
    return time.monotonic() - self.saved >= CHECKPOINT_SECONDS

  def save(self, epoch, state):
    """Keep the state, a tree of arrays, after `epoch` epochs, and then drop what was there."""
    import jax
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    named = {f'leaf{i:05d}': leaf for i, leaf in enumerate(leaves)} | {'checksum': np.uint32(_checksum(leaves))}
    new = self.path / str(epoch)
    with _checkpointer() as checkpointer:
      checkpointer.save(new, named, force=True)
    for old in self.path.iterdir():
      if old != new:
        shutil.rmtree(old)
    self.saved = time.monotonic()

  def _kept(self):
    """Of each checkpoint that is whole its folder's name, the last one last; Orbax renames when it has written all."""
    return sorted((path.name for path in self.path.glob('*') if path.name.isdecimal()), key=int)

  def clear(self):
    """Drop the checkpoint: the stage is done."""
    shutil.rmtree(self.folder, ignore_errors=True)


def _checkpointer():
  import jax
  import orbax.checkpoint as ocp
  me = jax.process_index()
  options = ocp.options.MultiprocessingOptions(me, active_processes={me}, barrier_sync_key_prefix=f'host{me}')
  return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(multiprocessing_options=options), multiprocessing_options=options)


def _checksum(leaves):
  """Of arrays: Orbax has none of what it reads, and a changed byte would train on."""
  checksum = 0
  for leaf in leaves:
    checksum = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), checksum)
  return checksum
