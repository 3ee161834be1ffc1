"""Coverage: the examples that stand for all others, over the graph of neighbours, without the hardest."""
import collections
import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.select.candidates import Candidates, choosable, labelled_rows
from elfs_jax.select.order import hardness_order
from elfs_jax.select.origins import Bound

BALANCE = 0.25  # How much rare pseudo-classes count beyond their number, unless the user says: `class_weights`.
LEAST_SHARE = 0.5  # A group gets at least this part of what a random choice would give it, at any time.
LEAST_SLACK = 0.1  # Of the mean: what there is to cover of each, in a crowd of exact copies too.
DIGITS = 9  # Two that have only each other gain the same in `greedy_cover`, whatever the last bits say.


def coverage(neighbors: ArrayLike, similarity: ArrayLike, difficulty: ArrayLike, budget: int | float | str,
             beta: float, *, weight: ArrayLike | None = None, groups: ArrayLike | None = None,
             labelled: ArrayLike = (), copies: ArrayLike = (), origins: ArrayLike = (), most_share: float = 1.0,
             least_share: float = LEAST_SHARE, least_slack: float = LEAST_SLACK) -> NDArray[np.int64]:
  """Choose what covers everything, but none of the hardest.

  Ours, not published: `double_end` fixes how hard the examples are, and this lets none of them stand for another. It
  is facility location over the graph of neighbours. Example i has a slack of 1 - f_i to be covered, where f_i is the
  similarity of its last neighbour. A chosen j among its k neighbours covers s_ij - f_i of that, the example itself all
  of it, and the largest counts. What is chosen next adds most to the sum of all covers, each times its weight (lazy
  greedy, exact; ties to the harder). Of more than k exact copies no slack would be left, so it is at least
  `least_slack` of its mean. The beta * N hardest are not chosen, since their labels teach least, but are to be covered
  like the rest. A few can stand for a crowd of near copies, but what is trained on the few alone may not learn them: so
  a group that has less than `least_share` of its share of what is chosen so far is served first, while it has any that
  may be chosen; of several such groups the best.

  Each step hangs on the steps before alone, so of two budgets the larger choice begins with the smaller one. Labelled
  rows count as chosen first: they cover what they would have covered, and they count towards the share of their group.
  So to choose 100, label them and choose 100 more gives the same as to choose 200 at once.

  Args:
    neighbors: int [N,k], the nearest others of each, best first; -1 where there is none.
    similarity: float [N,k], their cosine similarity.
    difficulty, budget, beta: as in `double_end`; the budget counts new ones only.
    weight: float [N], 0 or more, what the cover of each counts (`class_weights`); default all alike.
    groups: int [N], the groups, such as pseudo-classes; default one for all.
    labelled: int [m], rows that are labelled already, in any order.
    copies: int [c], rows that may not be chosen either, but are to be covered like the rest.
    origins: int [N], in 0..G-1, the video, patient or the like that each is of, none of which gets more than
      `most_share` of what is labelled or chosen so far (`origins.Bound`); default they don't count.
    least_share, least_slack: as above, from 0 to 1.
  Returns: int64 [n], in the order in which to label, best first. Raises: as `double_end`, and ValueError for shapes
    that do not fit.
  """
  order = hardness_order(difficulty)
  n = len(order)
  free, count = choosable(difficulty, budget, beta, np.union1d(labelled_rows(labelled, n), labelled_rows(copies, n)))
  neighbors, similarity = np.asarray(neighbors), np.asarray(similarity)
  if neighbors.shape != similarity.shape or neighbors.shape[:1] != order.shape or neighbors.ndim != 2:
    raise ValueError(f'neighbors {neighbors.shape} and similarity {similarity.shape} must both be [N,k] with N={n}, '
                     'as many as difficulties')
  weight = weights_of(weight, n)
  groups = np.zeros(n, int) if groups is None else np.asarray(groups)
  if groups.shape != order.shape:
    raise ValueError(f'groups must be [N] with N={n}, got shape {groups.shape}')
  origins = np.asarray(origins if len(origins) else np.zeros(n, int))
  if origins.shape != order.shape:
    raise ValueError(f'origins must be [N] with N={n}, got shape {origins.shape}')
  _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
  known = labelled_rows(labelled, n)
  floor = floors(similarity, least_slack)
  shares = least_share * sizes / n
  return greedy_cover(neighbors, similarity, floor, free, known, np.argsort(order), weight, count, groups, shares,
                      origins, Bound(origins, free, known, most_share))


