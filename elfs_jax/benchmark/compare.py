"""What a benchmark's rows say: means and spreads, paired differences from random, gap closure, the forecast's record.

Methods are compared on the same seeds, since a seed sets the split, the start and the draws for all of them. Gains have
95 % t intervals; gap closure, a ratio, a percentile bootstrap over seeds, which is too narrow for few of them.
"""
from typing import NamedTuple

import numpy as np
from scipy import stats

from elfs_jax import evaluate

DRAWS = 10_000


class Estimate(NamedTuple):
  """A mean over seeds with an interval; NaN bounds where there is one seed."""
  mean: float
  low: float
  high: float


class Line(NamedTuple):
  """One method at one prune rate; accuracies are shares, not per cent."""
  method: str
  rate: float
  beta: float | None          # the mean beta used, None for a method without
  accuracy: np.ndarray        # float [seeds], in the order of the seeds
  gain: Estimate              # accuracy minus random's, in pairs
  closure: Estimate | None    # gain / (best supervised - random); None where that gap is not above 0


def table(rows):
  """Lines of every method and rate that has the same seeds as `random`, best first within a rate.

  Args: rows: list of dicts as in runs.csv. Of the betas tried the one with the highest mean is shown, as `elfs_oracle`
    and `supervised_aum`: a search that sees the test set.
  Returns: {rate: [Line]}.
  """
  out = {}
  for rate, runs in paired(rows):
    accuracy = {name: np.array([row['accuracy'] for row in run]) for name, run in runs.items()}
    ceilings = [a for name, a in accuracy.items() if name.startswith('supervised_')]
    ceiling = max(ceilings, key=np.mean) if ceilings else None
    lines = [Line(name, rate, _mean_beta(runs[name]), a, gain(a, accuracy['random']),
                  closure(a, accuracy['random'], ceiling)) for name, a in accuracy.items()]
    out[rate] = sorted(lines, key=lambda line: -line.accuracy.mean())
  return out


def paired(rows):
  """(rate, {method: its rows in the order of the seeds}) of the methods that have the same seeds as `random`.

  The most pruned first; a rate without `random` is left out.
  """
  rows = merge_randoms(rows)
  for rate in sorted({row['rate'] for row in rows}, reverse=True):
    runs = by_method([row for row in rows if row['rate'] == rate])
    seeds = sorted(runs.get('random', ()))
    if seeds:
      yield rate, {name: [run[s] for s in seeds] for name, run in runs.items() if sorted(run) == seeds}


def merge_randoms(rows):
  """The rows, the random subsets of a rate and seed (`random`, `random_2`, ...) as one row of their mean accuracy."""
  draws = {}
  for row in rows:
    if row['method'].startswith('random'):
      draws.setdefault((row['rate'], row['seed']), []).append(row['accuracy'])
  return [row | {'accuracy': float(np.mean(draws[row['rate'], row['seed']]))} if row['method'] == 'random' else row
          for row in rows if not row['method'].startswith('random_')]


def by_method(rows):
  """{method: {seed: row}}, and of the betas tried the best by mean accuracy over seeds, as if one could know it."""
  runs = {}
  for row in rows:
    runs.setdefault(row['method'], {})[row['seed']] = row
  for prefix, name in (('elfs_beta_', 'elfs_oracle'), ('double_end_beta_', 'double_end_oracle'),
                       ('supervised_aum_beta_', 'supervised_aum')):
    tried = [run for method, run in runs.items() if method.startswith(prefix)]
    full = [run for run in tried if len(run) == max(map(len, tried))]
    if full:
      runs[name] = max(full, key=lambda run: np.mean([row['accuracy'] for row in run.values()]))
  hardest = runs.get('double_end_beta_0')
  runs = {name: run for name, run in runs.items() if '_beta_' not in name}
  return runs | ({'no_hard_cut': hardest} if hardest else {})


