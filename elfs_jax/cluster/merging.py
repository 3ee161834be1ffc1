"""Merging clusters into fewer, by what their neighbours tell. NumPy alone."""
import numpy as np


def merge(joint, count):
  """Merge clusters, pair after pair, until `count` are left: always the pair that leaves most information.

  The information is that of `cluster.information`, between a cluster and its neighbours' clusters. After the
  agglomerative information bottleneck (Slonim and Tishby, NIPS 1999), here with rows and columns merging alike.

  Args: joint: float [F, F], symmetric, shares that sum to 1, no cluster empty; count: clusters to stop at.
  Returns: int64 [F], which of the merged clusters each has become, from 0 on.
  """
  joint_FF, into_F = np.array(joint, np.float64), np.arange(len(joint))
  # What the rows of each pair would save, over all columns; kept up to date, so that a merger costs F^2 and not F^3.
  rows_FF = sum(_saved(column_F[:, None], column_F) for column_F in joint_FF)
  while len(joint_FF) > count:
    share_F, own_F = joint_FF.sum(0), np.diag(joint_FF)
    crossing_FF = _saved(own_F[:, None], joint_FF) + _saved(joint_FF, own_F)
    corner_FF = crossing_FF + _saved(own_F[:, None] + joint_FF, joint_FF + own_F)
    lost_FF = 2 * _saved(share_F[:, None], share_F) - 2 * (rows_FF - crossing_FF) - corner_FF
    np.fill_diagonal(lost_FF, np.inf)
    a, b = sorted(np.unravel_index(lost_FF.argmin(), lost_FF.shape))
    rows_FF -= _saved(joint_FF[a][:, None], joint_FF[a]) + _saved(joint_FF[b][:, None], joint_FF[b])
    joint_FF[a] += joint_FF[b]
    joint_FF[:, a] += joint_FF[:, b]
    joint_FF, rows_FF = (np.delete(np.delete(x_FF, b, 0), b, 1) for x_FF in (joint_FF, rows_FF))
    rows_FF += _saved(joint_FF[a][:, None], joint_FF[a])
    rows_FF[a] = rows_FF[:, a] = _saved(joint_FF[a], joint_FF).sum(1)
    into_F[into_F == b] = a
    into_F[into_F > b] -= 1
  return into_F


def _saved(x, y):
  """The entropy, in nats, that is gone when two cells become one."""
  def entropy(p):
    return -p * np.log(np.where(p > 0, p, 1))
  return entropy(x) + entropy(y) - entropy(x + y)
