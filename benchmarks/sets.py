"""What several benchmarks say together: ours beside the best rivals on every set, the regret of beta, the forecast.

  python benchmarks/sets.py --figure=sets.png docs/lab/benchmarks/*.csv              or runs/benchmark_*/runs.csv

Reads the rows of each file's last settings; prints Markdown, and draws the gains over random.
"""
import numpy as np
from absl import app, flags
from matplotlib import figure

from elfs_jax.benchmark import compare, runs

SHOWN = ('elfs', 'facility_location', 'k_center', 'd2', 'd2_cut', 'zcore', 'badge', 'typiclust', 'balanced',
         'double_end_fixed')
OURS = ('elfs', 'double_end', 'no_hard_cut')
FIGURE = flags.DEFINE_string('figure', None, 'Where to draw the gains over random.')
DRAWN = {'elfs': 'tab:red', 'facility_location': 'tab:blue', 'k_center': 'tab:orange', 'd2': 'tab:purple',
         'double_end_fixed': 'tab:gray'}
LEAST = -8  # Points; what is below is drawn at the edge, as an arrow.


def main(argv):
  if len(argv) < 2:
    raise app.UsageError('name the runs.csv of one or more benchmarks')
  rows = [last(runs.read(file)) for file in argv[1:]]
  tables = [compare.table(own) for own in rows]
  known = {row['method'] for own in rows for row in own}
  shown = [method for method in SHOWN if method in known]
  print('| set, pruned | seeds | random | ' + ' | '.join(shown) + ' | ceiling | closure | ours among label-free |')
  print('|---' * (len(shown) + 6) + '|')
  for own, table in zip(rows, tables):
    for rate, lines in table.items():
      print(row(own[0]['data'], rate, lines, shown))
  regrets = [(own[0]['data'], rate, *lost) for own in rows for rate, lost in compare.regret(own).items()]
  if regrets:
    print('\n| set | pruned | lost by beta auto | lost by beta 0.3 |\n|---|---|---|---|')
  for name, rate, auto, fixed in regrets:
    print(f'| {name} | {rate:.0%} | {compare.words(auto, ".1f")} | {compare.words(fixed, ".1f")} |')
  print('\n' + forecasts(rows))
  if FIGURE.value:
    draw(tables, [own[0]['data'] for own in rows])


def forecasts(rows):
  """How the judge's forecasts came out, a line per set and one for all."""
  lines, said, right, above, cases = [], 0, 0, 0, 0
  for own in rows:
    record = compare.forecast(own)
    if record is None or not record['forecasts']:  # Ours was not run.
      continue
    own_cases = record['forecasts']
    rank = f'rank correlation {record["rank"]:.2f}, ' if record['cases'] else ''
    rightly = f', {record["right"]} rightly' if record['said'] else ''
    lines.append(f'- {own[0]["data"]}: {rank}a side named in {record["said"]} of {own_cases}{rightly}; above random in '
                 f'{record["above"]}')
    cases, said = cases + own_cases, said + record['said']
    right, above = right + record['right'], above + record['above']
  return '\n'.join([*lines, f'- all: a side named in {said} of {cases}, {right} rightly; above random in {above}'])


def last(rows):
  """The rows that were made with the settings of the last one."""
  return [row for row in rows if row['settings'] == rows[-1]['settings']]


def row(name, rate, lines, shown):
  """One row of the first table, from `compare.table`'s lines: gains in points, the closure, ours' place."""
  found = {line.method: line for line in lines}
  free = [method for method in found if method == 'elfs' or not method.startswith((*OURS, 'supervised_', 'random'))]
  place = 1 + free.index('elfs')
  ahead = f', after {free[0]}' if place > 1 else ''
  gains = [f'{100 * found[method].gain.mean:+.1f}' if method in found else '' for method in shown[1:]]
  random = 100 * found['random'].accuracy
  spread = f' +- {random.std(ddof=1):.1f}' if len(random) > 1 else ''
  ceiling = next(line for line in lines if line.method.startswith('supervised_'))
  closure = found['elfs'].closure
  closed = '' if closure is None else f'{closure.mean:.0%}'
  return (f'| {name}, {rate:.0%} | {len(random)} | {np.mean(random):.1f}{spread} | '
          + ' | '.join([f'**{compare.words(found["elfs"].gain, "+.1f")}**', *gains])
          + f' | {100 * ceiling.gain.mean:+.1f} | {closed} | {place} of {len(free)}{ahead} |')


def draw(tables, names):
  """Points above random with 95 % intervals: a panel per prune rate, a column per set."""
  rates = list(tables[0])
  picture = figure.Figure(figsize=(14, 3.6), layout='constrained')
  panels = picture.subplots(1, len(rates), sharey=True, squeeze=False)[0]
  for axes, rate in zip(panels, rates):
    axes.axhline(0, color='black', linewidth=0.8)
    for turn, (method, color) in enumerate(DRAWN.items()):
      gains = [next(entry.gain for entry in table[rate] if entry.method == method) for table in tables]
      mean, low, high = 100 * np.array(gains).T
      place, inside = np.arange(len(names)) + 0.13 * (turn - 2), mean >= LEAST
      bars = np.nan_to_num(mean - low)[inside], np.nan_to_num(high - mean)[inside]
      axes.errorbar(place[inside], mean[inside], bars,
                    fmt='o', color=color, markersize=5 if method == 'elfs' else 3.5, elinewidth=0.9, label=method)
      axes.plot(place[~inside], np.full((~inside).sum(), LEAST + 0.3), 'v', color=color, markersize=5)
    axes.set(title=f'{rate:.0%} pruned', xticks=np.arange(len(names)), ylim=(LEAST, None))
    axes.set_xticklabels([name.replace('fashion_mnist', 'fashion').replace('_', '\n') for name in names], fontsize=6.5)
    axes.grid(axis='y', alpha=0.3)
  panels[0].set_ylabel('points above random')
  picture.legend(*panels[0].get_legend_handles_labels(), loc='outside right center', fontsize=8,
                 frameon=False)
  picture.savefig(FIGURE.value, dpi=130)


if __name__ == '__main__':
  app.run(main)
