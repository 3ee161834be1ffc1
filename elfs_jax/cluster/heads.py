"""TEMI: clustering heads on frozen embeddings, trained so that neighbours fall into the same cluster.

Adaloglou et al., "Exploring the Limits of Deep Image Clustering using Pretrained Models", BMVC 2023
(arXiv 2303.17896). All heads train at once along a leading head axis; `elfs_jax.cluster` holds the public names.
"""
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from elfs_jax.cluster.centroids import Smoothing, kmeans
from elfs_jax.cluster.quality import GRADED_NEIGHBORS, check_num_classes
from elfs_jax.runtime import mesh

BLOCK_ROWS = 4096  # Examples that are labelled at a time.


class AdamW(NamedTuple):
  """The optimiser's settings: hashable, since a compiled program is kept for each."""
  learning_rate: float
  warmup_steps: int
  weight_decay: float


class LossSettings(NamedTuple):
  """The settings of `temi_loss`, by its names: hashable, as above."""
  beta: float = 0.6
  student_temp: float = 0.1
  teacher_temp: float = 0.1
  prior_momentum: float = 0.9


class State(NamedTuple):
  """All that a resumed run needs; a pytree of arrays. It is donated to the next epoch: copy what you keep."""
  epoch: jax.Array  # int32 [], epochs done
  student: dict
  teacher: dict
  prior: jax.Array  # [H, C]
  optimizer: tuple
  loss: jax.Array  # [H], mean over the steps of the last epoch
  start: jax.Array  # int32 [N], the k-means labels that the heads started from; [1] of -1 after a random start


class Temi(NamedTuple):
  """What `elfs_jax.cluster.temi` returns."""
  labels: np.ndarray  # int32 [N]
  loss: np.ndarray  # float32 [H]
  best: int
  changed: float | None


