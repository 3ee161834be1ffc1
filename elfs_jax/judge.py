"""The judge: grades candidate coresets without labels, by clusterings that did not make them.

A candidate graded by the pseudo-labels that made its difficulty looks best where it follows their errors; clusterings
that the difficulty never saw don't share those errors. For each of them a small MLP on the embeddings is trained on
the candidate and scored on a part set aside before the candidates were cut. Measurements: docs/design.md.
"""
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import stats

from elfs_jax import select
from elfs_jax.runtime import mesh

HIDDEN = 128
BATCH = 128
RATE = 3e-3
HOLD_OUT = 10  # A fold scores on one part in this many.

# beta of ELFS with AUM: 0.4 at 90 % pruned (arXiv 2406.04273, CIFAR-10); 0.1, 0.2 and 0.4 at 30, 50 and 70 % as the
# scripts of SemiPrune run it on CIFAR-100.
PUBLISHED_BETA = ((0.0, 0.0), (0.3, 0.1), (0.5, 0.2), (0.7, 0.4), (0.9, 0.4), (1.0, 0.4))


# The least that `coverage` leaves out: a twentieth where little is chosen, nothing where much is; more where an uncut
# cover flocks to the hardest. Measured with true labels (docs/lab/tried.md).
LEAST_BETA = ((0.0, 0.0), (0.8, 0.0), (0.9, 0.05), (1.0, 0.05))
NOISY_BETA = ((0.0, 0.0), (0.5, 0.0), (0.7, 0.05), (0.8, 0.1), (0.9, 0.15), (1.0, 0.15))
FLOCK = 0.4  # A tenth, where the cover does not care; 0.05 to 0.28 on all sets but `synthetic`, there 0.54.
ALIKE = select.BALANCE  # Up to this balance the grade counts images alike.
CONSTANTS = (LEAST_BETA, NOISY_BETA, FLOCK, ALIKE, select.LEAST_SHARE,
             select.LEAST_ROOM)  # Part of the fingerprints of what they decide.


