"""The classifier on the labels that have come back: a logistic regression on the embeddings."""
import warnings
from collections.abc import Sequence

from numpy.typing import NDArray

LEAST = 20          # Labels without which nothing is known,
LEAST_CLASSES = 2   # and kinds.


def enough_labels(labels: Sequence) -> bool:
  """Whether something can be said by these labels."""
  return len(labels) >= LEAST and len(set(map(str, labels))) >= LEAST_CLASSES


def fitted(embeddings: NDArray, classes: NDArray):
  """A fitted `sklearn.linear_model.LogisticRegression`. Args: embeddings: float [m,D]; classes: int [m], two or more.
  """
  from sklearn.linear_model import LogisticRegression
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Not converged: near enough.
    return LogisticRegression(max_iter=200).fit(embeddings, classes)
