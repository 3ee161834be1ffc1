"""How many labels are enough: accuracy on those there are against their number, and where that curve leads.

A classifier is trained on growing parts of the labelled examples and tested on the others. Through its accuracy goes a
power law, a - b * n ** -c (as Figueroa et al., BMC Medical Informatics 2012, fit it). This decides nothing.
"""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax import learning_curve
from elfs_jax.rounds import classifier

FOLDS, REPEATS, SIZES = 5, 3, 6
SEVERAL = 1000      # Above so many labels one repeat will do.


class Curve(NamedTuple):
  """What was measured: S numbers of labels, m examples."""
  sizes: NDArray      # int64 [S], of labels that a classifier was trained on
  right: NDArray      # float [S,m]: how often an example was told right when it was tested


class Expected(NamedTuple):
  """The accuracy at T numbers of labels, and the middle 95 % of what resamples of the examples give for it."""
  counts: NDArray     # int64 [T]
  accuracy: NDArray   # float [T]
  low: NDArray        # float [T]
  high: NDArray       # float [T]
  fit: tuple[float, float, float]  # a, b, c


def forecast(embeddings: ArrayLike, labels: Sequence, counts: Sequence[int], *, seed: int) -> Expected | None:
  """The accuracy of a classifier on embeddings that so many labels lead to.

  Args: embeddings: float [m,D], of the labelled ones; labels: m class names; counts: T numbers of labels.
  Returns: `Expected`; None where there are fewer than `classifier.LEAST` labels or `LEAST_CLASSES` kinds.
  """
  from threadpoolctl import threadpool_limits
  if not classifier.enough_labels(labels):
    return None
  _, classes = np.unique(np.asarray([str(label) for label in labels]), return_inverse=True)
  with threadpool_limits(1):  # The matrices are small: several threads take longer.
    curve = measure(np.asarray(embeddings, np.float64), classes, train=logistic, seed=seed)
  return extrapolate(curve, counts, seed=seed)


def measure(embeddings: NDArray, classes: NDArray, *, train: Callable, seed: int) -> Curve:
  """Cross-validation in five folds with parts of what is left to train on; each class in its share in every part.

  Args: embeddings: float [m,D]; classes: int [m]; train: (embeddings, classes, tests) -> int, the classes of the tests.
  """
  m, rng = len(classes), np.random.default_rng(seed)
  most = m - -(-m // FOLDS)
  sizes = np.unique(np.geomspace(min(max(8, most // 12), most), most, SIZES).round().astype(int))
  repeats = REPEATS if m <= SEVERAL else 1
  right = np.zeros((len(sizes), m))
  for _ in range(repeats):
    order = _mixed(classes, np.arange(m), rng)
    fold = np.empty(m, int)
    fold[order[np.argsort(classes[order], kind='stable')]] = np.arange(m) % FOLDS
    for turn in range(FOLDS):
      tests, rest = np.flatnonzero(fold == turn), _mixed(classes, np.flatnonzero(fold != turn), rng)
      for i, size in enumerate(sizes):
        rows = rest[:size]
        right[i, tests] += train(embeddings[rows], classes[rows], embeddings[tests]) == classes[tests]
  return Curve(sizes, right / repeats)


def _mixed(classes, rows, rng):
  """The rows in a random order of which every beginning has each class in about its share."""
  rows = rng.permutation(rows)
  rank = np.empty(len(rows))
  for one in np.unique(classes[rows]):
    mine = np.flatnonzero(classes[rows] == one)
    rank[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
  return rows[np.argsort(rank, kind='stable')]


def logistic(embeddings: NDArray, classes: NDArray, tests: NDArray) -> NDArray:
  """What a logistic regression says of the tests."""
  if len(np.unique(classes)) < 2:
    return np.full(len(tests), classes[0])
  scale = embeddings.std() or 1.0  # One for all columns: what they weigh is the encoder's.
  return classifier.fitted(embeddings / scale, classes).predict(tests / scale)


def extrapolate(curve: Curve, counts: Sequence[int], *, seed: int, resamples: int = 500) -> Expected:
  """A power law through the curve, at other numbers of labels. The interval comes from resampled examples.

  Args: counts: T numbers of labels, 1 or more.
  """
  rng, m = np.random.default_rng(seed), curve.right.shape[1]
  picked = rng.multinomial(m, np.full(m, 1 / m), resamples) / m
  means = np.vstack([curve.right.mean(1), picked @ curve.right.T])
  fits = learning_curve.power_laws(curve.sizes, means)
  found = np.clip(learning_curve.accuracies(fits[:, None], counts), 0, 1)
  low, high = np.percentile(found[1:], [2.5, 97.5], axis=0)
  return Expected(np.asarray(counts), found[0], np.minimum(low, found[0]), np.maximum(high, found[0]),
                  tuple(fits[0].tolist()))
