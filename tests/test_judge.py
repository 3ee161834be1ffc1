import numpy as np
import pytest
from scipy import optimize, stats

from elfs_jax import judge, neighbors, select


def blobs(n=400, classes=4, width=6, seed=0):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, classes, n)
  return (rng.normal(0, 3, (classes, width))[labels] + rng.normal(size=(n, width))).astype(np.float32), labels


def test_a_candidate_that_covers_all_classes_is_graded_above_one_that_does_not():
  x, labels = blobs()
  held_out, rest = np.arange(60), np.arange(60, 400)
  balanced = rest[:40]
  one_sided = rest[np.argsort(labels[rest], kind='stable')[:40]]
  scores = judge.grade(x, np.stack([balanced, one_sided]), np.stack([labels, (labels + 1) % 4]), held_out, steps=100)
  assert scores.shape == (2, 2)
  assert scores[0].min() > 0.9 > 0.6 > scores[1].max()


def test_candidates_with_the_same_examples_get_the_same_grade():
  x, labels = blobs()
  rows = np.arange(60, 100)
  scores = judge.grade(x, np.stack([rows, rows]), labels[None], np.arange(60), steps=30)
  assert scores[0, 0] == scores[1, 0]


def test_candidates_of_several_sizes_are_graded_as_each_size_alone():
  x, labels = blobs()
  x = x + np.random.default_rng(1).normal(0, 4, x.shape).astype(np.float32)
  rows = [np.arange(60, 100), np.arange(60, 90), np.arange(100, 251)]
  together = judge.grade(x, rows, labels[None], np.arange(60), steps=30)[:, 0]
  np.testing.assert_allclose(together, [judge.grade(x, [one], labels[None], np.arange(60), steps=30)[0, 0]
                                        for one in rows], atol=1e-6)
  assert len(set(together)) > 1


def test_weights_say_what_each_example_counts_in_the_grade():
  x, labels = blobs()
  held_out, rows = np.arange(60), 60 + np.flatnonzero(labels[60:] != 2)[:40]
  def grade(held_out, weights=None):
    return judge.grade(x, rows[None], labels[None], held_out, weights=weights, steps=60)[0, 0]
  missing = held_out[labels[held_out] == 2]
  assert grade(held_out, (labels == 2).astype(float)) == grade(missing) == 0
  by_class = np.mean([grade(held_out[labels[held_out] == c]) for c in range(4)])
  even = 1 / np.bincount(labels[held_out])[labels]
  np.testing.assert_allclose(grade(held_out, even), by_class, rtol=1e-5)
  assert grade(held_out, np.full(400, 3.0)) == grade(held_out)


def test_images_count_alike_up_to_the_default_balance_and_clusters_alike_at_1():
  labels = np.repeat([0, 1, 2], [10, 30, 60])
  for balance in (0.0, select.BALANCE):
    np.testing.assert_array_equal(select.judge_weights(labels, balance), 1)
  of_class = np.bincount(labels, select.judge_weights(labels, 1.0))
  np.testing.assert_allclose(of_class, of_class[0])
  assert 1 < select.judge_weights(labels, 0.75)[0] < select.judge_weights(labels, 1.0)[0]


def test_the_choice_is_within_two_standard_errors_of_the_best_and_nearest_to_what_is_expected():
  rng = np.random.default_rng(0)
  betas = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
  taken = set()
  for _ in range(40):
    scores = rng.normal(size=(6, 4, 3)) + np.array([0, 1, 2, 2.2, 2.1, 0])[:, None, None]
    best = max(range(6), key=lambda i: scores[i].mean())
    allowed = []
    for i in range(6):
      lost = (scores[best] - scores[i]).ravel()
      if lost.mean() <= 2 * np.sqrt(sum((lost - lost.mean()) ** 2) / 11 / 12) + 1e-9:
        allowed.append(betas[i])
    assert judge.best_beta(betas, scores, 0.4) == min(allowed, key=lambda b: abs(b - 0.4))
    assert judge.best_beta(betas, scores, 0.4, errors=0) == betas[best]
    taken.add(judge.best_beta(betas, scores, 0.0))
  assert 0.0 not in taken and len(taken) > 1  # What is expected does not outweigh what is clearly worse.


def test_the_published_beta_is_what_is_expected_of_the_published_method():
  assert [judge.interpolate(judge.PUBLISHED_BETA, rate) for rate in (0.3, 0.5, 0.7, 0.9)] == [0, 0.2, 0.3, 0.4]
  assert judge.best_beta(np.arange(8) / 10, np.zeros((8, 2, 2)), 0.42) == 0.4


