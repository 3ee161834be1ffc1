"""Learning curves: power laws a - b * n ** -c through the accuracies at several numbers n of examples, and back.

As Figueroa et al., BMC Medical Informatics 2012, fit them. A law is an array of a, b and c in its last axis.
"""
import numpy as np
from numpy.typing import ArrayLike, NDArray

EXPONENTS = np.geomspace(0.1, 2.0, 40)


def power_laws(sizes: NDArray, accuracies: NDArray) -> NDArray[np.float64]:
  """For each of R curves the a <= 1, b >= 0 and c of a - b * n ** -c, by least squares weighted by n.

  Args: sizes: [S]; accuracies: float [R,S]. Returns: float64 [R,3].
  """
  weights = sizes / sizes.sum()
  best, found = np.full(len(accuracies), np.inf), np.zeros((len(accuracies), 3))
  mean = accuracies @ weights
  for c in EXPONENTS:
    x = -(np.asarray(sizes, float) ** -c)
    centre = x @ weights
    b = np.maximum(0, (accuracies - mean[:, None]) @ (weights * (x - centre)) / (weights @ (x - centre) ** 2))
    a = mean - b * centre
    beyond = a > 1
    b = np.where(beyond, np.maximum(0, (accuracies - 1) @ (weights * x) / (weights @ x ** 2)), b)
    a = np.where(beyond, 1.0, a)
    error = (accuracies - a[:, None] - b[:, None] * x) ** 2 @ weights
    better = error < best
    best[better] = error[better]
    found[better] = np.stack([a, b, np.full(len(a), c)], 1)[better]
  return found


def accuracies(law: NDArray, counts: ArrayLike) -> NDArray[np.float64]:
  """The accuracies of a law at numbers of examples.

  Args: law: float [...,3]; counts: [T]. Returns: float64 [T]; of laws [R,1,3] it is [R,T].
  """
  a, b, c = np.moveaxis(law, -1, 0)
  return a - b * np.asarray(counts, float) ** -c


def counts(law: NDArray, accuracies: ArrayLike) -> NDArray[np.float64]:
  """The number of examples at which a law reaches each accuracy, inf where it never does.

  Args: law: float [3]; accuracies: float [T]. Returns: float64 [T].
  """
  a, b, c = law
  below = a - np.asarray(accuracies, float)
  return np.where(below > 0, (b / np.where(below > 0, below, 1)) ** (1 / c), np.inf)
