"""An interpreter for the pickles that PyTorch writes for tensors. It calls nothing that a file chose.

It knows the instructions for dictionaries of tensors, and for every function that a file names has an equivalent of its
own, or refuses. It keeps no more than a few objects for each byte of the file, and does not recurse.
"""
import collections
import io
import pickletools
import struct
from typing import Any, NamedTuple

# PyTorch's name of a storage -> the type of its numbers; bfloat16 is widened to float32, which NumPy has.
STORAGES = {'FloatStorage': '<f4', 'HalfStorage': '<f2', 'BFloat16Storage': 'bfloat16', 'DoubleStorage': '<f8',
            'LongStorage': '<i8', 'IntStorage': '<i4', 'ShortStorage': '<i2', 'CharStorage': 'i1', 'ByteStorage': 'u1',
            'BoolStorage': '?'}
SHOWN = 60  # Characters of a name from a file that an error repeats.


class Storage(NamedTuple):
  """A run of numbers in the file, that tensors are views of."""
  key: str
  kind: str  # A key of STORAGES.
  count: int


class View(NamedTuple):
  """A tensor, before the numbers are there: its storage and, in numbers, where and how it lies in there."""
  storage: Storage
  offset: int
  shape: tuple
  strides: tuple


def short(value):
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


class Machine:
  """Runs one pickle of plain values and tensors.

  Attributes:
    end: where in the data the pickle ended.
    storages: {key: Storage} of the storages that it named.
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
      raise ValueError(f'it names {short(name.replace(" ", "."))}, which is no part of a tensor; nothing was run. Such '
                       'a file may be an attack, or hold more than weights: get the weights alone')
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
    elif function.name == 'torch._utils _rebuild_parameter' and arguments and isinstance(arguments[0], View):
      self.push(arguments[0])
    elif function.name == 'torch._utils _rebuild_tensor_v2' and len(arguments) >= 4:
      self.push(_checked(*arguments[:4]))
    else:
      raise ValueError(f'it calls {short(function.name)} with other arguments than torch.save does')

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
          storage = Storage(key, kind, count)
          if self.storages.setdefault(key, storage) == storage:
            return self.push(storage)
    raise ValueError('it names a storage that is not known here')


def _checked(storage, offset, shape, strides):
  whole = lambda values: isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)
  if not isinstance(storage, Storage) or not whole((offset,)) or not whole(shape) or not whole(strides) or (
      len(shape) != len(strides)):
    raise ValueError('it holds a tensor without a proper shape')
  return View(storage, offset, shape, strides)


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
            'GLOBAL': by_argument(Machine.find), 'STACK_GLOBAL': alone(Machine.find_on_stack),
            'REDUCE': alone(Machine.call), 'BUILD': alone(Machine.build), 'BINPERSID': alone(Machine.storage)}
  return steps


_STEPS = _steps()

