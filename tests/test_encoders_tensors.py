"""The reader of weight files: what PyTorch writes comes back; what an attacker writes is refused and nothing runs."""
import builtins
import collections
import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elfs_jax.encoders import tensors

NUMBERS = {'a.weight': np.arange(6, dtype=np.float32).reshape(2, 3), 'b.bias': np.arange(4, dtype=np.float32)}


class Raw(bytes):
  """Instructions of a pickle, as they are."""


def encode(value):
  """A plain value as instructions of a pickle."""
  match value:
    case Raw():
      return bytes(value)
    case str():
      return b'X' + struct.pack('<I', len(value.encode())) + value.encode()
    case bool():
      return b'\x88' if value else b'\x89'
    case int():
      size = (value.bit_length() + 8) // 8
      return b'\x8a' + bytes([size]) + value.to_bytes(size, 'little', signed=True)
    case None:
      return b'N'
    case tuple():
      return b'(' + b''.join(map(encode, value)) + b't'
    case list():
      return b'](' + b''.join(map(encode, value)) + b'e'
    case dict():
      return b'}(' + b''.join(encode(part) for item in value.items() for part in item) + b'u'


def named(name):
  module, _, function = name.rpartition('.')
  return Raw(f'c{module}\n{function}\n'.encode())


def program(value):
  return b'\x80\x02' + encode(value) + b'.'


def storage(key, count, kind='FloatStorage', end=()):
  return Raw(encode(('storage', named(f'torch.{kind}'), key, 'cpu', count, *end)) + b'Q')


def tensor(shape, strides, store, offset=0):
  return Raw(named('torch._utils._rebuild_tensor_v2') + encode(
      (store, offset, shape, strides, False, Raw(named('collections.OrderedDict') + b')R'))) + b'R')


