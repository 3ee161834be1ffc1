"""Selection: which n of N examples to label, from how hard each is and which are alike.

This runs where JAX is not installed.

`difficulty` is float [N], higher is harder (for AUM: its negative). `budget` is a count (int) or a fraction of N
(float in (0, 1], or a string such as '10%'). A fraction f means floor(f * N + 1e-9) examples. Indices are int64.

To add a method, write a file here with a function

  def choose_mine(candidates: Candidates, budget: int, beta: float | None, *, seed, balance) -> int64 [budget]

which returns distinct rows that are not in `candidates.closed` (labelled already, or copies), in the order in which to
label, no more of one origin than `origins.Bound` lets through (`origins.first` sees to that for an order of all), and
give it an entry in `METHODS`: the help, the checks and the pipeline read that table. Constants that decide what it
chooses are further keyword parameters with defaults, so that a result which was kept is made again when one changes
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
from elfs_jax.select.candidates import Candidates, among, labelled_rows, new_count, room, with_room
from elfs_jax.select.cover import BALANCE, choose_coverage, class_weights, coverage, judge_weights
from elfs_jax.select.curve import coverage_curve
from elfs_jax.select.order import break_ties, difficulty, hardness_order
from elfs_jax.select.origins import bound_at, first, usual_share
from elfs_jax.select.rivals import badge, balanced, d2, facility_location, k_center, prototypes, typiclust, zcore
from elfs_jax.select.standing import STATUSES, Standing, nearest_before, standing

__all__ = [
  'BALANCE', 'Candidates', 'METHODS', 'Method', 'STATUSES', 'Standing', 'among', 'badge', 'balanced', 'bound_at',
  'break_ties', 'budget_count', 'choose', 'choose_among', 'choose_on', 'class_weights', 'constants', 'coverage',
  'coverage_curve', 'd2', 'difficulty', 'double_end', 'easiest', 'facility_location', 'floor_count', 'hardest',
  'hardness_order', 'judge_weights', 'k_center', 'nearest_before', 'parse_budget', 'prototypes', 'random', 'room',
  'standing', 'stratified', 'typiclust', 'usual_share', 'with_room', 'zcore']


class Method(NamedTuple):
  """A way to choose a coreset."""
  function: str | Callable     # 'elfs_jax.module:name' or the function itself; its signature is above
  help: str
  drops_hardest: bool = False  # it drops a share beta of the hardest
  is_elfs: bool = False        # it is a form of ELFS, and reports call it so
  network: str = 'mlp'         # 'mlp' or 'small': the proxy's network that it was published with, or ours with ours
  covers: bool = False         # it covers what it drops too: the judge begins at the least beta (`judge.verdict`)
  nests: bool = False          # with one beta a larger choice begins with the smaller one
  version: int = 1             # raise it when it chooses others for the same arguments


METHODS: dict[str, Method] = {
  'coverage': Method(choose_coverage, 'what covers all others, without the hardest (ours)', drops_hardest=True,
                     is_elfs=True, covers=True, nests=True, version=2),
  'double_end': Method(choose_double_end, 'the hardest after those dropped (ELFS as published)', drops_hardest=True,
                       is_elfs=True, network='small', nests=True),
  'stratified': Method(choose_stratified, 'evenly over the range of difficulty, without the hardest (CCS)',
                       drops_hardest=True, network='small'),
  'random': Method(choose_random, 'uniformly at random', nests=True),
  'hardest': Method(choose_hardest, 'the hardest', nests=True),
  'easiest': Method(choose_easiest, 'the easiest', nests=True),
}


def choose(method: str, candidates: Candidates, budget: int | float | str, beta: float | None, *,
           seed: int | list[int], balance: float = BALANCE, rows: ArrayLike | None = None,
           **constants: Any) -> NDArray[np.int64]:
  """A coreset by a method of `METHODS`, of all N or of some `rows` alone.

  Of one origin there are no more than its share allows (`origins.Bound`). Of a group of copies one is chosen, the
  first, and none where one is labelled. Where the budget is beyond what is distinct and not among the hardest, the rest
  are first the hardest, the least hard first, and then copies, chosen in the same way. Where there are no copies that
  is an error.

  Args:
    method: its name.
    candidates: what is known of all N, which rows are labelled already, and which are copies.
    budget: how many new ones, a count or a fraction of what it chooses from.
    beta: the fraction of those dropped from the hard end; read only by methods that drop any.
    seed: of what the method draws, if it does.
    balance: as in `class_weights`, for 'coverage'.
    rows: int [m], distinct: choose among these alone. Default all.
    constants: of the method's function, where they shall not be its defaults.
  Returns: int64 [n], of all N, in the order in which to label.
  Raises: ValueError for an unknown method, a budget or beta out of range, and if fewer than the budget may be chosen.
  """
  entry = table.look_up(METHODS, 'select.method', method)
  function, beta = table.load(entry.function), beta if entry.drops_hardest else None
  if rows is not None:
    rows = np.asarray(rows)
    candidates = among(candidates, rows)
  n = len(candidates.difficulty)
  count = budget_count(budget, n)
  def best(candidates, count):
    return function(candidates, count, beta, seed=seed, balance=balance, **constants)
  if len(np.asarray(candidates.groups)):
    chosen = _with_copies(candidates, new_count(count, n, candidates.labelled), beta, best)
  else:
    chosen = best(candidates, count)
  return chosen if rows is None else rows[chosen]


def _with_copies(candidates, count, beta, best):
  """`best` as far as there is room, then what is among the hardest, and of the copies for the rest of the budget."""
  most = min(count, room(candidates, beta))
  chosen = best(candidates, most) if most else np.zeros(0, np.int64)
  if most == count:
    return chosen
  order = hardness_order(candidates.difficulty)[::-1]
  known = labelled_rows(candidates.labelled, len(order))
  hard = order[~np.isin(order, np.append(candidates.closed, chosen))]
  with_chosen = candidates._replace(labelled=np.append(known, chosen))
  chosen = np.append(chosen, first(with_chosen, hard, min(len(hard), count - most)))
  if len(chosen) == count:
    return chosen
  copies = candidates._replace(labelled=np.append(known, chosen), groups=np.arange(len(order)))
  return np.append(chosen, _with_copies(copies, count - len(chosen), beta, best))


def choose_on(begun: ArrayLike, method: str, candidates: Candidates, budget: int, beta: float | None, *,
              reserve: int = 0, **settings: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
  """`choose` of a choice that has begun, and what is next after it.

  Args: begun: int [b], rows that are chosen already, in their order; method, candidates, budget, beta, settings: as in
    `choose`; reserve: how many more in the same order: less where only the hardest, copies and labelled ones are left.
  Returns: (int64 [n], which begins with `begun` or is its beginning; int64 [r], r at most `reserve`). Errors as there.
  """
  begun = np.asarray(begun, np.int64)[:budget]
  reserve = max(0, min(reserve, room(candidates, beta if METHODS[method].drops_hardest else None) - budget))
  def more(begun, count):
    chosen = choose(method, candidates, count, beta, **settings)
    if np.array_equal(chosen[:len(begun)], begun):
      return chosen
    known = np.append(labelled_rows(candidates.labelled, len(candidates.difficulty)), begun)
    rest = count - len(begun)
    new = choose(method, candidates._replace(labelled=known), rest, beta, **settings) if rest else begun[:0]
    return np.append(begun, new)
  if METHODS[method].nests:
    chosen = more(begun, budget + reserve)
    return chosen[:budget], chosen[budget:]
  chosen = more(begun, budget)
  return chosen, more(chosen, budget + reserve)[budget:]


def choose_among(rows: ArrayLike, budget: int | float | str, beta: float | None, *, method: str,
                 candidates: Candidates, **settings: Any) -> NDArray[np.int64]:
  """`choose` with the rows first, as the judge calls it: bind the rest with `functools.partial`."""
  return choose(method, candidates, budget, beta, rows=rows, **settings)


def constants(method: str) -> dict[str, Any]:
  """The constants that decide what a method chooses: the defaults of its function's keyword parameters, by name."""
  function = table.load(table.look_up(METHODS, 'select.method', method).function)
  parameters = inspect.signature(function).parameters.values()
  return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