def floors(similarity: ArrayLike, least_slack: float = LEAST_SLACK) -> NDArray[np.float64]:
  """The similarity from which each example is covered: float64 [N]. Args as in `coverage`."""
  slack = 1 - np.asarray(similarity)[:, -1].astype(np.float64)
  return 1 - np.maximum(slack, least_slack * slack.mean())


def choose_coverage(candidates: Candidates, budget: int, beta: float | None, *, seed, balance: float,
                    least_share: float = LEAST_SHARE, least_slack: float = LEAST_SLACK) -> NDArray[np.int64]:
  """`coverage` with the signature that `select.METHODS` asks for; the groups are the pseudo-classes."""
  weight = class_weights(candidates.pseudo_labels, balance)
  if len(candidates.weight):
    weight = weight * candidates.weight
  return coverage(candidates.neighbors, candidates.similarity, candidates.difficulty, budget, beta,
                  weight=weight, groups=candidates.pseudo_labels,
                  labelled=candidates.labelled, copies=candidates.copies, origins=candidates.origins,
                  most_share=candidates.share, least_share=least_share, least_slack=least_slack)


def class_weights(pseudo_labels: ArrayLike, balance: float = BALANCE) -> NDArray[np.float64]:
  """Weights in the cover by which rare pseudo-classes count for more than they have examples: float64 [N].

  Without them a class gets as few examples as it has, and a test that asks all classes alike suffers for it. The
  default goes a quarter of the way, since small clusters can be junk, or parts of one kind, as well.

  Args: pseudo_labels: int [N]; balance: from 0, each example counts alike, to 1, each pseudo-class does.
  Returns: (mean size of a pseudo-class / size of its own) ** balance, per example.
  """
  _, of_class, sizes = np.unique(pseudo_labels, return_inverse=True, return_counts=True)
  return ((sizes.mean() / sizes) ** balance)[of_class]


def judge_weights(pseudo_labels: ArrayLike, balance: float, *, alike: float = BALANCE) -> NDArray[np.float64]:
  """What each example counts when a cover that was chosen with this `balance` is graded: float64 [N].

  Up to `alike`, the default balance, all count alike, since a user who keeps it has not said that rare kinds matter
  more. Beyond it rare pseudo-classes count more and more, as they do in the cover: at 1 each class counts alike.
  """
  return class_weights(pseudo_labels, max(0.0, (balance - alike) / (1 - alike)))