def contiguous(key, array, end=()):
  strides = tuple(step // array.itemsize for step in array.strides)
  return tensor(array.shape, strides, storage(key, array.size, end=end))


def zipped(value, numbers, compression=zipfile.ZIP_STORED, folder='archive'):
  """A file as torch.save writes it today; `value` is the pickle's, or the pickle."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as archive:
    archive.writestr(f'{folder}/data.pkl', value if isinstance(value, bytes) else program(value))
    for key, array in numbers.items():
      archive.writestr(f'{folder}/data/{key}', np.asarray(array).tobytes())
  return file.getvalue()


def old(value, numbers):
  """A file as torch.save wrote it before 1.6."""
  about = {'protocol_version': tensors.VERSION, 'little_endian': True, 'type_sizes': {'int': 4}}
  data = program(tensors.MAGIC) + program(tensors.VERSION) + program(about)
  data += (value if isinstance(value, bytes) else program(value)) + program(list(numbers))
  return data + b''.join(struct.pack('<q', np.size(array)) + np.asarray(array).tobytes() for array in numbers.values())


def valid(form):
  stores = dict(zip('01', NUMBERS.values()))
  end = (None,) if form is old else ()
  return form({name: contiguous(key, stores[key], end) for key, name in zip(stores, NUMBERS)}, stores)


def safetensors_file():
  return pytest.importorskip('safetensors.numpy').save(NUMBERS)


def read(data, folder):
  path = folder / 'weights.pth'
  path.write_bytes(data)
  return tensors.read(path)


def refused(data, folder, match=None):
  with pytest.raises(ValueError, match=match) as error:
    read(data, folder)
  assert '\n' not in str(error.value) and str(folder) in str(error.value)


def same(found, expected):
  assert list(found) == list(expected)
  for name in expected:
    assert found[name].dtype == expected[name].dtype
    np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize('form', [zipped, old])
def test_reads_what_is_laid_out_as_torch_does(form, tmp_path):
  found = read(valid(form), tmp_path)
  same(found, NUMBERS)
  with pytest.raises(ValueError):
    found['a.weight'][0] = 1


def test_safetensors(tmp_path):
  same(dict(sorted(read(safetensors_file(), tmp_path).items())), NUMBERS)


def test_bfloat16_in_safetensors(tmp_path):
  torch = pytest.importorskip('torch')
  pytest.importorskip('safetensors')
  from safetensors.torch import save
  values = torch.linspace(-3, 3, 12).reshape(3, 4)
  found = read(save({'x': values.bfloat16(), 'y': values}), tmp_path)
  np.testing.assert_array_equal(found['x'], values.bfloat16().float().numpy())
  np.testing.assert_array_equal(found['y'], values.numpy())


@pytest.mark.parametrize('new', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
def test_reads_what_torch_saves(new, protocol, tmp_path):
  torch = pytest.importorskip('torch')
  kinds = ('float32', 'float16', 'bfloat16', 'float64', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool')
  state = collections.OrderedDict((kind, torch.arange(6).reshape(2, 3).to(getattr(torch, kind))) for kind in kinds)
  whole = torch.arange(24.).reshape(4, 6)
  state |= {'turned': whole.T, 'part': whole[1:3, 2:4], 'shares': whole, 'scalar': torch.tensor(7),
            'empty': torch.ones(0, 3), 'parameter': torch.nn.Parameter(torch.ones(2)),
            'channels_last': torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)}
  state._metadata = {'': {'version': 1}}
  for wrap in (lambda s: s, lambda s: {'epoch': 3, 'state_dict': s}):
    torch.save(wrap(state), tmp_path / 'x.pth', _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    found = tensors.read(tmp_path / 'x.pth')
    assert list(found) == list(state)
    for name, expected in state.items():
      expected = expected.detach()
      np.testing.assert_array_equal(found[name], (expected.float() if name == 'bfloat16' else expected).numpy())


class Boom:
  """Runs a command when it is unpickled."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize('form', [zipped, old, None])
@pytest.mark.parametrize('nested', [False, True])
def test_attacks_are_refused_and_nothing_runs(protocol, form, nested, tmp_path):
  proof = tmp_path / 'proof'
  for attack in (Boom(os.system, f'touch {proof}'), Boom(builtins.eval, f'open({str(proof)!r}, "w")'),
                 Boom(getattr, os, 'system'), Boom(os.mkdir, str(proof))):
    value = {'a.weight': [1, (attack, 2)]} if nested else attack
    try:
      data = pickle.dumps(value, protocol)
    except TypeError:  # A module can't be pickled.
      continue
    refused(form(data, {}) if form else data, tmp_path)
    assert not proof.exists()


@pytest.mark.parametrize('name', [
    'os.system', 'builtins.eval', 'posix.system', 'torch.load', 'numpy.load', 'torch.hub.load', 'collections.deque',
    'torch._utils._rebuild_tensor_v3', 'codecs.encode', 'copyreg._reconstructor'])
def test_the_name_that_is_refused_is_said(name, tmp_path):
  call = Raw(named(name) + encode(('x',)) + b'R')
  refused(zipped({'a': call}, {}), tmp_path, name)
  refused(old({'a': call}, {}), tmp_path, name)
  module, _, function = name.rpartition('.')
  on_stack = Raw(encode(module) + encode(function) + b'\x93' + encode(('x',)) + b'R')
  refused(zipped({'a': on_stack}, {}), tmp_path, name)


@pytest.mark.parametrize('instructions', [
    b'(S"x"\nios\nsystem\n',  # INST
    b'(cos\nsystem\nS"x"\no',  # OBJ
    b'cos\nsystem\n)\x81',  # NEWOBJ
    b'Pname\n',  # PERSID
    b'\x82\x01',  # EXT1
    b'\x95' + struct.pack('<Q', 2**62),  # FRAME
    b'\x8e' + struct.pack('<Q', 2**62),  # BINBYTES8
    b'\x8d' + struct.pack('<Q', 2**62),  # BINUNICODE8
    b'X' + struct.pack('<I', 2**32 - 1),  # BINUNICODE
    b'Nr' + struct.pack('<I', 2**32 - 1),  # LONG_BINPUT
    b'\x8b' + struct.pack('<i', 2**31 - 1),  # LONG4
    b'j\xff\xff\xff\xff',  # LONG_BINGET of nothing
    b'0', b'1', b'2', b'a', b's', b'u', b't', b'R', b'b', b'Q', b'.',  # on an empty stack
    b'(' * 20_000, b']' + b'q\x00h\x00a' * 10, b'}q\x00X\x01\x00\x00\x00ah\x00s', b')' + b'\x85' * 20_000,
    b'](' + b')' + b'\x85' * 20_000 + b'e', b'}' + b')' + b'\x85' * 20_000 + b'Ns', b'\x8a\xff' + b'\x7f' * 255,
    encode('x') + b'Q', encode(('storage', 1, 2)) + b'Q',
    encode(('module', named('torch.FloatStorage'), '0', 'cpu', 1)) + b'Q',
    named('torch.FloatStorage') + b')R', named('torch._utils._rebuild_tensor_v2') + encode((1, 2, 3, 4)) + b'R',
    named('collections.OrderedDict') + encode(([('a', 1)],)) + b'R', b')N}b',
])
def test_other_instructions(instructions, tmp_path):
  tracemalloc.start()
  for data in (b'\x80\x02' + instructions + b'.', b'\x80\x02' + instructions):
    for form in (zipped, old):
      refused(form(data, {}), tmp_path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 100e6


def test_sizes_that_lie(tmp_path):
  ok = np.arange(6, dtype=np.float32)
  cases = [
      ((6,), (1,), storage('0', 7), 0),  # more than there is
      ((6,), (1,), storage('0', 5), 0),  # less
      ((6,), (1,), storage('0', 2**62), 0), ((6,), (1,), storage('0', -6), 0), ((6,), (1,), storage('0', True), 0),
      ((7,), (1,), storage('0', 6), 0), ((6,), (2,), storage('0', 6), 0), ((6,), (1,), storage('0', 6), 1),
      ((6,), (1,), storage('0', 6), -1), ((6,), (-1,), storage('0', 6), 5),
      ((2**40, 2**40), (0, 0), storage('0', 6), 0),
      ((6, 6), (0, 1), storage('0', 6), 0), ((2**70,), (1,), storage('0', 6), 0), ((6,), (2**70,), storage('0', 6), 0),
      ((0, 2**62, 2**62), (1, 1, 1), storage('0', 6), 0), ((1,) * 100, (1,) * 100, storage('0', 6), 0),
      ((6,), (), storage('0', 6), 0), ((True,), (1,), storage('0', 6), 0),
      ((6,), (1,), storage('1', 6), 0),  # not there
      ((3,), (1,), storage('0', 3, 'DoubleStorage'), 1), ((6,), (1,), storage('0', 6, 'UnheardStorage'), 0),
  ]
  tracemalloc.start()
  for shape, strides, store, offset in cases:
    for form in (zipped, old):
      refused(form({'a': tensor(shape, strides, store, offset)}, {'0': ok}), tmp_path)
  assert tracemalloc.get_traced_memory()[1] < 10e6
  tracemalloc.stop()
  twice = {'a': tensor((6,), (1,), storage('0', 6)), 'b': tensor((3,), (1,), storage('0', 3))}
  for form in (zipped, old):
    refused(form(twice, {'0': ok}), tmp_path)


@pytest.mark.parametrize('form', [zipped, old])
def test_what_is_no_dictionary_of_tensors(form, tmp_path):
  for value in (1, None, [], 'x', (), {'a': 1}, {1: contiguous('0', np.ones(2, np.float32))},
                {'a\nb': contiguous('0', np.ones(2, np.float32))}, {'state_dict': {'a': {}}}):
    refused(form(value, {'0': np.ones(2, np.float32)} if isinstance(value, dict) else {}), tmp_path)


def test_zip_bombs(tmp_path):
  big = np.zeros(10_000_000, np.float32)
  bomb = zipped({'a': contiguous('0', big)}, {'0': big}, zipfile.ZIP_DEFLATED)
  assert len(bomb) < 100_000
  tracemalloc.start()
  refused(bomb, tmp_path, 'compressed')
  # Two entries of the directory that point at one run of bytes, and one that claims more than there is.
  numbers = np.zeros(1000, np.float32)
  data = zipped({'a': contiguous('0', numbers), 'b': contiguous('1', numbers)}, {'0': numbers, '1': numbers})
  entries = [i for i in range(len(data)) if data[i:i + 4] == b'PK\x01\x02']
  shared = bytearray(data)
  shared[entries[2] + 42:entries[2] + 46] = shared[entries[1] + 42:entries[1] + 46]
  refused(bytes(shared), tmp_path)
  claims = bytearray(data)
  claims[entries[1] + 20:entries[1] + 28] = struct.pack('<II', 2**31, 2**31)
  refused(bytes(claims), tmp_path)
  assert tracemalloc.get_traced_memory()[1] < 10e6
  tracemalloc.stop()
  refused(zipped(b'', {}, folder='x').replace(b'data.pkl', b'data.pkX'), tmp_path, 'not one of torch.save')


@pytest.mark.parametrize('make', [lambda: valid(zipped), lambda: valid(old), safetensors_file])
def test_truncated_at_every_byte(make, tmp_path):
  data = make()
  for end in range(len(data)):
    refused(data[:end], tmp_path)


def test_other_files(tmp_path):
  for data in (b'', b'hello', b'\x1f\x8b' + bytes(100), bytes(100), b'{"a": 1}'):
    refused(data, tmp_path)
  with pytest.raises(OSError):
    tensors.read(tmp_path / 'nothing')


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(form=st.sampled_from([zipped, old, None]), data=st.data())
def test_damaged_files_give_a_line_or_tensors(form, data, tmp_path):
  """Bytes changed, cut out, put in or copied within a valid file."""
  file = bytearray(valid(form) if form else safetensors_file())
  for _ in range(data.draw(st.integers(1, 4))):
    place = data.draw(st.integers(0, len(file)))
    other = data.draw(st.integers(0, len(file)))
    match data.draw(st.sampled_from(['change', 'cut', 'insert', 'copy'])):
      case 'change':
        file[place:place + 1] = data.draw(st.binary(min_size=1, max_size=1))
      case 'cut':
        del file[place:place + data.draw(st.integers(1, 8))]
      case 'insert':
        file[place:place] = data.draw(st.binary(min_size=1, max_size=8))
      case 'copy':
        file[place:place] = file[other:other + data.draw(st.integers(1, 64))]
  tracemalloc.start()
  try:
    found = read(bytes(file), tmp_path)
    assert sum(array.nbytes for array in found.values()) <= 100 * len(file)
  except ValueError as error:
    assert '\n' not in str(error)
  finally:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert peak < 20e6
