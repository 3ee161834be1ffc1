"""The sharded loop: the same bits on every layout, under pmap, and after a resume; each example recorded once."""
import functools

import jax
import numpy as np
import pytest

from elfs_jax import mesh as mesh_lib, networks, train

RECIPE = train.Recipe(width=4, batch=32, crop=1)
N = 75  # Neither the shards nor the batch divide it.


@pytest.fixture(scope='module')
def images():
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 3, N).astype(np.int32)
  return (rng.integers(0, 120, (N, 8, 8, 1)) + 50 * labels[:, None, None, None]).astype(np.uint8), labels


@functools.cache
def fit_on(devices):
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 3, N).astype(np.int32)
  images = (rng.integers(0, 120, (N, 8, 8, 1)) + 50 * labels[:, None, None, None]).astype(np.uint8)
  mesh, states, rows = mesh_lib.data_mesh(16, jax.devices()[:devices]), [], set()
  def on_epoch(_, state):
    states.append(jax.tree.map(np.array, state))
    rows.add(state.dynamics.margin.addressable_shards[0].data.shape[0])
  fitted = train.fit(images, labels, 3, RECIPE, epochs=4, mesh=mesh, seed=1, on_epoch=on_epoch)
  placed = mesh_lib.shard(mesh, images[train._assign(N, 16, 1)])
  programs = train._compile(mesh, networks.build('small', 3, width=4), RECIPE, 16, placed.shape[1], 4 * 3)
  order = programs.shuffle(mesh_lib.shard(mesh, train._sizes(N, 16)), jax.random.key(0), 0)
  # What one device holds: images, dynamics, and a part of every batch.
  share = (placed.addressable_shards[0].data.nbytes, rows.pop(), order.addressable_shards[0].data.shape[0])
  return fitted.scores, states, share


@pytest.mark.parametrize('devices', [2, 4, 8])
def test_the_same_bits_on_every_layout(devices):
  scores, states, _ = fit_on(devices)
  expected_scores, expected_states, _ = fit_on(1)
  for name in expected_scores:
    np.testing.assert_array_equal(scores[name], expected_scores[name], err_msg=name)
  for got, expected in zip(jax.tree.leaves(states), jax.tree.leaves(expected_states)):
    np.testing.assert_array_equal(got, expected)


def test_each_example_is_recorded_once_an_epoch():
  scores, states, _ = fit_on(1)
  assert sorted(set(states[-1].dynamics.epochs.tolist())) == [0, 4]
  assert (states[-1].dynamics.epochs == 4).sum() == N
  assert scores['correctness'].max() <= 4 and all(np.isfinite(s).all() and s.shape == (N,) for s in scores.values())


def test_the_share_of_a_device_shrinks_with_the_number_of_devices():
  shares = {devices: fit_on(devices)[2] for devices in (1, 8)}
  assert [a / b for a, b in zip(shares[1], shares[8])] == [8, 8, 8]


def test_a_resumed_run_gives_the_same_bits(images):
  inputs, labels = images
  scores, states, _ = fit_on(1)
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(states[1])]
  resumed = train.fit(inputs, labels, 3, RECIPE, epochs=4, mesh=mesh_lib.data_mesh(16, jax.devices()[:2]), seed=1,
                      state=leaves)
  for name in scores:
    np.testing.assert_array_equal(resumed.scores[name], scores[name])


