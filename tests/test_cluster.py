"""k-means on smoothed embeddings and the label-free measures against independent computations."""
import inspect

import numpy as np
import pytest
from gaussians import CLASS_N, FAST, NEAR_NK, X_ND, blobs
from sklearn.metrics import adjusted_rand_score, mutual_info_score

from elfs_jax import cluster, data, embed, neighbors, table, vectors
from elfs_jax.cluster import centroids, merging
from elfs_jax.cluster import heads as temi


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
  name, scores = cluster.best(candidates, NEAR_NK)
  assert name == 'true' and list(scores) == list(candidates)
  assert scores['true'] > scores['merged'] > scores['half wrong'] > scores['one'] == pytest.approx(0)


def test_of_several_starts_the_most_informative_wins(monkeypatch):
  tried = []
  fit = cluster.fit_kmeans
  def spy(x_ND, *args, **options):
    tried.append(fit(x_ND, *args, **options))
    return tried[-1]
  monkeypatch.setattr(centroids, 'fit_kmeans', spy)
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
  joint, fine = cluster.quality.joint_shares(labels, near)
  expected = fine.copy()
  while len(set(expected)) > 4:
    options = [np.where(expected == b, a, expected) for a in set(expected) for b in set(expected) if a < b]
    expected = max(options, key=lambda option: cluster.information(option, near))
  found = merging.merge(joint, 4)[fine]
  np.testing.assert_array_equal(found, np.unique(expected, return_inverse=True)[1])


def test_each_merged_start_finds_the_digits_where_others_mostly_do_not():
  dataset = data.load('digits')
  x_ND = embed.pca(dataset.images)
  near_NK = neighbors.knn(x_ND, 10)[0]
  def right(labels):
    return adjusted_rand_score(dataset.labels, labels)
  x_smooth_ND = cluster.smooth(x_ND, near_NK)
  plain = [right(cluster.fit_kmeans(x_smooth_ND, 10, seed=seed, starts=1).labels_) for seed in range(6)]
  merged = [right(cluster.merged_kmeans(x_ND, 10, neighbors=near_NK, seed=seed, starts=1)) for seed in range(6)]
  assert min(merged) > 0.85 > np.median(plain)


def test_merged_starts_of_few_or_repeated_examples():
  x_ND = np.eye(3)[np.arange(60) % 3]
  near_NK = np.array([[j for j in range(60) if j % 3 == i % 3 and j != i][:10] for i in range(60)])
  assert adjusted_rand_score(cluster.merged_kmeans(x_ND, 5, neighbors=near_NK), np.arange(60) % 3) == 1
  assert len(np.unique(cluster.merged_kmeans(X_ND[:8], 4, neighbors=neighbors.knn(X_ND[:8], 3)[0]))) == 4


def test_the_number_of_separated_clusters_is_found():
  for classes in (3, 10):
    x_ND, _ = blobs(1000, classes, 16, seed=1)
    assert cluster.estimate_num_classes(2 * x_ND) == classes
  assert cluster.estimate_num_classes(X_ND[:30]) in (2, 3) and cluster.estimate_num_classes(X_ND[:3]) == 2
  with pytest.raises(ValueError, match='at least 3 examples, got N=2'):
    cluster.estimate_num_classes(X_ND[:2])


def test_a_number_is_guessed_where_every_grade_is_negative():
  rng = np.random.default_rng(0)  # A tight crowd amid a spread of many dimensions.
  around_ND = rng.normal(size=(300, 500))
  around_ND /= np.linalg.norm(around_ND, axis=1, keepdims=True)
  x_ND = np.c_[np.full(300, np.cos(0.6)), np.sin(0.6) * around_ND]
  x_ND[:15], x_ND[:15, 0] = 1e-3 * np.c_[np.zeros(15), around_ND[:15]], 1
  assert all(2 <= cluster.estimate_num_classes(x_ND, seed=seed) <= 30 for seed in range(6))


