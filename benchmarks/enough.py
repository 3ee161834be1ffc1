"""How far off is what a run says of more labels? `rounds.enough` from the labels of a first choice, and what came.

  python benchmarks/enough.py                                          digits and Fashion-MNIST
  python benchmarks/enough.py --sets=digits,icons.npz --firsts=0.05,0.02

Sets, seeds and flags are those of `benchmarks/rounds.py`. The default method chooses a share of the pool; from its
labels the accuracy with them, with twice as many and with all is expected. What came: the same classifier, trained on
these, on the fifth that was set aside. Prints Markdown; +- is the spread over seeds.
"""
import numpy as np
import rounds
from absl import app, flags

from elfs_jax import evaluate
from elfs_jax.rounds import enough
from elfs_jax.runtime import mesh

FIRSTS = flags.DEFINE_list('firsts', ['0.05'], 'Shares of the pool that are labelled.')


def main(_):
  mesh.pin_threads()
  print('| set, labelled | of | expected, % | came, % | off by | interval, points | inside |\n' + '|---' * 7 + '|')
  for name in rounds.SETS.value:
    found = [[] for _ in FIRSTS.value]
    for seed in range(rounds.SEEDS.value):
      x, y = rounds.load(name)
      split = evaluate.splits(len(y), seed + 1, has_test_set=False)[seed]
      pool = rounds.pool_of(x[split.pool], y[split.pool], seed)
      for first, values in zip(FIRSTS.value, found, strict=True):
        values.append(both(pool, round(float(first) * len(pool.x)), x[split.test], y[split.test]))
    for first, values in zip(FIRSTS.value, found, strict=True):
      print('\n'.join(table(rounds.title(name), float(first), 100 * np.array(values))), flush=True)


def both(pool, count, tests, labels):
  """What is expected with the first labels, with twice as many and with all, its interval, and what came: [3,4]."""
  order = rounds.cover(pool, np.zeros(0, np.int64), 2 * count)
  rows = [order[:count], order, np.arange(len(pool.x))]
  said = enough.forecast(pool.x[rows[0]], pool.truth[rows[0]], [len(part) for part in rows], seed=pool.seed)
  came = [(enough.logistic(pool.x[part], pool.truth[part], tests) == labels).mean() for part in rows]
  return np.stack([said.accuracy, said.low, said.high, came], 1)


def table(name, first, values):
  """Rows of the table. values: [seeds,3,4], in %."""
  for words, (said, low, high, came) in zip((f'{first:.0%}', f'{2 * first:.0%}', 'all'), values.transpose(1, 2, 0)):
    off, inside = said - came, (low <= came) & (came <= high)
    yield (f'| {name}, {first:.0%} | {words} | {said.mean():.1f} | {came.mean():.1f} | {off.mean():+.1f} +- '
           f'{off.std(ddof=1):.1f} | {(high - low).mean():.1f} | {inside.sum()} of {len(off)} |')


if __name__ == '__main__':
  app.run(main)
