"""What the statistics of a benchmark's rows say."""
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from elfs_jax.benchmark import compare, runs


def row(method, seed, accuracy, rate=0.9, **more):
  return dict.fromkeys(runs.COLUMNS) | {'method': method, 'seed': seed, 'accuracy': accuracy, 'rate': rate} | more


def test_gain_and_closure_are_paired_ratios_of_means():
  rng = np.random.default_rng(0)
  random, best = rng.normal(0.80, 0.02, 12), rng.normal(0.9, 0.02, 12)
  method = random + 0.05 + rng.normal(0, 0.001, 12)  # Far more alike within a seed than between seeds.
  gain = compare.gain(method, random)
  assert gain.mean == pytest.approx((method - random).mean()) and gain.high - gain.low < 0.002
  closed = compare.closure(method, random, best)
  assert closed.mean == pytest.approx((method.mean() - random.mean()) / (best.mean() - random.mean()))
  assert closed.low < closed.mean < closed.high
  assert compare.closure(best, random, best)[:3] == pytest.approx((1, 1, 1))
  assert compare.closure(method, random, random - 0.01) is None


def test_the_interval_of_a_gain_covers_the_truth_about_as_often_as_it_says():
  rng = np.random.default_rng(1)
  inside = [g.low <= 0 <= g.high for g in (compare.gain(*rng.normal(0, 1, (2, 20))) for _ in range(300))]
  assert 0.87 < np.mean(inside) < 0.98


def test_searched_betas_become_one_line_at_the_best_of_their_means():
  rows = [row('random', s, 0.5) for s in (0, 1)]
  for beta, accuracies in ((0.0, (0.9, 0.1)), (0.1, (0.6, 0.6)), (0.2, (0.4, 0.4))):
    rows += [row(f'elfs_beta_{beta:g}', s, a, beta=beta) for s, a in enumerate(accuracies)]
  rows += [row('double_end_beta_0', s, 0.3, beta=0.0) for s in (0, 1)]
  rows += [row('elfs', s, 0.5) for s in (0, 1)] + [row('elfs_fixed', s, 0.45) for s in (0, 1)]
  rows.append(row('k_center', 0, 0.99))  # One seed of two: not compared yet.
  lines = {line.method: line for line in compare.table(rows)[0.9]}
  assert set(lines) == {'random', 'elfs', 'elfs_fixed', 'elfs_oracle', 'double_end_oracle', 'no_hard_cut'}
  assert lines['elfs_oracle'].beta == 0.1 and lines['elfs_oracle'].gain.mean == pytest.approx(0.1)
  auto, fixed = compare.regret(rows)[0.9]
  assert (auto.mean, fixed.mean) == pytest.approx((0.1, 0.15))


def test_all_are_compared_with_the_mean_of_the_random_subsets():
  rows = [row('random', 0, 0.5), row('random_2', 0, 0.7), row('random', 1, 0.4), row('random_2', 1, 0.4),
          row('elfs', 0, 0.65, forecast=0.1, forecast_half=0.02), row('elfs', 1, 0.45)]
  lines = {line.method: line for line in compare.table(rows)[0.9]}
  assert set(lines) == {'random', 'elfs'}
  np.testing.assert_allclose(lines['random'].accuracy, [0.6, 0.4])
  assert lines['elfs'].gain.mean == pytest.approx(0.05)
  assert compare.forecast(rows)['right'] == 1


def test_the_forecast_is_scored_on_rank_and_on_its_side():
  rows = []
  for seed in range(2):
    for i in range(4):
      rows.append(row(f'elfs_beta_{i / 10:g}', seed, 0.5 + 0.1 * i, judge=0.1 * i if seed == 0 else -0.1 * i))
    rows += [row('random', seed, 0.55), row('elfs', seed, 0.6 if seed == 0 else 0.5, forecast=0.1, forecast_half=0.02)]
  record = compare.forecast(rows)
  assert record == {'cases': 2, 'rank': pytest.approx(0), 'forecasts': 2, 'said': 2, 'right': 1, 'above': 1}
  assert compare.forecast([row('random', 0, 0.5)]) is None


def test_the_package_imports_nothing_until_it_is_asked():
  code = 'import sys, elfs_jax.benchmark; print(*{"jax", "matplotlib", "scipy"} & set(sys.modules)); ' \
         'print(elfs_jax.benchmark.read("none.csv"))'
  said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
  assert said == '\n[]\n'
