"""Rivals: other ways to choose n of N examples without labels, to compare ELFS with. `select` re-exports them all.

Each takes (..., budget, *, seed=0), with `budget` as in `select`, and returns int64 [n] in the order of choice; ties go
to the lower index. Each raises ValueError on arrays that are not finite (naming rows), on arrays of different lengths
and on a budget out of range. "Nested": the first m of a choice of n are the choice of m. NumPy and scikit-learn; only
`zcore` imports JAX, when it is called.
"""
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from elfs_jax.budget import budget_count
from elfs_jax.select.greedy import BLOCK_ELEMENTS, FacilityLocation, FarthestFirst, lazy_greedy
from elfs_jax.select.order import hardness_order
from elfs_jax.vectors import fit_kmeans, unit_rows

Budget = int | float | str

TYPICLUST_CLUSTERS, TYPICLUST_NEIGHBORS, TYPICLUST_SMALL = 500, 20, 5


def k_center(embeddings: ArrayLike, budget: Budget, *, seed: int = 0) -> NDArray[np.int64]:
  """Greedy k-centre: always the one farthest from all chosen, Euclidean (Sener and Savarese, arXiv 1708.00489, alg. 1).

  Args: embeddings: float [N, D]; budget; seed: draws the first one. Nested. Time O(n N D), memory O(N D).
  """
  x_ND = _matrix('embeddings', embeddings, np.float64)
  count = budget_count(budget, len(x_ND))
  first = int(np.random.default_rng(seed).integers(len(x_ND)))
  with threadpool_limits(1):
    return lazy_greedy(FarthestFirst(x_ND - x_ND.mean(0)), count, [first])


def facility_location(embeddings: ArrayLike, budget: Budget, *, seed: int = 0) -> NDArray[np.int64]:
  """Greedy maximum of sum_i max_{j chosen} max(cos(i, j), 0) (CRAIG, arXiv 1906.01827, section 3; lazy: Minoux 1978).

  Exact up to float32 similarities: gains closer than 1e-6 (relative above 1) tie. Nothing is drawn: `seed` is unused.
  Args: embeddings: float [N, D]; budget. Nested. Time O(r N^2 D), r the times that an average example finds itself a
    closer representative (5 to 7 measured); memory 128 N floats and 16 MB a thread, never N x N.
  """
  x_ND = _matrix('embeddings', embeddings, np.float32)
  count = budget_count(budget, len(x_ND))
  with threadpool_limits(1):
    return lazy_greedy(FacilityLocation(unit_rows(x_ND)), count, [])


def prototypes(embeddings: ArrayLike, pseudo_labels: ArrayLike, budget: Budget, *, keep: str = 'hard',
               seed: int = 0) -> NDArray[np.int64]:
  """By Euclidean distance to the centroid of one's own cluster (Sorscher et al., arXiv 2206.14486, section 4).

  Args: embeddings: float [N, D]; pseudo_labels: int [N]; budget; keep: 'hard' chooses the farthest first, 'easy' the
    nearest first. Nested. Nothing is drawn: `seed` is unused. Time O(N D).
  Raises: ValueError, also if keep is neither.
  """
  if keep not in ('hard', 'easy'):
    raise ValueError(f"keep={keep!r} must be 'hard' or 'easy'")
  x_ND = _matrix('embeddings', embeddings, np.float64)
  label_N, size_C = _labels(pseudo_labels, len(x_ND))
  centroid_CD = np.stack([x_ND[label_N == label].mean(0) for label in range(len(size_C))])
  distance_N = np.linalg.norm(x_ND - centroid_CD[label_N], axis=1)
  order = np.argsort(-distance_N if keep == 'hard' else distance_N, kind='stable')
  return order[:budget_count(budget, len(x_ND))].astype(np.int64)


