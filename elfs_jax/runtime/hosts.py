"""Several hosts that run the same command as one: process 0 leads.

What is split over the mesh all hosts compute together. The rest the lead does alone, and what came of it, a value or an
error, goes to the others, so that all go on from the same bits. With one process nothing is sent.
"""
import builtins
import collections
import functools
import io
import json
import re

import jax
import numpy as np
from jax.experimental import multihost_utils

from elfs_jax.runtime import artifacts
from elfs_jax.runtime.mesh import gather  # noqa: F401

PIECE = 1 << 26  # Bytes sent at a time.
WAIT = 30 * 24 * 60 * 60 * 1000  # Milliseconds for the lead's longest stage; if it dies, JAX ends the others.
_apart = False   # Whether this process is at work that no other takes part in.


def join(where, say=print):
  """Become one of several hosts; before JAX's first computation, on each of them.

  JAX waits five minutes for all to come, and ends the process if they do not.
  Args: where: 'auto' on what JAX knows by itself (TPU VMs, Slurm, Open MPI, Kubernetes), or 'ADDRESS:PORT,COUNT,INDEX':
    COUNT processes, this one the INDEX-th from 0, the first of them at ADDRESS; say: how to print a line.
  Raises: ValueError for other words, where 'auto' finds no cluster or JAX can't start, and where hosts have unlike
    numbers of devices.
  """
  if where == 'auto':
    known = {}
  else:
    found = re.fullmatch(r'(.+):([0-9]+),([1-9][0-9]*),([0-9]+)', where)
    if not found or int(found[2]) >= 1 << 16:
      raise ValueError(f'--hosts={where}: give auto, or ADDRESS:PORT,COUNT,INDEX such as 10.0.0.1:1234,2,0')
    count, index = int(found[3]), int(found[4])
    if index >= count:
      raise ValueError(f'--hosts={where}: of {count} the last INDEX is {count - 1}')
    known = {'coordinator_address': f'{found[1]}:{found[2]}', 'num_processes': count, 'process_id': index}
  jax.config.update('jax_enable_preemption_service', False)  # It would keep SIGTERM from ending the process.
  say('joining the other hosts, for at most five minutes')
  try:
    jax.distributed.initialize(**known, shutdown_timeout_seconds=60)
    devices = jax.devices()
  except ValueError as error:
    if known:
      raise
    raise ValueError('--hosts=auto: JAX finds no cluster here: give --hosts=ADDRESS:PORT,COUNT,INDEX') from error
  except RuntimeError as error:
    raise ValueError(f'--hosts={where}: JAX could not start (on CPUs a host must resolve its own name): {error}'
                     ) from error
  if len(set(collections.Counter(device.process_index for device in devices).values())) > 1:
    raise ValueError('--hosts: the hosts have unlike numbers of devices: give each as many')


def lead():
  """Whether this process leads."""
  return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_lead(function):
  """What `function()` returns on the lead, which alone calls it, on every host; an error there is raised on every host.

  All hosts call this in the same order. Within `function` there is one host. What it returns goes to the others as
  numbers and text: arrays, numbers, strings, None, and lists and dicts of them; a tuple arrives as a list.
  """
  if _alone():
    return function()
  data, error = b'', None
  if lead():
    data, error = _attempt(lambda: _packed({'value': function()}))
    data = data or _packed({'error': _described(error)})
  _meet()
  sent = _unpacked(_send(data, source=0))
  if 'error' in sent:
    raise error or getattr(builtins, sent['error'][0])(*sent['error'][1])
  return sent['value']


def on_lead(function):
  """`function` as one that the lead calls alone, for work inside what all hosts compute together: see `from_lead`."""
  @functools.wraps(function)
  def call(*args, **kwargs):
    return from_lead(lambda: function(*args, **kwargs))
  return call


def on_each(function):
  """`function()` of this host; where it fails on one, every host raises, and the others name that one.

  Raises: what `function` raises; ValueError on the other hosts.
  """
  if _alone():
    return function()
  value, error = _attempt(function)
  _meet()
  failed = multihost_utils.process_allgather(np.array([error is not None])).ravel()
  if not failed.any():
    return value
  first = int(failed.argmax())
  words = _send(str(error).encode(), source=first).decode()
  raise error or ValueError(f'host {first}: {words}')


def check_same(what, *parts):
  """Raises: ValueError on every host unless `parts`, as `artifacts.fingerprint` takes them, are the same on all."""
  if _alone():
    return
  digest = bytes.fromhex(artifacts.fingerprint(*parts))
  _meet()
  digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
  unlike = (digests != digests[0]).any(1)
  if unlike.any():
    raise ValueError(f'host {unlike.argmax()} has other {what} than host 0: give every host the same')


def _alone():
  return _apart or not jax.distributed.is_initialized()  # Asked so that one host alone need not start JAX for it.


def _attempt(function):
  """(value, error) of `function()`, one of them None."""
  global _apart
  before, _apart = _apart, True
  try:
    return function(), None
  except Exception as error:
    return None, error
  finally:
    _apart = before


def _described(error):
  """[the name of an error's type, its arguments]; of a type that Python does not know by itself, a RuntimeError's."""
  if type(error).__module__ != 'builtins' or not all(isinstance(a, (str, int, float, type(None))) for a in error.args):
    return ['RuntimeError', [f'host 0: {type(error).__name__}: {error}']]
  more = [error.filename] if isinstance(error, OSError) and isinstance(error.filename, str) else []
  return [type(error).__name__, [*error.args, *more]]


def _packed(value):
  """Bytes of a value made of arrays, numbers and text: an .npz of the arrays beside a JSON text that names them."""
  arrays = {}
  def plain(part):
    if isinstance(part, dict):
      return {'dict': [[name, plain(item)] for name, item in part.items()]}
    if isinstance(part, (list, tuple)):
      return {'list': [plain(item) for item in part]}
    if part is None or isinstance(part, (bool, int, float, str)):
      return {'plain': part}
    name, array = f'a{len(arrays)}', np.asarray(part)
    if array.dtype.hasobject:
      raise TypeError(f'a {type(part).__name__} cannot go from one host to another')
    arrays[name] = array
    return {'array': name}
  text = json.dumps(plain(value))
  file = io.BytesIO()
  np.savez(file, text=np.array(text), **arrays)
  return file.getvalue()


def _unpacked(data):
  with np.load(io.BytesIO(data), allow_pickle=False) as file:
    def value(part):
      (kind, content), = part.items()
      if kind == 'dict':
        return {name: value(item) for name, item in content}
      if kind == 'list':
        return [value(item) for item in content]
      return file[content] if kind == 'array' else content
    return value(json.loads(str(file['text'])))


def _meet():
  """Wait for all hosts, however long: a collective of XLA's gives up after half an hour on the CPU."""
  from orbax.checkpoint import multihost
  multihost.get_barrier_sync_fn()(key='elfs_jax', timeout_ms=WAIT)


def _send(data, source):
  """The bytes that the host `source` has, on every host; in pieces of few sizes, since each compiles anew."""
  is_source = jax.process_index() == source
  def piece(part, size):
    padded = np.zeros(size, np.uint8)
    padded[:len(part)] = np.frombuffer(part, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded, is_source=is_source))
  total = int.from_bytes(piece(len(data).to_bytes(8, 'little') if is_source else b'', 8).tobytes(), 'little')
  size = min(PIECE, 1 << max(0, total - 1).bit_length())
  starts = range(0, total, size)
  return b''.join(piece(data[start:start + size], size).tobytes() for start in starts)[:total]
