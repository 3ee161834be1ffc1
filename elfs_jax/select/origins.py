"""Groups of one origin, such as the frames of a video: no group gets more than its share of a choice.

At any moment, with t labelled or chosen, the next one is of a group that will have at most max(1, floor(share *
(t + 1))) of them. Where every group that has some left is at that bound, it is raised one by one until a group may go
on, so that it gives way evenly. It hangs on what was chosen before alone, never on the budget: a larger choice begins
with the smaller one, and the beginning of a choice keeps the bound too.
"""
import collections
import heapq
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.budget import floor_count
from elfs_jax.select.candidates import Candidates, labelled_rows

USUAL_SHARE = 0.1


class Bound:
  """Which groups may give the next one of a choice. Before each call `opened`, after it `take`."""

  def __init__(self, origins: NDArray, free: NDArray, known: NDArray, share: float):
    """Args: origins: int [N], in 0..G-1; free: int [c], the rows that may be chosen; known: int [m], the rows that
    count as chosen before; share: in (0, 1]."""
    groups = int(origins.max()) + 1
    self.share, self.total, self.level = share, len(known), 0
    self.has = np.bincount(origins[known], minlength=groups).tolist()
    self.left = np.bincount(origins[free], minlength=groups).tolist()
    self.open: set[int] = set()  # Those with some left and fewer than `level`,
    self.waiting: dict[int, list[int]] = collections.defaultdict(list)  # and the others with some left, by how many.
    for group in np.flatnonzero(self.left).tolist():
      self.waiting[self.has[group]].append(group)

  def opened(self) -> list[int]:
    """The groups that may give the next one, and might not give the last one."""
    allowed, new = bound_at(self.share, self.total + 1), []
    while self.level < allowed or not self.open and self.waiting:
      fresh = self.waiting.pop(self.level, [])
      self.open.update(fresh)
      new += fresh
      self.level += 1
    return new

  def take(self, group: int) -> None:
    """One of this group is chosen."""
    self.total += 1
    self.has[group] += 1
    self.left[group] -= 1
    if not self.left[group] or self.has[group] >= self.level:
      self.open.discard(group)
      if self.left[group]:
        self.waiting[self.has[group]].append(group)


def usual_share(origins: ArrayLike) -> float:
  """The share that a group may have unless the user says: a tenth, or twice an even share where that is more.

  So it keeps a group from filling the choice, and does not make few groups equal. Args: origins: int [N], in 0..G-1.
  """
  return min(1.0, max(USUAL_SHARE, 2 / (int(np.max(origins)) + 1)))


def bound_at(share: float, total: int) -> int:
  """How many of a total may be of one group."""
  return max(1, floor_count(share, total))


def first(candidates: Candidates, order: ArrayLike, count: int) -> NDArray[np.int64]:
  """The first `count` of an order of preference that keep the bound: int64 [count], in their order.

  Args: order: int [c], all rows that may be chosen, the best first; count: at most c.
  """
  order = np.asarray(order, np.int64)
  if not len(candidates.origins):
    return order[:count]
  origins = np.asarray(candidates.origins)
  bound = Bound(origins, order, labelled_rows(candidates.labelled, len(origins)), candidates.share)
  queues: dict[int, Any] = collections.defaultdict(collections.deque)
  for place, group in enumerate(origins[order].tolist()):
    queues[group].append(place)
  heap: list[tuple[int, int]] = []  # The best place of each group that is open.
  def push(groups: Iterable[int]):
    for group in groups:
      heapq.heappush(heap, (queues[group].popleft(), group))
  places: list[int] = []
  while len(places) < count:
    push(bound.opened())
    place, group = heapq.heappop(heap)
    places.append(place)
    bound.take(group)
    push({group} & bound.open)
  return order[places]