def d2(embeddings: ArrayLike, difficulty: ArrayLike, budget: Budget, *, neighbors: ArrayLike | int,
       gamma_forward: float, gamma_reverse: float, seed: int = 0) -> NDArray[np.int64]:
  """D2 pruning: difficulty, spread over a neighbour graph and then spent (Maharana et al., arXiv 2310.07931, sec. 3.2).

  Forward message passing: x_i <- x_i + sum_{j in N(i)} exp(-gamma_forward |v_i - v_j|^2) x_j, once. Then, repeatedly,
  the largest x_k not chosen yet is chosen and its neighbours are told (reverse): x_j <- x_j - exp(-gamma_reverse
  |v_k - v_j|^2) x_k. v are the embeddings as given, so the gammas have the unit of 1 / distance^2: pass unit rows for
  the published range of 0 to 1. Difficulty below zero is first moved up to start at 0, as theirs is for margins.
  As in their code for ImageNet, N(i) is one's own list, without the ones who list i. Not taken from their code:
  the plain distance in the exponent (the paper squares it), strata, and a separate run in every class (needs labels).

  Args: embeddings: float [N, D]; difficulty: float [N], higher is harder; budget; neighbors: int [N, k] (as from
    `neighbors.knn`), or k, the number of cosine neighbours to find by scikit-learn; gamma_forward, gamma_reverse: 0
    or more. Nested. Nothing is drawn: `seed` is unused. Time O(N k D + n N), without the search for neighbours.
  Raises: ValueError, also on a negative gamma or neighbours that are out of range.
  """
  for name, gamma in (('gamma_forward', gamma_forward), ('gamma_reverse', gamma_reverse)):
    if not (np.isscalar(gamma) and 0 <= gamma < np.inf):
      raise ValueError(f'{name}={gamma!r} must be a number of at least 0')
  x_ND = _matrix('embeddings', embeddings, np.float32)
  _same_length(len(x_ND), difficulty=hardness_order(difficulty))
  count = budget_count(budget, len(x_ND))
  near_NK = _neighbors(x_ND, neighbors)
  distance_NK = np.stack([np.square(x_ND - x_ND[near_N]).sum(1, dtype=np.float64) for near_N in near_NK.T], 1)
  score_N = np.asarray(difficulty, np.float64)
  score_N = score_N - min(score_N.min(), 0)
  score_N = score_N + (np.exp(-gamma_forward * distance_NK) * score_N[near_NK]).sum(1)
  told_NK = np.exp(-gamma_reverse * distance_NK)
  open_N = score_N.copy()
  chosen = np.empty(count, np.int64)
  for step in range(count):
    chosen[step] = k = np.argmax(open_N)
    # A list may name an example twice or the chosen itself: subtract.at adds up, and -inf stays -inf.
    np.subtract.at(open_N, near_NK[k], told_NK[k] * open_N[k])
    open_N[k] = -np.inf
  return chosen


def zcore(embeddings: ArrayLike, budget: Budget, *, seed: int = 0, samples: int | None = None) -> NDArray[np.int64]:
  """ZCore: cover random 2-D subspaces without redundancy (Griffin et al., WACV 2026, arXiv 2411.15349, section 3).

  A sample is a point in two random dimensions, triangular between their minimum, median and maximum. The example
  nearest to it (L1, in those two) gains 1; the others lose 1 together, in proportion to their distance to it ^ -4.
  Scores start uniform in [0, 1); the highest are chosen. What differs from the published code: 10 N samples, at most
  its 1,000,000, so that time does not dominate on small data (60,000 x 192 takes a minute or two on two free cores);
  all others share the loss, not the nearest 1,000, as no sort is needed then (of normal data, N = 8,000, with the same
  draws, 98 % of either choice were in the other); examples at the very same two coordinates share the loss evenly,
  where theirs charges one of them.

  Args: embeddings: float [N, D]; budget; seed; samples: number of samples. Nested. Time O(samples N), on JAX's first
    device: the same seed gives the same choice on the same kind of device.
  Raises: ValueError, also if samples is below 1.
  """
  x_ND = _matrix('embeddings', embeddings, np.float32)
  count = budget_count(budget, len(x_ND))
  if samples is None:
    samples = min(10 * len(x_ND), 1_000_000)
  if samples < 1:
    raise ValueError(f'samples={samples!r} must be at least 1')
  if len(x_ND) == 1:
    return np.zeros(1, np.int64)
  from elfs_jax.select.subspaces import scores
  return np.argsort(-scores(x_ND, samples=samples, seed=seed), kind='stable')[:count].astype(np.int64)


