"""Weight files -> arrays, without PyTorch and without running what a file may say.

PyTorch's files hold a pickle, which is a small program: unpickling one can run anything. So none is unpickled here.
`_Machine` is an interpreter for that program which knows the instructions that PyTorch writes for tensors in
dictionaries, and for every function that a file names has an equivalent of its own, or refuses. It calls nothing that a
file chose, keeps no more than a few objects for each byte of the file, and does not recurse.
"""
import collections
import io
import os
import pathlib
import pickletools
import struct
from typing import Any, NamedTuple
import zipfile

import numpy as np

ZIP = b'PK\x03\x04'
# How PyTorch's older files start: a pickle of this number, then one of the version, then one about the machine.
MAGIC, VERSION = 0x1950a86a20f9469cfc6c, 1001

# PyTorch's name of a storage -> the type of its numbers; bfloat16 is widened to float32, which NumPy has.
STORAGES = {'FloatStorage': '<f4', 'HalfStorage': '<f2', 'BFloat16Storage': 'bfloat16', 'DoubleStorage': '<f8',
            'LongStorage': '<i8', 'IntStorage': '<i4', 'ShortStorage': '<i2', 'CharStorage': 'i1', 'ByteStorage': 'u1',
            'BoolStorage': '?'}
WRAPPERS = ('state_dict', 'model', 'teacher')  # Under these names checkpoints keep the dictionary of tensors.
SHOWN = 60  # Characters of a name from a file that an error repeats.


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The tensors of a weight file.

  Args:
    path: a file of safetensors, or of `torch.save` in its zip or its older format (.pth, .pt, .pth.tar, .bin): a
      dictionary of tensors, or one that holds it as `state_dict`, `model` or `teacher`.
  Returns: arrays by name, which can't be written to and may share memory; bfloat16 as float32.
  Raises: ValueError in one line that says what is wrong with the file. OSError if it can't be read.
  """
  path = pathlib.Path(path)
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


class _Storage(NamedTuple):
  """A run of numbers in the file, that tensors are views of."""
  key: str
  kind: str  # A key of STORAGES.
  count: int


class _View(NamedTuple):
  """A tensor, before the numbers are there: its storage and, in numbers, where and how it lies in there."""
  storage: _Storage
  offset: int
  shape: tuple
  strides: tuple


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
      machine = _Machine(archive.read(pickles[0]))
      result = machine.run()
      numbers = {}
      for key in machine.storages:
        if f'{folder}data/{key}' not in names:
          raise ValueError(f'the numbers of storage {_short(key)} are missing')
        numbers[key] = archive.read(f'{folder}data/{key}')
      return result, numbers
  except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, struct.error, KeyError, TypeError,
          IndexError, OverflowError, AttributeError) as error:  # What zipfile raises on archives that are damaged.
    raise ValueError(f'the archive is damaged ({type(error).__name__}: {_short(error)})') from None


def _read_old(data):
  """What `torch.save` wrote before 1.6 -> (the object, {key: bytes of a storage}): five pickles, then the numbers."""
  first = _Machine(data)
  if first.run() != MAGIC:
    raise ValueError('it is a pickle, but not one of torch.save')
  version = _Machine(data, first.end)
  machine = _Machine(data, version.end) if version.run() == VERSION else None
  about = machine.run() if machine else None
  if not isinstance(about, dict) or about.get('little_endian') is not True:
    raise ValueError('it was written by a version of torch.save, or on a machine, that is not known here')
  machine = _Machine(data, machine.end)
  result = machine.run()
  order = _Machine(data, machine.end)
  keys, position = order.run(), order.end
  if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
    raise ValueError('its list of storages is damaged')
  if missing := machine.storages.keys() - set(keys):
    raise ValueError(f'the numbers of storage {_short(min(missing))} are missing')
  numbers = {}
  for key in keys:
    storage = machine.storages.get(key)
    if storage is None:
      raise ValueError(f'no tensor says what the numbers of storage {_short(key)} are')
    claimed = int.from_bytes(data[position:position + 8], 'little')
    end = position + 8 + claimed * _width(storage.kind)
    if claimed != storage.count or end > len(data):
      raise ValueError(f'the numbers of storage {_short(key)} end early')
    numbers[key] = memoryview(data)[position + 8:end]
    position = end
  return result, numbers


def _tensors(result, numbers):
  """{name: _View}, maybe wrapped, and the bytes of each storage -> {name: array}."""
  if isinstance(result, dict):
    result = next((result[name] for name in WRAPPERS if isinstance(result.get(name), dict)), result)
  if not isinstance(result, dict):
    raise ValueError('it holds no dictionary of tensors')
  arrays, tensors = {}, {}
  for name, view in result.items():
    if not isinstance(name, str) or not name.isprintable() or not isinstance(view, _View):
      raise ValueError(f'{_short(name)} is no tensor')
    storage = view.storage
    if storage.key not in arrays:
      if len(numbers[storage.key]) != storage.count * _width(storage.kind):
        raise ValueError(f'storage {_short(storage.key)} has not the size that is claimed for it')
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
      raise ValueError(f'{_short(name)} is larger than its storage')
  try:
    return np.ndarray(view.shape, array.dtype, array, view.offset * width, [step * width for step in view.strides])
  except (ValueError, TypeError, OverflowError):  # It reaches beyond the storage, or has too many axes.
    raise ValueError(f'{_short(name)} does not lie within its storage') from None


def _numbers(data, kind):
  """Bytes -> an array that can't be written to."""
  if kind != 'bfloat16':
    return np.frombuffer(data, kind)
  array = (np.frombuffer(data, '<u2').astype(np.uint32) << 16).view(np.float32)
  array.setflags(write=False)
  return array


