"""Sharded training of a classifier, with dynamics: what the proxy and the evaluation share.

Logical shard s of S owns a fixed random part of the examples, shuffles them each epoch and gives B/S of them to every
batch. Each shard's gradient and batch norm are computed alone; sums over shards are one tree (`mesh.all_tree_sum`).
So the bits do not depend on the number of devices, and dynamics never leave the device that owns the example.
"""
import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from elfs_jax import dynamics
from elfs_jax.runtime import mesh as mesh_lib
from elfs_jax.training import networks
from elfs_jax.training.augment import augment
from elfs_jax.training.initial import draw
from elfs_jax.training.predict import Fitted, representer
from elfs_jax.training.recipe import Recipe

SHUFFLE, AUGMENT = range(2)  # What a PRNG key is for.
MOMENTS_ELEMENTS = 1 << 26  # In float64 at once: half a gigabyte, and their squares.


class State(NamedTuple):
  """All that training carries; `dynamics` is sharded over the devices, the rest is on each."""
  params: dict
  stats: dict
  optimizer: tuple
  loss: jax.Array          # float32, mean over the last step's batch
  step: jax.Array          # int32
  dynamics: dynamics.Dynamics


class Shards(NamedTuple):
  """Examples laid out by logical shard, M slots each; a slot from `size` on repeats an example, unrecorded."""
  inputs: jax.Array        # [S, M, ...]
  labels: jax.Array        # int32 [S, M]
  size: jax.Array          # int32 [S]


