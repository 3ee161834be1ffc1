"""TEMI against plain NumPy loops, resuming, layouts, and the label-free measures against independent computations."""
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, mutual_info_score

from elfs_jax import cluster, data, embed, merging, neighbors, temi


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
    z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3)))
    z = z @ w2[h] + b2[h]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(found, z @ (v[h] / np.linalg.norm(v[h], axis=0) * g[h]), atol=2e-5)


def test_heads_start_as_specified():
  heads = temi.init_heads(0, 3, (100, 64, 32, 10))
  (w1, b1), (w2, b2) = heads['dense']
  assert w1.shape == (3, 100, 64) and w2.shape == (3, 64, 32) and heads['direction'].shape == (3, 32, 10)
  assert not np.any(b1) and not np.any(b2) and np.all(heads['gain'] == 1)
  assert abs(np.std(w1) - 0.02) < 5e-4 and np.abs(w1).max() < 0.0456
  assert np.abs(w1[0] - w1[1]).max() > 0.01


def blobs(count=400, classes=4, width=8, seed=0):
  """Well separated Gaussians: embeddings [N, D], class [N]."""
  rng = np.random.default_rng(seed)
  class_N = rng.integers(0, classes, count)
  return (3 * rng.normal(size=(classes, width))[class_N] + rng.normal(size=(count, width))).astype(np.float32), class_N


X_ND, CLASS_N = blobs()
NEAR_NK = neighbors.knn(X_ND, 10)[0]
FAST = dict(heads=3, hidden=(16, 8), batch=100, learning_rate=1e-2, warmup_epochs=2, teacher_momentum=0.9)


def test_temi_finds_separated_clusters_from_a_random_start():
  found = cluster.temi(X_ND, NEAR_NK, 4, epochs=40, **FAST)
  assert found.labels.dtype == np.int32 and found.labels.shape == (400,)
  assert found.loss.dtype == np.float32 and found.loss.shape == (3,)
  assert found.best == found.loss.argmin() and found.changed is None
  assert adjusted_rand_score(CLASS_N, found.labels) > 0.95
  other = cluster.temi(X_ND, NEAR_NK, 4, epochs=40, seed=1, **FAST)
  assert not np.array_equal(other.loss, found.loss)


def test_a_start_from_kmeans_is_learned_and_the_change_is_counted():
  start = cluster.kmeans(X_ND, 4, neighbors=NEAR_NK)
  found = cluster.temi(X_ND, NEAR_NK, 4, epochs=2, init='kmeans', **FAST)
  assert found.changed == pytest.approx((found.labels != start).mean()) and found.changed < 0.1


@pytest.mark.parametrize('init', ['random', 'kmeans'])
def test_resuming_gives_the_same_bits(init):
  saved = {}
  keep = lambda epoch, state: saved.update({epoch: jax.tree.map(np.array, state)})
  whole = cluster.temi(X_ND, NEAR_NK, 4, epochs=4, init=init, on_epoch=keep, **FAST)
  assert sorted(saved) == [1, 2, 3, 4]
  for epoch in (1, 4):
    before = jax.tree.map(np.copy, saved[epoch])
    resumed = cluster.temi(X_ND, NEAR_NK, 4, epochs=4, init=init, state=saved[epoch], **FAST)
    jax.tree.map(np.testing.assert_array_equal, saved[epoch], before)  # Donation must not reach the caller's arrays.
    np.testing.assert_array_equal(resumed.labels, whole.labels)
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    assert resumed.changed == whole.changed


def test_the_last_layer_is_frozen_in_the_first_epoch_and_the_teacher_follows():
  states = {}
  cluster.temi(X_ND, NEAR_NK, 4, epochs=2, on_epoch=lambda e, s: states.update({e: jax.tree.map(np.array, s)}), **FAST)
  start = temi.init_heads(0, 3, (8, 16, 8, 4))
  np.testing.assert_array_equal(states[1].student['direction'], start['direction'])
  np.testing.assert_array_equal(states[1].student['gain'], start['gain'])
  assert np.abs(states[2].student['direction'] - start['direction']).max() > 1e-4
  assert np.abs(states[1].student['dense'][0][0] - start['dense'][0][0]).max() > 1e-4
  assert np.abs(states[1].student['dense'][0][0] - states[1].teacher['dense'][0][0]).max() > 1e-5


