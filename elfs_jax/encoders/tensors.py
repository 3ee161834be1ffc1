"""Weight files -> arrays, without PyTorch and without running what a file may say.

PyTorch's files hold a pickle, which is a small program: unpickling one can run anything. So none is unpickled here.
`unpickle` is an interpreter for that program which knows tensors and nothing else.
"""
import io
import os
import pathlib
import struct
import zipfile

import numpy as np

from elfs_jax.encoders.unpickle import STORAGES, Machine, View, short

ZIP = b'PK\x03\x04'
# How PyTorch's older files start: a pickle of this number, then one of the version, then one about the machine.
MAGIC, VERSION = 0x1950a86a20f9469cfc6c, 1001

WRAPPERS = ('state_dict', 'model', 'teacher')  # Under these names checkpoints keep the dictionary of tensors.


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The tensors of a weight file.

  Args:
    path: a file of safetensors, or of `torch.save` in its zip or its older format (.pth, .pt, .pth.tar, .bin): a
      dictionary of tensors, or one that holds it as `state_dict`, `model` or `teacher`.
  Returns: arrays by name, which can't be written to and may share memory; bfloat16 as float32.
  Raises: ValueError in one line that says what is wrong with the file. OSError if it can't be read.
  """
  path = pathlib.Path(path)
  if path.exists() and not path.is_file():
    raise ValueError(f'{path}: these weights cannot be read: it is no regular file')
  with path.open('rb') as file:
    start = file.read(64)
  try:
    if start[8:9] == b'{':  # First, since the length before it may look like the start of the others.
      return _read_safetensors(path)
    if start[:4] == ZIP:
      return _tensors(*_read_zip(path.read_bytes()))
    if start[:1] == b'\x80':
      return _tensors(*_read_old(path.read_bytes()))
    raise ValueError('it is neither safetensors nor a file of torch.save')
  except ValueError as error:
    raise ValueError(f'{path}: these weights cannot be read: {error}') from None


def _read_safetensors(path):
  try:
    import safetensors
  except ImportError:
    raise ValueError("this needs the package safetensors: pip install 'elfs_jax[pretrained]'") from None
  try:
    with safetensors.safe_open(path, framework='np') as file:
      kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
      narrow = [name for name, kind in kinds.items() if kind == 'BF16']
      tensors = {name: file.get_tensor(name) for name in kinds if name not in narrow}
  except safetensors.SafetensorError as error:
    raise ValueError(str(error)) from None
  except (TypeError, KeyError, AttributeError) as error:  # A type of number that NumPy lacks.
    raise ValueError(f'it holds numbers of a type that is not known here ({error})') from None
  if narrow:
    tensors |= _narrow_safetensors(path, narrow)
  for tensor in tensors.values():
    tensor.setflags(write=False)
  return tensors


def _narrow_safetensors(path, names):
  """bfloat16 tensors, which the library can't give to NumPy. It has checked the header by now."""
  import json
  data = path.read_bytes()
  start = 8 + struct.unpack('<Q', data[:8])[0]
  header = json.loads(data[8:start])
  found = {}
  for name in names:
    first, last = header[name]['data_offsets']
    found[name] = _numbers(data[start + first:start + last], 'bfloat16').reshape(header[name]['shape'])
  return found


def _read_zip(data):
  """What `torch.save` writes by default -> (the object, {key: bytes of a storage})."""
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      entries = archive.infolist()
      if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError('it is compressed, which torch.save never does')
      if sum(entry.file_size for entry in entries) > len(data):
        raise ValueError('it claims to hold more than its own size')
      pickles = [entry.filename for entry in entries if entry.filename.endswith('/data.pkl')]
      if len(pickles) != 1:
        raise ValueError('it is a zip archive, but not one of torch.save')
      folder = pickles[0][:-len('data.pkl')]
      names = {entry.filename for entry in entries}
      if folder + 'byteorder' in names and archive.read(folder + 'byteorder') != b'little':
        raise ValueError('its numbers are big-endian')
      machine = Machine(archive.read(pickles[0]))
      result = machine.run()
      numbers = {}
      for key in machine.storages:
        if f'{folder}data/{key}' not in names:
          raise ValueError(f'the numbers of storage {short(key)} are missing')
        numbers[key] = archive.read(f'{folder}data/{key}')
      return result, numbers
  except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, struct.error, KeyError, TypeError,
          IndexError, OverflowError, AttributeError) as error:  # What zipfile raises on archives that are damaged.
    raise ValueError(f'the archive is damaged ({type(error).__name__}: {short(error)})') from None


