"""Exact greedy choice of what covers a set: farthest first, and facility location, without ever holding N x N.

Call them on one BLAS thread. NumPy alone.
"""
import concurrent.futures
import os

import numpy as np

POOL = 128  # Candidates that are kept exact; the rest wait as upper bounds.
BLOCK_ELEMENTS = 1 << 22
THREADS = min(os.cpu_count() or 1, 16)  # Of blocks, each on one BLAS thread: BLAS's own mostly wait for each other.


def lazy_greedy(problem, count, chosen):
  """The largest gain again and again. Gains only ever fall, so old ones are upper bounds.

  All gains are exact after `problem.sync`. Only those of a pool of the largest are then kept exact, until the best of
  the pool falls below the (old) best of the rest; then everything that was chosen meanwhile is accounted for at once.
  """
  while len(chosen) < count:
    gain_N = problem.sync(chosen)
    tie = problem.tie * max(gain_N.max(), problem.unit)
    if gain_N.max() <= tie:
      rest = np.flatnonzero(gain_N > -np.inf)
      return np.array([*chosen, *rest[:count - len(chosen)]], np.int64)
    best = int(np.argmax(gain_N >= gain_N.max() - tie))
    pool = np.argpartition(-gain_N, min(POOL, len(gain_N)) - 1)[:POOL]
    pool = np.unique(np.append(pool, best))
    outside = np.delete(gain_N, pool).max(initial=-np.inf)
    gain_P = problem.open(pool)
    slot = int(np.searchsorted(pool, best))
    while True:
      chosen.append(int(pool[slot]))
      gain_P = problem.choose(slot)
      tie = problem.tie * max(gain_P.max(), problem.unit)
      if len(chosen) == count or gain_P.max() - tie <= max(outside, tie):
        break
      slot = int(np.argmax(gain_P >= gain_P.max() - tie))
  return np.array(chosen, np.int64)


class FarthestFirst:
  """Gain: the squared distance to the nearest chosen."""
  tie = 1e-13

  def __init__(self, x_ND):
    self.x_ND = x_ND
    self.norm_N = np.einsum('nd,nd->n', x_ND, x_ND)
    self.unit = max(4 * self.norm_N.max(), 1e-300)
    self.gain_N = np.full(len(x_ND), np.inf)
    self.known = 0  # So many of the chosen are accounted for.

  def sync(self, chosen):
    fresh = chosen[self.known:]
    self.known = len(chosen)
    rows = max(1, BLOCK_ELEMENTS // len(self.x_ND))
    for start in range(0, len(fresh), rows):
      np.minimum(self.gain_N, self._distance(slice(None), fresh[start:start + rows]).min(1), out=self.gain_N)
    self.gain_N[fresh] = -np.inf
    return self.gain_N

  def open(self, pool):
    self.pool_P = self._distance(pool, pool)
    self.gain_P = self.gain_N[pool]
    return self.gain_P

  def choose(self, slot):
    np.minimum(self.gain_P, self.pool_P[:, slot], out=self.gain_P)
    self.gain_P[slot] = -np.inf
    return self.gain_P

  def _distance(self, rows, columns):
    inner = self.x_ND[rows] @ self.x_ND[columns].T
    return np.maximum(self.norm_N[rows][:, None] + self.norm_N[columns] - 2 * inner, 0)


class FacilityLocation:
  """Gain: what the sum over all examples of the similarity to the nearest chosen (at least 0) would grow by."""
  tie, unit = 1e-6, 1.0

  def __init__(self, x_ND):
    self.x_ND = x_ND
    self.gain_N = np.zeros(len(x_ND))
    self.cover_N = np.zeros(len(x_ND), np.float32)
    self.synced_N = None  # The cover that the gains account for,
    self.known = 0  # and how many of the chosen.

  def sync(self, chosen):
    if self.synced_N is None:
      # No cosine reaches 2, so this is all that there is to gain; from then on only what is gone is taken away.
      self.gain_N = self._growth(np.arange(len(self.x_ND)), self.cover_N, np.full_like(self.cover_N, 2))
    else:
      rows = np.flatnonzero(self.cover_N > self.synced_N)
      self.gain_N -= self._growth(rows, self.synced_N[rows], self.cover_N[rows])
    self.gain_N[chosen[self.known:]] = -np.inf
    self.synced_N = self.cover_N.copy()
    self.known = len(chosen)
    return self.gain_N

  def open(self, pool):
    self.pool_PN = self.x_ND[pool] @ self.x_ND.T
    self.gain_P = self.gain_N[pool]
    return self.gain_P

  def choose(self, slot):
    rows = np.flatnonzero(self.pool_PN[slot] > self.cover_N)
    old_R, new_R = self.cover_N[rows], self.pool_PN[slot, rows]
    self.cover_N[rows] = new_R
    self.gain_P -= (np.clip(self.pool_PN[:, rows], old_R, new_R) - old_R).sum(1, dtype=np.float64)
    self.gain_P[slot] = -np.inf
    return self.gain_P

  def _growth(self, rows, old_R, new_R):
    """How much of the growth from old to new covers every example could have made: float64 [N]."""
    step = max(1, BLOCK_ELEMENTS // len(self.x_ND))

    def block(start):
      part = slice(start, start + step)
      similar_RN = self.x_ND[rows[part]] @ self.x_ND.T
      np.clip(similar_RN, old_R[part, None], new_R[part, None], out=similar_RN)
      similar_RN -= old_R[part, None]
      return similar_RN.sum(0, dtype=np.float64)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
      return sum(pool.map(block, range(0, len(rows), step)), np.zeros(len(self.x_ND)))