def gain(accuracy, baseline):
  """Mean of the paired differences and its 95 % t interval: a percentile bootstrap covers 83 % at five seeds."""
  difference = np.asarray(accuracy) - np.asarray(baseline)
  mean, _, half = evaluate.interval(difference)
  half = half if np.isfinite(half) else float('nan')
  return Estimate(mean, mean - half, mean + half)


def closure(accuracy, baseline, ceiling):
  """(method - random) / (best supervised - random): ratio of means, seeds drawn together for all three.

  None without a ceiling or where it is not above the baseline: then there is no gap to close.
  """
  if ceiling is None or np.mean(ceiling) <= np.mean(baseline):
    return None
  own, gap = np.asarray(accuracy) - baseline, np.asarray(ceiling) - baseline
  mean = float(own.mean() / gap.mean())
  if len(own) < 2:
    return Estimate(mean, float('nan'), float('nan'))
  drawn = np.random.default_rng(0).integers(0, len(own), (DRAWS, len(own)))
  own_means, gap_means = own[drawn].mean(1), gap[drawn].mean(1)
  # A draw without a gap has no closure and is left out. scipy.stats.bootstrap draws the same, but has no interval then.
  closed = own_means[gap_means > 0] / gap_means[gap_means > 0]
  low, high = np.percentile(closed, [2.5, 97.5])
  return Estimate(mean, float(low), float(high))


def regret(rows):
  """{rate: (auto's, fixed 0.3's)}: Estimates of the accuracy that each beta loses against the best fixed one."""
  out = {}
  for rate, runs in paired(rows):
    if {'elfs', 'elfs_fixed', 'elfs_oracle'} <= set(runs):
      auto, fixed, oracle = ([row['accuracy'] for row in runs[name]] for name in ('elfs', 'elfs_fixed', 'elfs_oracle'))
      out[rate] = gain(oracle, auto), gain(oracle, fixed)
  return out


def forecast(rows):
  """How far the judge, which sees no label, foretells accuracy with true labels.

  Returns: dict with `cases` (rate and seed), `rank`: mean Spearman correlation over candidates (each beta and random)
    within a case; `forecasts`: cases with a forecast, `said`: those of them where it said `better` or `worse`,
    `right`: those of these where coreset and random subsets came out on that side; `above`: forecasts where the
    coreset was above random, which always to say `better` would be right in; None without judged rows.
  """
  rows = merge_randoms(rows)
  correlations, right, above, seeds = [], [], [], {(row['rate'], row['seed']) for row in rows}
  for case in sorted(seeds):
    here = [row for row in rows if (row['rate'], row['seed']) == case]
    judged = [row for row in here if row['judge'] is not None]
    pairs = np.array([(row['judge'], row['accuracy']) for row in judged])
    if len(pairs) > 2 and (np.ptp(pairs, 0) > 0).all():  # The correlation with a constant is not defined.
      correlations.append(stats.spearmanr(*pairs.T)[0])
    found = {row['method']: row for row in here}
    if 'elfs' in found and 'random' in found and found['elfs']['forecast'] is not None:
      gap, half = found['elfs']['forecast'], found['elfs']['forecast_half']
      above.append(found['elfs']['accuracy'] > found['random']['accuracy'])
      if abs(gap) > half:
        right.append((gap > 0) == above[-1])
  if not correlations and not above:
    return None
  rank = float(np.mean(correlations)) if correlations else float('nan')
  return {'cases': len(correlations), 'rank': rank, 'forecasts': len(above), 'said': len(right), 'right': sum(right),
          'above': sum(above)}


def summary(rows):
  """The tables, the regret of beta and the forecast's record, as Markdown."""
  out = [text(table(rows))]
  regrets = regret(rows)
  if regrets:
    out += ['| pruned | lost by beta auto | lost by beta 0.3 |', '|---|---|---|']
    out += [f'| {rate:.0%} | {words(auto, ".2f")} | {words(fixed, ".2f")} |' for rate, (auto, fixed) in
            regrets.items()] + ['']
  record = forecast(rows)
  if record:
    rank = [f'rank correlation {record["rank"]:.2f} over {record["cases"]} cases'] if record['cases'] else []
    rightly = f', rightly in {record["right"]}' if record['said'] else ''
    named = [f'of {record["forecasts"]} forecasts {record["said"]} named a side{rightly}',
             f'ours was above random in {record["above"]}'] if record['forecasts'] else []
    out.append(f'The judge, without labels, against accuracy: {"; ".join(rank + named)}.')
  return '\n'.join(out)


