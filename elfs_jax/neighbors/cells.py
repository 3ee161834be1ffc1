"""Nearly all neighbours of very many examples: each is compared with those of the cells around it alone.

An inverted file, as faiss has it (Johnson et al., 2017), but searched by whole cells: k-means cuts the space into
cells, and all examples of a cell are compared in one matrix product with those of the cells near it. How many cells
that takes is found by some examples whose neighbours are searched exactly. NumPy alone, each block on one thread of its
own, so the result depends neither on the number of devices nor on that of threads.
"""
import concurrent.futures
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from elfs_jax.vectors import THREADS, fit_kmeans, unit_rows

BLOCK_ROWS = 4096  # Of the embeddings at a time.
BLOCK_ELEMENTS = 1 << 22  # 16 MB of similarities a thread.


def knn(embeddings: np.ndarray, k: int, order: np.ndarray, *, recall: float = 0.98, cells_per_root: float = 2,
        most_probes: int = 64, queries: int = 500, sampled: int = 50, rounds: int = 10, votes: int = 12, seed: int = 0,
        progress: Callable | None = None) -> tuple[np.ndarray, np.ndarray, float]:
  """Nearly all of the k nearest neighbours of every example by cosine similarity, the example itself excluded.

  Args:
    embeddings: float [N, D], finite; read in blocks, so it may be a memory map. One copy is made.
    k: neighbours per example, 1 <= k < N.
    order: int [N], a permutation: ties go to what comes first in it.
    recall: the share of the neighbours to find: it decides with how many cells each is compared,
    most_probes: of which there are at most so many, or more where those have no k examples.
    cells_per_root: there are so many cells times the root of N.
    queries: examples by whose exact neighbours the recall is told.
    sampled, rounds: k-means sees so many examples a cell, for so many rounds.
    votes: how many cells near each example say which are near its own.
    seed: draws the samples.
    progress: as in `neighbors.knn`.
  Returns: indices int32 [N, k], best first; cosine similarity float32 [N, k]; the share of the neighbours found.
  """
  count = len(embeddings)
  cells = min(count, max(1, round(cells_per_root * np.sqrt(count))))
  with threadpool_limits(1), concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    centres_CD = _centres(embeddings, cells, sampled, rounds, seed)
    cell_N, votes_CC = _assigned(pool, embeddings, centres_CD, min(votes, cells))
    place_N = np.argsort(order).astype(np.int32)
    inside_N = np.lexsort((place_N, cell_N)).astype(np.int32)  # Rows, cell after cell.
    x_ND, cell_N, place_N = _sorted_rows(embeddings, inside_N), cell_N[inside_N], place_N[inside_N]
    ends = np.searchsorted(cell_N, np.arange(cells + 1))
    np.fill_diagonal(votes_CC, count + 1)
    near_CC = np.argsort(-votes_CC, axis=1, kind='stable')
    drawn = np.random.default_rng(seed).choice(count, min(count, queries), replace=False)
    rank_qk = _ranks(pool, x_ND, cell_N, near_CC, k, drawn)
    probes = min(most_probes, 1 + int(np.quantile(rank_qk, recall, method='inverted_cdf')))
    indices, similarity = np.empty((count, k), np.int32), np.empty((count, k), np.float32)

    def search(cell):
      enough = 1 + int(np.searchsorted(np.diff(ends)[near_CC[cell]].cumsum(), k + 1))
      seen = np.concatenate([np.arange(ends[c], ends[c + 1]) for c in near_CC[cell, :max(probes, enough)]])
      seen = seen[np.argsort(place_N[seen])]
      seen_MD, step = x_ND[seen], max(1, BLOCK_ELEMENTS // len(seen))
      for start in range(ends[cell], ends[cell + 1], step):
        rows = np.arange(start, min(start + step, ends[cell + 1]))
        cosine_RM = x_ND[rows] @ seen_MD.T
        cosine_RM[rows[:, None] == seen] = -np.inf
        best_Rk, column_Rk = largest(cosine_RM, k)
        indices[inside_N[rows]] = inside_N[seen[column_Rk]]
        similarity[inside_N[rows]] = np.clip(best_Rk, -1, 1)

    work = pool.map(search, range(cells))
    for _ in work if progress is None else progress(work, desc='neighbours', total=cells):
      pass
  return indices, similarity, float((rank_qk < probes).mean())


def largest(value_RM: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """The k largest of each row, best first, ties to the lower column: values [R, k], columns int [R, k]."""
  least_R1 = np.partition(value_RM, value_RM.shape[1] - k, axis=1)[:, -k, None]
  taken = value_RM >= least_R1
  crowded = np.flatnonzero(taken.sum(1) > k)  # More are tied for the last places than there are.
  if len(crowded):
    value, least = value_RM[crowded], least_R1[crowded]
    tied, above = value == least, value > least
    taken[crowded] = above | tied & (tied.cumsum(1) <= k - above.sum(1, keepdims=True))
  column_Rk = np.nonzero(taken)[1].reshape(len(value_RM), k)
  best_Rk = np.take_along_axis(value_RM, column_Rk, 1)
  best_first = np.argsort(-best_Rk, axis=1, kind='stable')
  return np.take_along_axis(best_Rk, best_first, 1), np.take_along_axis(column_Rk, best_first, 1)


def _centres(embeddings, cells, sampled, rounds, seed):
  """Centres of the cells float32 [C, D], by k-means on a sample."""
  from sklearn.cluster import KMeans
  count = len(embeddings)
  rows = np.sort(np.random.default_rng(seed).choice(count, min(count, sampled * cells), replace=False))
  model = KMeans(cells, init='random', n_init=1, max_iter=rounds, random_state=seed, copy_x=False)
  return fit_kmeans(model, unit_rows(embeddings[rows])).cluster_centers_


def _assigned(pool, embeddings, centres_CD, near):
  """The cell of each example int32 [N]; how often each cell is among the `near` ones of a cell's examples [C, C]."""
  half_C, cells = np.square(centres_CD).sum(1) / 2, len(centres_CD)

  def block(start):
    score_RC = unit_rows(embeddings[start:start + BLOCK_ROWS]) @ centres_CD.T - half_C
    return score_RC.argmax(1), np.argpartition(score_RC, cells - near, axis=1)[:, cells - near:].astype(np.int32)

  cell_N, votes_CC = np.empty(len(embeddings), np.int32), np.zeros((cells, cells), np.int32)
  starts = range(0, len(embeddings), BLOCK_ROWS)
  for start, (cell_R, near_RV) in zip(starts, pool.map(block, starts)):
    cell_N[start:start + BLOCK_ROWS] = cell_R
    np.add.at(votes_CC, (cell_R[:, None], near_RV), 1)
  return cell_N, votes_CC


def _sorted_rows(embeddings, inside_N):
  """Unit rows in the order of the cells, of embeddings that are read from front to back: float32 [N, D]."""
  x_ND, where_N = np.empty(embeddings.shape, np.float32), np.argsort(inside_N)
  for start in range(0, len(x_ND), BLOCK_ROWS):
    x_ND[where_N[start:start + BLOCK_ROWS]] = unit_rows(embeddings[start:start + BLOCK_ROWS])
  return x_ND


def _ranks(pool, x_ND, cell_N, near_CC, k, queries):
  """How near to the cell of each query those of its exact neighbours are, by the order `near_CC`: int [queries, k]."""
  def block(start):
    cosine_qR = x_ND[queries] @ x_ND[start:start + BLOCK_ROWS].T
    own = np.flatnonzero((queries >= start) & (queries < start + BLOCK_ROWS))
    cosine_qR[own, queries[own] - start] = -np.inf
    best_qk, column_qk = largest(cosine_qR, min(k, cosine_qR.shape[1]))
    return best_qk, column_qk + start

  best_qk, row_qk = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), int)
  for best, row in pool.map(block, range(0, len(x_ND), BLOCK_ROWS)):
    best_qk, row_qk = np.append(best_qk, best, 1), np.append(row_qk, row, 1)
    best_qk, column_qk = largest(best_qk, min(k, best_qk.shape[1]))
    row_qk = np.take_along_axis(row_qk, column_qk, 1)
  rank_CC = np.argsort(near_CC, axis=1).astype(np.int32)
  return rank_CC[cell_N[queries][:, None], cell_N[row_qk]]