def test_where_the_grade_is_flat_the_guess_is_the_least_number():
  angle_N = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
  circle_ND = np.stack([np.cos(angle_N), np.sin(angle_N)], 1)  # It has no number of its own: 30 is as good as 70.
  guess = cluster.estimate_num_classes(circle_ND, seed=1)
  assert guess < cluster.estimate_num_classes(circle_ND, seed=1, nearly=1)


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
               lambda: cluster.merged_kmeans(X_ND, classes, neighbors=NEAR_NK),
               lambda: cluster.temi(X_ND, classes, neighbors=NEAR_NK, epochs=1, **FAST)):
    with pytest.raises(ValueError, match=rf'cluster.num_classes={classes} must be from 2 to .* N=400'):
      call()


def test_no_independent_clustering_is_the_pseudo_labels_again():
  from sklearn.datasets import load_digits

  from elfs_jax import evaluate
  x = load_digits().data.astype(np.float32)
  near = neighbors.knn(x, 20)[0]
  labels = cluster.kmeans(x, 10, neighbors=near, seed=0)
  found = cluster.independent(x, 10, neighbors=lambda part, k: neighbors.knn(part, k)[0], count=6, seed=0)
  assert max(evaluate.cluster_accuracy(other, labels) for other in found) < 0.97


def test_every_other_independent_clustering_sees_half_of_the_dimensions_which_the_seed_draws():
  def parts(seed):
    seen = []
    def watched(part_ND, k):
      seen.append((part_ND, k))
      return neighbors.knn(part_ND, k)[0]
    cluster.independent(X_ND, 4, neighbors=watched, count=4, seed=seed)
    assert [(part.shape, k) for part, k in seen] == [((400, 8), 10), ((400, 4), 10)] * 2
    return [{next(d for d in range(8) if (column == X_ND[:, d]).all()) for column in part.T} for part, _ in seen[1::2]]
  halves = [*parts(0), *parts(1)]
  assert all(len(half) == 4 for half in halves) and len(set(map(frozenset, halves))) == 4


def test_the_seed_draws_the_starts_of_kmeans_and_of_the_heads():
  noise_ND = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
  near_NK = neighbors.knn(noise_ND, 10)[0]
  for call in (lambda seed: cluster.kmeans(noise_ND, 7, seed=seed),
               lambda seed: cluster.kmeans(noise_ND, 7, neighbors=near_NK, seed=seed),
               lambda seed: cluster.merged_kmeans(noise_ND, 7, neighbors=near_NK, seed=seed)):
    assert adjusted_rand_score(call(0), call(1)) < 1 and (call(0) == call(0)).all()
  first, second = (temi.init_heads(seed, 2, (6, 4, 3))['direction'] for seed in (0, 1))
  assert (first != second).all()


def test_what_decides_the_labels_is_a_parameter():
  """On noise, where the least change shows: so that a stage's key, which sees all parameters, sees it too."""
  noise_ND = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
  near_NK = neighbors.knn(noise_ND, 20)[0]
  def differ(function, **changed):
    return any((function(noise_ND, 7, neighbors=near_NK, seed=seed, **changed)
                != function(noise_ND, 7, neighbors=near_NK, seed=seed)).any() for seed in range(3))
  assert differ(cluster.kmeans, smoothing=cluster.Smoothing(rounds=2))
  assert differ(cluster.kmeans, smoothing=cluster.Smoothing(neighbors=3))
  assert differ(cluster.kmeans, starts=1) and differ(cluster.kmeans, graded_neighbors=2)
  assert differ(cluster.merged_kmeans, smoothing=cluster.Smoothing(rounds=2))
  assert differ(cluster.merged_kmeans, starts=1) and differ(cluster.merged_kmeans, more_clusters=3)
  plain = [cluster.kmeans(noise_ND, 7, plain_starts=starts) for starts in (1, 10)]
  assert (plain[0] != plain[1]).any()
  def judged(**changed):
    return cluster.independent(noise_ND, 7, neighbors=lambda part, k: neighbors.knn(part, k)[0], count=2, **changed)
  for changed in ({'smoothing': cluster.Smoothing(rounds=2)}, {'multiples': ((2,), (2,))}, {'starts': 1},
                  {'rows': 100, 'rows_per_cluster': 5}):
    assert (judged(**changed) != judged()).any(), changed


