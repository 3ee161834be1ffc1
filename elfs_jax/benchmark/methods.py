"""Every way to choose that the benchmark compares, by name. Those named `supervised_` see true labels: they are the
ceilings, and no one can use them before labelling everything.
"""
from functools import partial
from typing import NamedTuple

import numpy as np

from elfs_jax import judge, neighbors, select
from elfs_jax.vectors import unit_rows

SUPERVISED_BETAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # A ceiling is the best of a fine grid.
FIXED_BETA = 0.3
# The hard cut of CCS with AUM on CIFAR-10 (arXiv 2210.15809, appendix): prune rate -> beta.
CCS_CUT = ((0.3, 0.0), (0.5, 0.0), (0.7, 0.1), (0.8, 0.1), (0.9, 0.3))


class Pool(NamedTuple):
  """What a method chooses from, for one seed; arrays are over the N examples of the pool."""
  embeddings: np.ndarray       # float32 [N,D]
  neighbors: np.ndarray        # int32 [N,k]
  coreset: callable            # budget -> (`pipeline.Selection`, seconds): the whole pipeline, what is cached for free
  cut: callable                # (difficulty, budget, beta) -> indices, as the pipeline would
  pseudo_labels: np.ndarray    # int32 [N]
  scores: dict                 # of the proxy trained on pseudo-labels, float32 [N] each
  represent: callable          # () -> that proxy's probabilities [N,C] and features [N,F]
  supervised: callable         # () -> scores of a proxy trained on true labels
  seed: int


class Method(NamedTuple):
  """One way to choose."""
  name: str
  choose: callable             # (Pool, budget) -> int64 [budget], or None where the beta leaves no room
  beta: float | None = None
  nested: bool = False         # Greedy: a smaller budget's answer is the start of a larger one's.


def table(betas, randoms):
  """Every `Method`; `betas` is the grid that ELFS's beta is searched on, `randoms` the number of random draws."""
  grid = sorted({0.0, *betas})
  return [
      *[Method(f'random_{turn + 1}' if turn else 'random', partial(random, turn=turn)) for turn in range(randoms)],
      Method('balanced', balanced),
      Method('k_center', lambda pool, n: select.k_center(pool.embeddings, n, seed=pool.seed), nested=True),
      Method('facility_location', lambda pool, n: select.facility_location(pool.embeddings, n, seed=pool.seed),
             nested=True),
      Method('prototypes_hard', partial(prototypes, keep='hard'), nested=True),
      Method('prototypes_easy', partial(prototypes, keep='easy'), nested=True),
      Method('d2', d2, nested=True),
      Method('d2_cut', d2_cut),
      Method('zcore', lambda pool, n: select.zcore(pool.embeddings, n, seed=pool.seed), nested=True),
      Method('typiclust', lambda pool, n: select.typiclust(pool.embeddings, n, seed=pool.seed)),
      Method('badge', lambda pool, n: select.badge(*pool.represent(), n, seed=pool.seed), nested=True),
      Method('elfs', lambda pool, n: pool.coreset(n)[0].indices),
      Method('elfs_fixed', partial(elfs_at, beta=FIXED_BETA), FIXED_BETA),
      Method('double_end_fixed', partial(double_end, beta=FIXED_BETA), FIXED_BETA),
      Method('elfs_forgetting', partial(elfs_at, beta=FIXED_BETA, score='forgetting'), FIXED_BETA),
      Method('elfs_el2n', partial(elfs_at, beta=FIXED_BETA, score='el2n'), FIXED_BETA),
      Method('elfs_aum_logits', partial(elfs_at, beta=FIXED_BETA, score='aum_logits'), FIXED_BETA),
      Method('double_end_aum_logits', partial(double_end, beta=FIXED_BETA, score='aum_logits'), FIXED_BETA),
      *[Method(f'elfs_beta_{beta:g}', partial(elfs_at, beta=beta), beta) for beta in grid],
      *[Method(f'double_end_beta_{beta:g}', partial(double_end, beta=beta), beta) for beta in grid],
      Method('supervised_ccs', supervised_ccs),
      Method('supervised_el2n', partial(double_end, beta=0.0, score='el2n', supervised=True), 0.0),
      Method('supervised_forgetting', partial(double_end, beta=0.0, score='forgetting', supervised=True), 0.0),
      *[Method(f'supervised_aum_beta_{beta:g}', partial(double_end, beta=beta, supervised=True), beta)
        for beta in SUPERVISED_BETAS],
  ]


def random(pool, budget, turn):
  return select.random(len(pool.embeddings), budget, seed=[pool.seed, 0x7a4d, turn])


def balanced(pool, budget):
  return select.balanced(pool.pseudo_labels, budget, seed=pool.seed)


def prototypes(pool, budget, *, keep):
  return select.prototypes(pool.embeddings, pool.pseudo_labels, budget, keep=keep)


def d2(pool, budget):
  """D2 pruning from ELFS's own AUM scaled to [0, 1], on the same embeddings as unit rows; 10 neighbours, gammas 1."""
  return _d2(pool, np.arange(len(pool.embeddings)), budget, pool.neighbors[:, :10])


def d2_cut(pool, budget):
  """The same after a hard cut, which the published code can make first, of the share that ours cuts in noisy data."""
  n = len(pool.embeddings)
  beta = judge.least(True, 1 - budget / n)
  kept = select.hardness_order(select.difficulty(pool.scores, 'aum', seed=pool.seed))[select.floor_count(beta, n):]
  near, _ = neighbors.knn(unit_rows(pool.embeddings[kept]), 10)
  return kept[_d2(pool, kept, budget, near)]


def _d2(pool, rows, budget, near):
  aum = pool.scores['aum'][rows]
  hard = (aum.max() - aum) / max(float(np.ptp(aum)), 1e-12)
  return select.d2(unit_rows(pool.embeddings[rows]), hard, budget, neighbors=near, gamma_forward=1.0,
                   gamma_reverse=1.0)


def supervised_ccs(pool, budget):
  n = len(pool.embeddings)
  beta = min(float(np.interp(1 - budget / n, *zip(*CCS_CUT))), (n - budget) / n)
  return select.stratified(select.difficulty(pool.supervised(), 'aum', seed=pool.seed), budget, beta, seed=pool.seed)


def elfs_at(pool, budget, *, beta, score='aum'):
  """The pipeline's way to choose, at this beta."""
  if not _has_room(pool, budget, beta):
    return None
  return pool.cut(select.difficulty(pool.scores, score, seed=pool.seed), budget, beta)


def double_end(pool, budget, *, beta, score='aum', supervised=False):
  """The band of a score that follows the `beta` hardest, or None where there is no room for it."""
  if not _has_room(pool, budget, beta):
    return None
  scores = pool.supervised() if supervised else pool.scores
  return select.double_end(select.difficulty(scores, score, seed=pool.seed), budget, beta)


def _has_room(pool, budget, beta):
  n = len(pool.embeddings)
  return select.floor_count(beta, n) + budget <= n
