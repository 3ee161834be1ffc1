"""Devices: one mesh axis, `data`, and sums whose bits do not depend on the layout.

A fixed number of *logical shards* S share the work. A device owns a run of them and treats each alone, with shapes
that do not depend on the number of devices; sums over shards are one binary tree of adjacent pairs, first over the
shards of a device, then over the devices. So 1, 2, 4 and 8 devices compute the same bits (docs/design.md).
"""
import collections
import functools
import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = 'data'
CPU_OPTIONS = {'xla_cpu_experimental_ynn_fusion_type': ''}
GPU_OPTIONS = {'xla_gpu_deterministic_ops': True}


def data_mesh(shards, devices=None):
  """A one-axis mesh over as many devices as share `shards` logical shards evenly.

  Args:
    shards: the number of logical shards S, a power of two.
    devices: devices to choose from; default all, of all hosts.
  Returns: `jax.sharding.Mesh` with the axis `data`, its size a power of two that divides S, as many devices of each
    host. With fewer shards than hosts each host has a mesh of its own devices, and does the same work as the others.
  Raises: ValueError if `shards` is no power of two, or the number of hosts is none.
  """
  check_shards(shards)
  by_host = collections.defaultdict(list)
  for device in jax.devices() if devices is None else devices:
    by_host[device.process_index].append(device)
  if shards < len(by_host):
    by_host = {0: by_host[jax.process_index()]}
  hosts = len(by_host)
  if hosts & (hosts - 1):
    raise ValueError(f'{hosts} hosts cannot share {shards} logical shards evenly: start a power of two of them')
  each = min(shards // hosts, 1 << (min(map(len, by_host.values())).bit_length() - 1))
  chosen = [device for host in sorted(by_host) for device in by_host[host][:each]]
  return Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))


def check_shards(shards):
  """Raises: ValueError if `shards`, the number of logical shards, is no power of two."""
  if shards < 1 or shards & (shards - 1):
    raise ValueError(f'mesh.shards={shards} must be a power of two, such as 16')


def shard(mesh, array):
  """Place a host array [S, ...] (the same on every host) on the mesh, its first axis split over the devices."""
  array = np.asarray(array)
  return jax.make_array_from_callback(array.shape, NamedSharding(mesh, P(AXIS)), lambda index: array[index])


def shard_rows(mesh, array, rows):
  """`shard(mesh, array[rows])` for rows int [S, M] of an array [N, ...], without a copy of it all on the host."""
  array = np.asarray(array)
  return jax.make_array_from_callback((*rows.shape, *array.shape[1:]), NamedSharding(mesh, P(AXIS)),
                                      lambda index: array[rows[index[0]]])


def replicate(mesh, tree):
  """Place a tree of host arrays on every device of the mesh."""
  sharding = NamedSharding(mesh, P())
  def place(leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
    leaf = np.asarray(leaf)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])
  return jax.tree.map(place, tree)


def gather(array) -> np.ndarray:
  """An array on the mesh, its parts on other hosts too, as a NumPy array on every host."""
  if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
    return np.asarray(array)
  return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def tree_sum(trees):
  """Sum a list of 2^k pytrees as a binary tree of adjacent pairs."""
  while len(trees) > 1:
    trees = [jax.tree.map(jnp.add, a, b) for a, b in zip(trees[::2], trees[1::2])]
  return trees[0]


def all_tree_sum(trees, alive):
  """`tree_sum` of this device's shards, then of all devices by recursive doubling; the same bits on every device.

  Call inside `shard_map` or `pmap` over the axis `data`; `alive` as in `fence`. Partner i XOR k at each level: addition
  commutes, so both partners get the same bits, and the tree over all shards does not depend on how many devices
  hold them.
  """
  total, size = fence(tree_sum, trees, alive=alive), jax.lax.axis_size(AXIS)
  step = 1
  while step < size:
    pairs = [(i, i ^ step) for i in range(size)]
    total = jax.tree.map(lambda a: a + jax.lax.ppermute(a, AXIS, pairs), total)
    step *= 2
  return total


def fence(function, *operands, alive):
  """`function(*operands)`, compiled apart from what surrounds it.

  Where the layout lets it, the compiler fuses an addition with the multiplication before it into one that rounds
  once, and on the CPU `lax.optimization_barrier` is gone by then. It does not look across a branch, so this is one,
  on a traced boolean `alive` that is always true and that the compiler can't know to be.
  """
  out = jax.eval_shape(function, *operands)
  dead = lambda *_: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), out)
  return jax.lax.cond(alive, function, dead, *operands)


def jit(function, **options):
  """`jax.jit` with this backend's compiler options: on the CPU faster, on GPUs deterministic."""
  chosen = _cpu_options() if jax.default_backend() == 'cpu' else _gpu_options()
  return jax.jit(function, compiler_options=chosen, **options)


def repeatable(**options):
  """A decorator: `jax.jit` by these options that gives the same bits in every process, on GPUs too.

  For functions of a module: the backend is asked for at the first call, not on import. Not for use inside another jit,
  which takes no compiler options.
  """
  def decorate(function):
    @functools.cache
    def compiled():
      return jax.jit(function, compiler_options=_gpu_options(), **options)
    @functools.wraps(function)
    def call(*args, **kwargs):
      return compiled()(*args, **kwargs)
    return call
  return decorate


def _gpu_options():
  return GPU_OPTIONS if jax.default_backend() == 'gpu' else None


@functools.cache
def _cpu_options():
  """The CPU's default convolution weight gradient is 2 to 3 times slower without its option, which may vanish."""
  try:
    jax.jit(lambda x: x + 1, compiler_options=CPU_OPTIONS).lower(0).compile()
    return CPU_OPTIONS
  except Exception:  # XLA's error for an unknown option has no public type.
    return None


def compute_dtype():
  """bfloat16 for matmuls and convolutions on accelerators, float32 on the CPU."""
  return jnp.float32 if jax.default_backend() == 'cpu' else jnp.bfloat16


def matmul(a, b):
  """`jnp.matmul` with factors in `compute_dtype` and sums in float32."""
  dtype = compute_dtype()
  return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.float32)


def pin_threads():
  """Give the CPU backend the same number of threads for 1 to 8 devices; call before JAX's first computation.

  XLA:CPU takes one thread a core but at least one a device, and some sums are split by that number. `NPROC` is its
  own setting for it, which it reads once: where JAX has run already and would take another number, this warns.
  """
  threads = max(8, os.cpu_count())
  if 'NPROC' not in os.environ and _started() and jax.default_backend() == 'cpu':
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    if max(cores, jax.local_device_count()) != threads:
      warnings.warn('JAX has run in this process before elfs_jax, so the coreset may differ from the one that '
                    f'launch.py or another notebook gives: restart and set the environment variable NPROC={threads} '
                    'before the first use of JAX', stacklevel=3)
  os.environ.setdefault('NPROC', str(threads))


def _started():
  """Whether JAX has run in this process: from then on it refuses another number of CPU devices."""
  number = jax.config.jax_num_cpu_devices
  try:
    jax.config.update('jax_num_cpu_devices', number + 1)
  except RuntimeError:
    return True
  jax.config.update('jax_num_cpu_devices', number)
  return False


def settle(mesh, value):
  """Wait for `value` where two programs with collectives in flight can deadlock: several CPU devices."""
  if mesh.devices.size > 1 and mesh.devices.flat[0].platform == 'cpu':
    jax.block_until_ready(value)
