"""Clusters around centres: k-means on smoothed embeddings, from merged clusters too, and clusterings for the judge."""
import numpy as np
from threadpoolctl import threadpool_limits

from elfs_jax.cluster import merging
from elfs_jax.cluster.quality import check_num_classes, information, joint_shares
from elfs_jax.vectors import fit_kmeans as fit, unit_rows

SMOOTH_ROUNDS = SMOOTH_NEIGHBORS = 10
MERGED_STARTS, MORE_CLUSTERS = 10, 20
INDEPENDENT = ((1.5, 2, 2.5), (1, 1.5, 2.5))  # Times num_classes, on all dimensions and on halves in turn.
NEARLY = 0.9  # Of the best grade: what the least number of clusters must reach where the number is guessed.
SAMPLE = 10_000  # Examples that clusterings for the judge are fitted on.


def kmeans(embeddings, num_classes, *, neighbors=None, seed=0):
  """k-means (scikit-learn, on one thread: its labels otherwise depend on the thread count).

  Plain: the least inertia of 10 starts. With neighbours, two changes that were far ahead of it wherever tried:
  embeddings are smoothed first, and of 20 starts the one whose labels tell most about the neighbours' labels wins
  (`information`), not the one of least inertia. Smoothing replaces each unit row by the mean of itself and its 10
  nearest neighbours, scaled to unit length, ten times over: simple graph convolution (Wu et al., ICML 2019), used
  before k-means by Zhang et al. ("Attributed graph clustering via adaptive graph convolution", IJCAI 2019).

  Args: embeddings: float [N, D]; num_classes: clusters C; neighbors: int32 [N, K] from `neighbors.knn`, or None for
    plain k-means; seed.
  Returns: labels int32 [N].
  Raises: ValueError unless 2 <= num_classes <= N.
  """
  check_num_classes(num_classes, len(embeddings))
  x_ND = np.asarray(embeddings, np.float32)
  if neighbors is None:
    return fit_kmeans(x_ND, num_classes, seed=seed, starts=10).labels_.astype(np.int32)
  x_ND = smooth(x_ND, neighbors)
  def start(draw):
    return fit_kmeans(x_ND, num_classes, seed=draw, starts=1).labels_.astype(np.int32)
  return _most_informative(start, 20, neighbors, seed)


def merged_kmeans(embeddings, num_classes, neighbors, *, seed=0):
  """k-means on smoothed embeddings, as in `kmeans`, whose starts are clusters that were merged.

  A start takes 20 clusters more than asked for, merges those whose neighbours lie in the same clusters
  (`merging.merge`), and lets k-means go on from the centres of what is left: by itself k-means seldom moves a centre
  from a class that has two to one that has none. Of 10 starts the most informative wins. It was 2 and 8 points ahead of
  `kmeans` on the encoder's embeddings of digits and Fashion-MNIST, level on most others, 4 behind on one with 62 classes
  (docs/lab/tried.md).

  Args and errors as in `kmeans`, but neighbours are needed. Returns: labels int32 [N].
  """
  check_num_classes(num_classes, len(embeddings))
  x_ND = smooth(np.asarray(embeddings, np.float32), neighbors)
  def start(draw):
    fine_N = fit_kmeans(x_ND, min(num_classes + MORE_CLUSTERS, len(x_ND)), seed=draw, starts=1).labels_
    joint_FF, fine_N = joint_shares(fine_N, neighbors)
    merged_N = merging.merge(joint_FF, num_classes)[fine_N]
    centres_CD = np.stack([x_ND[merged_N == c].mean(0) for c in range(merged_N.max() + 1)])
    return fit_kmeans(x_ND, len(centres_CD), seed=draw, starts=1, init=centres_CD).labels_.astype(np.int32)
  return _most_informative(start, MERGED_STARTS, neighbors, seed)


def _most_informative(start, count, neighbors, seed):
  """Of `count` clusterings start(draw), each from a draw of its own, the one with the most `information`."""
  found = [start(int(draw)) for draw in np.random.default_rng(seed).integers(1 << 31, size=count)]
  return max(found, key=lambda labels_N: information(labels_N, neighbors))


def made_by(method, num_classes):
  """What the clusters rest on beside the settings of `cluster`: part of the fingerprints of them."""
  starts = (MERGED_STARTS, MORE_CLUSTERS) if method in ('merged', 'auto') else ()
  return starts if num_classes else (*starts, NEARLY)