def isolated():
  rng = np.random.default_rng(0)
  centres = rng.normal(size=(8, 12))
  dense = centres[rng.integers(0, 8, 900)] + 0.05 * rng.normal(size=(900, 12))
  scattered = 2 * rng.normal(size=(100, 12))
  x = np.concatenate([dense, scattered])
  hard_where_isolated = np.concatenate([rng.random(900), 2 + rng.random(100)])
  hard_elsewhere = np.concatenate([2 + rng.random(100), rng.random(900)])
  return x, neighbors.knn(x, 20), hard_where_isolated, hard_elsewhere


def test_a_cover_is_of_hard_outliers_only_where_they_are_isolated():
  _, graph, hard_where_isolated, hard_elsewhere = isolated()
  def share(hard, **more):
    return judge.outlier_share(lambda rows, n, beta: rows[select.coverage(*graph, hard, n, beta)], hard, **more)
  chosen = select.coverage(*graph, hard_where_isolated, 100, 0.0)
  assert share(hard_where_isolated) == np.mean(chosen >= 900) > 0.5 and share(hard_elsewhere) < 0.2
  chosen = select.coverage(*graph, hard_where_isolated, 50, 0.0)
  assert share(hard_where_isolated, part=20) == np.isin(chosen, np.argsort(-hard_where_isolated)[:50]).mean()
  assert [judge.least(True, rate) for rate in (0.3, 0.7, 0.8, 0.9)] == [0.0, 0.05, 0.1, 0.15]
  assert [judge.least(False, rate) for rate in (0.3, 0.8, 0.9, 0.95)] == [0.0, 0.0, 0.05, 0.05]


def judged(x, hard, choose, budget, *, covers, betas, labels=None, **more):
  labels = np.arange(len(x)) % 3 if labels is None else labels
  return judge.verdict(x, np.stack([labels, labels]), hard, choose, select.random, budget, covers=covers, betas=betas,
                       **{'folds': 1, 'randoms': 2, 'steps': 3, 'seed': 0} | more)


def test_the_expected_beta_and_the_grid_of_a_method_that_covers_begin_at_the_least_beta():
  x, graph, hard_where_isolated, hard_elsewhere = isolated()
  def choose(rows, count, beta, hard=hard_elsewhere):
    return rows[select.coverage(*graph, hard, count, beta)] if len(rows) == 1000 else np.sort(rows)[:count]
  calm = judged(x, hard_elsewhere, choose, 100, covers=True, betas=(0.0, 0.1, 0.2, 0.3))
  assert calm['betas'].tolist() == [0.05, 0.1, 0.2] and calm['beta'] == 0.05  # All are graded alike.
  assert calm['outlier_share'] < 0.2 and calm['noisy'] is False
  def choose_noise(rows, count, beta):
    return choose(rows, count, beta, hard_where_isolated)
  noisy = judged(x, hard_where_isolated, choose_noise, 100, covers=True, betas=(0.0, 0.1, 0.3), most_beta=0.3)
  assert noisy['betas'].tolist() == [0.15, 0.3] and noisy['beta'] == 0.15 and noisy['noisy'] is True
  assert noisy['outlier_share'] > 0.5
  tolerant = judged(x, hard_where_isolated, choose_noise, 100, covers=True, betas=(0.1,), outlier_limit=0.99)
  assert tolerant['betas'].tolist() == [0.05, 0.1] and tolerant['noisy'] is False
  other = judged(x, hard_elsewhere, choose, 100, covers=True, betas=(0.1,), least_beta=((0, 0.2), (1, 0.2)))
  assert other['betas'].tolist() == [0.2]
  published = judged(x, hard_elsewhere, choose, 100, covers=False, betas=(0.0, 0.1, 0.3))
  assert published['betas'].tolist() == [0.0, 0.1, 0.3] and published['beta'] == 0.3  # The nearest to 0.4.
  assert 'noisy' not in published and 'outlier_share' not in published
  low = judged(x, hard_elsewhere, choose, 100, covers=False, betas=(0.0, 0.1, 0.3), published_beta=((0, 0.1), (1, 0.1)))
  assert low['beta'] == 0.1


def test_every_constant_of_a_verdict_reaches_what_it_decides(monkeypatch):
  x, labels = blobs(90)
  found = {}
  def grade(embeddings, candidates, clusterings, held_out, **more):
    found.update(more, held=len(held_out))
    return np.random.default_rng(0).random((len(candidates), 2), np.float32)
  monkeypatch.setattr(judge, 'grade', grade)
  def first(rows, count, beta):
    return rows[:count]
  plain = judged(x, np.arange(90.0), first, 20, covers=False, betas=(0.0, 0.2))
  usual = dict(found)
  tight = judged(x, np.arange(90.0), first, 20, covers=False, betas=(0.0, 0.2), hidden=7, batch=9, rate=0.1,
                 weight_decay=0.2, set_aside=3, confidence=0.5)
  assert usual | {'hidden': 7, 'batch': 9, 'rate': 0.1, 'weight_decay': 0.2, 'held': 30} == found != usual
  assert tight['half'] < plain['half']
  assert all(isinstance(value, (float, bool, np.ndarray)) for value in tight.values())


