"""Selection: which n of N examples, from how hard each is. Runs where JAX is not installed.

`difficulty` is float [N], higher is harder (for AUM: its negative). `budget` is a count (int) or a fraction of N
(float in (0, 1], or a string such as '10%'). A fraction f means floor(f * N + 1e-9) examples. Indices are int64.
"""
import numbers

import numpy as np

from elfs_jax.greedy import cover_graph
from elfs_jax.rivals import (  # noqa: F401 (the rivals are part of this module)
    badge, balanced, d2, facility_location, k_center, prototypes, typiclust, zcore)

BALANCE = 0.5  # How much rare pseudo-classes count beyond their number, unless the user says: `class_need`.
LEAST_SHARE = 0.5  # A pseudo-class gets at least this part of what a random choice would give it.
LEAST_ROOM = 0.1  # Of the mean: what there is to cover of each, in a crowd of exact copies too.
WITH_BETA = ('coverage', 'double_end', 'stratified')  # The methods of `cut` that drop a hard end.


def double_end(difficulty, budget, beta):
  """Drop the beta * N hardest, keep the next `budget`, drop the rest (ELFS, arXiv 2406.04273, section 4.3).

  Args:
    difficulty: float [N], finite, higher is harder; ties go to the lower index.
    budget: a count or a fraction, as above.
    beta: the fraction of N dropped from the hard end, in [0, 1).
  Returns: int64 [n], hardest first.
  Raises: ValueError if difficulty is not finite, the budget is out of range or of no example, or no room is left.
  """
  order = hardness_order(difficulty)
  cut, count = _cuts(len(order), budget, beta)
  return order[cut:cut + count]


