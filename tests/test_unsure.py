"""What the labels that have come back say of the rest: of which a classifier is unsure."""
import numpy as np
import pytest

from elfs_jax import select
from elfs_jax.rounds import classifier, unsure

N, LABELLED = 400, 120


@pytest.fixture(scope='module')
def overlapping():
  """Two kinds on a line, [N,1], whose border is 0, and their classes."""
  rng = np.random.default_rng(0)
  classes = np.arange(N) % 2
  return np.where(classes, 1.0, -1.0)[:, None] + rng.normal(0, 1, (N, 1)), classes


def test_the_nearer_the_border_the_less_sure_and_as_often_right_as_it_says(overlapping):
  x, classes = overlapping
  rows = np.arange(LABELLED)
  found = unsure.uncertainty(x, rows, classes[rows], seed=0)
  assert found.shape == (N,) and found.min() >= 0 and found.max() <= 1
  middle = x[found.argmax(), 0]  # A classifier of two kinds on a line is a logistic curve around its border.
  assert abs(middle) < 0.3
  order = np.argsort(np.abs(x[:, 0] - middle))
  assert np.all(np.diff(found[order]) <= 0.02)
  right = np.mean((x[LABELLED:, 0] > middle) == classes[LABELLED:])
  assert abs(right - (1 - found[LABELLED:] / 2).mean()) < 0.06  # The likelier of two has 1 - u / 2.


def test_labels_that_mean_nothing_leave_it_unsure_of_all(overlapping):
  x, _ = overlapping
  x = np.random.default_rng(1).normal(size=(N, 30))
  rows, classes = np.arange(60), np.random.default_rng(2).integers(0, 2, 60)
  found = unsure.uncertainty(x, rows, classes, seed=0)
  untold = unsure.uncertainty(x, rows, classes, seed=0, temperatures=(1.0,))
  assert found.mean() > 0.8 > 0.6 > untold.mean()  # Untempered it believes what it has learned by heart.


def test_neither_names_nor_order_nor_blocks_matter(overlapping):
  x, classes = overlapping
  x = np.concatenate([x, np.random.default_rng(3).normal(size=(N, 2))], 1)
  classes = classes + 2 * (x[:, 1] > 0.5)
  rows = np.arange(LABELLED)
  found = unsure.uncertainty(x, rows, classes[rows], seed=0)
  np.testing.assert_allclose(unsure.uncertainty(x, rows, 7 - 2 * classes[rows], seed=0), found, atol=2e-3)
  np.testing.assert_allclose(unsure.uncertainty(5 * x, rows, classes[rows], seed=0, block=7), found, atol=1e-6)


def test_a_kind_of_which_one_example_is_labelled(overlapping):
  x, classes = overlapping
  rows = np.arange(30)
  found = unsure.uncertainty(x, rows, np.append(classes[:29], 2), seed=0)
  assert np.isfinite(found).all()
  alone = unsure.uncertainty(x, rows, np.append(np.zeros(29, int), 1), seed=0)  # Left out, only one kind is there.
  assert np.isfinite(alone).all()


def test_weights_are_the_root_and_never_nothing(overlapping):
  x, classes = overlapping
  rows = np.arange(LABELLED)
  found = unsure.weights(np.sign(x) * 100 + x, rows, (x[rows, 0] > 0).astype(int), seed=0)
  assert found.dtype == np.float32 and found.min() == pytest.approx(0.01)
  expected = np.sqrt(unsure.uncertainty(x, rows, classes[rows], seed=0))
  np.testing.assert_allclose(unsure.weights(x, rows, classes[rows], seed=0), expected, rtol=1e-5)


def test_from_how_many_labels_on():
  assert classifier.enough_labels(['a', 'b'] * 10) and not classifier.enough_labels(['a', 'b'] * 9 + ['a'])
  assert not classifier.enough_labels(['a'] * 100) and not classifier.enough_labels([])


def test_the_cover_counts_by_them():
  """Of two crowds the one that counts is chosen from."""
  near = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])
  similarity = np.tile([0.9, 0.5], (6, 1))
  plain = select.Candidates(near, similarity, np.zeros(6, int), -np.arange(6.0))
  for weight, side in (((1, 1, 1, 0.05, 0.05, 0.05), {0, 1, 2}), ((0.05, 0.05, 0.05, 1, 1, 1), {3, 4, 5})):
    chosen = select.choose('coverage', plain._replace(weight=np.array(weight)), 2, 0.0, seed=0)
    assert set(chosen.tolist()) < side
    part = select.among(plain._replace(weight=np.array(weight)), [5, 0])
    assert part.weight.tolist() == [weight[5], weight[0]]
  assert len(set(select.choose('coverage', plain, 2, 0.0, seed=0) // 3)) == 2
