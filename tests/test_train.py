"""The sharded loop: the same bits on every layout, under pmap, and after a resume; each example recorded once."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from elfs_jax.runtime import mesh as mesh_lib
from elfs_jax.training import architectures, networks
from elfs_jax.training import loop as train

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


@pytest.mark.parametrize('devices', [*(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4)), 8])
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


@pytest.mark.slow
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


def test_a_step_is_traced_once(images, monkeypatch):
  inputs, labels = images
  mesh, traces, step = mesh_lib.data_mesh(2, jax.devices()[:1]), [], train.device_step
  monkeypatch.setattr(train, 'device_step', lambda *args, **more: traces.append(1) or step(*args, **more))
  train._compile.cache_clear()  # It may hold a step that is not watched, and is not to keep this one.
  counts = []
  for seed in (0, 1):
    train.fit(inputs, labels, 3, RECIPE, epochs=3, mesh=mesh, shards=2, seed=seed)
    counts.append(len(traces))
  train._compile.cache_clear()
  assert 1 <= counts[0] <= 2 and counts[1] == counts[0]  # The shapes of its output are asked for once as well.


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


@pytest.mark.parametrize('nesterov', [True, False])
def test_the_optimizer_is_sgd_as_published(nesterov):
  """Weight decay, then momentum; a cosine per step from the first rate to the last: plain loops in float64."""
  recipe = RECIPE._replace(learning_rate=0.1, final_rate=0.02, momentum=0.8, weight_decay=0.3, nesterov=nesterov)
  optimizer, rng = train._optimizer(recipe, 6), np.random.default_rng(0)
  w, speed = rng.normal(size=3), np.zeros(3)
  params = {'w': jnp.float32(w)}
  state = optimizer.init(params)
  for t in range(7):  # The last one beyond the end of the cosine.
    gradient = rng.normal(size=3)
    updates, state = optimizer.update({'w': jnp.float32(gradient)}, state, params)
    params = optax.apply_updates(params, updates)
    rate = 0.02 + (0.1 - 0.02) * (1 + np.cos(np.pi * min(t / 6, 1))) / 2
    gradient = gradient + 0.3 * w
    speed = 0.8 * speed + gradient
    w = w - rate * (gradient + 0.8 * speed if nesterov else speed)
    np.testing.assert_allclose(params['w'], w, rtol=1e-5)


def test_a_step_is_sgd_on_the_mean_of_the_shards_gradients():
  """Two shards, one step an epoch, two epochs: the rate is halved at the second."""
  rng = np.random.default_rng(0)
  x, labels = (3 + 5 * rng.normal(size=(12, 4))).astype(np.float32), rng.integers(0, 3, 12).astype(np.int32)
  recipe = train.Recipe('mlp', 1, batch=12, learning_rate=0.2, final_rate=0.0, momentum=0.0, nesterov=False,
                        weight_decay=0.0)
  states = []
  train.fit(x, labels, 3, recipe, epochs=2, mesh=mesh_lib.data_mesh(2, jax.devices()[:1]), shards=2, seed=4,
            on_epoch=lambda _, state: states.append(jax.tree.map(np.array, state)))
  network, parts = networks.build('mlp', 3, width=1), train._assign(12, 2, 4)
  start = train._init(network, train._optimizer(recipe, 2), x, 12, 4)
  params, stats, scaled = start.params, start.stats, (x - x.mean(0)) / x.std(0)

  def loss(params, stats, rows):
    logits, new = network.apply({'params': params, 'batch_stats': stats}, scaled[rows], train=True,
                                mutable=['batch_stats'])
    return -jax.nn.log_softmax(logits)[np.arange(len(rows)), labels[rows]].mean(), new['batch_stats']

  for rate, state in zip((0.2, 0.1), states):
    found = [jax.value_and_grad(loss, has_aux=True)(params, stats, rows) for rows in parts]
    (losses, stats), grads = jax.tree.map(lambda *a: sum(a) / 2, *found)
    params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
    for got, expected in zip(jax.tree.leaves((state.params, state.stats, state.loss)),
                             jax.tree.leaves((params, stats, losses))):
      np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_the_rate_falls_over_the_steps_of_all_epochs(monkeypatch):
  def stop(mesh, network, recipe, shards, slots, steps):
    assert (slots, steps) == (38, 3 * 4)  # Two shards of 38 take three batches of 16 each.
    raise InterruptedError
  monkeypatch.setattr(train, '_compile', stop)
  with pytest.raises(InterruptedError):
    train.fit(np.zeros((N, 4), np.float32), np.zeros(N, np.int32), 3, RECIPE._replace(network='mlp'), epochs=4,
              shards=2, mesh=mesh_lib.data_mesh(2, jax.devices()[:1]))


def test_each_epoch_and_each_shard_has_an_order_of_its_own():
  mesh, recipe = mesh_lib.data_mesh(4, jax.devices()[:1]), RECIPE._replace(network='mlp', batch=16)
  shuffle = train._compile(mesh, networks.build('mlp', 3, width=4), recipe, 4, 19, 10).shuffle
  size = mesh_lib.shard(mesh, train._sizes(N, 4))
  orders = np.concatenate([shuffle(size, jax.random.key(seed), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))])
  assert orders.shape == (12, 20) and len({tuple(order) for order in orders}) == 12
  assert all(sorted(order[:19]) == list(range(19)) and order[19] == order[0] for order in orders)


def test_the_seed_draws_the_places_the_start_and_the_order(monkeypatch):
  x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
  assign, init, key = train._assign, train._init, jax.random.key(0)
  def aum(seed):
    return train.fit(x, np.arange(40, dtype=np.int32) % 2, 2, train.Recipe('mlp', 1, batch=8), epochs=2, shards=2,
                     seed=seed, mesh=mesh_lib.data_mesh(2, jax.devices()[:1])).scores['aum']
  for fixed in (('_init', 'key'), ('_assign', 'key'), ('_assign', '_init')):
    with monkeypatch.context() as patch:
      if '_assign' in fixed:
        patch.setattr(train, '_assign', lambda n, shards, seed: assign(n, shards, 0))
      if '_init' in fixed:
        patch.setattr(train, '_init', lambda *args: init(*args[:4], 0))
      if 'key' in fixed:
        patch.setattr(jax.random, 'key', lambda _: key)
      assert not np.array_equal(aum(0), aum(1)), fixed


def test_each_shard_and_step_has_views_of_its_own(monkeypatch):
  seen = []
  def watched(key, images, **_):
    jax.debug.callback(lambda bits: seen.append(int(bits)), jax.random.bits(key))
    return images.astype(np.float32)
  monkeypatch.setattr(train, 'augment', watched)
  train._compile.cache_clear()  # It may hold a step without the watch, and is not to keep this one.
  images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), np.uint8)
  train.fit(images, np.arange(16, dtype=np.int32) % 2, 2, train.Recipe(width=1, batch=8), epochs=3,
            mesh=mesh_lib.data_mesh(2, jax.devices()[:1]), shards=2)
  jax.effects_barrier()
  train._compile.cache_clear()
  assert len(seen) == len(set(seen)) == 2 * 2 * 3  # Shards, steps and epochs.


def test_scores_are_those_of_the_example():
  """Examples with the label of another class have the least margin, wherever they sit in the shards."""
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 3, N).astype(np.int32)
  x = (8 * np.eye(3, 6)[labels] + rng.normal(size=(N, 6))).astype(np.float32)
  wrong = rng.permutation(N)[:6]
  labels[wrong] = (labels[wrong] + 1) % 3
  fitted = train.fit(x, labels, 3, train.Recipe('mlp', 2, batch=32, learning_rate=0.03), epochs=12, shards=2,
                     mesh=mesh_lib.data_mesh(2, jax.devices()[:1]))
  right = np.setdiff1d(np.arange(N), wrong)
  assert fitted.scores['aum'][wrong].max() < fitted.scores['aum'][right].min() - 0.1
  assert fitted.scores['el2n'][wrong].min() > fitted.scores['el2n'][right].max() + 0.1


def test_a_training_that_runs_away_says_so():
  x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
  with pytest.raises(FloatingPointError, match='learning rate'):
    train.fit(x, np.arange(40, dtype=np.int32) % 2, 2, train.Recipe('mlp', 1, batch=8, learning_rate=1e30), epochs=3,
              mesh=mesh_lib.data_mesh(2, jax.devices()[:1]), shards=2)


def conv(x, kernel, stride=1):
  """A 3x3 or 1x1 convolution with the published padding, as sums of shifted products."""
  size = len(kernel)
  x = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
  high, wide = x.shape[1] - size + 1, x.shape[2] - size + 1
  full = sum(x[:, i:i + high, j:j + wide] @ kernel[i, j] for i in range(size) for j in range(size))
  return full[:, ::stride, ::stride]


def test_a_resnet_equals_plain_numpy():
  """Two basic blocks, the second of them with a stride and a projection (arXiv 1512.03385, figures 2 and 5)."""
  rng = np.random.default_rng(0)
  network, x = architectures.ResNet(3, (1, 1), False, jnp.float32), rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
  shapes = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), x)
  variables = jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
                           if leaf.ndim == 1 else rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
  params, stats, count = variables['params'], variables['batch_stats'], iter(range(6))
  def unit(x, stride=1):
    i = next(count)
    norm, own = params[f'BatchNorm_{i}'], stats[f'BatchNorm_{i}']
    x = conv(x, params[f'Conv_{i}']['kernel'], stride)
    return (x - own['mean']) / np.sqrt(own['var'] + 1e-5) * norm['scale'] + norm['bias']
  def relu(x):
    return np.maximum(x, 0)
  z = relu(unit(x))
  z = relu(z + unit(relu(unit(z))))
  y = unit(relu(unit(z, 2)))
  z = relu(unit(z, 2) + y)
  assert z.shape == (2, 3, 3, 128)
  expected = z.mean((1, 2)) @ params['Dense_0']['kernel'] + params['Dense_0']['bias']
  np.testing.assert_allclose(network.apply(variables, x, train=False), expected, rtol=1e-3)


@pytest.mark.parametrize('name, size, billions', [('resnet18', 32, 0.56), ('resnet34', 224, 3.6)])
def test_resnets_cost_the_published_number_of_multiplications(name, size, billions):
  """3.6 by table 1 of arXiv 1512.03385, 0.56 with the stem for 32 pixels; XLA leaves the padding out."""
  network, x = networks.build(name, 10), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  variables = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), x)
  cost = jax.jit(functools.partial(network.apply, train=False)).lower(variables, x).cost_analysis()
  assert cost['flops'] / 2e9 == pytest.approx(billions, rel=0.15)


def test_the_small_network_sees_the_mean_and_the_largest_of_each_channel():
  network, x = networks.build('small', 3, width=2), np.random.default_rng(0).normal(size=(2, 8, 8, 1))
  variables = network.init(jax.random.key(0), np.float32(x), train=False)
  _, found = network.apply(variables, np.float32(x), train=False, mutable=['intermediates'], capture_intermediates=True)
  inside = found['intermediates']
  last = np.maximum(inside['BatchNorm_2']['__call__'][0], 0)  # 2 by 2: not halved once more.
  assert last.shape == (2, 2, 2, 8)
  np.testing.assert_allclose(inside['features'][0], np.concatenate([last.mean((1, 2)), last.max((1, 2))], 1), rtol=1e-5)


@pytest.mark.parametrize('devices, shards, used', [(1, 16, 1), (3, 16, 2), (5, 8, 4), (6, 4, 4), (8, 16, 8), (8, 2, 2)])
def test_as_many_devices_as_share_the_shards_evenly(devices, shards, used):
  assert mesh_lib.data_mesh(shards, jax.devices()[:devices]).devices.size == used
