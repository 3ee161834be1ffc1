"""The scores that say how hard an example was to learn, and the running sums that they are made of. Never imports JAX.

To add a score, write its function here, give it an entry in `SCORES`, and it is written to scores.npz and can be named
in `select.score`. A function gets the sums as an object with these arrays, [N] each (`dynamics.Dynamics`):

  margin     float32, sum over epochs of p_y - max over c != y of p_c
  error      float32, sum over the first EL2N_EPOCHS epochs of ||p - onehot(y)||_2
  epochs     int32, epochs recorded
  correct    int32, epochs in which the prediction was y
  forgotten  int32, epochs in which the prediction was wrong and was right the epoch before
  lead       float32, sum over epochs of z_y - max over c != y of z_c, z the logits

They are NumPy's or JAX's: use operators and the methods that both have.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

EL2N_EPOCHS = 10


class Score(NamedTuple):
  """One way to say how hard an example was to learn."""
  harder: int                # +1 if a higher score is harder, -1 if a lower one is
  of: Callable[[Any], Any]   # the running sums, [N] each -> float32 [N]
  help: str


def aum(sums):
  """The mean over the epochs of the margin of softmax probabilities, in [-1, 1], as the code of ELFS has it."""
  return sums.margin / _recorded(sums)


def aum_logits(sums):
  """The mean over the epochs of the margin of logits, without bounds (Pleiss et al., arXiv 2001.10528).

  Beside `aum` it tells apart what was learned well: probabilities near 0 and 1 all have a margin near -1 or 1.
  """
  return sums.lead / _recorded(sums)


def forgetting(sums):
  """How often it was forgotten (Toneva et al., arXiv 1812.05159)."""
  return sums.forgotten.astype('float32')


def correctness(sums):
  """In how many epochs the prediction was right."""
  return sums.correct.astype('float32')


def el2n(sums):
  """The length of the error, its mean over the first epochs (Paul et al., arXiv 2107.07075)."""
  return sums.error / _recorded(sums).clip(1, EL2N_EPOCHS)


def _recorded(sums):
  """The epochs recorded, at least 1, so that a score before the first epoch is 0: float32 [N]."""
  return sums.epochs.clip(1).astype('float32')


SCORES: dict[str, Score] = {
    'aum': Score(-1, aum, 'area under the margin: by how much the label leads in probability, mean over epochs'),
    'forgetting': Score(1, forgetting, 'how often it was right in one epoch and wrong in the next'),
    'correctness': Score(-1, correctness, 'in how many epochs it was right'),
    'el2n': Score(1, el2n, 'length of the error, mean over the first ten epochs'),
    'aum_logits': Score(-1, aum_logits, 'the same as aum, of logits in place of probabilities'),
}