def test_the_network_and_its_training_are_as_they_are_told():
  x, labels = blobs()
  x = x + np.random.default_rng(1).normal(0, 4, x.shape).astype(np.float32)
  def grade(**more):
    return judge.grade(x, np.arange(60, 100)[None], labels[None], np.arange(60), steps=15, **more)[0, 0]
  same = grade(hidden=128, batch=128, rate=3e-3, weight_decay=1e-2)
  assert same == grade()
  assert all(grade(**more) != same for more in ({'hidden': 2}, {'batch': 1}, {'rate': 1e-5}, {'weight_decay': 500.0}))


def test_the_search_grades_what_was_chosen_without_the_tenth_set_aside():
  x, labels = blobs()
  seen = []
  def choose(rows, count, beta):
    seen.append((tuple(rows), count))
    mixed = np.random.default_rng(0).permutation(rows)
    return (mixed if beta == 0.2 else mixed[np.argsort(labels[mixed], kind='stable')])[:count]
  shown = []
  def progress(iterable, *, desc, total):
    shown.append((desc, total))
    return iterable
  found = judge.verdict(x, np.stack([labels, (labels + 1) % 4]), np.arange(400.0), choose, select.random, 40,
                        covers=False, betas=(0.0, 0.2, 0.95), folds=3, randoms=4, steps=100, seed=0, progress=progress,
                        published_beta=((0, 0), (1, 0)))
  assert shown == [('judging', 3)]
  assert found['beta'] == 0.2 and found['betas'].tolist() == [0.0, 0.2]  # 0.95 leaves no room for a tenth.
  assert found['scores'].shape == (2, 2, 3) and found['random_scores'].shape == (4, 2, 3)
  assert found['scores'][0].max() < 0.6 < 0.9 < found['scores'][1].min() and abs(found['gap']) < 0.1
  folds = {rows for rows, _ in seen}
  assert len(folds) == 3 and {len(rows) for rows in folds} == {360} and {count for _, count in seen} == {36}


def test_the_forecast_covers_what_a_random_draw_would_score():
  """Where the coreset is itself one more random draw, the 95 % interval of the difference covers zero that often."""
  rng, covered = np.random.default_rng(0), 0
  for _ in range(400):
    subsets = rng.normal(0, 1, (6, 1, 1)) + rng.normal(0, 0.5, (6, 4, 1)) + rng.normal(0, 0.1, (6, 4, 1))
    gap, half = judge.forecast(subsets[0], subsets[1:])
    covered += abs(gap) <= half
  assert 0.92 < covered / 400 <= 1
  gap, half = judge.forecast(np.full((4, 3), 2.0), np.zeros((5, 4, 3)))
  assert (gap, half) == (2, 0)
  assert judge.forecast(np.ones((1, 3)), np.zeros((5, 1, 3)))[1] == np.inf


def test_no_candidate_holds_what_it_is_graded_on_and_each_fold_and_seed_draws_anew(monkeypatch):
  x, labels = blobs(90)
  seen, weights = [], np.arange(90.)
  def grade(embeddings, candidates, clusterings, held_out, **more):
    seen.append((candidates, held_out, more))
    return np.random.default_rng(0).random((len(candidates), len(clusterings)), np.float32)
  monkeypatch.setattr(judge, 'grade', grade)
  for seed in (0, 1):
    judged(x, np.arange(90.0), lambda rows, count, beta: rows[:count], 20, covers=False, betas=(0.0, 0.2), folds=3,
           randoms=4, weights=weights, steps=7, seed=seed)
  assert len(seen) == 6 and [more['fold'] for *_, more in seen] == [0, 1, 2] * 2
  for candidates, held_out, more in seen:
    assert [len(row) for row in candidates] == [18] * (2 + 4) + [9] * 2 + [72] * 2 and len(held_out) == 9
    assert all(len(set(row)) == len(row) and not np.isin(row, held_out).any() for row in candidates)
    assert more['weights'] is weights and more['steps'] == 7
  assert [more['seed'] for *_, more in seen] == [0] * 3 + [1] * 3
  assert len({tuple(held_out) for _, held_out, _ in seen}) == 6
  assert len({tuple(row) for candidates, *_ in seen for row in candidates[2:]}) == 6 * (4 + 2 + 2)