def _width(kind):
  return 2 if kind == 'BFloat16Storage' else np.dtype(STORAGES[kind]).itemsize


def _short(value):
  """A name from a file, fit for a line of an error."""
  if not isinstance(value, (str, int, Exception)):
    return f'a {type(value).__name__}'
  return repr(str(value)[:SHOWN])


_MARK = object()


class _Global(NamedTuple):
  """What a file names as 'module name' and may be called or referred to; a name, never the thing itself."""
  name: str


_ALLOWED = {f'torch {name}': _Global(name) for name in STORAGES} | {
    name: _Global(name) for name in ('collections OrderedDict', 'torch._utils _rebuild_tensor_v2',
                                     'torch._utils _rebuild_parameter')}


class _Machine:
  """Runs one pickle of plain values and tensors.

  Attributes:
    end: where in the data the pickle ended.
    storages: {key: _Storage} of the storages that it named.
  """

  def __init__(self, data: bytes, start: int = 0):
    self.file = io.BytesIO(data)
    self.file.seek(start)
    self.stack, self.memo, self.storages = [], {}, {}

  def run(self) -> Any:
    """The object that the pickle describes. Raises: ValueError if it is damaged or asks for anything else."""
    try:
      for opcode, argument, _ in pickletools.genops(self.file):
        if opcode.name == 'STOP':
          break
        step = _STEPS.get(opcode.name)
        if step is None:
          raise ValueError(f'it asks for what a file of tensors has no need of (the pickle instruction {opcode.name})')
        step(self, argument)
      self.end = self.file.tell()
      return self.pop()
    except (IndexError, KeyError, struct.error, OverflowError):
      raise ValueError('its pickle is damaged') from None

  def pop(self):
    value = self.stack.pop()
    if value is _MARK:
      raise ValueError('its pickle is damaged')
    return value

  def pop_mark(self):
    """What was pushed since the last mark."""
    values = collections.deque()
    while (value := self.stack.pop()) is not _MARK:
      values.appendleft(value)
    return list(values)

  def push(self, value):
    self.stack.append(value)

  def tuple_of(self, count):
    values = [self.pop() for _ in range(count)]
    self.push(tuple(reversed(values)))

  def set_items(self, values):
    target = self.stack[-1]
    # Only plain keys: a tuple of tuples of tuples would be hashed by recursion.
    if not isinstance(target, dict) or len(values) % 2 or not all(type(key) in (str, int) for key in values[::2]):
      raise ValueError('its pickle is damaged')
    target.update(zip(values[::2], values[1::2]))

  def append(self, values):
    if not isinstance(self.stack[-1], list):
      raise ValueError('its pickle is damaged')
    self.stack[-1].extend(values)

  def find(self, name):
    if name not in _ALLOWED:
      raise ValueError(f'it names {_short(name.replace(" ", "."))}, which is no part of a tensor; nothing was run. Such a '
                       'file may be an attack, or hold more than weights: get the weights alone')
    self.push(_ALLOWED[name])

  def find_on_stack(self):
    name, module = self.pop(), self.pop()
    if not isinstance(name, str) or not isinstance(module, str):
      raise ValueError('its pickle is damaged')
    self.find(f'{module} {name}')

  def call(self):
    """REDUCE: the equivalents of the functions that may be named."""
    arguments, function = self.pop(), self.pop()
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
      raise ValueError('its pickle is damaged')
    if function.name == 'collections OrderedDict' and not arguments:
      self.push({})
    elif function.name == 'torch._utils _rebuild_parameter' and arguments and isinstance(arguments[0], _View):
      self.push(arguments[0])
    elif function.name == 'torch._utils _rebuild_tensor_v2' and len(arguments) >= 4:
      self.push(_checked(*arguments[:4]))
    else:
      raise ValueError(f'it calls {_short(function.name)} with other arguments than torch.save does')

  def build(self):
    """BUILD gives an object its attributes; a dictionary of weights has one, `_metadata`, which nothing here needs."""
    self.pop()
    if not isinstance(self.stack[-1], dict):
      raise ValueError('it sets attributes of what has none')

  def storage(self):
    """BINPERSID: ('storage', type, key, device, number of elements[, None])."""
    match self.pop():
      case ('storage', _Global(kind), str(key), str(), int(count), *rest) if rest in ([], [None]):
        if kind in STORAGES and type(count) is int and count >= 0:
          storage = _Storage(key, kind, count)
          if self.storages.setdefault(key, storage) == storage:
            return self.push(storage)
    raise ValueError('it names a storage that is not known here')


