"""TEMI against plain NumPy loops, resuming and layouts."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import on_devices
from gaussians import CLASS_N, FAST, NEAR_NK, X_ND
from sklearn.metrics import adjusted_rand_score

from elfs_jax import cluster
from elfs_jax.cluster import heads as temi


def plain_temi_loss(student, teacher, prior, beta, student_temp, teacher_temp, momentum):
  """DESIGN section 5, word by word: loops over heads, pairs and clusters."""
  heads, _, batch, classes = student.shape
  def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()
  q_s, q_t = np.zeros(student.shape), np.zeros(student.shape)
  for h in range(heads):
    for member in range(2):
      for b in range(batch):
        q_s[h, member, b] = softmax(student[h, member, b] / student_temp)
        q_t[h, member, b] = softmax(teacher[h, member, b] / teacher_temp)
  new_prior = momentum * prior + (1 - momentum) * q_t.reshape(heads, 2 * batch, classes).mean(1)
  loss = np.zeros(heads)
  for b in range(batch):
    weight = np.mean([np.sum(q_t[h, 0, b] * q_t[h, 1, b]) for h in range(heads)])
    for h in range(heads):
      pmi = lambda a, c: -np.log(sum((a[i] * c[i]) ** beta / new_prior[h, i] for i in range(classes)))
      loss[h] += weight * (pmi(q_t[h, 0, b], q_s[h, 1, b]) + pmi(q_t[h, 1, b], q_s[h, 0, b])) / 2 / batch
  return loss, new_prior


@pytest.mark.parametrize('settings', [(0.6, 0.1, 0.1, 0.9), (1.0, 0.2, 0.05, 0.5)])
def test_temi_loss_equals_plain_loops(settings):
  rng = np.random.default_rng(0)
  student, teacher = rng.normal(scale=0.3, size=(2, 3, 2, 7, 5))
  prior = rng.dirichlet(np.ones(5), 3)
  expected, expected_prior = plain_temi_loss(student, teacher, prior, *settings)
  names = ('beta', 'student_temp', 'teacher_temp', 'prior_momentum')
  loss, new_prior = cluster.temi_loss(*map(jnp.float32, (student, teacher, prior)), **dict(zip(names, settings)))
  assert loss.shape == (3,) and new_prior.shape == (3, 5)
  np.testing.assert_allclose(loss, expected, rtol=2e-5)
  np.testing.assert_allclose(new_prior, expected_prior, rtol=1e-5)
  if settings == (0.6, 0.1, 0.1, 0.9):
    np.testing.assert_array_equal(cluster.temi_loss(*map(jnp.float32, (student, teacher, prior)))[0], loss)


def test_no_gradient_reaches_the_teacher_or_the_prior():
  rng = np.random.default_rng(1)
  student, teacher = jnp.asarray(rng.normal(size=(2, 2, 2, 4, 3)), jnp.float32)
  prior = jnp.full((2, 3), 1 / 3)
  total = lambda *a: cluster.temi_loss(*a)[0].sum()
  by_student, by_teacher, by_prior = jax.grad(total, (0, 1, 2))(student, teacher, prior)
  assert np.abs(by_student).max() > 1e-3
  assert not np.any(by_teacher) and not np.any(by_prior)


def test_temi_loss_is_finite_for_confident_heads_and_dead_clusters():
  logits = jnp.zeros((1, 2, 4, 3)).at[..., 0].set(50.)
  loss, prior = cluster.temi_loss(logits, logits, jnp.asarray([[1., 0., 0.]]))
  assert np.isfinite(loss).all() and np.isfinite(prior).all()


def test_heads_equal_plain_numpy():
  heads = temi.init_heads(0, 2, (6, 8, 4, 3))
  rng = np.random.default_rng(2)
  heads = jax.tree.map(lambda leaf: leaf + rng.normal(scale=0.3, size=leaf.shape).astype(np.float32), heads)
  x_BD = rng.normal(size=(5, 6)).astype(np.float32)
  (w1, b1), (w2, b2) = [tuple(map(np.asarray, layer)) for layer in heads['dense']]
  v, g = np.asarray(heads['direction']), np.asarray(heads['gain'])
  for h, found in enumerate(temi.apply_heads(heads, x_BD)):
    z = x_BD @ w1[h] + b1[h]
    z = 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    z = z @ w2[h] + b2[h]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(found, z @ (v[h] / np.linalg.norm(v[h], axis=0) * g[h]), atol=2e-5)


def test_heads_start_as_specified():
  heads = temi.init_heads(0, 3, (100, 64, 32, 10))
  (w1, b1), (w2, b2) = heads['dense']
  assert w1.shape == (3, 100, 64) and w2.shape == (3, 64, 32) and heads['direction'].shape == (3, 32, 10)
  assert not np.any(b1) and not np.any(b2) and np.all(heads['gain'] == 1)
  assert abs(np.std(w1) - 0.02) < 5e-4 and 0.06 < np.abs(w1).max() < 0.12
  assert abs(np.std(heads['direction']) - (3 * 32) ** -0.5) < 5e-3  # Uniform up to 1 / root of 32.
  assert 0.99 < np.abs(heads['direction']).max() * 32 ** 0.5 <= 1
  assert np.abs(w1[0] - w1[1]).max() > 0.01


def test_temi_finds_separated_clusters_from_a_random_start():
  found = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=40, **FAST)
  assert found.labels.dtype == np.int32 and found.labels.shape == (400,)
  assert found.loss.dtype == np.float32 and found.loss.shape == (3,)
  assert found.best == found.loss.argmin() and found.changed is None
  assert adjusted_rand_score(CLASS_N, found.labels) > 0.95
  other = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=40, seed=1, **FAST)
  assert not np.array_equal(other.loss, found.loss)


def test_a_start_from_kmeans_is_learned_and_the_change_is_counted():
  start = cluster.kmeans(X_ND, 4, neighbors=NEAR_NK)
  found = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=2, init='kmeans', **FAST)
  assert found.changed == pytest.approx((found.labels != start).mean()) and found.changed < 0.1


@pytest.mark.parametrize('init', ['random', 'kmeans'])
def test_resuming_gives_the_same_bits(init):
  saved = {}
  keep = lambda epoch, state: saved.update({epoch: jax.tree.map(np.array, state)})
  whole = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=4, init=init, on_epoch=keep, **FAST)
  assert sorted(saved) == [1, 2, 3, 4]
  for epoch in (1, 4):
    before = jax.tree.map(np.copy, saved[epoch])
    resumed = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=4, init=init, state=saved[epoch], **FAST)
    jax.tree.map(np.testing.assert_array_equal, saved[epoch], before)  # Donation must not reach the caller's arrays.
    np.testing.assert_array_equal(resumed.labels, whole.labels)
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    assert resumed.changed == whole.changed


def test_the_last_layer_is_frozen_in_the_first_epoch_and_the_teacher_follows():
  states = {}
  cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=2, **FAST,
               on_epoch=lambda epoch, state: states.update({epoch: jax.tree.map(np.array, state)}))
  start = temi.init_heads(0, 3, (8, 16, 8, 4))
  np.testing.assert_array_equal(states[1].student['direction'], start['direction'])
  np.testing.assert_array_equal(states[1].student['gain'], start['gain'])
  assert np.abs(states[2].student['direction'] - start['direction']).max() > 1e-4
  assert np.abs(states[1].student['dense'][0][0] - start['dense'][0][0]).max() > 1e-4
  assert np.abs(states[1].student['dense'][0][0] - states[1].teacher['dense'][0][0]).max() > 1e-5


def test_one_teacher_step_and_decay_on_all_but_biases():
  """One batch of all (batch above N): after one epoch the teacher is momentum * start + (1 - momentum) * student."""
  states = []
  cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=1, on_epoch=lambda e, s: states.append(jax.tree.map(np.array, s)),
               **{**FAST, 'batch': 1000, 'teacher_momentum': 0.75})
  start = temi.init_heads(0, 3, (8, 16, 8, 4))['dense'][0][0]
  np.testing.assert_allclose(states[0].teacher['dense'][0][0],
                             0.75 * start + 0.25 * states[0].student['dense'][0][0], atol=1e-7)
  optimizer, still = temi.make_optimizer(1.0, 1, 0.5), temi.init_heads(1, 2, (4, 3, 2))
  still['dense'][0] = (still['dense'][0][0], jnp.ones((2, 3)))
  nothing = jax.tree.map(jnp.zeros_like, still)
  updates, _ = optimizer.update(nothing, optimizer.init(still), still)
  for found, whole in ((updates['direction'], still['direction']), (updates['gain'], still['gain']),
                       (updates['dense'][0][0], still['dense'][0][0])):
    np.testing.assert_allclose(found, -0.5 * whole, rtol=1e-6)
  assert not np.any(updates['dense'][0][1])


def test_the_rate_warms_up_and_stays():
  optimizer = temi.make_optimizer(1e-2, 4, 0.)
  params = {'dense': [], 'direction': jnp.zeros((1, 1, 1)), 'gain': jnp.ones((1, 1))}
  state, steps = optimizer.init(params), []
  for _ in range(7):
    update, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    steps.append(-float(update['direction'][0, 0, 0]))  # Adam's step is the rate where gradients are constant.
  np.testing.assert_allclose(steps, [0, 0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.01, 0.01], rtol=1e-4)


DIGEST = """
import hashlib, jax, numpy as np
from elfs_jax import cluster, neighbors
assert jax.local_device_count() == {devices}
x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
near = neighbors.knn(x, 5)[0]
found = cluster.temi(x, 4, neighbors=near, heads=2, hidden=(16, 8), epochs=3, batch=64, learning_rate=1e-2)
print(hashlib.sha256(found.labels.tobytes() + found.loss.tobytes()).hexdigest())
"""


def test_eight_devices_give_the_same_bits():
  one, eight = on_devices(DIGEST)
  assert one == eight and len(one) == 64


def test_bad_settings():
  with pytest.raises(ValueError, match="got heads=3, epochs=1, init='k-means'"):
    cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=1, init='k-means', **FAST)


def test_temi_that_diverges_is_an_error():
  with pytest.raises(FloatingPointError, match='lower cluster.learning_rate'):
    cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=5, **FAST | {'learning_rate': 1e20})


def test_labels_are_those_of_the_teacher_of_the_best_head():
  states = []
  found = cluster.temi(X_ND, 4, neighbors=NEAR_NK, epochs=1,
                       on_epoch=lambda _, state: states.append(jax.tree.map(np.array, state)),
                       **FAST | {'learning_rate': 0.03, 'heads': 6, 'warmup_epochs': 0}, seed=2)
  by_teacher, by_student = (np.asarray(temi.apply_heads(heads, X_ND)).argmax(-1)
                            for heads in (states[0].teacher, states[0].student))
  best = states[0].loss.argmin()
  np.testing.assert_array_equal(found.labels, by_teacher[best])
  others = [by_student[best], *np.delete(by_teacher, best, 0)]
  assert best > 0 and all((labels != found.labels).any() for labels in others)


def test_each_epoch_draws_its_pairs_anew_among_all_neighbours():
  """Nothing is learned at this rate, so a loss changes only with the pairs that it is a mean of."""
  still = FAST | {'learning_rate': 1e-30, 'teacher_momentum': 1.0}
  states = []
  def loss(near_NK=NEAR_NK, epoch=0):
    states.clear()
    fresh = temi.init_state(0, 3, (8, 16, 8, 4), (1e-30, 2 * 4, 1e-4))._replace(epoch=np.int32(epoch))
    return cluster.temi(X_ND, 4, neighbors=near_NK, epochs=epoch + 1, state=fresh, **still).loss
  last_is_other = np.concatenate([NEAR_NK[:, :-1], np.random.default_rng(0).integers(0, 400, (400, 1))], 1)
  assert (loss() == loss()).all()
  assert (loss(epoch=1) != loss()).any() and (loss(last_is_other) != loss()).any()


def test_the_published_rate_follows_the_batch_and_warms_up_over_whole_epochs(monkeypatch):
  seen, start = [], temi.init_state
  def watched(seed, heads, widths, adamw, weight_std):
    seen.append((seed, adamw))
    return start(seed, heads, widths, adamw, weight_std)
  monkeypatch.setattr(temi, 'init_state', watched)
  monkeypatch.setattr(temi, 'temi_epoch', lambda state, *_, **__: state)
  for batch, rate, steps in ((100, 1e-4 * 100 / 256, 3 * 4), (1000, 1e-4 * 400 / 256, 3)):  # At most all 400.
    cluster.temi(X_ND, 4, neighbors=NEAR_NK, heads=1, hidden=(4,), epochs=1, batch=batch, warmup_epochs=3,
                 weight_decay=0.02, seed=7)
    assert seen.pop() == (7, (pytest.approx(rate), steps, 0.02))


def test_the_prior_is_an_average_over_the_steps():
  """A head that does not change: four batches of pairs of an example with itself, in plain NumPy."""
  start = temi.init_state(0, 2, (8, 6, 4), (1e-30, 1, 0.0))
  own_N1, states = np.arange(400)[:, None], []
  cluster.temi(X_ND, 4, neighbors=own_N1, heads=2, hidden=(6,), epochs=1, batch=100, learning_rate=1e-30,
               warmup_epochs=0, weight_decay=0.0, teacher_momentum=1.0, state=start._replace(student=jax.tree.map(
                   lambda leaf: 10 * leaf, start.student), teacher=jax.tree.map(lambda leaf: 10 * leaf, start.teacher)),
               on_epoch=lambda _, state: states.append(jax.tree.map(np.array, state)))
  assert states[0].prior.shape == (2, 4) and np.allclose(states[0].prior.sum(1), 1, atol=1e-5)
  q_HNC = np.asarray(jax.nn.softmax(temi.apply_heads(states[0].teacher, X_ND) / 0.1))
  seen = 1 - 0.9 ** 4  # Four averages of 0.9 leave this much of the uniform start behind.
  np.testing.assert_allclose(states[0].prior, (1 - seen) / 4 + seen * q_HNC.mean(1), atol=0.02)
  assert np.abs(q_HNC.mean(1) - 0.25).max() > 0.1
