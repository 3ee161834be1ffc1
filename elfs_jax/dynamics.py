"""Training dynamics as running sums on the device: O(N) numbers, updated inside the jitted step, no log.

Per example: the area under the margin (AUM, Pleiss et al., arXiv 2001.10528), forgetting (Toneva et al., arXiv
1812.05159), EL2N (Paul et al., arXiv 2107.07075) and correctness. AUM comes twice: of softmax probabilities, as the
code of ELFS has it (`aum`), and of logits, as Pleiss et al. have it (`aum_logits`). Definitions: docs/design.md.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp

from elfs_jax.scores import EL2N_EPOCHS, SCORES


class Dynamics(NamedTuple):
  """Running sums, [N] each."""
  margin: jax.Array      # float32, sum over epochs of p_y - max over c != y of p_c
  error: jax.Array       # float32, sum over the first EL2N_EPOCHS epochs of ||p - onehot(y)||_2
  epochs: jax.Array      # int32, epochs recorded
  correct: jax.Array     # int32, epochs with argmax = y
  forgotten: jax.Array   # int32, epochs where it was right the epoch before and is wrong now
  was_right: jax.Array   # bool, right when last recorded
  lead: jax.Array        # float32, sum over epochs of z_y - max over c != y of z_c, z the logits


def init(n: int) -> Dynamics:
  """The state before the first epoch, for n examples."""
  def zeros(dtype):
    return jnp.zeros(n, dtype)
  return Dynamics(zeros(jnp.float32), zeros(jnp.float32), zeros(jnp.int32), zeros(jnp.int32), zeros(jnp.int32),
                  zeros(bool), zeros(jnp.float32))


class Measured(NamedTuple):
  """What one batch adds, [B] each."""
  margin: jax.Array      # float32
  error: jax.Array       # float32, 0 after the first EL2N_EPOCHS epochs
  right: jax.Array       # bool
  lead: jax.Array        # float32


def record(state, index, logits, labels, epoch, mask=None):
  """Add one batch. Pure and jittable; record each example once an epoch.

  Args:
    state: from `init` or `record`.
    index: int [B], rows of the state.
    logits: float [B, C], those that the loss uses.
    labels: int [B], the (pseudo-)labels y.
    epoch: int scalar, from 0; EL2N takes the first ten.
    mask: bool [B] or None; False rows are not recorded.
  Returns: the new state.
  """
  return add(state, index, measure(logits, labels, epoch), mask)


def measure(logits, labels, epoch):
  """The half of `record` that computes: `Measured`. Its last bits may depend on B, by how it is compiled."""
  logits = logits.astype(jnp.float32)
  p = jax.nn.softmax(logits)
  onehot = jax.nn.one_hot(labels, logits.shape[-1])
  p_label = jnp.sum(p * onehot, -1)
  margin = p_label - jnp.max(jnp.where(onehot > 0, -jnp.inf, p), -1)
  error = jnp.where(epoch < EL2N_EPOCHS, jnp.sqrt(jnp.sum((p - onehot) ** 2, -1)), 0.0)
  lead = jnp.sum(logits * onehot, -1) - jnp.max(jnp.where(onehot > 0, -jnp.inf, logits), -1)
  return Measured(margin, error, jnp.argmax(logits, -1) == labels, lead)


def add(state, index, measured, mask=None):
  """The half of `record` that adds, one number to each row. Args and result as there; measured: `Measured`, [B]."""
  margin, error, right, lead = measured
  forgotten = state.was_right[index] & ~right
  # Rows that are not recorded are sent out of range, where mode='drop' discards them.
  row = index if mask is None else jnp.where(mask, index, len(state.margin))
  return Dynamics(
      state.margin.at[row].add(margin, mode='drop'),
      state.error.at[row].add(error, mode='drop'),
      state.epochs.at[row].add(1, mode='drop'),
      state.correct.at[row].add(right.astype(jnp.int32), mode='drop'),
      state.forgotten.at[row].add(forgotten.astype(jnp.int32), mode='drop'),
      state.was_right.at[row].set(right, mode='drop'),
      state.lead.at[row].add(lead, mode='drop'))


def scores(state: Dynamics) -> dict[str, jax.Array]:
  """The scores so far: dict of float32 [N], one by each name in `SCORES`, among them `aum`, `forgetting`,
  `correctness`, `el2n` and `aum_logits`.

  `aum` is the mean margin of probabilities, in [-1, 1], higher is easier, `aum_logits` that of logits, without bounds;
  `el2n` the mean over the first ten epochs, higher is harder.
  """
  return {name: score.of(state) for name, score in SCORES.items()}
