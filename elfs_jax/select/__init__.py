"""Selection: which n of N examples to label, from how hard each is and which are alike.

This runs where JAX is not installed.

`difficulty` is float [N], higher is harder (for AUM: its negative). `budget` is a count (int) or a fraction of N
(float in (0, 1], or a string such as '10%'). A fraction f means floor(f * N + 1e-9) examples. Indices are int64.

To add a method, write a file here with a function

  def choose_mine(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> int64 [budget]

which returns distinct rows that are not in `candidates.closed` (labelled already, or copies), hardest first, and give
it an entry in `METHODS`: the help, the checks and the pipeline read that table. Constants that decide what it chooses
are further keyword parameters with defaults, so that a result which was kept is made again when one changes
(`constants`).
"""
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax import table
from elfs_jax.budget import budget_count, floor_count, parse_budget
from elfs_jax.select.band import (
  choose_double_end,
  choose_easiest,
  choose_hardest,
  choose_random,
  choose_stratified,
  double_end,
  easiest,
  hardest,
  random,
  stratified,
)
from elfs_jax.select.candidates import Candidates, among, labelled_rows, new_count, with_room
from elfs_jax.select.cover import BALANCE, choose_coverage, class_weights, coverage, coverage_order, judge_weights
from elfs_jax.select.order import break_ties, difficulty, hardness_order
from elfs_jax.select.rivals import badge, balanced, d2, facility_location, k_center, prototypes, typiclust, zcore

__all__ = [
  'BALANCE', 'METHODS', 'Candidates', 'Method', 'among', 'badge', 'balanced', 'break_ties', 'budget_count', 'choose',
  'choose_among', 'class_weights', 'constants', 'coverage', 'coverage_order', 'd2', 'difficulty', 'double_end',
  'easiest', 'facility_location', 'floor_count', 'hardest', 'hardness_order', 'judge_weights', 'k_center',
  'parse_budget', 'prototypes', 'random', 'stratified', 'typiclust', 'with_room', 'zcore']


class Method(NamedTuple):
  """A way to choose a coreset."""
  function: str | Callable     # 'elfs_jax.module:name' or the function itself; its signature is above
  help: str
  drops_hardest: bool = False  # it drops a share beta of the hardest
  is_elfs: bool = False        # it is a form of ELFS, and reports call it so
  network: str = 'mlp'         # 'mlp' or 'small': the proxy's network that it was published with, or ours with ours
  covers: bool = False         # it covers what it drops too: the judge begins at the least beta (`judge.verdict`)


METHODS: dict[str, Method] = {
  'coverage': Method(choose_coverage, 'what covers all others, without the hardest (ours)', drops_hardest=True,
                     is_elfs=True, covers=True),
  'double_end': Method(choose_double_end, 'the hardest after those dropped (ELFS as published)', drops_hardest=True,
                       is_elfs=True, network='small'),
  'stratified': Method(choose_stratified, 'evenly over the range of difficulty, without the hardest (CCS)',
                       drops_hardest=True, is_elfs=False, network='small'),
  'random': Method(choose_random, 'uniformly at random'),
  'hardest': Method(choose_hardest, 'the hardest'),
  'easiest': Method(choose_easiest, 'the easiest'),
}


def choose(method: str, candidates: Candidates, budget: int | float | str, beta: float | None, *,
           seed: int | list[int], balance: float = BALANCE, rows: ArrayLike | None = None,
           **constants: Any) -> NDArray[np.int64]:
  """A coreset by a method of `METHODS`, of all N or of some `rows` alone.

  Of a group of copies one is chosen, the first, and none where one is labelled. For a budget beyond what is distinct
  the rest are copies, chosen in the same way. To leave out the hardest no copy is chosen: beta gives way (`with_room`).

  Args:
    method: its name.
    candidates: what is known of all N, which rows are labelled already, and which are copies.
    budget: how many new ones, a count or a fraction of what it chooses from.
    beta: the fraction of those dropped from the hard end; read only by methods that drop any.
    seed: of what the method draws, if it does.
    balance: as in `class_weights`, for 'coverage'.
    rows: int [m], distinct: choose among these alone. Default all.
    constants: of the method's function, where they shall not be its defaults.
  Returns: int64 [n], of all N, hardest first.
  Raises: ValueError for an unknown method, a budget or beta out of range, and if fewer than the budget may be chosen.
  """
  function = table.load(table.look_up(METHODS, 'select.method', method).function)
  if rows is not None:
    rows = np.asarray(rows)
    candidates = among(candidates, rows)
  count = budget_count(budget, len(candidates.difficulty))
  def best(candidates, count):
    return function(candidates, count, with_room(candidates, count, beta), seed=seed, balance=balance, **constants)
  if len(candidates.copies):
    chosen = _with_copies(candidates, new_count(count, len(candidates.difficulty), candidates.labelled), best)
  else:
    chosen = best(candidates, count)
  return chosen if rows is None else rows[chosen]


def _with_copies(candidates, count, best):
  """`best` of what is distinct, as far as there is any, and of the copies for the rest of the budget."""
  n = len(candidates.difficulty)
  distinct = np.delete(np.arange(n), candidates.closed)
  if count <= len(distinct):
    return best(candidates, count)
  known = labelled_rows(candidates.labelled, n)
  more = best(candidates._replace(labelled=np.append(known, distinct), groups=np.arange(n)), count - len(distinct))
  order = hardness_order(candidates.difficulty)
  return order[np.isin(order, np.append(distinct, more))]


def choose_among(rows: ArrayLike, budget: int | float | str, beta: float | None, *, method: str,
                 candidates: Candidates, **settings: Any) -> NDArray[np.int64]:
  """`choose` with the rows first, as the judge calls it: bind the rest with `functools.partial`."""
  return choose(method, candidates, budget, beta, rows=rows, **settings)


def constants(method: str) -> dict[str, Any]:
  """The constants that decide what a method chooses: the defaults of its function's keyword parameters, by name."""
  function = table.load(table.look_up(METHODS, 'select.method', method).function)
  parameters = inspect.signature(function).parameters.values()
  return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