def _read_old(data):
  """What `torch.save` wrote before 1.6 -> (the object, {key: bytes of a storage}): five pickles, then the numbers."""
  first = Machine(data)
  if first.run() != MAGIC:
    raise ValueError('it is a pickle, but not one of torch.save')
  version = Machine(data, first.end)
  machine = Machine(data, version.end) if version.run() == VERSION else None
  about = machine.run() if machine else None
  if not isinstance(about, dict) or about.get('little_endian') is not True:
    raise ValueError('it was written by a version of torch.save, or on a machine, that is not known here')
  machine = Machine(data, machine.end)
  result = machine.run()
  order = Machine(data, machine.end)
  keys, position = order.run(), order.end
  if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
    raise ValueError('its list of storages is damaged')
  if missing := machine.storages.keys() - set(keys):
    raise ValueError(f'the numbers of storage {short(min(missing))} are missing')
  numbers = {}
  for key in keys:
    storage = machine.storages.get(key)
    if storage is None:
      raise ValueError(f'no tensor says what the numbers of storage {short(key)} are')
    claimed = int.from_bytes(data[position:position + 8], 'little')
    end = position + 8 + claimed * _width(storage.kind)
    if claimed != storage.count or end > len(data):
      raise ValueError(f'the numbers of storage {short(key)} end early')
    numbers[key] = memoryview(data)[position + 8:end]
    position = end
  return result, numbers


def _tensors(result, numbers):
  """{name: View}, maybe wrapped, and the bytes of each storage -> {name: array}."""
  if isinstance(result, dict):
    result = next((result[name] for name in WRAPPERS if isinstance(result.get(name), dict)), result)
  if not isinstance(result, dict):
    raise ValueError('it holds no dictionary of tensors')
  arrays, tensors = {}, {}
  for name, view in result.items():
    if not isinstance(name, str) or not name.isprintable() or not isinstance(view, View):
      raise ValueError(f'{short(name)} is no tensor')
    storage = view.storage
    if storage.key not in arrays:
      if len(numbers[storage.key]) != storage.count * _width(storage.kind):
        raise ValueError(f'storage {short(storage.key)} has not the size that is claimed for it')
      arrays[storage.key] = _numbers(numbers[storage.key], STORAGES[storage.kind])
    tensors[name] = _view(name, arrays[storage.key], view)
  return tensors


def _view(name, array, view):
  """One tensor of a storage, without a copy. A tensor can't be larger than its storage: repeating costs no bytes."""
  width = array.itemsize
  count = 1
  for side in view.shape:
    count *= side
    if count > len(array):
      raise ValueError(f'{short(name)} is larger than its storage')
  try:
    return np.ndarray(view.shape, array.dtype, array, view.offset * width, [step * width for step in view.strides])
  except (ValueError, TypeError, OverflowError):  # It reaches beyond the storage, or has too many axes.
    raise ValueError(f'{short(name)} does not lie within its storage') from None


def _numbers(data, kind):
  """Bytes -> an array that can't be written to."""
  if kind != 'bfloat16':
    return np.frombuffer(data, kind)
  array = (np.frombuffer(data, '<u2').astype(np.uint32) << 16).view(np.float32)
  array.setflags(write=False)
  return array


def _width(kind):
  return 2 if kind == 'BFloat16Storage' else np.dtype(STORAGES[kind]).itemsize