def test_the_device_step_runs_unchanged_under_pmap(images):
  inputs, labels = images
  devices, shards = jax.devices()[:4], 8
  mesh = mesh_lib.data_mesh(shards, devices)
  recipe = RECIPE._replace(batch=16)
  network = networks.build('small', 3, width=4)
  slots = train._assign(N, shards, 0)
  optimizer, shuffle, step, _ = train._compile(mesh, network, recipe, shards, slots.shape[1], 10)
  state = train._init(network, optimizer, inputs, slots.size, 0)
  data = train.Shards(inputs[slots], labels[slots], train._sizes(N, shards))
  moments, key = train._moments(inputs), jax.random.key(0)
  placed = train.Shards(*(mesh_lib.shard(mesh, a) for a in data))
  order = shuffle(placed.size, key, 0)
  expected = step(train._place(mesh, state), placed, order, moments, key, 0, 0)

  def split(array):
    return np.asarray(array).reshape(len(devices), -1, *np.shape(array)[1:])
  axes = train.State(None, None, None, None, None, 0)
  per_device = jax.pmap(
      functools.partial(train.device_step, network=network, optimizer=optimizer, recipe=recipe, shards=shards),
      axis_name=mesh_lib.AXIS, devices=devices, in_axes=(axes, 0, 0, None, None, None, None), out_axes=axes)
  split_state = state._replace(dynamics=jax.tree.map(split, state.dynamics))
  got = per_device(split_state, jax.tree.map(split, data), split(order), moments, key, 0, 0)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    np.testing.assert_allclose(np.asarray(a).reshape(np.shape(b)), np.asarray(b), atol=1e-6)


def test_an_epoch_in_one_program_is_its_steps_in_turn(images):
  """What accelerators run; the network has no convolution, which the CPU is slow at in a loop."""
  inputs, labels = images[0].reshape(N, -1).astype(np.float32), images[1]
  mesh, recipe = mesh_lib.data_mesh(4, jax.devices()[:2]), RECIPE._replace(network='mlp', batch=16)
  network, slots = networks.build('mlp', 3, width=4), train._assign(N, 4, 0)
  programs, times = train._compile(mesh, network, recipe, 4, slots.shape[1], 10), np.arange(5)
  data = train.Shards(*(mesh_lib.shard(mesh, a) for a in (inputs[slots], labels[slots], train._sizes(N, 4))))
  moments, key = train._moments(inputs), jax.random.key(0)
  order = programs.shuffle(data.size, key, 0)
  def start():
    return train._place(mesh, train._init(network, programs.optimizer, inputs, slots.size, 0))
  expected = start()
  for t in times:
    expected = jax.block_until_ready(programs.step(expected, data, order, moments, key, t, 0))
  got = programs.steps(start(), data, order, moments, key, times, 0)
  assert int(got.step) == len(times) and (np.asarray(got.dynamics.epochs) > 0).any()
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_step_is_traced_once(images):
  inputs, labels = images
  mesh = mesh_lib.data_mesh(2, jax.devices()[:1])
  train._compile.cache_clear()
  fitted = [train.fit(inputs, labels, 3, RECIPE, epochs=3, mesh=mesh, shards=2, seed=s) for s in (0, 1)]
  assert train._compile.cache_info().misses == 1 and len(fitted) == 2


def test_training_learns_and_predicts(images):
  inputs, labels = images
  mesh = mesh_lib.data_mesh(2, jax.devices()[:1])
  fitted = train.fit(inputs, labels, 3, RECIPE, epochs=15, mesh=mesh, shards=2)
  assert (fitted.predict(inputs) == labels).mean() > 0.9
  embeddings = inputs.reshape(N, -1).astype(np.float32)
  mlp = train.fit(embeddings, labels, 3, RECIPE._replace(network='mlp'), epochs=15, mesh=mesh, shards=2)
  assert (mlp.predict(embeddings) == labels).mean() > 0.9


def test_bad_settings(images):
  inputs, labels = images
  with pytest.raises(ValueError, match='batch=30'):
    train.fit(inputs, labels, 3, RECIPE._replace(batch=30), epochs=1, mesh=mesh_lib.data_mesh(16))
  with pytest.raises(ValueError, match='power of two'):
    mesh_lib.data_mesh(12)
  with pytest.raises(ValueError, match='network'):
    networks.build('resnet9000', 3)


@pytest.mark.parametrize('name, size, parameters', [('resnet18', 32, 11_173_962), ('resnet34', 64, 21_289_802)])
def test_resnets_have_the_published_number_of_parameters(name, size, parameters):
  network = networks.build(name, 10)
  shapes = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0),
                          np.zeros((1, size, size, 3), np.float32))
  assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes['params'])) == parameters