def test_one_teacher_step_and_decay_on_matrices_only():
  """One batch of all (batch above N): after one epoch the teacher is momentum * start + (1 - momentum) * student."""
  states = []
  cluster.temi(X_ND, NEAR_NK, 4, epochs=1, on_epoch=lambda e, s: states.append(jax.tree.map(np.array, s)),
               **{**FAST, 'batch': 1000, 'teacher_momentum': 0.75})
  start = temi.init_heads(0, 3, (8, 16, 8, 4))['dense'][0][0]
  np.testing.assert_allclose(states[0].teacher['dense'][0][0],
                             0.75 * start + 0.25 * states[0].student['dense'][0][0], atol=1e-7)
  optimizer, still = temi.make_optimizer(1.0, 1, 0.5), temi.init_heads(1, 2, (4, 3, 2))
  still['dense'][0] = (still['dense'][0][0], jnp.ones((2, 3)))
  nothing = jax.tree.map(jnp.zeros_like, still)
  updates, _ = optimizer.update(nothing, optimizer.init(still), still)
  np.testing.assert_allclose(updates['direction'], -0.5 * still['direction'], rtol=1e-6)
  assert not np.any(updates['gain']) and not np.any(updates['dense'][0][1])


def test_the_rate_warms_up_and_stays():
  optimizer = temi.make_optimizer(1e-2, 4, 0.)
  params = {'w': jnp.zeros((1, 1, 1))}
  state, steps = optimizer.init(params), []
  for _ in range(7):
    update, state = optimizer.update({'w': jnp.ones((1, 1, 1))}, state, params)
    steps.append(-float(update['w'][0, 0, 0]))  # Adam's step is the rate where gradients are constant.
  np.testing.assert_allclose(steps, [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01], rtol=1e-4)


DIGEST = """
import hashlib, jax, numpy as np
from elfs_jax import cluster, neighbors
assert jax.local_device_count() == {devices}
x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
near = neighbors.knn(x, 5)[0]
found = cluster.temi(x, near, 4, heads=2, hidden=(16, 8), epochs=3, batch=64, learning_rate=1e-2)
print(hashlib.sha256(found.labels.tobytes() + found.loss.tobytes()).hexdigest())
"""


def test_eight_devices_give_the_same_bits():
  runs = []
  for devices in (1, 8):
    environment = dict(os.environ, JAX_PLATFORMS='cpu', XLA_FLAGS=f'--xla_force_host_platform_device_count={devices}')
    runs.append(subprocess.Popen([sys.executable, '-c', DIGEST.format(devices=devices)], env=environment, text=True,
                                 stdout=subprocess.PIPE))
  one, eight = [run.communicate()[0].strip() for run in runs]
  assert one == eight and len(one) == 64


def test_smoothing_equals_plain_loops_and_helps_kmeans():
  expected = X_ND / np.linalg.norm(X_ND, axis=1, keepdims=True)
  for _ in range(10):
    mean = np.stack([np.mean([expected[i], *expected[NEAR_NK[i]]], axis=0) for i in range(400)])
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
  np.testing.assert_allclose(cluster.smooth(X_ND, NEAR_NK), expected, atol=1e-5)
  plain, smoothed = cluster.kmeans(X_ND, 4), cluster.kmeans(X_ND, 4, neighbors=NEAR_NK)
  assert plain.dtype == smoothed.dtype == np.int32
  assert cluster.agreement(smoothed, NEAR_NK) >= cluster.agreement(plain, NEAR_NK)
  assert adjusted_rand_score(CLASS_N, smoothed) > 0.95


def test_kmeans_does_not_depend_on_the_thread_count():
  from threadpoolctl import threadpool_limits
  x_ND = np.random.default_rng(4).normal(size=(3000, 20)).astype(np.float32)
  runs = []
  for threads in (1, 2):
    with threadpool_limits(threads):
      runs.append(cluster.kmeans(x_ND, 7))
  np.testing.assert_array_equal(*runs)


