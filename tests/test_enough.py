"""How many labels are enough: against curves that are known."""
import numpy as np
import pytest

from elfs_jax import learning_curve
from elfs_jax.rounds import enough


@pytest.mark.parametrize('a, b, c', [(0.95, 1.2, 0.5), (0.8, 0.9, 1.0), (1.0, 2.0, 0.4), (0.7, 0.0, 0.5)])
def test_a_power_law_is_found_again(a, b, c):
  sizes = np.array([20, 40, 80, 160, 320])
  found = learning_curve.power_laws(sizes, (a - b * sizes ** -c)[None])[0]
  for n in (160, 500, 5000):
    assert found[0] - found[1] * n ** -found[2] == pytest.approx(a - b * n ** -c, abs=0.01)


def test_a_fit_never_passes_one_nor_falls():
  sizes, rng = np.array([10, 20, 40, 80]), np.random.default_rng(0)
  a, b, _ = learning_curve.power_laws(sizes, rng.random((200, 4))).T
  assert (a <= 1).all() and (b >= 0).all()


def test_a_law_is_read_in_both_directions():
  law = np.array([0.9, 1.2, 0.5])
  np.testing.assert_allclose(learning_curve.accuracies(law, [16, 144]), [0.6, 0.8])
  np.testing.assert_allclose(learning_curve.counts(law, [0.6, 0.8, 0.9, 0.95]), [16, 144, np.inf, np.inf])
  both = np.stack([law, [1.0, 1.0, 1.0]])[:, None]
  np.testing.assert_allclose(learning_curve.accuracies(both, [16, 4]), [[0.6, 0.3], [15 / 16, 0.75]])


def test_the_interval_holds_the_truth_of_a_synthetic_curve_as_often_as_it_says():
  """Each example is told right with the probability of the curve, apart from all others."""
  sizes, counts, inside = np.array([25, 50, 100, 200, 320]), [400, 600, 4000], []
  for seed in range(40):
    truth = 0.9 - 1.5 * sizes ** -0.5
    right = np.random.default_rng(seed).random((5, 400)) < truth[:, None]
    found = enough.extrapolate(enough.Curve(sizes, right), counts, seed=seed)
    expected = 0.9 - 1.5 * np.array(counts) ** -0.5
    inside.append((found.low <= expected) & (expected <= found.high))
    assert (found.low <= found.accuracy).all() and (found.accuracy <= found.high).all()
  assert np.mean(inside, axis=0)[0] >= 0.8 and np.mean(inside) >= 0.75


def test_accuracy_is_that_of_the_classifier_on_examples_that_it_did_not_see():
  """A classifier that answers by memory is right on none; one that knows the class by the embedding on all."""
  rng = np.random.default_rng(0)
  classes = rng.integers(0, 3, 100)
  embeddings = np.stack([np.arange(100), classes], 1).astype(float)
  sizes = []
  def memory(rows, known, tests):
    sizes.append(len(rows))
    seen = dict(zip(rows[:, 0], known))
    return np.array([seen.get(one, -1) for one in tests[:, 0]])
  curve = enough.measure(embeddings, classes, train=memory, seed=0)
  assert curve.right.shape == (len(curve.sizes), 100) and not curve.right.any()
  assert curve.sizes[-1] == 80 and sorted(set(sizes)) == curve.sizes.tolist()
  assert enough.measure(embeddings, classes, train=lambda rows, known, tests: tests[:, 1], seed=0).right.all()


def test_more_labels_of_blobs_are_forecast_well():
  """Of 120 labels, the accuracy that 1,000 give: measured on further examples."""
  rng = np.random.default_rng(1)
  classes = rng.integers(0, 5, 3000)
  embeddings = rng.normal(0, 1, (5, 20))[classes] * 0.55 + rng.normal(0, 1, (3000, 20))
  found = enough.forecast(embeddings[:120], classes[:120].astype(str), [120, 1000], seed=0)
  for i, n in enumerate((120, 1000)):
    truth = (enough.logistic(embeddings[:n], classes[:n], embeddings[1000:]) == classes[1000:]).mean()
    assert found.low[i] - 0.04 <= truth <= found.high[i] + 0.04


def test_too_few_labels_say_nothing_and_rare_classes_do_not_fail():
  embeddings = np.random.default_rng(0).normal(0, 1, (40, 4))
  assert enough.forecast(embeddings[:18], ['a', 'b'] * 9, [18], seed=0) is None
  assert enough.forecast(embeddings, ['a'] * 40, [40], seed=0) is None
  found = enough.forecast(embeddings, ['a'] * 38 + ['b', 'c'], [40, 100], seed=0)
  assert found.accuracy[0] == pytest.approx(0.95, abs=0.03)