def typiclust(embeddings: ArrayLike, budget: Budget, *, seed: int = 0) -> NDArray[np.int64]:
  """TypiClust: the most typical of every cluster (Hacohen et al., arXiv 2202.02794, section 3 and algorithm 1).

  min(budget, 500) clusters by k-means (mini-batches above 50 clusters, as theirs; one thread). Round after round the
  clusters, largest first, give the one among their unchosen with the least mean distance to its 20 nearest (at most
  half of what is left of the cluster). Clusters of at most 5 come in when the others are empty; their code would stop.

  Args: embeddings: float [N, D]; budget; seed: of k-means. Nested among budgets of at least 500 only. Time: k-means,
    then O(size of the cluster ^ 2 D) a choice.
  """
  x_ND = _matrix('embeddings', embeddings, np.float32)
  count = budget_count(budget, len(x_ND))
  label_N, size_C = _labels(_kmeans(x_ND, min(count, TYPICLUST_CLUSTERS), seed), len(x_ND))
  largest_first = np.argsort(-size_C, kind='stable')
  turns = [(size_C[c] <= TYPICLUST_SMALL, turn, place, c) for place, c in enumerate(largest_first)
           for turn in range(size_C[c])]
  turns = [c for *_, c in sorted(turns)[:count]]
  share_C = np.bincount(turns, minlength=len(size_C))
  with threadpool_limits(1):
    queue_C = [iter(_most_typical(x_ND, np.flatnonzero(label_N == c), share)) for c, share in enumerate(share_C)]
  return np.array([next(queue_C[c]) for c in turns], np.int64)


def badge(probabilities: ArrayLike, features: ArrayLike, budget: Budget, *, seed: int = 0) -> NDArray[np.int64]:
  """BADGE: k-means++ on gradients of the last layer (Ash et al., arXiv 1906.03671, algorithm 1).

  An example's gradient embedding is (p - onehot(argmax p)) outer feature, C F numbers that are never formed: an inner
  product of two of them is the product of the factors' inner products. As in their code the first has the largest
  norm; each next one is drawn in proportion to its squared distance to the nearest chosen. Where all those are 0
  (their code stops), the draw is uniform.

  Args: probabilities: float [N, C], a model's; features: float [N, F], the input of its last layer; budget; seed.
    Nested. Time O(n N (C + F)).
  """
  p_NC = _matrix('probabilities', probabilities, np.float32)
  feature_NF = _matrix('features', features, np.float32)
  _same_length(len(p_NC), features=feature_NF)
  count = budget_count(budget, len(p_NC))
  rng = np.random.default_rng(seed)
  error_NC = p_NC.copy()
  error_NC[np.arange(len(p_NC)), p_NC.argmax(1)] -= 1
  norm_N = np.square(error_NC, dtype=np.float64).sum(1) * np.square(feature_NF, dtype=np.float64).sum(1)
  chosen = [int(norm_N.argmax())]
  distance_N = np.full(len(p_NC), np.inf)
  open_N = np.ones(len(p_NC), bool)
  # Products with one vector are over before a second thread starts, which then only waits: 15 times slower.
  with threadpool_limits(1):
    while len(chosen) < count:
      last = chosen[-1]
      open_N[last] = False
      inner_N = (error_NC @ error_NC[last]).astype(np.float64) * (feature_NF @ feature_NF[last])
      distance_N = np.minimum(distance_N, np.maximum(norm_N + norm_N[last] - 2 * inner_N, 0))
      weight_N = distance_N * open_N
      total_N = np.cumsum(weight_N if weight_N.any() else open_N, dtype=np.float64)
      # Scaled to the last sum and searched from the right, the draw never lands on a weight of 0.
      chosen.append(int(np.searchsorted(total_N, rng.random() * total_N[-1], side='right')))
  return np.array(chosen, np.int64)


def balanced(pseudo_labels: ArrayLike, budget: Budget, *, seed: int = 0) -> NDArray[np.int64]:
  """Random with equal shares: every cluster gives equally many, as far as its size allows, uniformly within.

  What is left of the budget goes one each to random clusters with room. Args: pseudo_labels: int [N]; budget; seed.
  Returns: in random order.
  """
  label_N, size_C = _labels(pseudo_labels, np.size(pseudo_labels))
  rng = np.random.default_rng(seed)
  count = budget_count(budget, len(label_N))
  shuffled_N = rng.permutation(len(label_N))
  grouped_N = shuffled_N[np.argsort(label_N[shuffled_N], kind='stable')]
  round_N = np.arange(len(label_N)) - np.repeat(np.cumsum(size_C) - size_C, size_C)
  return rng.permutation(grouped_N[np.lexsort((rng.random(len(label_N)), round_N))[:count]]).astype(np.int64)