def temi(embeddings: np.ndarray, num_classes: int, *, neighbors: np.ndarray, heads: int, epochs: int,
         hidden: Sequence[int] = (512, 256), batch: int = 1024, learning_rate: float | None = None,
         warmup_epochs: int = 20, weight_decay: float = 1e-4, teacher_momentum: float = 0.996, init: str = 'random',
         seed: int = 0, beta: float = 0.6, student_temp: float = 0.1, teacher_temp: float = 0.1,
         prior_momentum: float = 0.9, weight_std: float = 0.02, imitation_epochs: int = 10,
         imitation_rate: float = 2e-3, smoothing: Smoothing = Smoothing(), kmeans_starts: int = 20,
         graded_neighbors: int = GRADED_NEIGHBORS, state: Any = None,
         on_epoch: Callable[[int, State], None] | None = None, progress: Callable | None = None) -> Temi:
  """Cluster by TEMI (arXiv 2303.17896): heads whose clusters hold an example and its neighbours together.

  Runs on one device, so the labels do not depend on how many there are. The label-free choice among the heads is the
  least training loss; a pseudo-label is the argmax of that head's teacher. The last layer is frozen in the first
  epoch: its gradient and update are zero.

  Args:
    embeddings: float [N, D].
    num_classes: clusters C, 2 <= C <= N.
    neighbors: int32 [N, K], from `neighbors.knn`.
    heads: number of heads H, trained at once.
    epochs: passes over the examples, each with a newly drawn neighbour.
    hidden: widths of the hidden layers.
    batch: pairs a step; above N, one batch of all.
    learning_rate: AdamW's peak rate; None is the published 1e-4 * batch / 256.
    warmup_epochs: epochs of linear warm-up from 0; the rate is constant after.
    weight_decay: on all but biases.
    teacher_momentum: weight of the old teacher in each step's average.
    init: 'random', or 'kmeans': every head first learns the labels of `kmeans(embeddings, num_classes, neighbors=...)`.
    seed: of weights, order and pairs.
    beta, student_temp, teacher_temp, prior_momentum: as in `temi_loss`.
    weight_std: standard deviation of the weights at the start, but for the last layer's.
    imitation_epochs, imitation_rate: how long and how fast the heads learn the labels of k-means.
    smoothing, kmeans_starts, graded_neighbors: of that k-means; `kmeans` says what they are.
    state: a state that `on_epoch` received, in the same call otherwise; training goes on from there to the same bits.
    on_epoch: called as `on_epoch(epochs done, state)`; the state's arrays live until it returns: copy what you keep.
    progress: called as `progress(iterable, desc=..., total=...)`, returns an iterable; default none.
  Returns: Temi(labels int32 [N], loss float32 [H] of the last epoch, best: the head chosen, changed: the share of the
    k-means labels that training changed, None after a random start).
  Raises: ValueError on a number of classes or a setting out of range; FloatingPointError if the loss is not finite.
  """
  count, width = np.shape(embeddings)
  check_num_classes(num_classes, count)
  if heads < 1 or epochs < 1 or init not in ('random', 'kmeans'):
    raise ValueError(f"TEMI needs heads >= 1, epochs >= 1 and init 'random' or 'kmeans', got heads={heads}, "
                     f'epochs={epochs}, init={init!r}')
  batch = min(batch, count)
  if learning_rate is None:
    learning_rate = 1e-4 * batch / 256
  adamw = AdamW(learning_rate, warmup_epochs * (count // batch), weight_decay)
  loss = LossSettings(beta, student_temp, teacher_temp, prior_momentum)
  place = functools.partial(jax.device_put, device=jax.local_devices()[0])
  key = place(jax.random.key(seed))
  x_ND = place(np.asarray(embeddings, np.float32))
  near_NK = place(np.asarray(neighbors, np.int32))
  fresh = init_state(seed, heads, (width, *hidden, num_classes), adamw, weight_std)
  if state is not None:
    state = place(jax.tree.unflatten(jax.tree.structure(fresh), jax.tree.leaves(state)))
  elif init == 'kmeans':
    start_N = kmeans(embeddings, num_classes, neighbors=neighbors, seed=seed, smoothing=smoothing,
                     starts=kmeans_starts, graded_neighbors=graded_neighbors)
    state = imitate(place(fresh), x_ND, place(start_N), jax.random.fold_in(key, 0), batch=batch,
                    epochs=imitation_epochs, adamw=AdamW(imitation_rate, 1, weight_decay), temperature=student_temp)
  else:
    state = place(fresh)

  pair_key = jax.random.fold_in(key, 1)
  remaining = range(int(state.epoch), epochs)
  for epoch in remaining if progress is None else progress(remaining, desc='TEMI', total=len(remaining)):
    state = temi_epoch(state, x_ND, near_NK, pair_key, batch=batch, adamw=adamw, momentum=teacher_momentum, loss=loss)
    if progress is not None:
      jax.block_until_ready(state)
    if on_epoch is not None:
      on_epoch(epoch + 1, state)
  loss_H = np.asarray(state.loss)
  if not np.isfinite(loss_H).all():
    raise FloatingPointError(f'the loss of TEMI is {loss_H.tolist()}: lower cluster.learning_rate')
  best = int(np.argmin(loss_H))
  labels_N = predict(state.teacher, best, x_ND)
  start_N = np.asarray(state.start)
  changed = float((labels_N != start_N).mean()) if start_N[0] >= 0 else None
  return Temi(labels_N, loss_H, best, changed)


def temi_loss(student_logits: jax.Array, teacher_logits: jax.Array, prior: jax.Array, *, beta: float = 0.6,
              student_temp: float = 0.1, teacher_temp: float = 0.1,
              prior_momentum: float = 0.9) -> tuple[jax.Array, jax.Array]:
  """TEMI's loss of each head (arXiv 2303.17896, section 3): weighted pointwise mutual information of a pair.

  Args:
    student_logits, teacher_logits: float [H, 2, B, C], the two members of B pairs. No gradient flows to the teacher.
    prior: float [H, C], running mean of the teacher's probabilities, uniform at the start.
    beta: exponent of the joint probability; 1 is the plain mutual information.
    student_temp, teacher_temp: temperatures of the softmax.
    prior_momentum: weight of the old prior.
  Returns: loss float32 [H], the updated prior float32 [H, C] (which the loss already uses).
  """
  student_HPBC = jax.nn.log_softmax(student_logits.astype(jnp.float32) / student_temp)
  teacher_HPBC = jax.nn.log_softmax(jax.lax.stop_gradient(teacher_logits).astype(jnp.float32) / teacher_temp)
  chance_HPBC = jnp.exp(teacher_HPBC)
  prior = prior_momentum * jax.lax.stop_gradient(prior) + (1 - prior_momentum) * chance_HPBC.mean((1, 2))
  weight_B = (chance_HPBC[:, 0] * chance_HPBC[:, 1]).sum(-1).mean(0)
  # Each teacher against the student of the other member.
  joint_HPBC = beta * (teacher_HPBC + student_HPBC[:, ::-1])
  log_prior_HC = jnp.log(jnp.maximum(prior, jnp.finfo(jnp.float32).tiny))
  pmi_HPB = -jax.nn.logsumexp(joint_HPBC - log_prior_HC[:, None, None], axis=-1)
  return (weight_B * pmi_HPB.mean(1)).mean(-1), prior


def init_heads(seed, heads, widths, weight_std=0.02):
  """Heads of Linear(D, .) - GELU - ... - Linear - L2 normalisation - weight-normalised Linear(., C), as host arrays.

  Weights are normal, but for the directions: these are uniform up to 1 / root of their fan-in, PyTorch's default, which
  the published code leaves there alone. Biases are 0, gains 1.

  Args: seed: an int or a sequence of ints; heads: H; widths: (D, hidden widths ..., C); weight_std: the standard
    deviation of the weights.
  Returns: {'dense': [(weight [H, in, out], bias [H, out]), ...], 'direction': [H, in, C], 'gain': [H, C]}, float32.
  """
  rng = np.random.default_rng(seed)
  dense = [(np.float32(weight_std) * rng.standard_normal((heads, fan_in, fan_out), np.float32),
            np.zeros((heads, fan_out), np.float32)) for fan_in, fan_out in zip(widths[:-2], widths[1:-1])]
  bound = widths[-2] ** -0.5
  direction = rng.uniform(-bound, bound, (heads, *widths[-2:])).astype(np.float32)
  return {'dense': dense, 'direction': direction, 'gain': np.ones((heads, widths[-1]), np.float32)}


def init_state(seed, heads, widths, adamw, weight_std=0.02):
  """The state before the first epoch: the teacher equals the student, the prior is uniform."""
  student = init_heads(seed, heads, widths, weight_std)
  classes = widths[-1]
  return State(np.int32(0), student, jax.tree.map(np.copy, student),
               np.full((heads, classes), 1 / classes, np.float32), make_optimizer(*adamw).init(student),
               np.zeros(heads, np.float32), np.full(1, -1, np.int32))


def apply_heads(heads, x_BD):
  """Logits float32 [H, B, C] of embeddings [B, D]."""
  # One batched product took half the time of one wide product over all heads, which needs a transpose (measured).
  z = jnp.broadcast_to(x_BD, (len(heads['gain']), *x_BD.shape))
  for layer, (weight, bias) in enumerate(heads['dense']):
    z = mesh.matmul(jax.nn.gelu(z, approximate=False) if layer else z, weight) + bias[:, None]
  z = z * jax.lax.rsqrt(jnp.maximum((z * z).sum(-1, keepdims=True), 1e-24))
  length_HC = jnp.sqrt((heads['direction'] ** 2).sum(1))
  return mesh.matmul(z, heads['direction']) * (heads['gain'] / length_HC)[:, None]


def make_optimizer(learning_rate, warmup_steps, weight_decay):
  """AdamW, linear warm-up from 0 and constant after, decay on all but the biases of the heads."""
  first = 0.0 if warmup_steps > 1 else learning_rate
  schedule = optax.warmup_constant_schedule(first, learning_rate, warmup_steps - 1)  # Constant where that is 0.
  return optax.adamw(schedule, weight_decay=weight_decay,
                     mask=lambda heads: heads | {'dense': [(True, False)] * len(heads['dense']), 'direction': True,
                                                 'gain': True})


@mesh.repeatable(static_argnames=('batch', 'adamw', 'momentum', 'loss'), donate_argnums=0)
def temi_epoch(state, x_ND, neighbors_NK, key, *, batch, adamw, momentum, loss):
  """One pass over the pairs (x_i, x_j), j uniform among i's neighbours; the tail shorter than a batch is dropped."""
  count = len(x_ND)
  per_epoch = count // batch
  optimizer = make_optimizer(*adamw)
  order_key, pair_key = jax.random.split(jax.random.fold_in(key, state.epoch))
  first_N = jax.random.permutation(order_key, count)
  pick_N = jax.random.randint(pair_key, (count,), 0, neighbors_NK.shape[1])
  pairs_N2 = jnp.stack([first_N, neighbors_NK[first_N, pick_N]], 1)
  thawed = state.epoch > 0

  def step(carry, pair_B2):
    student, teacher, prior, optimizer_state = carry
    x_PD = x_ND[pair_B2.T.reshape(-1)]
    def split(logits):
      return logits.reshape(len(logits), 2, batch, -1)
    teacher_logits = split(apply_heads(teacher, x_PD))

    def objective(student):
      loss_H, new_prior = temi_loss(split(apply_heads(student, x_PD)), teacher_logits, prior,
                                    **loss._asdict())
      return loss_H.mean(), (loss_H, new_prior)

    gradient, (loss_H, prior) = jax.grad(objective, has_aux=True)(student)
    gradient = freeze_last(gradient, thawed)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state, student)
    student = optax.apply_updates(student, freeze_last(updates, thawed))
    teacher = optax.incremental_update(teacher, student, momentum)  # This order: the other rounds otherwise.
    return (student, teacher, prior, optimizer_state), loss_H

  carry = (state.student, state.teacher, state.prior, state.optimizer)
  (student, teacher, prior, optimizer_state), loss_SH = jax.lax.scan(
    step, carry, pairs_N2[:per_epoch * batch].reshape(per_epoch, batch, 2))
  return State(state.epoch + 1, student, teacher, prior, optimizer_state, loss_SH.mean(0), state.start)


def freeze_last(tree, thawed):
  """Zero the last layer's part of a tree shaped like the heads until it is thawed."""
  return {**tree, 'direction': tree['direction'] * thawed, 'gain': tree['gain'] * thawed}


def imitate(state, x_ND, labels_N, key, *, batch, epochs, adamw, temperature):
  """A state whose heads, all of them, have learned given labels int32 [N] by cross-entropy."""
  heads = state.student
  optimizer_state = make_optimizer(*adamw).init(heads)
  for epoch in range(epochs):
    heads, optimizer_state = imitation_epoch(heads, optimizer_state, x_ND, labels_N, jax.random.fold_in(key, epoch),
                                             batch=batch, adamw=adamw, temperature=temperature)
  return state._replace(student=heads, teacher=jax.tree.map(jnp.copy, heads), start=labels_N)


@mesh.repeatable(static_argnames=('batch', 'adamw', 'temperature'), donate_argnums=(0, 1))
def imitation_epoch(heads, optimizer_state, x_ND, labels_N, key, *, batch, adamw, temperature):
  """One pass of cross-entropy training; the tail shorter than a batch is dropped."""
  per_epoch = len(x_ND) // batch
  optimizer = make_optimizer(*adamw)
  order_SB = jax.random.permutation(key, len(x_ND))[:per_epoch * batch].reshape(per_epoch, batch)

  def step(carry, index_B):
    heads, optimizer_state = carry
    def objective(heads):
      log_HBC = jax.nn.log_softmax(apply_heads(heads, x_ND[index_B]) / temperature)
      return -jnp.take_along_axis(log_HBC, labels_N[index_B][None, :, None], axis=-1).mean()
    updates, optimizer_state = optimizer.update(jax.grad(objective)(heads), optimizer_state, heads)
    return (optax.apply_updates(heads, updates), optimizer_state), None

  return jax.lax.scan(step, (heads, optimizer_state), order_SB)[0]


@mesh.repeatable(static_argnames='rows')
def block_labels(heads, best, x_ND, start, *, rows):
  """Cluster by one head of the examples start, ..., start + rows - 1 (beyond the last one it repeats): int32 [rows]."""
  head = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, best, 1), heads)
  x_BD = x_ND[jnp.minimum(start + jnp.arange(rows), len(x_ND) - 1)]
  return apply_heads(head, x_BD)[0].argmax(-1).astype(jnp.int32)


def predict(heads, best, x_ND):
  """Labels int32 [N] by the head `best`, in blocks of one shape."""
  rows = min(BLOCK_ROWS, len(x_ND))
  blocks = [block_labels(heads, best, x_ND, np.int32(start), rows=rows) for start in range(0, len(x_ND), rows)]
  return np.concatenate([np.asarray(block) for block in blocks])[:len(x_ND)]