@pytest.mark.parametrize('name', cluster.CLUSTERINGS)
def test_every_clustering_of_the_table_is_called_alike(name):
  entry = table.look_up(cluster.CLUSTERINGS, 'cluster.method', name)
  function = table.load(entry.function)
  known = inspect.signature(function).parameters
  settings = {key: value for key, value in {**FAST, 'epochs': 40}.items() if key in known}
  found = function(X_ND, 4, neighbors=NEAR_NK, seed=0, **settings)
  labels = getattr(found, 'labels', found)
  assert labels.dtype == np.int32 and adjusted_rand_score(CLASS_N, labels) > 0.95 and entry.help


def test_a_clustering_is_added_by_one_entry(monkeypatch):
  def by_sign(embeddings, num_classes, *, neighbors, seed):
    return (embeddings[:, 0] > 0).astype(np.int32)
  monkeypatch.setitem(cluster.CLUSTERINGS, 'by_sign', cluster.Clustering(by_sign, 'two halves'))
  function = table.load(table.look_up(cluster.CLUSTERINGS, 'cluster.method', 'by_sign').function)
  assert set(function(X_ND, 2, neighbors=NEAR_NK, seed=0)) == {0, 1}
  with pytest.raises(ValueError, match="cluster.method='by_sing' is unknown: did you mean 'by_sign'"):
    table.look_up(cluster.CLUSTERINGS, 'cluster.method', 'by_sing')


def test_starts_on_a_sample_end_where_starts_on_all_do():
  part = centroids.kmeans(X_ND, 4, neighbors=NEAR_NK, rows=80)
  assert adjusted_rand_score(part, CLASS_N) > 0.95 * adjusted_rand_score(centroids.kmeans(X_ND, 4, neighbors=NEAR_NK),
                                                                         CLASS_N)
  np.testing.assert_array_equal(part, centroids.kmeans(X_ND, 4, neighbors=NEAR_NK, rows=80))


def test_a_sample_of_many_clusters_has_fewer_starts_and_never_fewer_than_two(monkeypatch):
  fitted, fit = [], cluster.fit_kmeans
  monkeypatch.setattr(centroids, 'fit_kmeans', lambda x_ND, *args, **more: fitted.append(len(x_ND))
                      or fit(x_ND, *args, **more))
  for start_clusters, starts in ((2000, 20), (12, 3), (4, 2)):
    fitted.clear()
    centroids.kmeans(X_ND, 4, neighbors=NEAR_NK, rows=100, start_clusters=start_clusters)
    assert fitted == [100] * starts + [400]
  fitted.clear()
  centroids.kmeans(X_ND, 4, neighbors=NEAR_NK, start_clusters=4)
  assert fitted == [400] * 20  # All of few examples are seen as ever.


def test_labels_do_not_depend_on_how_much_runs_at_once(monkeypatch):
  noise_ND = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
  near_NK = neighbors.knn(noise_ND, 20)[0]
  def nearest(part, k):
    return neighbors.knn(part, k)[0]
  runs = []
  for threads, rows in ((1, 1 << 20), (4, 64)):
    monkeypatch.setattr(vectors, 'THREADS', threads)
    monkeypatch.setattr(centroids, 'BLOCK_ROWS', rows)
    runs.append([cluster.smooth(noise_ND, near_NK), cluster.kmeans(noise_ND, 6, neighbors=near_NK),
                 cluster.kmeans(noise_ND, 6, neighbors=near_NK, rows=200), cluster.merged_kmeans(
                     noise_ND, 6, neighbors=near_NK, starts=4), cluster.independent(
                         noise_ND, 6, neighbors=nearest, count=4)])
  for one, other in zip(*runs):
    np.testing.assert_array_equal(one, other)


def test_information_of_some_rows_is_that_of_their_pairs():
  rows = np.array([5, 17, 60, 80])
  own, near = CLASS_N[rows].repeat(10), CLASS_N[NEAR_NK[rows, :10]].ravel()
  expected = mutual_info_score(np.append(own, near), np.append(near, own))  # Both ways, as the measure is symmetric.
  assert cluster.information(CLASS_N, NEAR_NK, rows=rows) == pytest.approx(expected)
