"""Evaluation: the only place that sees ground-truth labels, after the coreset is decided."""
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from elfs_jax.runtime import mesh as mesh_lib
from elfs_jax.training import loop as train

TEST_SHARE = 5  # Without a test set one part in this many is set aside per seed.
LEAST_ROWS = 16  # That batch norm sees on each device.


def cluster_accuracy(predicted, truth):
  """Share of examples right under the best one-to-one match of clusters and classes (Hungarian method).

  Args: predicted, truth: int [N], any numbers of clusters and classes. Returns: float in [0, 1].
  """
  counts = contingency_matrix(predicted, truth)
  rows, columns = optimize.linear_sum_assignment(counts, maximize=True)
  return float(counts[rows, columns].sum() / len(truth))


def nmi(predicted, truth):
  """Normalised mutual information of two labellings, in [0, 1] (scikit-learn)."""
  return float(normalized_mutual_info_score(truth, predicted))


def ari(predicted, truth):
  """Adjusted Rand index of two labellings, at most 1 (scikit-learn)."""
  return float(adjusted_rand_score(truth, predicted))


def purity(neighbors, labels):
  """Share of each example's neighbours [N,k] that have its label, mean over examples."""
  labels = np.asarray(labels)
  return float((labels[neighbors] == labels[:, None]).mean())


class Split(NamedTuple):
  """What one seed of the evaluation trains and tests on; indices into the N examples."""
  pool: np.ndarray         # int64, examples that subsets are drawn from
  test: np.ndarray | None  # int64, examples set aside; None: the data set's own test set


def splits(n, seeds, *, has_test_set):
  """One `Split` per seed: everything against the test set, or a random fifth set aside anew for each seed."""
  if has_test_set:
    return [Split(np.arange(n), None)] * seeds
  out = []
  for seed in range(seeds):
    order = np.random.default_rng([seed, 0x7e57]).permutation(n)
    out.append(Split(np.sort(order[n // TEST_SHARE:]), order[:n // TEST_SHARE]))
  return out


def downstream_accuracy(inputs, labels, subset, test_inputs, test_labels, num_classes, recipe, *, steps, mesh, seed=0):
  """Test accuracy, at the last step, of a classifier trained on `subset` with true labels for about `steps` steps.

  One logical shard a device, on as many devices as keep `LEAST_ROWS` of a batch each: nothing here decides a coreset,
  so it need not be the same on every layout, and it compiles several times faster.
  Args: inputs, labels: all N; subset: int [n]; recipe: `train.Recipe`; mesh: of the devices that may be used.
  Returns: float in [0, 1].
  """
  shards = mesh.devices.size
  while shards > 1 and (recipe.batch % shards or min(recipe.batch, len(subset)) < LEAST_ROWS * shards):
    shards //= 2
  mesh = mesh_lib.data_mesh(shards, mesh.devices.flat)
  per_epoch = -(-(-(-len(subset) // shards)) // (recipe.batch // shards))
  fitted = train.fit(inputs[subset], labels[subset], num_classes, recipe, epochs=max(1, round(steps / per_epoch)),
                     mesh=mesh, shards=shards, seed=seed)
  return float((fitted.predict(test_inputs) == test_labels).mean())


def interval(values):
  """Mean, sample standard deviation and the half width of the mean's 95 % t interval, over seeds."""
  values = np.asarray(values, float)
  if len(values) < 2:
    return float(values.mean()), float('nan'), float('inf')
  spread = values.std(ddof=1)
  return float(values.mean()), float(spread), float(stats.t.ppf(0.975, len(values) - 1) * spread / len(values) ** 0.5)


def verdict(accuracies, baseline):
  """How a method compares with a baseline: 'better', 'worse', or 'no measurable difference' where intervals overlap."""
  mean, _, half = interval(accuracies)
  other, _, other_half = interval(baseline)
  if abs(mean - other) <= half + other_half:
    return 'no measurable difference'
  return 'better' if mean > other else 'worse'