def stratified(difficulty, budget, beta, *, strata=50, seed):
  """Coverage-centric selection: drop the hardest, then draw evenly over strata (CCS, arXiv 2210.15809, algorithm 1).

  The range of difficulty that is kept is cut into `strata` intervals of equal width. From the smallest stratum up,
  each gets min(its size, what is left of the budget // strata left), drawn at random.
  Args and errors as in `double_end`. Returns: int64 [n], hardest first.
  """
  order = hardness_order(difficulty)
  cut, count = _cuts(len(order), budget, beta)
  kept = order[cut:]
  values = np.asarray(difficulty, np.float64)[kept]
  width = (values[0] - values[-1]) / strata
  stratum = np.zeros(len(kept), int) if width == 0 else np.minimum((values - values[-1]) // width, strata - 1)
  groups = sorted((np.flatnonzero(stratum == s) for s in range(strata)), key=len)
  rng, chosen, left = np.random.default_rng(seed), [], count
  for done, group in enumerate(groups):
    take = min(len(group), left // (strata - done))
    chosen.append(rng.choice(group, take, replace=False))
    left -= take
  return kept[np.sort(np.concatenate(chosen).astype(np.int64))]


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
  cut, count = _cuts(len(order), budget, beta)
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


def random(n, budget, *, seed):
  """`budget` of n examples, uniformly without replacement. Returns: int64 [n], in the order of the draw."""
  return np.random.default_rng(seed).permutation(n)[:budget_count(budget, n)].astype(np.int64)


def hardest(difficulty, budget):
  """The `budget` hardest examples, hardest first; `double_end` with beta = 0."""
  return double_end(difficulty, budget, 0.0)


def easiest(difficulty, budget):
  """The `budget` easiest examples, hardest first."""
  order = hardness_order(difficulty)
  return order[len(order) - budget_count(budget, len(order)):]


def hardness_order(difficulty):
  """All examples, hardest first, ties to the lower index: int64 [N]. ValueError if not finite, not 1-D or empty."""
  difficulty = np.asarray(difficulty)
  if difficulty.ndim != 1 or not len(difficulty):
    raise ValueError(f'difficulty must be [N] with N > 0, got shape {difficulty.shape}')
  bad = np.flatnonzero(~np.isfinite(difficulty))
  if len(bad):
    raise ValueError(f'difficulty is not finite at {len(bad)} of {len(difficulty)} rows, first row {bad[0]}')
  return np.argsort(-difficulty.astype(np.float64), kind='stable').astype(np.int64)


def break_ties(*keys, seed):
  """A difficulty without ties: the first of `keys`, its ties set apart by the other keys, then by a seeded hash.

  Folders come sorted by class and scores such as forgetting are small integers, so ties by position would choose
  classes. What is tied moves by less than the next float32, so `stratified` still sees values, not ranks.
  Args: `keys`: float [N] each, read as float32; higher is harder. Returns: float64 [N], all different.
  """
  keys = [np.asarray(key, np.float32).astype(np.float64) for key in keys]
  draw = np.random.default_rng([seed, 0x7135]).permutation(len(keys[0]))
  order = np.lexsort((draw, *reversed(keys)))
  value = keys[0][order]
  place_in_tie = np.arange(len(value)) - np.searchsorted(value, value)
  out = np.empty(len(order))
  out[order] = value + place_in_tie * np.maximum(np.abs(np.spacing(value)), 1e-300)
  return out


def cut(method, graph, pseudo_labels, difficulty, budget, beta, seed, *, balance=BALANCE, rows=None):
  """A coreset by the named method of this module, of all N or of some `rows` alone.

  Args: method: 'coverage', 'double_end', ...; graph: (indices int [N,k], similarity float [N,k]) from `neighbors.knn`;
    pseudo_labels: int [N]; difficulty: float [N] without ties; budget, beta: of what it chooses from; seed;
    balance: as in `class_need`, for 'coverage'; rows: int [m], distinct, default all.
  Returns: int64 [n], of all N, hardest first.
  """
  if rows is not None:
    part = cut(method, _among(graph, rows), pseudo_labels[rows], difficulty[rows], budget, beta, seed,
               balance=balance)
    return np.asarray(rows)[part]
  if method == 'coverage':
    need = class_need(pseudo_labels, balance)
    return coverage(*graph, difficulty, budget, beta, need=need, groups=pseudo_labels)
  if method == 'double_end':
    return double_end(difficulty, budget, beta)
  if method == 'stratified':
    return stratified(difficulty, budget, beta, seed=seed)
  if method == 'random':
    order = hardness_order(difficulty)
    return order[np.isin(order, random(len(order), budget, seed=seed))]
  return {'hardest': hardest, 'easiest': easiest}[method](difficulty, budget)


def budget_count(budget, n):
  """The number of examples that `budget` means for n examples. Raises: ValueError if out of range or none."""
  given = budget
  if isinstance(budget, str):
    budget = parse_budget(budget)
  if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
    raise ValueError(f'budget={budget!r} must be a count such as 500 or a fraction such as 0.1 or 10%')
  if isinstance(budget, numbers.Integral):
    count = int(budget)
  elif 0 < budget <= 1:
    count = floor_count(budget, n)
    if count == 0:
      raise ValueError(f'budget={given} of {n} examples is less than one example: take at least {1 / n:.2g}')
  else:
    raise ValueError(f'budget={given} must be a whole count or a fraction in (0, 1], at most 100%')
  if not 1 <= count <= n:
    raise ValueError(f'budget={given} must be between 1 and the number of examples, {n}')
  return count


def parse_budget(text):
  """A budget as people type it: '10%' or '0.1' a fraction, '500' a count. Raises: ValueError otherwise."""
  try:
    if text.strip().endswith('%'):
      return float(text.strip()[:-1]) / 100
    return float(text) if any(c in text for c in '.eE') else int(text)
  except ValueError:
    raise ValueError(f'budget={text!r} must be a count such as 500 or a fraction such as 0.1 or 10%') from None


def floor_count(fraction, n):
  """floor(fraction * n), safe against 0.29 * 100 = 28.999..."""
  return int(np.floor(fraction * n + 1e-9))


def _cuts(n, budget, beta):
  """How many of n are dropped from the hard end, and how many are kept."""
  count = budget_count(budget, n)
  if isinstance(beta, bool) or not isinstance(beta, numbers.Real) or not 0 <= beta < 1:
    raise ValueError(f'beta={beta!r} must be a number in [0, 1)')
  cut = floor_count(beta, n)
  if cut + count > n:
    raise ValueError(f'beta={beta:g} and a budget of {count} of {n} leave no room: beta can be at most '
                     f'{np.floor((n - count) / n * 1e4) / 1e4:g}')
  return cut, count


def _among(graph, rows):
  """The neighbour graph of some rows, numbered as in `rows`: those outside become -1, but a similarity stays."""
  indices, similarity = graph
  place = np.full(len(indices), -1, np.int32)
  place[rows] = np.arange(len(rows), dtype=np.int32)
  return place[indices[rows]], similarity[rows]
