"""How good a clustering is, told without labels: by what an example's cluster says about its neighbours' clusters."""
from collections.abc import Mapping

import numpy as np

GRADED_NEIGHBORS = 10  # Nearest neighbours whose clusters are compared with an example's own.


def check_num_classes(num_classes: int, count: int) -> None:
  """Raises: ValueError unless 2 <= num_classes <= count, the number of examples."""
  if not 2 <= num_classes <= count:
    raise ValueError(f'cluster.num_classes={num_classes} must be from 2 to the number of examples, N={count}')


def agreement(labels: np.ndarray, neighbors: np.ndarray, *, graded_neighbors: int = GRADED_NEIGHBORS) -> float:
  """How often the nearest neighbours share an example's cluster, beyond chance.

  (observed - chance) / (1 - chance), chance = sum over clusters of share^2: 1 when all agree, 0 at random and for one
  cluster that holds everything.

  Args: labels: int [N]; neighbors: int [N, K], best first; graded_neighbors: how many of them count.
  """
  labels_N = np.asarray(labels)
  near_NK = np.asarray(neighbors)[:, :graded_neighbors]
  observed = (labels_N[near_NK] == labels_N[:, None]).mean()
  share_C = np.unique(labels_N, return_counts=True)[1] / len(labels_N)
  chance = (share_C ** 2).sum()
  return float((observed - chance) / (1 - chance)) if chance < 1 else 0.0


def information(labels: np.ndarray, neighbors: np.ndarray, *, graded_neighbors: int = GRADED_NEIGHBORS,
                rows: np.ndarray | None = None) -> float:
  """What an example's cluster tells about the clusters of its nearest neighbours: mutual information in nats.

  TEMI's objective for hard labels. At most log C, reached when neighbours always agree and clusters are of one size;
  0 for random labels or one cluster. Of the measures tried it ordered clusterings with the same C best by their true
  accuracy; among different C it prefers the larger one.

  Args: labels: int [N]; neighbors: int [N, K], best first; graded_neighbors: how many of them count; rows: int [M],
    the examples that count, whose neighbours have labels too; default all.
  """
  joint_CC, _ = joint_shares(labels, neighbors, graded_neighbors=graded_neighbors, rows=rows)
  share_C = joint_CC.sum(0)
  seen = joint_CC > 0
  return float((joint_CC[seen] * np.log(joint_CC[seen] / np.outer(share_C, share_C)[seen])).sum())


def joint_shares(labels: np.ndarray, neighbors: np.ndarray, *, graded_neighbors: int = GRADED_NEIGHBORS,
                 rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
  """Shares of the pairs (example, one of its nearest neighbours) by the clusters of the two.

  Args: labels, neighbors, graded_neighbors, rows: as `information` has them.
  Returns: float [C, C], symmetric, sums to 1; the labels int [N] that count its rows, from 0 on.
  """
  labels_N = np.unique(labels, return_inverse=True)[1]
  near_NK, own_N = np.asarray(neighbors)[:, :graded_neighbors], labels_N
  if rows is not None:
    near_NK, own_N = near_NK[rows], labels_N[rows]
  classes = labels_N.max() + 1
  pair_NK = own_N[:, None] * classes + labels_N[near_NK]
  joint_CC = np.bincount(pair_NK.ravel(), minlength=classes ** 2).reshape(classes, classes) / pair_NK.size
  return (joint_CC + joint_CC.T) / 2, labels_N


def best(candidates: Mapping[str, np.ndarray], neighbors: np.ndarray, *,
         graded_neighbors: int = GRADED_NEIGHBORS) -> tuple[str, dict[str, float]]:
  """The clustering with the most `information` about its neighbours; the first one on a tie. No label is used.

  Args: candidates: {name: labels int [N]}, all with the same number of clusters; neighbors: int [N, K], best first;
    graded_neighbors: how many of them count.
  Returns: the name, {name: information in nats}.
  """
  scores = {name: information(labels, neighbors, graded_neighbors=graded_neighbors)
            for name, labels in candidates.items()}
  return max(scores, key=scores.get), scores