def greedy_cover(neighbors, similarity, floor, free, known, rank, weight, count, groups, shares, origins,
                 bound) -> NDArray[np.int64]:
  """Facility location where only neighbours cover: the `count` best by lazy greedy, ties to the lower rank.

  Args:
    neighbors: int [N,k], -1 for none.
    similarity: float [N,k], best first.
    floor: float [N], the similarity from which each is covered.
    free: int [c], the rows that may be chosen.
    known: int [m], the rows that count as chosen before.
    rank: int [N], place in the order that breaks ties.
    weight: float [N], what the cover of each counts.
    count: how many to choose.
    groups: int [N], in 0..G-1.
    shares: float [G], the part of all that are chosen, known ones too, which a group gets at least: where one has fewer
      and any are free, the best of such groups is chosen.
    origins: int [N]; bound: `Bound` of them, which comes before the shares.
  Returns: int64 [count], in the order of choice. See `coverage` for what is maximised.
  """
  n = len(neighbors)
  covered, ends, value = covers_of(neighbors, similarity, floor, weight, np.concatenate([free, known]))
  gain = np.round(np.bincount(np.repeat(np.arange(n), np.diff(ends)), value, minlength=n), DIGITS)
  cover = cover_of(known, covered, ends, value)
  # Gains only fall, so one of an earlier moment is an upper bound. It is stale once the cover rose of anything that its
  # row would cover; at first all are, since these were summed in another order. The last answers for -1, no neighbour.
  stale, taken, chosen, aside = np.ones(n + 1, bool), np.zeros(n, bool), [], collections.defaultdict(list)
  # A heap of the rows of each group and origin; and of these heaps' best, one for all and one for each group, for when
  # it lacks. What one of them found out the others see when they come to it.
  cells = collections.defaultdict(list)
  for entry in sorted(zip((-gain[free]).tolist(), rank[free].tolist(), free.tolist())):  # Sorted lists are heaps.
    cells[groups[entry[2]], origins[entry[2]]].append(entry)
  everything, of_group = [], [[] for _ in shares]
  for cell, rows in sorted(cells.items(), key=lambda item: item[1][0]):
    everything.append((rows[0], cell))
    of_group[cell[0]].append((rows[0], cell))

  def lead(heap):
    """The entry that leads a heap, exact: no other in it gains more. None where all of it is at its bound."""
    while heap:
      entry, cell = heap[0]
      rows = cells[cell]
      while rows and taken[rows[0][2]]:
        heapq.heappop(rows)
      if not rows:
        heapq.heappop(heap)
      elif cell[1] not in bound.open:
        aside[cell[1]].append((heap, heapq.heappop(heap)))
      elif rows[0] != entry:
        heapq.heapreplace(heap, (rows[0], cell))
      elif not stale[entry[2]]:
        return entry
      else:
        _, place, j = entry
        of_row = slice(ends[j], ends[j + 1])
        left = float(np.maximum(value[of_row] - cover[covered[of_row]], 0).sum())
        heapq.heapreplace(rows, (-round(left, DIGITS), place, j))
        stale[j] = False

  has = np.bincount(groups[known], minlength=len(shares))
  left = np.bincount(groups[free], minlength=len(shares))
  while len(chosen) < count:
    for origin in bound.opened():
      for heap, entry in aside.pop(origin, []):
        heapq.heappush(heap, entry)
    least = np.floor(shares * (len(known) + len(chosen) + 1) + 1e-9)
    lacking = [lead(of_group[g]) for g in np.flatnonzero((has < least) & (left > 0)).tolist()]
    _, _, j = min(filter(None, lacking), default=None) or lead(everything)
    rows = slice(ends[j], ends[j + 1])
    rises = value[rows] > cover[covered[rows]]
    risen = covered[rows][rises]
    cover[risen] = value[rows][rises]
    stale[neighbors[risen]] = stale[risen] = True
    taken[j] = True
    chosen.append(j)
    has[groups[j]] += 1
    left[groups[j]] -= 1
    bound.take(origins[j])
  return np.array(chosen, np.int64)


def cover_of(known, covered, ends, value):
  """How far each is covered by the rows `known`, of what `covers_of` found: float64 [n]."""
  cover = np.zeros(len(ends) - 1)
  for j in known:
    rows = slice(ends[j], ends[j + 1])
    cover[covered[rows]] = np.maximum(cover[covered[rows]], value[rows])  # None is covered twice by one.
  return cover


def covers_of(neighbors, similarity, floor, weight, by_rows):
  """Whom each of `by_rows` would cover and what that counts, itself last: covered int32 [e], value float64 [e].

  Those of j are at ends[j] to ends[j + 1], and ends are int64 [n + 1]. Returns: (covered, ends, value).
  """
  from scipy import sparse
  n, k = neighbors.shape
  covers = np.zeros(n + 1, bool)  # The last answers for -1, no neighbour.
  covers[by_rows] = True
  value = np.maximum(similarity - floor[:, None], 0) * weight[:, None]
  keep = (value > 0) & covers[neighbors]
  own = np.flatnonzero(covers)
  # Row i has whom i is covered by, row n + j the j that covers itself; to go by columns sorts by who covers.
  sizes = np.append(keep.sum(1), covers[:n])
  by = np.append(neighbors[keep], own)
  value = np.append(value[keep], (1 - floor[own]) * weight[own])
  found = sparse.csr_array((value, by, np.append(0, sizes.cumsum())), shape=(2 * n, n)).tocsc()
  return found.indices % n, found.indptr.astype(np.int64), found.data


def weights_of(weight, n):
  """The weights as float64 [n]; ValueError if they are not finite, below 0 or of another shape."""
  weight = np.ones(n) if weight is None else np.asarray(weight, np.float64)
  if weight.shape != (n,):
    raise ValueError(f'weight must be [N] with N={n}, got shape {weight.shape}')
  bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
  if len(bad):
    raise ValueError(f'weight must be finite and 0 or more, but is not at {len(bad)} of {n} rows, first row {bad[0]}')
  return weight
