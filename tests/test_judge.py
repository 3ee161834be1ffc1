import numpy as np
from scipy import stats

from elfs_jax import judge


def blobs(n=400, classes=4, width=6, seed=0):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, classes, n)
  return (rng.normal(0, 3, (classes, width))[labels] + rng.normal(size=(n, width))).astype(np.float32), labels


def test_a_candidate_that_covers_all_classes_is_graded_above_one_that_does_not():
  x, labels = blobs()
  held_out, rest = np.arange(60), np.arange(60, 400)
  balanced = rest[:40]
  one_sided = rest[np.argsort(labels[rest], kind='stable')[:40]]
  scores = judge.grade(x, np.stack([balanced, one_sided]), np.stack([labels, (labels + 1) % 4]), held_out, seeds=2,
                       steps=100)
  assert scores.shape == (2, 2, 2)
  assert scores[0].min() > 0.9 > 0.6 > scores[1].max()


def test_candidates_with_the_same_examples_get_the_same_grade():
  x, labels = blobs()
  rows = np.arange(60, 100)
  scores = judge.grade(x, np.stack([rows, rows]), labels[None], np.arange(60), seeds=1, steps=30)
  assert scores[0, 0, 0] == scores[1, 0, 0]


def test_the_choice_is_within_one_standard_error_of_the_best_and_nearest_to_the_published():
  rng = np.random.default_rng(0)
  betas = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
  for _ in range(20):
    scores = rng.normal(size=(6, 4, 3)) + np.array([0, 1, 2, 2.2, 2.1, 0])[:, None, None]
    verdict = judge.choose_beta(betas, scores, 0.9)
    ranks = np.array([[stats.rankdata(-scores[:, q, s]) for q in range(4)] for s in range(3)]).mean((0, 1))
    np.testing.assert_allclose(verdict.rank, ranks)
    allowed = [b for b, r in zip(betas, ranks) if r <= ranks.min() + verdict.error + 1e-9]
    assert verdict.beta == min(allowed, key=lambda b: abs(b - 0.4))


def test_published_betas_at_their_rates():
  scores = np.zeros((8, 2, 2))
  betas = np.arange(8) / 10
  assert [judge.choose_beta(betas, scores, rate).beta for rate in (0.3, 0.5, 0.7, 0.9)] == [0.1, 0.2, 0.4, 0.4]


def test_the_forecast_covers_what_a_random_draw_would_score():
  """Where the coreset is itself one more random draw, the 95 % interval of the difference covers zero that often."""
  rng, covered = np.random.default_rng(0), 0
  for _ in range(400):
    subsets = rng.normal(0, 1, (6, 1, 1)) + rng.normal(0, 0.5, (6, 4, 1)) + rng.normal(0, 0.1, (6, 4, 3))
    gap, half = judge.forecast(subsets[0], subsets[1:])
    covered += abs(gap) <= half
  assert 0.92 < covered / 400 <= 1
  gap, half = judge.forecast(np.full((4, 3), 2.0), np.zeros((5, 4, 3)))
  assert (gap, half) == (2, 0)
  assert judge.forecast(np.ones((1, 3)), np.zeros((5, 1, 3)))[1] == np.inf
