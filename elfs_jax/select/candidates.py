"""What a method chooses from: all examples but the labelled ones, copies and, for some methods, the hardest."""
import numbers
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.budget import budget_count, floor_count
from elfs_jax.select.order import hardness_order


class Candidates(NamedTuple):
  """All N examples and what is known of each. A method reads the fields that it needs."""
  neighbors: NDArray       # int [N,k], the nearest others of each, best first; -1 where there is none
  similarity: NDArray      # float [N,k], their cosine similarity
  pseudo_labels: NDArray   # int [N]
  difficulty: NDArray      # float [N], without ties; higher is harder
  labelled: ArrayLike = () # int [m], rows that have labels already: none of them is chosen
  groups: ArrayLike = ()   # int [N], a number for each group of copies, of which one is chosen; empty: there are none
  origins: ArrayLike = ()  # int [N], in 0..G-1, the video, patient or the like that each is of; empty: they don't count
  share: float = 1.0       # none of these gets more than this share of all that are labelled or chosen: `origins.Bound`
  weight: ArrayLike = ()   # float [N], 0 or more, what the cover of each counts; empty: all alike

  @property
  def stand(self) -> NDArray[np.int64]:
    """The row that stands for each one's group of copies, a labelled one before others, else the first: int64 [N]."""
    rows = np.arange(len(self.difficulty))
    if not len(self.groups):
      return rows
    known = labelled_rows(self.labelled, len(rows))
    in_turn = np.concatenate([known, np.delete(rows, known)])
    _, first, group = np.unique(np.asarray(self.groups)[in_turn], return_index=True, return_inverse=True)
    stand = np.empty(len(rows), np.int64)
    stand[in_turn] = in_turn[first[group]]
    return stand

  @property
  def copies(self) -> NDArray[np.int64]:
    """The copies of a labelled row, and of others all but the first of a group: rows in rising order."""
    stand = self.stand
    return np.setdiff1d(np.flatnonzero(stand != np.arange(len(stand))), labelled_rows(self.labelled, len(stand)))

  @property
  def closed(self) -> NDArray[np.int64]:
    """The rows that may not be chosen: those that are labelled, and copies. In rising order."""
    return np.union1d(labelled_rows(self.labelled, len(self.difficulty)), self.copies)


def among(candidates: Candidates, rows: ArrayLike) -> Candidates:
  """Some rows alone, numbered by their place in `rows` (int [m], distinct).

  A neighbour outside becomes -1, but its similarity stays: it says how dense the place is. Labelled rows outside are
  left out, like everything there.
  """
  rows = np.asarray(rows)
  # One place more than there are rows: index -1, no neighbour, finds -1 there.
  place = np.full(len(candidates.difficulty) + 1, -1, np.int32)
  place[rows] = np.arange(len(rows), dtype=np.int32)
  labelled = place[labelled_rows(candidates.labelled, len(candidates.difficulty))]
  return Candidates(place[candidates.neighbors[rows]], candidates.similarity[rows], candidates.pseudo_labels[rows],
                    candidates.difficulty[rows], labelled[labelled >= 0],
                    *(np.asarray(each)[rows] if len(each) else () for each in (candidates.groups, candidates.origins)),
                    candidates.share, np.asarray(candidates.weight)[rows] if len(candidates.weight) else ())


def labelled_rows(labelled: ArrayLike, n: int) -> NDArray[np.int64]:
  """The rows that are labelled, each once, in rising order: int64 [m]. ValueError if one is not a row of n."""
  rows = np.asarray(labelled)
  if rows.size == 0:
    return np.zeros(0, np.int64)
  if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
    raise ValueError(f'labelled must be a list of row numbers, got {rows.dtype} {rows.shape}')
  outside = rows[(rows < 0) | (rows >= n)]
  if len(outside):
    raise ValueError(f'labelled has row {outside[0]}, but rows go from 0 to {n - 1}')
  return np.unique(rows).astype(np.int64)


def new_count(budget: int | float | str, n: int, labelled: ArrayLike = ()) -> int:
  """How many new ones the budget means for n examples. ValueError if fewer than that are not labelled yet."""
  count = budget_count(budget, n)
  left = n - len(labelled_rows(labelled, n))
  if count > left:
    raise ValueError(f'budget={budget} asks for {count} new examples, but only {left} of {n} are not labelled yet: '
                     'choose fewer')
  return count


def choosable(difficulty: ArrayLike, budget: int | float | str, beta: float,
              labelled: ArrayLike = ()) -> tuple[NDArray[np.int64], int]:
  """The rows that may be chosen, and how many of them to choose.

  Args: difficulty: float [N]; budget: of new ones; beta: the share of all N that is dropped from the hard end, whether
    labelled or not; labelled: int [m], rows that may not be chosen.
  Returns: (int64 [c], hardest first; the count, at most c).
  Raises: ValueError if difficulty is not finite, the budget is out of range or of no example, beta is not in [0, 1) or
    fewer than the budget are left.
  """
  order = hardness_order(difficulty)
  n = len(order)
  known = labelled_rows(labelled, n)
  count = new_count(budget, n, known)
  if isinstance(beta, bool) or not isinstance(beta, numbers.Real) or not 0 <= beta < 1:
    raise ValueError(f'beta={beta!r} must be a number in [0, 1)')
  cut = floor_count(beta, n)
  is_new = ~np.isin(order, known)
  left = order[cut:][is_new[cut:]]
  if len(left) < count:
    most = np.flatnonzero(is_new)[-count]  # Dropping so many leaves just the budget.
    without = f', with {len(known)} labelled' if len(known) else ''
    raise ValueError(f'beta={beta:g} and a budget of {count} of {n}{without} leave no room: lower beta to at most '
                     f'{np.floor(most / n * 1e4) / 1e4:g}')
  return left, count


def room(candidates: Candidates, beta: float | None) -> int:
  """How many may be chosen, copies and the labelled left out, without the beta * N hardest."""
  cut = 0 if beta is None else floor_count(beta, len(candidates.difficulty))
  return len(np.setdiff1d(hardness_order(candidates.difficulty)[cut:], candidates.closed))


def with_room(candidates: Candidates, budget: int, beta: float | None) -> float | None:
  """The beta that is used where there are groups of copies: lower, if else a copy were chosen or there were no room.

  Without groups it is the beta given, and what has no room is an error of the method's.
  """
  if beta is None or not len(candidates.groups):
    return beta
  open_places = np.flatnonzero(~np.isin(hardness_order(candidates.difficulty), candidates.closed))
  count = min(budget, len(open_places))
  return min(beta, float(open_places[-count]) / len(candidates.difficulty)) if count else beta