def test_agreement_equals_plain_loops():
  rng = np.random.default_rng(3)
  labels, near = rng.integers(0, 3, 50), rng.integers(0, 50, (50, 20))
  observed = np.mean([labels[i] == labels[j] for i in range(50) for j in near[i, :10]])
  chance = sum((labels == c).mean() ** 2 for c in range(3))
  assert cluster.agreement(labels, near) == pytest.approx((observed - chance) / (1 - chance))
  assert cluster.agreement(np.zeros(50, int), near) == 0
  assert cluster.agreement(CLASS_N, NEAR_NK) > 0.9
  assert abs(cluster.agreement(rng.permutation(CLASS_N), NEAR_NK)) < 0.1


def test_information_equals_scikit_learn_and_ranks_clusterings():
  rng = np.random.default_rng(5)
  labels, near = rng.integers(0, 4, 60) * 3, rng.integers(0, 60, (60, 20))
  left, right = np.repeat(labels, 10), labels[near[:, :10]].ravel()
  both = np.concatenate([left, right]), np.concatenate([right, left])  # Each pair in both orders.
  assert cluster.information(labels, near) == pytest.approx(mutual_info_score(*both))
  assert cluster.information(np.zeros(60, int), near) == pytest.approx(0)
  half_wrong = np.where(rng.random(400) < 0.5, rng.permutation(CLASS_N), CLASS_N)
  merged = np.minimum(CLASS_N, 2)
  candidates = {'merged': merged, 'half wrong': half_wrong, 'true': CLASS_N, 'one': np.zeros(400, int)}
  name, scores = cluster.choose(candidates, NEAR_NK)
  assert name == 'true' and list(scores) == list(candidates)
  assert scores['true'] > scores['merged'] > scores['half wrong'] > scores['one'] == pytest.approx(0)


def test_of_several_starts_the_most_informative_wins(monkeypatch):
  tried = []
  fit = cluster.fit_kmeans
  def spy(x_ND, *args, **options):
    tried.append(fit(x_ND, *args, **options))
    return tried[-1]
  monkeypatch.setattr(cluster, 'fit_kmeans', spy)
  x_ND = np.random.default_rng(6).normal(size=(300, 5)).astype(np.float32)
  near_NK = neighbors.knn(x_ND, 10)[0]
  found = cluster.kmeans(x_ND, 6, neighbors=near_NK)
  scores = [cluster.information(model.labels_, near_NK) for model in tried]
  assert len(set(scores)) > 5 and cluster.information(found, near_NK) == max(scores)


