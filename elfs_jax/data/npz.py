"""NumPy's files (.npy, .npz) of plain numbers and strings, read with errors that say what to do.

What a header claims is compared with what the file holds and with the memory that there is before an array is made.
"""
import math
import pathlib
import warnings
import zipfile
import zlib

import numpy as np

from elfs_jax.data import decode, opening, room

# How what other libraries write becomes an .npy, by the endings of its files.
MENDS = {
    ('.pt', '.pth', '.ckpt', '.safetensors'): 'tensor{float}.cpu().numpy()',
    ('.pkl', '.pickle', '.joblib'): 'np.asarray(loaded)',
    ('.parquet', '.feather', '.arrow', '.csv'): "np.stack(table['COLUMN'])",
    ('.h5', '.hdf5'): "file['NAME'][:]",
    ('.mat',): "scipy.io.loadmat(file)['NAME']",
}
# What reading a damaged .npz may raise; of changed bytes also an unknown compression, or one that seems encrypted.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
PLAIN = 'biufcSU'
CHUNK = 1 << 20


def read(path, needed: str, optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
  """{name: array} of `needed` and what there is of `optional` from an .npz, or {needed: array} from an .npy.

  Floats of an .npy stay in the file, as a read-only np.memmap.

  Raises: FileNotFoundError or ValueError, in one line that names the file and the mend.
  """
  file = pathlib.Path(path).expanduser()
  if not file.exists():
    raise FileNotFoundError(f'{path}: no such file; give an .npy or .npz file of {needed}')
  if file.is_dir():
    raise ValueError(f"{path}: a folder, not an .npy or .npz file of {needed}; data.name='folder' reads folders")
  mend = next((mend for endings, mend in MENDS.items() if file.suffix.lower() in endings), None)
  if mend:
    mend = mend.format(float='' if needed == 'images' else '.float()')  # NumPy has no bfloat16.
    raise ValueError(f"{path}: not an .npy or .npz file; in Python save it as one: np.save('{needed}.npy', {mend})")
  try:
    opening.refuse_irregular(file)
    with open(file, 'rb') as opened, warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Of headers that old Pythons wrote.
      if opened.read(4) != b'PK\x03\x04':
        opened.seek(0)
        return {needed: _array(opened, file.stat().st_size, mapped=True)}
      with zipfile.ZipFile(opened) as archive:
        members = {entry.filename.removesuffix('.npy'): entry for entry in archive.infolist()}
        if needed in members:
          return {name: _member(archive, members[name]) for name in (needed, *optional) if name in members}
        names = ', '.join(sorted(members)) or 'nothing'
  except room.NoRoom as error:
    raise ValueError(f'{path}: {error}') from None
  except Exception as error:  # NumPy and zipfile raise nearly anything on damaged bytes.
    raise ValueError(f'{path}: not a sound .npy or .npz file of plain numbers ({decode.one_line(error)}); '
                     'save it again with np.save or np.savez') from None
  names = decode.one_line(names)
  raise ValueError(f'{path}: holds {names} and no array named {needed!r}; save it with np.savez(file, {needed}=...)')


def _member(archive, entry):
  with archive.open(entry) as opened:
    return _array(opened, entry.file_size)


def _array(opened, size, mapped=False):
  """The array of an .npy file that has `size` bytes; `mapped`: floats stay in the file, as a read-only np.memmap."""
  version = np.lib.format.read_magic(opened)
  if version not in HEADERS:
    raise ValueError('Python objects or structures')
  shape, by_column, dtype = HEADERS[version](opened)
  if dtype.str == '|V2':
    raise ValueError('numbers that NumPy has no type for, such as bfloat16: make them float32')
  if dtype.kind not in PLAIN or dtype.subdtype is not None:
    raise ValueError(f'Python objects or structures: {dtype}')
  count = math.prod(shape)
  bytes_ = count * max(1, dtype.itemsize)  # NumPy makes room for a letter where a string has none.
  if min(shape, default=0) < 0 or bytes_ > size:
    raise ValueError(f'it is cut short, or claims {shape} of {dtype} wrongly')
  if mapped and dtype.kind == 'f' and count and not by_column:
    return np.memmap(opened, dtype, 'r', opened.tell(), shape)
  room.need_memory(bytes_, 'this array', 'bring fewer rows, or a machine with more memory')
  array = np.empty(count, dtype)
  _fill(opened, array)
  if dtype.kind == 'U' and array.size:
    _check_text(array)
  return array.reshape(shape, order='F' if by_column else 'C')


def _fill(opened, array):
  """Read the bytes of an array [n]."""
  if not array.nbytes:
    return
  left = memoryview(array.view(np.uint8))
  while left:
    part = opened.read(min(len(left), CHUNK))
    if not part:
      raise ValueError('it is cut short')
    left[:len(part)] = part
    left = left[len(part):]


def _check_text(array):
  points = array.view(array.dtype.byteorder.replace('|', '=') + 'u4')
  if (points > 0x10ffff).any() or ((points >= 0xd800) & (points < 0xe000)).any():
    raise ValueError('it holds what is no text')