def _checked(storage, offset, shape, strides):
  whole = lambda values: isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)
  if not isinstance(storage, _Storage) or not whole((offset,)) or not whole(shape) or not whole(strides) or (
      len(shape) != len(strides)):
    raise ValueError('it holds a tensor without a proper shape')
  return _View(storage, offset, shape, strides)


def _steps():
  """{instruction: function(machine, argument)}."""
  push = lambda machine, argument: machine.push(argument)
  def put(machine, argument):
    machine.memo[argument] = machine.stack[-1]
  def memoize(machine, _):
    machine.memo[len(machine.memo)] = machine.stack[-1]
  def nothing(machine, argument):
    pass
  steps = dict.fromkeys(('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE',
                         'BINSTRING', 'SHORT_BINSTRING'), push)
  steps |= dict.fromkeys(('PROTO', 'FRAME'), nothing)
  steps |= dict.fromkeys(('BINPUT', 'LONG_BINPUT'), put)
  steps |= dict.fromkeys(('BINGET', 'LONG_BINGET'), lambda machine, argument: machine.push(machine.memo[argument]))
  constant = lambda make: lambda machine, _: machine.push(make())
  steps |= {'NONE': constant(lambda: None), 'NEWTRUE': constant(lambda: True), 'NEWFALSE': constant(lambda: False),
            'MARK': constant(lambda: _MARK), 'EMPTY_TUPLE': constant(tuple), 'EMPTY_LIST': constant(list),
            'EMPTY_DICT': constant(dict)}
  by_argument = lambda method: lambda machine, argument: method(machine, argument)
  alone = lambda method: lambda machine, _: method(machine)
  steps |= {f'TUPLE{count}': lambda machine, _, count=count: machine.tuple_of(count) for count in (1, 2, 3)}
  steps |= {'MEMOIZE': memoize, 'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_mark())),
            'SETITEMS': lambda machine, _: machine.set_items(machine.pop_mark()),
            'SETITEM': lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
            'APPENDS': lambda machine, _: machine.append(machine.pop_mark()),
            'APPEND': lambda machine, _: machine.append([machine.pop()]),
            'GLOBAL': by_argument(_Machine.find), 'STACK_GLOBAL': alone(_Machine.find_on_stack),
            'REDUCE': alone(_Machine.call), 'BUILD': alone(_Machine.build), 'BINPERSID': alone(_Machine.storage)}
  return steps


_STEPS = _steps()