def fit(inputs: np.ndarray, labels: np.ndarray, num_classes: int, recipe: Recipe, *, epochs: int, mesh: Mesh,
        shards: int = 16, seed: int = 0, state: Any = None, on_epoch: Callable[[int, State], None] | None = None,
        progress: Callable | None = None) -> Fitted:
  """Train a classifier and record the dynamics of every example.

  Args:
    inputs: uint8 images [N,H,W,Ch], or float32 embeddings [N,D] for the network `mlp`.
    labels: int [N] in 0..num_classes-1.
    recipe: `Recipe`; `recipe.batch` is over all shards.
    epochs: passes over the examples, each ceil(ceil(N/S) / (batch/S)) steps.
    mesh, shards: from `mesh.data_mesh(shards)`; the number of shards is part of the recipe, the devices are not.
    state: what an earlier `on_epoch` handed out, on the host (or its leaves, in order), to go on from there.
    on_epoch: called as on_epoch(epochs done, state) after each epoch, with device arrays that live until it returns.
    progress: called as progress(iterable, desc=, total=).
  Returns: `Fitted`.
  Raises: ValueError if shards do not divide the batch; FloatingPointError if the loss is not finite.
  """
  if recipe.batch % shards:
    raise ValueError(f'batch={recipe.batch} must be a multiple of mesh.shards={shards}')
  slots = _assign(len(labels), shards, seed)
  data = Shards(*(mesh_lib.shard_rows(mesh, a, slots) for a in (inputs, labels)),
                mesh_lib.shard(mesh, _sizes(len(labels), shards)))
  network = networks.build(recipe.network, num_classes, width=recipe.width, dtype=mesh_lib.compute_dtype())
  per_epoch = -(-slots.shape[1] // (recipe.batch // shards))
  programs = _compile(mesh, network, recipe, shards, slots.shape[1], epochs * per_epoch)
  moments = mesh_lib.replicate(mesh, _moments(inputs))
  key = mesh_lib.replicate(mesh, jax.random.key(seed))
  start = _init(network, programs.optimizer, inputs, slots.size, seed, recipe.init)
  if state is not None:
    start = jax.tree.unflatten(jax.tree.structure(start), jax.tree.leaves(state))
  state = _place(mesh, start)
  done = int(state.step) // per_epoch
  epochs_left = range(done, epochs)
  for epoch in progress(epochs_left, desc='training', total=len(epochs_left)) if progress else epochs_left:
    state = _run_epoch(mesh, state, data, moments, key, programs, epoch, per_epoch)
    if on_epoch:
      on_epoch(epoch + 1, state)
  return Fitted(_gather_scores(state.dynamics, slots, len(labels)), representer(network, state, moments))


def _run_epoch(mesh, state, data, moments, key, programs, epoch, per_epoch):
  order = programs.shuffle(data.size, key, epoch)
  mesh_lib.settle(mesh, order)
  if mesh.devices.flat[0].platform != 'cpu':
    state = programs.steps(state, data, order, moments, key, np.arange(per_epoch), epoch)
  else:  # A loop in the program would slow the convolutions' weight gradients a hundredfold.
    for t in range(per_epoch):
      state = programs.step(state, data, order, moments, key, t, epoch)
      mesh_lib.settle(mesh, state)
  if not np.isfinite(state.loss):
    raise FloatingPointError(f'the training loss is {float(state.loss)} at step {int(state.step)}: '
                             'lower the learning rate')
  return state


def device_shuffle(size, key, epoch, *, slots, length):
  """This device's example order for an epoch: int32 [local shards, length], a permutation, then its start again."""
  def order(shard):
    key_shard = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, SHUFFLE), epoch), shard)
    permutation = jax.random.permutation(key_shard, slots)
    return jnp.tile(permutation, -(-length // slots))[:length]
  first = jax.lax.axis_index(mesh_lib.AXIS) * len(size)
  return jnp.stack([order(first + j) for j in range(len(size))])


def device_step(state, data, order, moments, key, t, epoch, *, network, optimizer, recipe, shards):
  """One step of one device: forward and backward of each local shard alone, then the tree over all shards.

  Runs under `jax.shard_map` and unchanged under `jax.pmap`, over the axis `data`.
  Args: state: `State`; data: `Shards`, this device's part; order: from `device_shuffle`; moments: (mean, 1 / std); key:
    PRNG key; t: step in the epoch; epoch: from 0. Returns: the new `State`.
  """
  local, slots = data.labels.shape
  size = recipe.batch // shards
  index = jax.lax.dynamic_slice(order, (0, t * size), (local, size))
  labels = jnp.take_along_axis(data.labels, index, 1)
  key_step = jax.random.fold_in(jax.random.fold_in(key, AUGMENT), state.step)
  shard = jax.lax.axis_index(mesh_lib.AXIS) * local + jnp.arange(local)
  def view(j):
    return _view(jax.random.fold_in(key_step, shard[j]), data.inputs[j, index[j]], recipe, moments)
  x = jax.lax.map(view, jnp.arange(local))  # A loop, so that it compiles once, and alike on every layout.
  parts, logits = [], []
  for j in range(local):  # Unrolled: on the CPU a convolution's weight gradient is a hundred times slower in a loop.
    grad = jax.value_and_grad(partial(_loss, network), has_aux=True)
    (loss, (shard_logits, stats)), grads = grad(state.params, state.stats, x[j], labels[j])
    parts.append((loss, stats, grads))
    logits.append(shard_logits)
  alive = state.step >= 0
  loss, stats, grads = mesh_lib.all_tree_sum(parts, alive)
  params, opt_state = mesh_lib.fence(partial(_update, optimizer, shards), grads, state.optimizer, state.params,
                                     alive=alive)
  loss, stats = jax.tree.map(lambda a: a / shards, (loss, stats))
  rows = index + slots * jnp.arange(local)[:, None]
  first_time = t * size + jnp.arange(size) < slots
  # A loop, as for the views: all local shards at once may give other last bits on another layout.
  measured = jax.lax.map(lambda shard: dynamics.measure(*shard, epoch), (jnp.stack(logits), labels))
  recorded = dynamics.add(state.dynamics, rows.reshape(-1), jax.tree.map(jnp.ravel, measured),
                          (first_time & (index < data.size[:, None])).reshape(-1))
  return State(params, stats, opt_state, loss, state.step + 1, recorded)


def device_steps(state, data, order, moments, key, times, epoch, **options):
  """`device_step` for each of `times` int32 [T] in one program, so that an accelerator need not wait for the host."""
  def one(state, t):
    return device_step(state, data, order, moments, key, t, epoch, **options), None
  return jax.lax.scan(one, state, times)[0]


def _update(optimizer, shards, grads, opt_state, params):
  updates, opt_state = optimizer.update(jax.tree.map(lambda a: a / shards, grads), opt_state, params)
  return optax.apply_updates(params, updates), opt_state


def _loss(network, params, stats, x, labels):
  logits, new = network.apply({'params': params, 'batch_stats': stats}, x, train=True, mutable=['batch_stats'])
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
  return loss, (logits, new['batch_stats'])


def _view(key, x, recipe, moments):
  mean, rate = moments
  if x.ndim == 4:
    x = augment(key, x, crop=recipe.crop, flip=recipe.flip, resized_crop=recipe.resized_crop)
  return (x - mean) * rate


class Programs(NamedTuple):
  """Training on one mesh: the optimizer, and per-device functions under `shard_map`, compiled at their first call."""
  optimizer: optax.GradientTransformation
  shuffle: callable        # `device_shuffle`
  step: callable           # `device_step`
  steps: callable          # `device_steps`


@functools.lru_cache(maxsize=16)
def _compile(mesh, network, recipe, shards, slots, steps):
  optimizer = _optimizer(recipe, steps)
  sharded, everywhere = P(mesh_lib.AXIS), P()
  parts = State(everywhere, everywhere, everywhere, everywhere, everywhere, sharded)
  size = recipe.batch // shards
  shuffle = jax.shard_map(partial(device_shuffle, slots=slots, length=-(-slots // size) * size), mesh=mesh,
                          in_specs=(sharded, everywhere, everywhere), out_specs=sharded)
  def train(function):
    mapped = jax.shard_map(
        partial(function, network=network, optimizer=optimizer, recipe=recipe, shards=shards), mesh=mesh,
        in_specs=(parts, sharded, sharded, everywhere, everywhere, everywhere, everywhere), out_specs=parts,
        check_vma=False)  # The tree's result is the same on every device, which the checker can't see.
    return mesh_lib.jit(mapped, donate_argnums=0)
  return Programs(optimizer, mesh_lib.jit(shuffle), train(device_step), train(device_steps))


def _assign(n, shards, seed):
  """Which example sits in which slot: int64 [S, M], a seeded permutation; the last slots may repeat an example."""
  order = np.random.default_rng([seed, 0x5a4d]).permutation(n)
  slots = np.resize(order, -(-n // shards) * shards)
  return slots.reshape(-1, shards).T.copy()


def _sizes(n, shards):
  return np.array([len(range(s, n, shards)) for s in range(shards)], np.int32)


def _gather_scores(state, slots, n):
  """Scores in the order of the examples, from the order of the slots."""
  flat = slots.reshape(-1)
  real = (np.arange(slots.shape[1]) < _sizes(n, len(slots))[:, None]).reshape(-1)
  def gather(score):
    out = np.empty(n, np.float32)
    out[flat[real]] = mesh_lib.gather(score)[real]
    return out
  return {name: gather(score) for name, score in dynamics.scores(state).items()}


def _optimizer(recipe, steps):
  rate = optax.cosine_decay_schedule(recipe.learning_rate, steps, recipe.final_rate / recipe.learning_rate)
  return optax.chain(optax.add_decayed_weights(recipe.weight_decay),
                     optax.sgd(rate, momentum=recipe.momentum, nesterov=recipe.nesterov))


def _init(network, optimizer, inputs, rows, seed, init='he'):
  """The state before the first step."""
  shapes = jax.eval_shape(partial(network.init, train=False), jax.random.key(0), jnp.zeros((1, *inputs.shape[1:])))
  variables = draw(shapes, init, np.random.default_rng([seed, 0x1217]))
  params = variables['params']
  return State(params, variables.get('batch_stats', {}), optimizer.init(params), np.float32(0), np.int32(0),
               dynamics.init(rows))


def _place(mesh, state):
  replicated = mesh_lib.replicate(mesh, state._replace(dynamics=()))
  return replicated._replace(dynamics=jax.tree.map(lambda a: mesh_lib.shard(mesh, a), state.dynamics))


def _moments(inputs):
  """Mean and 1 / standard deviation per channel (or feature), float32, in blocks so that no float copy is made.

  The inverse, since the compiler turns a division into a multiplication in some layouts and not in others.
  """
  channels = inputs.shape[-1] if inputs.ndim == 4 else inputs.shape[1]
  total, squares, count = np.zeros(channels), np.zeros(channels), 0
  rows = min(4096, max(1, MOMENTS_ELEMENTS // inputs[0].size))
  for start in range(0, len(inputs), rows):
    block = np.asarray(inputs[start:start + rows], np.float64).reshape(-1, channels)
    total, squares, count = total + block.sum(0), squares + (block ** 2).sum(0), count + len(block)
  mean = total / count
  std = np.sqrt(np.maximum(squares / count - mean ** 2, 0))
  return mean.astype(np.float32), (1 / np.where(std > 0, std, 1)).astype(np.float32)
