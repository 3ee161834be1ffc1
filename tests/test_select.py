import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from elfs_jax import select


def reference_double_end(difficulty, count, cut):
  ranked = sorted(range(len(difficulty)), key=lambda i: (-difficulty[i], i))
  return ranked[cut:cut + count]


difficulties = st.lists(st.integers(-5, 5), min_size=2, max_size=60).map(lambda x: np.array(x, float))


@given(difficulties, st.floats(0.02, 1), st.floats(0, 0.9))
def test_double_end_is_a_slice_of_the_sorted_order(difficulty, fraction, beta):
  n = len(difficulty)
  count, cut = int(np.floor(fraction * n + 1e-9)), int(np.floor(beta * n + 1e-9))
  if count == 0 or count + cut > n:
    with pytest.raises(ValueError):
      select.double_end(difficulty, fraction, beta)
  else:
    chosen = select.double_end(difficulty, fraction, beta)
    assert chosen.dtype == np.int64
    assert chosen.tolist() == reference_double_end(difficulty, count, cut)


@given(difficulties, st.integers(0, 3))
def test_stratified_shares_the_budget_from_the_smallest_stratum_up(difficulty, seed):
  n = len(difficulty)
  count = max(1, n // 3)
  chosen = select.stratified(difficulty, count, 0.1, strata=5, seed=seed)
  kept = reference_double_end(difficulty, n, int(0.1 * n + 1e-9))
  low, high = min(difficulty[kept]), max(difficulty[kept])
  def stratum(i):
    return 0 if high == low else min(int((difficulty[i] - low) // ((high - low) / 5)), 4)
  sizes = [sum(stratum(i) == s for i in kept) for s in range(5)]
  left, expected = count, []
  for done, size in enumerate(sorted(sizes)):
    expected.append(min(size, left // (5 - done)))
    left -= expected[-1]
  got = [sum(stratum(i) == s for i in chosen) for s in range(5)]
  assert sorted(zip(sizes, got)) == sorted(zip(sorted(sizes), expected)) or sorted(got) == sorted(expected)
  assert len(set(chosen.tolist())) == count and set(chosen) <= set(kept)
  assert (np.diff(difficulty[chosen]) <= 0).all()


def test_fractions_do_not_lose_an_example_to_rounding():
  difficulty = np.arange(100.0)
  assert len(select.double_end(difficulty, 0.29, 0.57)) == 29
  assert select.double_end(difficulty, 0.29, 0.57)[0] == 99 - 57


def test_hardest_and_easiest_are_the_two_ends():
  difficulty = np.array([3.0, 1, 2, 5, 4])
  assert select.hardest(difficulty, 2).tolist() == [3, 4]
  assert select.easiest(difficulty, 2).tolist() == [2, 1]


def test_random_is_a_seeded_subset():
  a, b, c = (select.random(50, '20%', seed=s) for s in (0, 0, 1))
  assert a.tolist() == b.tolist() != c.tolist() and len(set(a.tolist())) == 10 and a.dtype == np.int64


@pytest.mark.parametrize('budget', [0, -3, 51, 1.5, 0.0, -0.1, True, None, 'many', '0%', '150%', 0.001])
def test_bad_budgets(budget):
  with pytest.raises(ValueError, match='budget'):
    select.double_end(np.arange(50.0), budget, 0)


def test_no_room_names_the_largest_beta():
  with pytest.raises(ValueError, match='at most 0.6'):
    select.double_end(np.arange(50.0), 20, 0.7)
  assert len(select.double_end(np.arange(50.0), 20, 0.6)) == 20


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_difficulty_that_is_not_finite(bad):
  with pytest.raises(ValueError, match='row 3'):
    select.double_end(np.array([0, 1, 2, bad]), 1, 0)


@pytest.mark.parametrize('beta', [-0.1, 1.0, 'auto', np.nan])
def test_bad_beta(beta):
  with pytest.raises(ValueError, match='beta'):
    select.double_end(np.arange(50.0), 5, beta)


def test_budgets_as_people_type_them():
  assert [select.budget_count(b, 1000) for b in ('500', '10%', '0.1', '2.5%', 7, 0.25, np.int32(3))] == [
      500, 100, 100, 25, 7, 250, 3]


def test_ties_are_broken_by_the_second_key_and_then_by_a_seeded_hash():
  forgetting = np.zeros(200)
  second = np.repeat([1.0, 0.0], 100)
  ranks = select.break_ties(forgetting, second, seed=0)
  assert sorted(ranks) == list(range(200))
  assert ranks[:100].min() > ranks[100:].max()
  within = select.break_ties(forgetting, seed=0)
  assert abs(np.corrcoef(within, np.arange(200))[0, 1]) < 0.2
  assert (within == select.break_ties(forgetting, seed=0)).all()
  assert (within != select.break_ties(forgetting, seed=1)).any()


def test_select_needs_no_jax():
  code = "import sys; sys.modules['jax'] = None; from elfs_jax import select; print(select.hardest([1., 2.], 1))"
  assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[1]'


def test_coverage_stays_in_its_band_and_covers_it_as_well_as_greedy_does():
  rng = np.random.default_rng(0)
  x, difficulty = rng.normal(size=(300, 4)), rng.normal(size=300)
  chosen = select.coverage(x, difficulty, 40, 0.1, width=3)
  band = reference_double_end(difficulty, 120, 30)
  assert chosen.dtype == np.int64 and len(set(chosen.tolist())) == 40 and set(chosen) <= set(band)
  assert (np.diff(difficulty[chosen]) <= 0).all()
  unit = x[band] / np.linalg.norm(x[band], axis=1, keepdims=True)
  def covered(indices):  # Ties between two that cover each other may go either way, so not the same examples.
    return np.clip(unit @ unit[np.isin(band, indices)].T, 0, None).max(1).sum()
  best, drawn = np.array(band)[select.facility_location(x[band], 40)], np.random.default_rng(1).choice(band, 40, False)
  assert covered(chosen) > covered(best) - 0.02 > covered(drawn) + 1
  np.testing.assert_array_equal(select.coverage(x, difficulty, 40, 0.1, width=1), select.double_end(difficulty, 40, 0.1))


def test_coverage_takes_the_budget_from_every_part_of_a_long_band(monkeypatch):
  monkeypatch.setattr(select, 'COVER_PART', 50)
  x, difficulty = np.random.default_rng(0).normal(size=(600, 3)), np.arange(600.0)
  for budget in (7, 101, 300):
    chosen = select.coverage(x, difficulty, budget, 0.2, seed=1)
    assert len(set(chosen.tolist())) == budget and chosen.max() < 480
    np.testing.assert_array_equal(chosen, select.coverage(x, difficulty, budget, 0.2, seed=1))
  assert len(select.coverage(x, difficulty, 600, 0.0)) == 600


def test_coverage_leaves_near_copies_out():
  rng = np.random.default_rng(0)
  apart = rng.normal(size=(20, 8))
  x = np.concatenate([apart, apart[:1] + 1e-3 * rng.normal(size=(180, 8))])
  chosen = select.coverage(x, rng.normal(size=200), 20, 0.0, width=10)
  assert (chosen < 20).sum() >= 19 > 5 > (select.random(200, 20, seed=0) < 20).sum()


def test_coverage_names_what_is_wrong():
  for arguments, words in (((np.zeros((3, 2)), np.arange(4.0), 2, 0.0), '3 embeddings for 4'),
                           ((np.zeros((4, 2)), np.arange(4.0), 3, 0.5), 'at most 0.25')):
    with pytest.raises(ValueError, match=words):
      select.coverage(*arguments)
  with pytest.raises(ValueError, match='width=0.5'):
    select.coverage(np.zeros((4, 2)), np.arange(4.0), 2, 0.0, width=0.5)
