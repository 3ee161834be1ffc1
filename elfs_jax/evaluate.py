"""Evaluation: the only place that sees ground-truth labels, after the coreset is decided."""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from scipy import optimize, stats
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from elfs_jax.runtime import mesh as mesh_lib
from elfs_jax.training import loop as train

LEAST_ROWS = 16  # Of a batch that batch norm sees on each device.


def cluster_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
  """Share of examples right under the best one-to-one match of clusters and classes (Hungarian method).

  Args: predicted, truth: int [N], any numbers of clusters and classes. Returns: float in [0, 1].
  """
  counts = contingency_matrix(predicted, truth)
  rows, columns = optimize.linear_sum_assignment(counts, maximize=True)
  return float(counts[rows, columns].sum() / len(truth))


def nmi(predicted: np.ndarray, truth: np.ndarray) -> float:
  """Normalised mutual information of two labellings, in [0, 1] (scikit-learn)."""
  return float(normalized_mutual_info_score(truth, predicted))


def ari(predicted: np.ndarray, truth: np.ndarray) -> float:
  """Adjusted Rand index of two labellings, at most 1 (scikit-learn)."""
  return float(adjusted_rand_score(truth, predicted))


def purity(neighbors: np.ndarray, labels: np.ndarray) -> float:
  """Share of each example's neighbours [N,k] that have its label, mean over examples; -1 is no label.

  Of neighbours without a label none is known to differ, so they do not count. NaN where no two neighbours have one.
  """
  labels = np.asarray(labels)
  own, others = labels[:, None], labels[neighbors]
  both = (own >= 0) & (others >= 0)
  return float((own == others)[both].mean()) if both.any() else float('nan')


class Split(NamedTuple):
  """What one seed of the evaluation trains and tests on; indices into the N examples."""
  pool: np.ndarray         # int64, examples that subsets are drawn from
  test: np.ndarray | None  # int64, examples set aside; None: the data set's own test set


def splits(n: int, seeds: int, *, has_test_set: bool, test_share: int = 5) -> list[Split]:
  """One `Split` per seed: everything against the test set, or a random part set aside anew for each seed.

  Args: n: examples; seeds: how many splits; has_test_set: the data set has its own; test_share: without one, one
    example in this many is set aside.
  """
  if has_test_set:
    return [Split(np.arange(n), None)] * seeds
  out = []
  for seed in range(seeds):
    order = np.random.default_rng([seed, 0x7e57]).permutation(n)
    out.append(Split(np.sort(order[n // test_share:]), order[:n // test_share]))
  return out


def accuracies(inputs: np.ndarray, labels: np.ndarray, subsets: Sequence[np.ndarray],
               tests: Sequence[np.ndarray | tuple[np.ndarray, np.ndarray]], num_classes: int, recipe: train.Recipe, *,
               steps: int, mesh: Mesh, shards: int | None = None, least_rows: int = LEAST_ROWS,
               progress: Callable | None = None) -> np.ndarray:
  """Test accuracy of one classifier per seed 0, 1, ..., each trained on a subset of its own with true labels.

  Args:
    inputs, labels: all N.
    subsets: per seed what to train on, int [n].
    tests: per seed what to test on: int [m], indices into the N, or (inputs, labels) of other examples.
    num_classes, recipe, steps, mesh, shards, least_rows: as in `downstream_accuracy`.
    progress: called as progress(iterable, desc=, total=).
  Returns: float64 [seeds], in [0, 1].
  """
  runs = list(zip(subsets, tests, strict=True))
  found = []
  for seed, (subset, test) in enumerate(progress(runs, desc='training classifiers', total=len(runs)) if progress
                                        else runs):
    test_inputs, test_labels = test if isinstance(test, tuple) else (inputs[test], labels[test])
    found.append(downstream_accuracy(inputs, labels, subset, test_inputs, test_labels, num_classes, recipe, steps=steps,
                                     mesh=mesh, shards=shards, least_rows=least_rows, seed=seed))
  return np.array(found)


def downstream_accuracy(inputs: np.ndarray, labels: np.ndarray, subset: np.ndarray, test_inputs: np.ndarray,
                        test_labels: np.ndarray, num_classes: int, recipe: train.Recipe, *, steps: int, mesh: Mesh,
                        shards: int | None = None, least_rows: int = LEAST_ROWS, seed: int = 0) -> float:
  """Test accuracy, at the last step, of a classifier trained on `subset` with true labels for about `steps` steps.

  One logical shard a device, on as many devices as keep `least_rows` of a batch each: nothing here decides a coreset,
  so it need not be the same on every layout, and it compiles several times faster.

  Args:
    inputs, labels: all N.
    subset: int [n], what to train on.
    test_inputs, test_labels: what to test on.
    num_classes: classes of the labels.
    recipe: `Recipe`.
    steps: of training, rounded to whole epochs.
    mesh: of the devices that may be used.
    shards: logical shards at most, part of the result; None: one for each device of the mesh.
    least_rows: examples of a batch that batch norm sees at least; fewer shards are used where they would see less.
    seed: of the start, the order and the views.
  Returns: float in [0, 1].
  """
  shards = mesh.devices.size if shards is None else shards
  while shards > 1 and (recipe.batch % shards or min(recipe.batch, len(subset)) < least_rows * shards):
    shards //= 2
  mesh = mesh_lib.data_mesh(shards, mesh.devices.flat)
  steps_per_epoch = -(-(-(-len(subset) // shards)) // (recipe.batch // shards))
  if not np.array_equal(subset, np.arange(len(inputs))):  # Else images of a map on disk would be copied whole.
    inputs, labels = inputs[subset], labels[subset]
  fitted = train.fit(inputs, labels, num_classes, recipe, epochs=max(1, round(steps / steps_per_epoch)),
                     mesh=mesh, shards=shards, seed=seed)
  return float((fitted.predict(test_inputs) == test_labels).mean())


def summary(accuracies: Sequence[float], baseline: Sequence[float]) -> dict:
  """How accuracies compare with a baseline's: `mean`, `spread`, `half` (None for one seed) and `verdict`."""
  mean, spread, half = interval(accuracies)
  several = len(accuracies) > 1
  return {'mean': mean, 'spread': spread if several else None, 'half': half if several else None,
          'verdict': verdict(accuracies, baseline)}


def interval(values: Sequence[float]) -> tuple[float, float, float]:
  """Mean, sample standard deviation and the half width of the mean's 95 % t interval, over seeds."""
  found = np.asarray(values, float)
  if len(found) < 2:
    return float(found.mean()), float('nan'), float('inf')
  spread = found.std(ddof=1)
  return float(found.mean()), float(spread), float(stats.t.ppf(0.975, len(found) - 1) * spread / len(found) ** 0.5)


def verdict(accuracies: Sequence[float], baseline: Sequence[float]) -> str:
  """How a method compares with a baseline: 'better', 'worse', or 'no measurable difference' where intervals overlap."""
  mean, _, half = interval(accuracies)
  other, _, other_half = interval(baseline)
  if abs(mean - other) <= half + other_half:
    return 'no measurable difference'
  return 'better' if mean > other else 'worse'