def text(lines_by_rate):
  """The table as Markdown, which a terminal shows as well."""
  out = []
  for rate, lines in lines_by_rate.items():
    seeds = len(lines[0].accuracy)
    out += [f'{rate:.0%} pruned, {seeds} seeds', '',
            '| method | beta | accuracy | spread | gain over random | gap closure |', '|---|---|---|---|---|---|']
    for line in lines:
      spread = f'{line.accuracy.std(ddof=1) * 100:.1f}' if seeds > 1 else ''
      beta = '' if line.beta is None else f'{line.beta:.2f}'
      closed = '' if line.closure is None else words(line.closure, '.0f')
      gained = '' if line.method == 'random' else words(line.gain, '+.2f')
      out.append(f'| {line.method} | {beta} | {line.accuracy.mean():.1%} | {spread} | {gained} | {closed} |')
    out.append('')
  return '\n'.join(out)


def words(estimate, form):
  """An `Estimate` of a share as text in points, its interval in brackets; form: a format spec such as '+.2f'."""
  mean = f'{estimate.mean * 100:{form}}'
  return mean if np.isnan(estimate.low) else f'{mean} [{estimate.low * 100:{form}}, {estimate.high * 100:{form}}]'


def figure(lines_by_rate, path, title, shown=8):
  """Accuracy against prune rate: random, ours, the ceiling and the best of the rest; bars: the spread over seeds.

  Args: lines_by_rate: from `table`; path: a file name or an open binary file, written as PNG; title; shown: how many.
  """
  from matplotlib import figure as figures
  curves = {}
  for rate, lines in lines_by_rate.items():
    for line in lines:
      curves.setdefault(line.method, {})[rate] = line
  rates = sorted(lines_by_rate)
  full = {name: [by_rate[r].accuracy * 100 for r in rates] for name, by_rate in curves.items()
          if len(by_rate) == len(rates)}
  ranked = sorted(full, key=lambda name: -np.mean([a.mean() for a in full[name]]))
  first = [name for name in ('elfs', 'random') if name in full]
  ceiling = [name for name in ranked if name.startswith('supervised_')][:1]
  rest = [name for name in ranked if not name.startswith(('supervised_', 'elfs_')) and name not in first
          and not name.endswith('_oracle')]
  picture = figures.Figure(figsize=(7, 4.2), layout='constrained')
  axes = picture.subplots()
  for i, name in enumerate(first + ceiling + rest[:shown - len(first) - len(ceiling)]):
    mean, spread = ([f(a) for a in full[name]] for f in (np.mean, lambda a: a.std(ddof=1) if len(a) > 1 else 0))
    style = {'color': ('tab:red', 'black', 'tab:green')[i], 'linewidth': 2.2} if name in first + ceiling else {
        'color': f'C{(0, 1, 4, 5, 6, 8)[(i - 3) % 6]}', 'linewidth': 1, 'linestyle': '--'}
    shift = 0.25 * (i - shown / 2)  # So that bars stand side by side.
    axes.errorbar(100 * np.array(rates) + shift, mean, spread, marker='o', markersize=3, capsize=2, elinewidth=0.8,
                  label=name, **style)
  axes.set(xlabel='pruned, %', ylabel='test accuracy, %', title=title, xticks=100 * np.array(rates))
  axes.grid(alpha=0.3)
  axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
  picture.savefig(path, dpi=130, format='png')


def _mean_beta(rows):
  betas = [row['beta'] for row in rows if row['beta'] is not None]
  return float(np.mean(betas)) if betas else None
