"""Selection: which n of N examples, from how hard each is. Runs where JAX is not installed.

`difficulty` is float [N], higher is harder (for AUM: its negative). `budget` is a count (int) or a fraction of N
(float in (0, 1], or a string such as '10%'). A fraction f means floor(f * N + 1e-9) examples. Indices are int64.
"""
import numpy as np

from elfs_jax.budget import budget_count, floor_count, parse_budget  # noqa: F401
from elfs_jax.select.band import (  # noqa: F401
    break_ties, double_end, easiest, hardest, hardness_order, random, stratified)
from elfs_jax.select.cover import BALANCE, LEAST_ROOM, LEAST_SHARE, among, class_need, coverage  # noqa: F401
from elfs_jax.select.rivals import (  # noqa: F401
    badge, balanced, d2, facility_location, k_center, prototypes, typiclust, zcore)

WITH_BETA = ('coverage', 'double_end', 'stratified')  # The methods of `cut` that drop a hard end.


def cut(method, graph, pseudo_labels, difficulty, budget, beta, seed, *, balance=BALANCE, rows=None):
  """A coreset by the named method of this module, of all N or of some `rows` alone.

  Args: method: 'coverage', 'double_end', ...; graph: (indices int [N,k], similarity float [N,k]) from `neighbors.knn`;
    pseudo_labels: int [N]; difficulty: float [N] without ties; budget, beta: of what it chooses from; seed;
    balance: as in `class_need`, for 'coverage'; rows: int [m], distinct, default all.
  Returns: int64 [n], of all N, hardest first.
  """
  if rows is not None:
    part = cut(method, among(graph, rows), pseudo_labels[rows], difficulty[rows], budget, beta, seed,
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