def test_seed_fold_and_clustering_draw_other_starts_and_an_odd_number_of_candidates_is_graded():
  x, labels = blobs()
  x, rng = x + np.random.default_rng(1).normal(0, 4, x.shape).astype(np.float32), np.random.default_rng(2)
  rows = np.stack([60 + rng.permutation(340)[:30] for _ in range(3)])
  def grade(rows=rows, **more):
    return judge.grade(x, rows, np.stack([labels, labels]), np.arange(60), steps=15, **more)
  found = grade()
  assert found.shape == (3, 2) and (found[:, 0] != found[:, 1]).any()
  assert (grade(seed=1) != found).any() and (grade(fold=1) != found).any()
  assert (grade(rows[[2, 0, 1]]) == found[[2, 0, 1]]).all() and len({tuple(row) for row in found}) == 3


def test_the_forecast_is_the_prediction_interval_of_one_more_draw_where_clusterings_agree():
  """The textbook's: t at 95 % with K - 1 degrees, times the spread of K draws, times the root of 1 + 1 / K."""
  draws = np.random.default_rng(0).normal(0, 1, (8, 1, 1)).repeat(12, 1)  # 12 clusterings say the same of 8 subsets.
  gap, half = judge.forecast(np.full((12, 1), 0.5), draws)
  np.testing.assert_allclose(gap, 0.5 - draws.mean())
  np.testing.assert_allclose(half, stats.t.ppf(0.975, 7) * draws[:, 0, 0].std(ddof=1) * np.sqrt(1 + 1 / 8))


def law(n):
  return 0.9 - 1.2 * n ** -0.5


def test_the_worth_is_where_the_curve_of_random_subsets_reaches_the_coresets_score():
  sizes = (50, 100, 400)
  randoms, others = np.full((5, 4, 3), law(100)), np.full((2, 2, 4, 3), [[[[law(50)]]], [[[law(400)]]]])
  found = judge.worth(0.03, 0.01, randoms, others, sizes)
  expected = [optimize.brentq(lambda n: law(n) - law(100) - gain, 20, 2000) for gain in (0.03, 0.02, 0.04)]
  np.testing.assert_allclose(found, expected, rtol=0.02)
  bent = judge.worth(0.0, 0.0, randoms + 0.004, others, sizes)  # No power law goes through all three.
  np.testing.assert_allclose(bent, 100, rtol=1e-6)


@pytest.mark.parametrize('gap, half, expected', [(0.2, 0.1, [400] * 3), (-0.2, 0.1, [50] * 3),
                                                 (0.0, np.inf, [100, 50, 400])])
def test_the_worth_stays_between_the_sizes_graded(gap, half, expected):
  randoms, others = np.full((5, 4, 3), law(100)), np.full((2, 2, 4, 3), [[[[law(50)]]], [[[law(400)]]]])
  np.testing.assert_allclose(judge.worth(gap, half, randoms, others, (50, 100, 400)), expected)


@pytest.mark.parametrize('most', [0.5, 0.4])
def test_nothing_is_said_of_the_worth_where_more_examples_do_not_help(most):
  randoms, others = np.full((5, 4, 3), 0.5), np.stack([np.full((2, 4, 3), 0.5), np.full((2, 4, 3), most)])
  assert judge.worth(0.1, 0.1, randoms, others, (50, 100, 400)) is None


def test_a_random_choice_is_worth_its_own_size_and_a_one_sided_one_less():
  x, labels = blobs(600, width=12)
  x = x + np.random.default_rng(1).normal(0, 4, x.shape).astype(np.float32)
  clusterings = np.stack([labels, (labels + 1) % 4, labels // 2])
  def random(rows, count, beta):
    return np.random.default_rng(len(rows)).permutation(rows)[:count]
  def one_sided(rows, count, beta):
    return rows[np.argsort(labels[rows], kind='stable')[:count]]
  def worth(choose, budget=40):
    return judge.verdict(x, clusterings, np.arange(600.0), choose, select.random, budget, covers=False, betas=(0.0,),
                         folds=3, randoms=4, steps=60, seed=0, published_beta=((0, 0), (1, 0)))
  chance, poor = worth(random), worth(one_sided)
  np.testing.assert_allclose(chance['sizes'], [0.5, 1, 4])
  assert chance['worth'][1] < 1 < chance['worth'][2] and poor['worth'][0] == 0.5
  assert 'worth' not in worth(random, 1) and 'worth' not in worth(random, 600)  # No room for other sizes.