def _most_typical(x_ND, members, count):
  """`count` of the members, each the one nearest to its neighbours among those left."""
  chosen = []
  for _ in range(count):
    near = min(TYPICLUST_NEIGHBORS, len(members) // 2)
    best = int(np.argmin(_spread(x_ND[members], near))) if near else 0
    chosen.append(members[best])
    members = np.delete(members, best)
  return chosen


def _spread(x_MD, near):
  """The mean distance of each row to its nearest others: [M]. In blocks, as a cluster can hold nearly everything."""
  x_MD = x_MD - x_MD.mean(0)
  norm_M = np.square(x_MD).sum(1)
  rows = max(1, BLOCK_ELEMENTS // len(x_MD))
  spread = []
  for start in range(0, len(x_MD), rows):
    part_RD = x_MD[start:start + rows]
    square_RM = np.maximum(norm_M[start:start + rows, None] + norm_M - 2 * part_RD @ x_MD.T, 0)
    square_RM[np.arange(len(part_RD)), np.arange(start, start + len(part_RD))] = np.inf
    spread.append(np.sqrt(np.partition(square_RM, near - 1, axis=1)[:, :near]).mean(1))
  return np.concatenate(spread)


def _kmeans(x_ND, clusters, seed):
  from sklearn.cluster import KMeans, MiniBatchKMeans
  model = (KMeans(clusters, n_init=1, random_state=seed) if clusters <= 50 else
           MiniBatchKMeans(clusters, batch_size=5000, n_init=1, random_state=seed))
  return fit_kmeans(model, x_ND).labels_


def _neighbors(x_ND, neighbors):
  if isinstance(neighbors, (int, np.integer)) and not isinstance(neighbors, bool):
    return _nearest(x_ND, int(neighbors))
  near_NK = np.asarray(neighbors)
  if near_NK.ndim != 2 or not near_NK.size or not np.issubdtype(near_NK.dtype, np.integer):
    raise ValueError(f'neighbors must be a count or int [N, k], got {near_NK.dtype} {near_NK.shape}')
  _same_length(len(x_ND), neighbors=near_NK)
  if near_NK.min() < 0 or near_NK.max() >= len(x_ND):
    raise ValueError(f'neighbors must be from 0 to {len(x_ND) - 1}, got {near_NK.min()} to {near_NK.max()}')
  return near_NK


def _nearest(x_ND, k):
  """The k nearest others of each row by cosine similarity, exact, best first: int [N, k]."""
  from sklearn.neighbors import NearestNeighbors
  if not 1 <= k < len(x_ND):
    raise ValueError(f'neighbors={k} must be at least 1 and needs at least {k + 1} examples, got {len(x_ND)}')
  with threadpool_limits(1):
    return NearestNeighbors(n_neighbors=k, metric='cosine').fit(x_ND).kneighbors(return_distance=False)


def _matrix(name, values, dtype):
  x_ND = np.asarray(values)
  if x_ND.ndim != 2 or not x_ND.size:
    raise ValueError(f'{name} must be [N, width] with N > 0, got shape {x_ND.shape}')
  x_ND = x_ND.astype(dtype)
  bad = np.flatnonzero(~np.isfinite(x_ND).all(1))
  if len(bad):
    more = ', ...' if len(bad) > 5 else ''
    raise ValueError(f'{name} are not finite in {len(bad)} of {len(x_ND)} rows: {", ".join(map(str, bad[:5]))}{more}')
  return x_ND


def _labels(labels, count):
  """Labels as 0, ..., C - 1: int [N], and their sizes: int [C]."""
  labels = np.asarray(labels)
  if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not len(labels):
    raise ValueError(f'pseudo_labels must be int [N] with N > 0, got {labels.dtype} {labels.shape}')
  _same_length(count, pseudo_labels=labels)
  return np.unique(labels, return_inverse=True, return_counts=True)[1:]


def _same_length(count, **arrays):
  for name, values in arrays.items():
    if len(values) != count:
      raise ValueError(f'{name} has {len(values)} rows, the other array has {count}')
