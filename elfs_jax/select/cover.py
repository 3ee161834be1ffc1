"""Coverage: the examples that stand for all others, over the graph of neighbours, without the hardest."""
import heapq

import numpy as np

from elfs_jax.budget import floor_count
from elfs_jax.select.band import counts, hardness_order

BALANCE = 0.5  # How much rare pseudo-classes count beyond their number, unless the user says: `class_need`.
LEAST_SHARE = 0.5  # A pseudo-class gets at least this part of what a random choice would give it.
LEAST_ROOM = 0.1  # Of the mean: what there is to cover of each, in a crowd of exact copies too.
DIGITS = 9  # Two that have only each other gain the same in `cover_graph`, whatever the last bits say.


def coverage(neighbors, similarity, difficulty, budget, beta, *, need=None, groups=None):
  """Choose what covers everything, but none of the hardest.

  Ours, not published: `double_end` fixes how hard the examples are, and this lets none of them stand for another. It
  is facility location over the graph of neighbours: example i is covered by the chosen j among its k neighbours to
  max(s_ij - f_i), where f_i is the similarity of its last neighbour, by itself to 1 - f_i, and what is chosen next adds
  most to the sum of that, each times its need (lazy greedy, exact; ties to the harder). Of more than k exact copies
  nobody would be left to cover: 1 - f_i is at least `LEAST_ROOM` of its mean. The beta * N hardest are not chosen, since
  their labels teach least, but need cover like the rest. A few can stand for a crowd of near copies, but what is
  trained on the few alone may not learn them: so no group gets less than `LEAST_SHARE` of its share of the budget, as
  far as so many of it may be chosen.

  Args:
    neighbors: int [N,k], the nearest others of each, best first; -1 where there is none.
    similarity: float [N,k], their cosine similarity.
    difficulty, budget, beta: as in `double_end`.
    need: float [N], 0 or more, what the cover of each counts (`class_need`); default all alike.
    groups: int [N], the groups, such as pseudo-classes; default one for all.
  Returns: int64 [n], hardest first. Raises: as `double_end`, and ValueError for shapes that do not fit.
  """
  order = hardness_order(difficulty)
  cut, count = counts(len(order), budget, beta)
  neighbors, similarity = np.asarray(neighbors), np.asarray(similarity)
  if neighbors.shape != similarity.shape or neighbors.shape[:1] != order.shape or neighbors.ndim != 2:
    raise ValueError(f'neighbors {neighbors.shape} and similarity {similarity.shape} must both be [N,k] with '
                     f'N={len(order)}, as many as difficulties')
  need = np.ones(len(order)) if need is None else np.asarray(need, np.float64)
  if need.shape != order.shape:
    raise ValueError(f'need must be [N] with N={len(order)}, got shape {need.shape}')
  bad = np.flatnonzero(~(np.isfinite(need) & (need >= 0)))
  if len(bad):
    raise ValueError(f'need must be finite and 0 or more, but is not at {len(bad)} of {len(need)} rows, first row '
                     f'{bad[0]}')
  groups = np.zeros(len(order), int) if groups is None else np.asarray(groups)
  if groups.shape != order.shape:
    raise ValueError(f'groups must be [N] with N={len(order)}, got shape {groups.shape}')
  rank = np.argsort(order)
  allowed = rank >= cut
  _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
  share = [floor_count(LEAST_SHARE * count / len(order), size) for size in sizes]
  owed = np.minimum(share, np.bincount(groups[allowed], minlength=len(sizes)))
  room = 1 - similarity[:, -1].astype(np.float64)
  floor = 1 - np.maximum(room, LEAST_ROOM * room.mean())
  return order[np.sort(rank[cover_graph(neighbors, similarity, floor, allowed, rank, need, count, groups, owed)])]


def class_need(pseudo_labels, balance=BALANCE):
  """The need for cover by which rare pseudo-classes count for more than they have examples: float64 [N].

  Without it a class gets as few examples as it has, and a test that asks all classes alike suffers for it. The default
  is half way to all classes alike, since small clusters can be junk as well.

  Args: pseudo_labels: int [N]; balance: from 0, each example counts alike, to 1, each pseudo-class does.
  Returns: (mean size of a pseudo-class / size of its own) ** balance, per example.
  """
  _, of_class, sizes = np.unique(pseudo_labels, return_inverse=True, return_counts=True)
  return ((sizes.mean() / sizes) ** balance)[of_class]


def cover_graph(neighbors, similarity, floor, allowed, rank, need, count, groups, owed):
  """Facility location where only neighbours cover: the `count` best by lazy greedy, ties to the lower rank.

  Args: neighbors: int [N,k], -1 for none; similarity: float [N,k], best first; floor: float [N], the similarity from
    which each is covered; allowed: bool [N], what may be chosen; rank: int [N]; need: float [N], what the cover of each
    counts; count; groups: int [N] in 0..G-1; owed: int [G], the least that each group gets, at most its allowed ones
    and `count` in all. Returns: int64 [count], in the order of choice. See `select.coverage` for what is maximised.
  """
  n, k = neighbors.shape
  covered, by = np.repeat(np.arange(n), k), neighbors.ravel()
  value = (np.maximum(similarity - floor[:, None], 0) * need[:, None]).ravel()
  keep = (value > 0) & np.append(allowed, False)[by]  # The last answers for -1, no neighbour.
  own = np.flatnonzero(allowed)
  covered, by = np.append(covered[keep], own), np.append(by[keep], own)
  value = np.append(value[keep], (1 - floor[own]) * need[own])
  order = np.argsort(by, kind='stable')
  covered, value = covered[order], value[order]
  ends = np.searchsorted(by[order], np.arange(n + 1))
  gain = np.round(np.bincount(by[order], value, minlength=n), DIGITS)
  heap = [(-gain[j], rank[j], j) for j in own.tolist()]
  heapq.heapify(heap)
  cover, fresh, chosen = np.zeros(n), np.zeros(n, np.int64), []
  owed = owed.copy()
  spare = count - owed.sum()
  while len(chosen) < count:
    j = heap[0][2]
    rows = slice(ends[j], ends[j + 1])
    if not owed[groups[j]] and not spare:
      heapq.heappop(heap)
    elif fresh[j] == len(chosen):  # Gains only fall, so one that is exact and leads is the largest.
      heapq.heappop(heap)
      chosen.append(j)
      if owed[groups[j]]:
        owed[groups[j]] -= 1
      else:
        spare -= 1
      cover[covered[rows]] = np.maximum(cover[covered[rows]], value[rows])
    else:
      left = float(np.maximum(value[rows] - cover[covered[rows]], 0).sum())
      heapq.heapreplace(heap, (-round(left, DIGITS), rank[j], j))
      fresh[j] = len(chosen)
  return np.array(chosen, np.int64)


def among(graph, rows):
  """The neighbour graph of some rows, numbered as in `rows`: those outside become -1, but a similarity stays."""
  indices, similarity = graph
  place = np.full(len(indices), -1, np.int32)
  place[rows] = np.arange(len(rows), dtype=np.int32)
  return place[indices[rows]], similarity[rows]