@pytest.mark.parametrize('seed', range(5))
def test_mergers_leave_most_information_each_time(seed):
  rng = np.random.default_rng(seed)
  labels, near = rng.integers(0, 9, 300), rng.integers(0, 300, (300, 12))
  for i in range(300):  # Some structure: half of the neighbours come from a pair of clusters.
    near[i, :6] = rng.choice(np.flatnonzero(labels // 2 == labels[i] // 2), 6)
  joint, fine = cluster._joint(labels, near)
  expected = fine.copy()
  while len(set(expected)) > 4:
    options = [np.where(expected == b, a, expected) for a in set(expected) for b in set(expected) if a < b]
    expected = max(options, key=lambda option: cluster.information(option, near))
  found = merging.merge(joint, 4)[fine]
  np.testing.assert_array_equal(found, np.unique(expected, return_inverse=True)[1])


def test_each_merged_start_finds_the_digits_where_others_mostly_do_not(monkeypatch):
  monkeypatch.setattr(cluster, 'MERGED_STARTS', 1)
  dataset = data.load('digits')
  x_ND = embed.pca(dataset.images)
  near_NK = neighbors.knn(x_ND, 10)[0]
  def right(labels):
    return adjusted_rand_score(dataset.labels, labels)
  x_smooth_ND = cluster.smooth(x_ND, near_NK)
  plain = [right(cluster.fit_kmeans(x_smooth_ND, 10, seed=seed, starts=1).labels_) for seed in range(6)]
  merged = [right(cluster.merged_kmeans(x_ND, 10, near_NK, seed=seed)) for seed in range(6)]
  assert min(merged) > 0.85 > np.median(plain)


def test_merged_starts_of_few_or_repeated_examples():
  x_ND = np.eye(3)[np.arange(60) % 3]
  near_NK = np.array([[j for j in range(60) if j % 3 == i % 3 and j != i][:10] for i in range(60)])
  assert adjusted_rand_score(cluster.merged_kmeans(x_ND, 5, near_NK), np.arange(60) % 3) == 1
  assert len(np.unique(cluster.merged_kmeans(X_ND[:8], 4, neighbors.knn(X_ND[:8], 3)[0]))) == 4


def test_the_number_of_separated_clusters_is_found():
  for classes in (3, 10):
    x_ND, _ = blobs(1000, classes, 16, seed=1)
    assert cluster.choose_num_classes(2 * x_ND) == classes
  assert cluster.choose_num_classes(X_ND[:30]) in (2, 3) and cluster.choose_num_classes(X_ND[:3]) == 2
  with pytest.raises(ValueError, match='at least 3 examples, got N=2'):
    cluster.choose_num_classes(X_ND[:2])


def test_a_number_is_guessed_where_every_grade_is_negative():
  rng = np.random.default_rng(0)  # A tight crowd amid a spread of many dimensions.
  around_ND = rng.normal(size=(300, 500))
  around_ND /= np.linalg.norm(around_ND, axis=1, keepdims=True)
  x_ND = np.c_[np.full(300, np.cos(0.6)), np.sin(0.6) * around_ND]
  x_ND[:15], x_ND[:15, 0] = 1e-3 * np.c_[np.zeros(15), around_ND[:15]], 1
  assert all(2 <= cluster.choose_num_classes(x_ND, seed=seed) <= 30 for seed in range(6))


def test_where_the_grade_is_flat_the_guess_is_the_least_number(monkeypatch):
  angle_N = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
  circle_ND = np.stack([np.cos(angle_N), np.sin(angle_N)], 1)  # It has no number of its own: 30 is as good as 70.
  guess = cluster.choose_num_classes(circle_ND, seed=1)
  monkeypatch.setattr(cluster, 'NEARLY', 1)
  assert guess < cluster.choose_num_classes(circle_ND, seed=1)


def test_independent_clusterings():
  found = cluster.independent(X_ND, 4, count=4, seed=3)
  assert found.dtype == np.int32 and found.shape == (4, 400)
  assert [len(np.unique(labels)) for labels in found] == [6, 4, 8, 6]
  assert not np.array_equal(found[0], found[3])
  np.testing.assert_array_equal(found, cluster.independent(X_ND, 4, count=4, seed=3))
  assert adjusted_rand_score(CLASS_N, found[0]) > 0.3
  assert cluster.independent(X_ND[:5], 3).shape == (3, 5)


@pytest.mark.parametrize('classes', [1, 401])
def test_bad_numbers_of_classes(classes):
  for call in (lambda: cluster.kmeans(X_ND, classes), lambda: cluster.independent(X_ND, classes),
               lambda: cluster.merged_kmeans(X_ND, classes, NEAR_NK),
               lambda: cluster.temi(X_ND, NEAR_NK, classes, epochs=1, **FAST)):
    with pytest.raises(ValueError, match=rf'cluster.num_classes={classes} must be from 2 to .* N=400'):
      call()


def test_bad_settings():
  with pytest.raises(ValueError, match="got heads=3, epochs=1, init='k-means'"):
    cluster.temi(X_ND, NEAR_NK, 4, epochs=1, init='k-means', **FAST)


def test_temi_that_diverges_is_an_error():
  with pytest.raises(FloatingPointError, match='lower cluster.learning_rate'):
    cluster.temi(X_ND, NEAR_NK, 4, epochs=5, **FAST | {'learning_rate': 1e20})


def test_no_independent_clustering_is_the_pseudo_labels_again():
  from elfs_jax import evaluate
  from sklearn.datasets import load_digits
  x = load_digits().data.astype(np.float32)
  near = neighbors.knn(x, 20)[0]
  labels = cluster.kmeans(x, 10, neighbors=near, seed=0)
  found = cluster.independent(x, 10, neighbors=lambda part, k: neighbors.knn(part, k)[0], count=6, seed=0)
  assert max(evaluate.cluster_accuracy(other, labels) for other in found) < 0.97