def grade(embeddings, candidates, clusterings, held_out, *, weights=None, steps=400, seed=0, fold=0):
  """Accuracy on the held-out part of an MLP trained on each candidate, per clustering.

  Args:
    embeddings: float32 [N,D].
    candidates: int [R,n], rows of indices of one size.
    clusterings: int32 [Q,N], labels that the candidates' difficulty did not use.
    held_out: int [m], indices that no candidate holds.
    weights: float [N], 0 or more, what each example counts in the accuracy (`image_weights`); default all alike.
    steps: optimiser steps per run.
    seed, fold: of the starts and draws, which all candidates share.
  Returns: float32 [R,Q].
  """
  x = np.asarray(embeddings, np.float32)
  x = x - x.mean(0)
  x = x / max(float(x.std()), 1e-12)  # One scale for all dimensions: the small ones are mostly noise.
  labels = np.asarray(clusterings, np.int32)
  weights = np.ones(len(x), np.float32) if weights is None else np.asarray(weights, np.float32)
  x, candidates, held_out, weights = jax.device_put(
      (x, np.asarray(candidates, np.int32), np.asarray(held_out, np.int32), weights), jax.local_devices()[0])
  halves = [candidates[:-(-len(candidates) // 2)], candidates[len(candidates) // 2:]]  # Of one shape.
  out = np.empty((len(candidates), len(labels)), np.float32)
  key_fold = jax.random.fold_in(jax.random.key(seed), fold)
  with futures.ThreadPoolExecutor(len(halves)) as pool:  # On the CPU one program leaves a third of two cores idle.
    for q in range(len(labels)):
      key = jax.random.fold_in(jax.random.fold_in(key_fold, q), 0)  # The 0: so that verdicts stay what they were.
      first, last = pool.map(lambda half: np.asarray(_grade_all(
          x, half, labels[q], held_out, weights, key, classes=int(labels.max()) + 1, steps=steps)), halves)
      out[:, q] = np.concatenate([first, last[2 * len(first) - len(candidates):]])
  return out


@mesh.repeatable(static_argnames=('classes', 'steps'))
def _grade_all(x, candidates, labels, held_out, weights, key, *, classes, steps):
  """All candidates at once with the same start and the same draws, so that they differ in their examples alone."""
  key_first, key_last, key_batch = jax.random.split(key, 3)
  width, (count, size) = x.shape[1], candidates.shape
  params = {'first': jax.random.normal(key_first, (width, HIDDEN)) * np.sqrt(2 / width),
            'bias': jnp.zeros(HIDDEN),
            'last': jax.random.normal(key_last, (HIDDEN, classes)) * np.sqrt(1 / HIDDEN)}
  params = jax.tree.map(lambda a: jnp.tile(a, (count, *[1] * a.ndim)), params)
  optimizer = optax.adamw(optax.cosine_decay_schedule(RATE, steps), weight_decay=1e-2)
  draws = jax.random.randint(key_batch, (steps, BATCH), 0, size)

  def loss(params, x, y):
    logits = jax.vmap(_logits)(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(1).sum()
  def step(carry, draw):
    params, opt_state = carry
    rows = candidates[:, draw]
    grads = jax.grad(loss)(params, x[rows], labels[rows])
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None
  (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), draws)
  predicted = jax.lax.map(lambda p: jnp.argmax(_logits(p, x[held_out]), -1), params)
  counts = weights[held_out]
  return ((predicted == labels[held_out]) * counts).sum(1) / counts.sum()


def _logits(params, x):
  return jax.nn.relu(x @ params['first'] + params['bias']) @ params['last']


def search(embeddings, clusterings, choose, budget, betas, expected, *, weights=None, folds, randoms, steps, seed,
           progress):
  """Grade a coreset of each beta, and random subsets, on tenths set aside: which beta, and is it better than random?

  Args:
    embeddings: float32 [N,D].
    clusterings: int32 [Q,N], labels that the difficulty did not use.
    choose: (rows int64 [m], count, beta) -> int64 [count], the coreset of these rows alone.
    budget: how many of N the coreset will have; a fold chooses at the same rate from what is not set aside.
    betas, expected: the grid, of which those without room are left out, and what `choose_beta` keeps to.
    folds, randoms: tenths set aside, random subsets beside them.
    weights, steps, seed: as in `grade`.
    progress: called as progress(iterable, desc=, total=).
  Returns: dict of `betas` [R], `scores` float32 [R,Q,folds], `random_scores` [randoms,Q,folds], `beta`, and `gap` and
    `half` of `forecast`.
  """
  n = len(embeddings)
  held = max(1, n // HOLD_OUT)
  count = max(1, select.floor_count(budget / n, n - held))
  betas = [b for b in sorted(betas) if select.floor_count(b, n) + budget <= n
           and select.floor_count(b, n - held) + count <= n - held] or [0.0]
  def fold(turn):
    order = np.random.default_rng([seed, turn, 0x10d6]).permutation(n)
    held_out, rest = np.sort(order[:held]), np.sort(order[held:])
    chosen = [choose(rest, count, b) for b in betas]
    drawn = [rest[select.random(len(rest), count, seed=[seed, turn, i])] for i in range(randoms)]
    return grade(embeddings, np.stack(chosen + drawn), clusterings, held_out, weights=weights, steps=steps,
                 seed=seed, fold=turn)
  scores = np.stack([fold(turn) for turn in progress(range(folds), desc='judging', total=folds)], 2)
  beta = choose_beta(np.array(betas), scores[:len(betas)], expected)
  gap, half = forecast(scores[betas.index(beta)], scores[len(betas):])
  return {'betas': np.array(betas), 'scores': scores[:len(betas)], 'random_scores': scores[len(betas):], 'beta': beta,
          'gap': gap, 'half': half}


def image_weights(pseudo_labels, balance):
  """What each example counts in the grade of a cover chosen with this `balance`, as in `select.class_need`: float [N].

  All alike up to the default, since who keeps it has not said that rare kinds matter more, and beyond it more and more
  as the cover has it: at 1 each pseudo-class counts alike.
  """
  return select.class_need(pseudo_labels, max(0.0, (balance - ALIKE) / (1 - ALIKE)))


def flock(choose, difficulty):
  """The share of a tenth chosen by `coverage` without a cut that lies among the hardest tenth.

  Isolated examples that no neighbour stands for are what a cover is made of where nothing is cut. Where they are the
  hardest as well, they are noise, which no judge of clusters can see: clusters give it labels like everything else.
  Args: choose: as in `search`; difficulty: float [N]. Returns: float in [0, 1].
  """
  tenth = max(1, len(difficulty) // 10)
  hardest = select.hardest(difficulty, tenth)
  chosen = choose(np.arange(len(difficulty)), tenth, 0.0)
  return len(np.intersect1d(chosen, hardest)) / tenth


def least_beta(flocking, rate):
  """The least beta that `coverage` may use at this share pruned, from `flock`."""
  return round(float(np.interp(rate, *zip(*(NOISY_BETA if flocking > FLOCK else LEAST_BETA)))), 2)


def published_beta(rate):
  """The published beta for this share pruned, interpolated."""
  return float(np.interp(rate, *zip(*PUBLISHED_BETA)))


def choose_beta(betas, scores, expected):
  """The beta to use: of those within two standard errors of the best mean score, the nearest to the expected one.

  The error is that of the difference to the best over all runs, which share held-out part, start and draws. Two, not
  one, since the judge's labels have errors that no number of runs averages away.
  Args: betas: float [R]; scores: float [R,Q,folds] from `grade`; expected: `least_beta` or `published_beta`.
  Returns: float.
  """
  runs = scores.reshape(len(betas), -1)
  lost = runs[runs.mean(1).argmax()] - runs
  error = lost.std(1, ddof=1) / np.sqrt(lost.shape[1]) if lost.shape[1] > 1 else 0.0
  near = np.asarray(betas)[lost.mean(1) <= 2 * error + 1e-12]
  return float(min(near, key=lambda b: (abs(b - expected), b)))


def forecast(chosen, randoms):
  """Is the chosen coreset likely to beat a random one? From `grade`'s scores, without labels.

  Args: chosen: float [Q,folds] of the coreset; randoms: float [K,Q,folds] of random subsets of the same size, other
    ones in each fold.
  Returns: (difference of mean accuracies, half width of its 95 % interval): the spread over clusterings, and that of
    one random subset around their mean, since that is what the user would draw.
  """
  gaps, draws = (chosen - randoms.mean(0)).mean(-1), randoms.mean(1)
  if len(gaps) < 2 or len(draws) < 2:
    return float(gaps.mean()), float('inf')
  variance = gaps.var(ddof=1) / len(gaps) + draws.var(0, ddof=1).mean() * (1 + 1 / draws.size)
  freedom = min(len(gaps), draws.size - draws.shape[1] + 1) - 1
  return float(gaps.mean()), float(stats.t.ppf(0.975, freedom) * np.sqrt(variance))
