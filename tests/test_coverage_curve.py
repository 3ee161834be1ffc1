"""The curve of coverage, against a computation with every pair of examples."""
import numpy as np
import pytest

from elfs_jax import select, vectors


def graph(n, k, seed=0):
  x = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
  units = vectors.unit_rows(x)
  cosine = units @ units.T
  np.fill_diagonal(cosine, -np.inf)
  near = np.argsort(-cosine, axis=1)[:, :k]
  return near, np.take_along_axis(cosine, near, 1)


def by_every_pair(near, similarity, order, weight, labelled, least_slack=0.1):
  """Each share by itself, from the definition: sum over i of w_i max over chosen j of (s_ij - f_i), above 0."""
  n = len(near)
  slack = 1 - similarity[:, -1].astype(float)
  floor = 1 - np.maximum(slack, least_slack * slack.mean())
  gives = np.zeros((n, n))  # [i, j]: how much j covers of i.
  for i in range(n):
    for j, s in zip(near[i], similarity[i]):
      if j >= 0:
        gives[i, j] = max(0, s - floor[i])
    gives[i, i] = 1 - floor[i]
  gives *= weight[:, None]
  shares = []
  for m in range(len(order) + 1):
    chosen = [*labelled, *order[:m]]
    shares.append(gives[:, chosen].max(1).sum() if chosen else 0.0)
  return np.array(shares) / gives.max(1).sum()


@pytest.mark.parametrize('labelled, missing', [((), False), ((3, 50, 7), False), ((3,), True)])
def test_as_by_every_pair(labelled, missing):
  near, similarity = graph(80, 6)
  if missing:
    near = np.where(np.random.default_rng(1).random(near.shape) < 0.3, -1, near)
  rng = np.random.default_rng(2)
  order = np.setdiff1d(rng.permutation(80)[:30], labelled)
  rng.shuffle(order)
  weight = rng.random(80)
  found = select.coverage_curve(near, similarity, order, weight=weight, labelled=labelled)
  np.testing.assert_allclose(found, by_every_pair(near, similarity, order, weight, labelled), atol=1e-9)
  assert (np.diff(found) >= 0).all() and (found[0] > 0) == bool(labelled)


def test_everything_covers_everything():
  near, similarity = graph(60, 5)
  found = select.coverage_curve(near, similarity, np.arange(60))
  assert found[0] == 0 and found[-1] == pytest.approx(1) and len(found) == 61


def test_the_greedy_order_gains_less_each_time_and_beats_random():
  near, similarity = graph(300, 10)
  order = select.coverage(near, similarity, np.random.default_rng(0).permutation(300).astype(float), 60, 0.0)
  found = select.coverage_curve(near, similarity, order)
  assert (np.diff(found, 2) <= 1e-6).all()
  assert found[-1] > select.coverage_curve(near, similarity, np.random.default_rng(1).permutation(300)[:60])[-1] * 1.1


def test_copies_of_one_picture_leave_nothing_undefined():
  near, similarity = np.array([[1, 2], [0, 2], [0, 1]]), np.ones((3, 2), np.float32)
  assert select.coverage_curve(near, similarity, [1]).tolist() == [1, 1]
