"""How unsure a classifier is of each example, by the labels that have come back: the next round covers these first.

Those of which it is most unsure, without a cover, are a worse choice than one without labels. A cover in which examples
count by the root of their uncertainty gains more than by all of it (docs/lab/rounds.md).
"""
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elfs_jax.rounds import classifier

FLOOR = 1e-4        # Of the uncertainty: what is told for certain is still to be covered.
BLOCK = 16_384      # Rows that are told at a time.
TEMPERATURES = tuple(np.geomspace(0.1, 10, 41).tolist())


def weights(embeddings: NDArray, rows: ArrayLike, classes: ArrayLike, *, seed: int, power: float = 0.5,
            floor: float = FLOOR) -> NDArray[np.float32]:
  """What the cover of each example counts: its `uncertainty`, at least `floor`, to this power.

  Args and errors as in `uncertainty`. Returns: float32 [N], above 0, at most 1.
  """
  return np.maximum(uncertainty(embeddings, rows, classes, seed=seed), floor).astype(np.float32) ** np.float32(power)


def uncertainty(embeddings: NDArray, rows: ArrayLike, classes: ArrayLike, *, seed: int, folds: int = 5,
                temperatures: Sequence[float] = TEMPERATURES, block: int = BLOCK) -> NDArray[np.float64]:
  """1 - how far apart the probabilities of the two likeliest classes are, by a logistic regression on the labels.

  The regression's logits are divided by the temperature under which the labels of folds that it was not trained on are
  likeliest. So few labels make it unsure of all, and so do kinds of which a fold has seen none. To weigh a cover by
  calibrated uncertainty is the idea of UHerding (Bae et al., arXiv 2412.20644), which does so by another kernel.

  Args: embeddings: float [N,D]; rows: int [m], those with labels, m >= folds; classes: int [m], two kinds or more;
    seed: draws the folds; temperatures: to choose from; block: how many rows are told at a time.
  Returns: float64 [N], from 0, sure, to 1.
  """
  from scipy.special import log_softmax, softmax
  from threadpoolctl import threadpool_limits
  rows = np.asarray(rows)
  known = np.asarray(embeddings[rows], np.float64)
  scale = known.std() or 1.0  # One for all columns: what they weigh is the encoder's.
  known, (kinds, place) = known / scale, np.unique(np.asarray(classes), return_inverse=True)
  fold = np.random.default_rng([seed, 0x4e5e]).permutation(len(rows)) % folds
  left_out = np.empty((len(rows), len(kinds)))
  with threadpool_limits(1):  # The matrices are small: several threads take longer.
    for turn in range(folds):
      left_out[fold == turn] = _logits(known[fold != turn], place[fold != turn], len(kinds))(known[fold == turn])
    losses = [-log_softmax(left_out / t, 1)[np.arange(len(place)), place].mean() for t in temperatures]
    temperature, tell = temperatures[int(np.argmin(losses))], _logits(known, place, len(kinds))
    out = np.empty(len(embeddings))
    for start in range(0, len(out), block):
      told = tell(np.asarray(embeddings[start:start + block], np.float64) / scale)
      best = np.partition(softmax(told / temperature, 1), -2, axis=1)[:, -2:]
      out[start:start + block] = 1 - (best[:, 1] - best[:, 0])
  return out


def _logits(x_MD, place_M, count):
  """A trained logistic regression: x [B,D] -> the log of probabilities of all kinds, tiny of those it has not seen."""
  from scipy.special import log_softmax
  seen = np.unique(place_M)
  unseen = -30.0
  if len(seen) > 1:
    model = classifier.fitted(x_MD, place_M)
  def tell(x_BD):
    out = np.full((len(x_BD), count), unseen)
    if len(seen) == 1:
      out[:, seen] = 0.0
    elif len(seen) == 2:  # One number, for the second.
      both = model.decision_function(x_BD)
      out[:, seen] = log_softmax(np.stack([np.zeros_like(both), both], 1), 1)
    else:
      out[:, seen] = log_softmax(model.decision_function(x_BD), 1)
    return out
  return tell
