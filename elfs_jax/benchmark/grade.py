"""How good what was chosen is: the accuracy of a classifier that is trained on it, with its true labels."""
import time

import numpy as np

from elfs_jax import evaluate, judge
from elfs_jax.runtime import mesh
from elfs_jax.training import recipe as recipes


def grade_once(grade, subsets):
  """Rows of all subsets; several methods that chose the same, in the same order, share one training.

  Args:
    grade: one of `GRADERS`, all its arguments but the last given.
    subsets: [(row so far, indices into the pool)].
  Yields: each row with its `accuracy` and `train_seconds`.
  """
  same = {}
  for row, chosen in subsets:
    same.setdefault(chosen.tobytes(), []).append((row, chosen))
  firsts = [group[0] for group in same.values()]
  for group, graded in zip(same.values(), grade(firsts)):
    for row, _ in group:
      yield row | {name: graded[name] for name in ('accuracy', 'train_seconds')}


def by_head(embeddings, labels, pool_rows, test, config, seed, subsets):
  """Accuracy of an MLP on the embeddings: all subsets at once, with one start and the same draws."""
  if not subsets:
    return []
  start = time.monotonic()
  accuracy = judge.grade(embeddings, np.stack([pool_rows[chosen] for _, chosen in subsets]), labels[None], test,
                         steps=config.benchmark.steps, seed=seed)[:, 0]
  seconds = round((time.monotonic() - start) / len(subsets), 3)
  return [row | {'accuracy': float(value), 'train_seconds': seconds} for (row, _), value in zip(subsets, accuracy)]


def by_network(inputs, labels, pool_rows, test, config, seed, subsets):
  """Accuracy of the evaluation's network, one subset after the other."""
  recipe = recipes.recipe_of(config.evaluate, inputs)
  num_classes = int(labels.max()) + 1
  for row, chosen in subsets:
    start = time.monotonic()
    accuracy = evaluate.downstream_accuracy(
        inputs, labels, pool_rows[chosen], inputs[test], labels[test], num_classes, recipe,
        steps=config.benchmark.steps, mesh=mesh.data_mesh(config.mesh.shards), seed=seed)
    yield row | {'accuracy': accuracy, 'train_seconds': round(time.monotonic() - start, 3)}


# benchmark.classifier -> its grader: (inputs of all examples, labels, the pool's rows, the test set's, config, seed,
# subsets) -> rows.
GRADERS = {'head': by_head, 'network': by_network}