def smooth(embeddings, neighbors):
  """Unit rows, averaged with their nearest neighbours' again and again: float32 [N, D]."""
  x_ND = unit_rows(embeddings)
  near_NK = np.asarray(neighbors)[:, :SMOOTH_NEIGHBORS]
  for _ in range(SMOOTH_ROUNDS):
    total_ND = x_ND.copy()
    for near_N in near_NK.T:
      total_ND += x_ND[near_N]
    x_ND = unit_rows(total_ND)
  return x_ND


def fit_kmeans(x_ND, num_classes, *, seed, starts, init='k-means++'):
  """A fitted `sklearn.cluster.KMeans`, on one thread."""
  from sklearn.cluster import KMeans
  return fit(KMeans(num_classes, init=init, n_init=starts, random_state=seed), x_ND)


def independent(embeddings, num_classes, *, neighbors=None, count=3, seed=0):
  """Clusterings for the judge, made without the ones that the difficulty used.

  k-means in pairs: one sees all dimensions, with num_classes times 1.5, 2 and 2.5 clusters (times 1 would find the
  pseudo-labels again), one sees a random half, with num_classes times 1, 1.5 and 2.5. Each is smoothed over the
  neighbours found in what it sees and fitted on at most 10,000 random examples. Those of all
  dimensions follow the classes better, those of halves share fewer errors with the pseudo-labels.

  Args:
    embeddings: float [N, D].
    num_classes: C.
    neighbors: callable (part of the embeddings, k) -> int [N, k]; None leaves the halves as they are.
    count: how many clusterings.
    seed: draws the halves and the examples.
  Returns: labels int32 [count, N].
  Raises: ValueError unless 2 <= num_classes <= N.
  """
  check_num_classes(num_classes, len(embeddings))
  x_ND, rng = np.asarray(embeddings, np.float32), np.random.default_rng(seed)
  size, width = x_ND.shape
  labels = []
  for turn in range(count):
    clusters = min(round(num_classes * INDEPENDENT[turn % 2][turn // 2 % 3]), size)
    part_ND = x_ND[:, rng.choice(width, -(-width // 2), replace=False)] if turn % 2 else x_ND
    if neighbors is not None:
      part_ND = smooth(part_ND, neighbors(part_ND, min(SMOOTH_NEIGHBORS, size - 1)))
    rows = rng.choice(size, min(size, max(SAMPLE, 20 * clusters)), replace=False)
    model = fit_kmeans(part_ND[rows], clusters, seed=seed + turn, starts=3)
    labels.append(predict_kmeans(model, part_ND))
  return np.stack(labels)


def predict_kmeans(model, x_ND):
  """Labels int32 [N] by a fitted k-means, on one thread."""
  with threadpool_limits(1):
    return model.predict(x_ND).astype(np.int32)


def choose_num_classes(embeddings, *, seed=0):
  """A rough guess of the number of clusters, for images whose number of classes nobody knows. No label is used.

  On at most 3,000 random examples, smoothed k-means for K = 2, 3, 5, 7, 10, 15, ..., 100 (at most a tenth of the
  examples), graded by the product of `information`, as a share of its maximum log K, and the silhouette: the first
  alone guesses too few, the second too many. Where the images have no number of their own the grade hardly changes with
  K, so the least within a tenth of the best is taken. How near it came on our sets: docs/lab/results-0.1.md. It promises
  nothing for other images: name the number where it is known.

  Args: embeddings: float [N, D]; seed.
  Raises: ValueError if N is below 3.
  """
  from sklearn.metrics import silhouette_score
  from sklearn.neighbors import NearestNeighbors
  if len(embeddings) < 3:
    raise ValueError(f'a guess of cluster.num_classes needs at least 3 examples, got N={len(embeddings)}')
  rows = np.random.default_rng(seed).permutation(len(embeddings))[:3000]
  x_ND, scores = unit_rows(np.asarray(embeddings)[rows]), {2: 0.}
  with threadpool_limits(1):
    near_NK = NearestNeighbors(n_neighbors=min(10, len(rows) - 1)).fit(x_ND).kneighbors(return_distance=False)
  x_ND = smooth(x_ND, near_NK)
  for classes in (2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100):
    if classes <= len(rows) // 10:
      starts = [fit_kmeans(x_ND, classes, seed=seed + start, starts=1).labels_ for start in range(5)]
      labels_N = max(starts, key=lambda labels_N: information(labels_N, near_NK))
      if len(np.unique(labels_N)) == classes:  # Else there are fewer distinct examples than clusters.
        with threadpool_limits(1):
          silhouette = silhouette_score(x_ND, labels_N)
        scores[classes] = information(labels_N, near_NK) / np.log(classes) * silhouette
  best = max(scores.values())
  return min(classes for classes, score in scores.items() if score >= min(best, NEARLY * best))  # It may be negative.
