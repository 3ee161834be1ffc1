"""The judge: grades candidate coresets without labels, by clusterings that did not make them.

A candidate graded by the pseudo-labels that made its difficulty looks best where it follows their errors; clusterings
that the difficulty never saw don't share those errors. For each of them a small MLP on the embeddings is trained on
the candidate and scored on a part set aside before the candidates were chosen. Measurements: docs/design.md.

How examples are chosen comes in as two functions. `verdict` is the stage: whatever decides its answer is an argument.
"""
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from elfs_jax import learning_curve
from elfs_jax.budget import floor_count
from elfs_jax.runtime import mesh

Table = tuple[tuple[float, float], ...]  # (share pruned, beta), ..., by rising share; between two it is interpolated.

# beta of ELFS with AUM: 0.4 at 90 % pruned (eltsai/elfs, CIFAR-10; on ImageNet 0.3); 0, 0.2 and 0.3 at 30, 50 and 70 %
# as the scripts of SemiPrune (cyseul/SemiPrune) run it on CIFAR-100-C.
PUBLISHED_BETA: Table = ((0.0, 0.0), (0.3, 0.0), (0.5, 0.2), (0.7, 0.3), (0.9, 0.4), (1.0, 0.4))
# The least that a cover leaves out: a twentieth where little is chosen, nothing where much is. More where the hardest
# are noise. Both measured with true labels (docs/lab/tried.md).
LEAST_BETA: Table = ((0.0, 0.0), (0.8, 0.0), (0.9, 0.05), (1.0, 0.05))
NOISY_BETA: Table = ((0.0, 0.0), (0.5, 0.0), (0.7, 0.05), (0.8, 0.1), (0.9, 0.15), (1.0, 0.15))
MOST_BETA = 0.2  # For a cover: in no set measured did more help, and on photographs the judge took too much.
# The hardest are noise where they are more than this share of an uncut cover of a tenth. By chance they are a tenth of
# it; measured were 0.05 to 0.28 on all sets but `synthetic`, and 0.54 there.
OUTLIER_LIMIT = 0.4

BESIDE, DRAWS = (0.5, 4.0), 2  # Sizes, in budgets, of further random subsets, and how many: see `worth`.
VERSION = 1  # Raise it when `verdict` answers otherwise for the same arguments.
HIDDEN = 128
BATCH = 128
RATE = 3e-3
WEIGHT_DECAY = 1e-2

Choose = Callable[[NDArray[np.int64], int, float], NDArray[np.int64]]


def verdict(embeddings: ArrayLike, clusterings: ArrayLike, difficulty: ArrayLike, choose: Choose,
            draw: Callable[..., NDArray[np.int64]], budget: int, *, covers: bool, weights: ArrayLike | None = None,
            betas: Sequence[float], folds: int, randoms: int, steps: int, seed: int,
            progress: Callable[..., Any] | None = None, hidden: int = HIDDEN, batch: int = BATCH, rate: float = RATE,
            weight_decay: float = WEIGHT_DECAY, set_aside: int = 10, least_beta: Table = LEAST_BETA,
            noisy_beta: Table = NOISY_BETA, published_beta: Table = PUBLISHED_BETA,
            most_beta: float = MOST_BETA, outlier_limit: float = OUTLIER_LIMIT, outlier_part: int = 10,
            beside: tuple[float, float] = BESIDE, draws: int = DRAWS, errors: float = 2, confidence: float = 0.95,
            keep: float | None = None) -> dict[str, Any]:
  """Which beta to use, and whether the coreset is likely to beat a random choice: without labels.

  A method that covers what it drops needs to drop little: its betas are the least one (`least_beta`; `noisy_beta` where
  the hardest are noise) and those of the grid above it, up to `most_beta`. Another method's are the grid, and what is
  expected of it is the published beta. Of those whose grade is not clearly below the best, the one nearest to the
  expected beta is taken.

  Args:
    embeddings: float32 [N,D].
    clusterings: int32 [Q,N], labels that the difficulty did not use.
    difficulty: float [N], without ties; higher is harder.
    choose: (rows int64 [m], count, beta) -> int64 [count], the coreset of these rows alone.
    draw: (n, count, seed=list of int) -> int64 [count], a random choice of n.
    budget: how many of N the coreset will have.
    covers: whether the method covers what it drops.
    weights: float [N], 0 or more, what each example counts in the grade; default all alike.
    betas: the grid, of which those without room are left out.
    folds, randoms: parts set aside, and random subsets beside the candidates of each.
    steps, seed, hidden, batch, rate, weight_decay: as in `grade`.
    progress: called as progress(iterable, desc=, total=).
    set_aside: each fold sets one part in so many aside.
    least_beta, noisy_beta, published_beta: the betas that are expected, by the share pruned.
    most_beta: the largest beta of the grid that a method which covers what it drops may use.
    outlier_limit: the share of outliers (`outlier_share`) above which the hardest are noise.
    outlier_part: as `part` in `outlier_share`.
    beside, draws: the sizes, in budgets, at which further random subsets are graded, and how many at each.
    errors, confidence: as in `best_beta` and `forecast`.
    keep: the one beta to grade, if it is settled already; 0 where there is no room for it.
  Returns: dict of `betas` [R], `scores` float32 [R,Q,folds], `random_scores` [randoms,Q,folds], `beta`, and `gap` and
    `half` of `forecast`; with `covers` also `outlier_share` and `noisy`, whether it is above the limit; with `keep`
    `kept`, which is True; where that of `worth` is known, `worth` [3] and the `sizes` [3] graded, both in budgets.
  """
  pruned = 1 - budget / len(difficulty)
  if covers:
    outliers = outlier_share(choose, difficulty, part=outlier_part)
    noisy = outliers > outlier_limit
    expected = least(noisy, pruned, least_beta=least_beta, noisy_beta=noisy_beta)
    betas = {expected, *(beta for beta in betas if expected < beta <= most_beta)}
    facts = {'outlier_share': outliers, 'noisy': noisy}
  else:
    expected = interpolate(published_beta, pruned)
    facts = {}
  if keep is not None:
    betas, facts = [keep], facts | {'kept': True}
  scores, random_scores, others, betas, sizes = grade_folds(
      embeddings, clusterings, choose, draw, budget, betas, weights=weights, folds=folds, randoms=randoms,
      beside=beside, draws=draws, steps=steps, seed=seed, progress=progress, set_aside=set_aside, hidden=hidden,
      batch=batch, rate=rate, weight_decay=weight_decay)
  beta = best_beta(betas, scores, expected, errors=errors)
  gap, half = forecast(scores[betas.index(beta)], random_scores, confidence=confidence)
  found = worth(gap, half, random_scores, others, sizes) if len(others) else None
  if found is not None:
    facts = facts | {'sizes': np.array(sizes) / sizes[1], 'worth': found / sizes[1]}
  return {'betas': np.array(betas), 'scores': scores, 'random_scores': random_scores, 'beta': beta, 'gap': gap,
          'half': half} | facts


def grade_folds(embeddings: ArrayLike, clusterings: ArrayLike, choose: Choose, draw: Callable[..., NDArray[np.int64]],
                budget: int, betas: Sequence[float], *, weights: ArrayLike | None, folds: int, randoms: int,
                beside: tuple[float, float] = BESIDE, draws: int = DRAWS, steps: int, seed: int,
                progress: Callable[..., Any] | None = None, set_aside: int = 10,
                **how: Any) -> tuple[NDArray, NDArray, NDArray, list[float], list[int]]:
  """Grade a coreset of each beta, and random subsets of three sizes, on parts set aside.

  A fold chooses at the same rate from what is not set aside.

  Args: as in `verdict`; how: `hidden`, `batch`, `rate` and `weight_decay` of `grade`.
  Returns: (scores float32 [R,Q,folds], those of random subsets [randoms,Q,folds] and of those of the least and the
    most size [2,draws,Q,folds], or [0,...] without room; the R betas that there is room for; the three sizes).
  """
  n = len(embeddings)
  held = max(1, n // set_aside)
  count = max(1, floor_count(budget / n, n - held))
  betas = [beta for beta in sorted(betas) if floor_count(beta, n) + budget <= n
           and floor_count(beta, n - held) + count <= n - held] or [0.0]
  fewest, most = int(beside[0] * count), min(int(beside[1] * count), n - held)
  others = [fewest, most] if 0 < fewest < count < most else []

  def fold(turn):
    order = np.random.default_rng([seed, turn, 0x10d6]).permutation(n)
    held_out, rest = np.sort(order[:held]), np.sort(order[held:])
    chosen = [choose(rest, count, beta) for beta in betas]
    drawn = [rest[draw(len(rest), count, seed=[seed, turn, i])] for i in range(randoms)]
    further = [rest[draw(len(rest), size, seed=[seed, turn, i, size])] for size in others for i in range(draws)]
    return grade(embeddings, chosen + drawn + further, clusterings, held_out, weights=weights, steps=steps, seed=seed,
                 fold=turn, **how)

  turns = range(folds) if progress is None else progress(range(folds), desc='judging', total=folds)
  scores = np.stack([fold(turn) for turn in turns], 2)
  scores, random_scores, further = np.split(scores, [len(betas), len(betas) + randoms])
  return scores, random_scores, further.reshape(len(others), draws, *further.shape[1:]), betas, [fewest, count, most]


def grade(embeddings: ArrayLike, candidates: Sequence[ArrayLike], clusterings: ArrayLike, held_out: ArrayLike, *,
          weights: ArrayLike | None = None, steps: int = 400, seed: int = 0, fold: int = 0, hidden: int = HIDDEN,
          batch: int = BATCH, rate: float = RATE, weight_decay: float = WEIGHT_DECAY) -> NDArray[np.float32]:
  """Accuracy on the held-out part of an MLP trained on each candidate, per clustering.

  Args:
    embeddings: float32 [N,D].
    candidates: R rows of indices, int [n] each, where n may differ.
    clusterings: int32 [Q,N], labels that the candidates' difficulty did not use.
    held_out: int [m], indices that no candidate holds.
    weights: float [N], 0 or more, what each example counts in the accuracy; default all alike.
    steps: optimiser steps per run.
    seed, fold: of the starts and draws, which all candidates share.
    hidden, batch, rate, weight_decay: the MLP's width, the examples of a step, and the learning rate at the start and
      weight decay of AdamW.
  Returns: float32 [R,Q].
  """
  x = np.asarray(embeddings, np.float32)
  x = x - x.mean(0)
  x = x / max(float(x.std()), 1e-12)  # One scale for all dimensions: the small ones are mostly noise.
  labels = np.asarray(clusterings, np.int32)
  weights = np.ones(len(x), np.float32) if weights is None else np.asarray(weights, np.float32)
  sizes = np.array([len(rows) for rows in candidates], np.int32)
  rows = np.array([np.resize(rows, sizes.max()) for rows in candidates], np.int32)
  x, rows, sizes, held_out, weights = jax.device_put(
      (x, rows, sizes, np.asarray(held_out, np.int32), weights), jax.local_devices()[0])
  halves = [(rows[half], sizes[half]) for half in (slice(-(-len(rows) // 2)), slice(len(rows) // 2, None))]  # Alike.
  out = np.empty((len(candidates), len(labels)), np.float32)
  key_fold = jax.random.fold_in(jax.random.key(seed), fold)
  with futures.ThreadPoolExecutor(len(halves)) as pool:  # On the CPU one program leaves a third of two cores idle.
    for q in range(len(labels)):
      key = jax.random.fold_in(jax.random.fold_in(key_fold, q), 0)  # The 0: so that verdicts stay what they were.
      first, last = pool.map(lambda half: np.asarray(_grade_all(
          x, *half, labels[q], held_out, weights, key, classes=int(labels.max()) + 1, steps=steps, hidden=hidden,
          batch=batch, rate=rate, weight_decay=weight_decay)), halves)
      out[:, q] = np.concatenate([first, last[2 * len(first) - len(candidates):]])
  return out


@mesh.repeatable(static_argnames=('classes', 'steps', 'hidden', 'batch', 'rate', 'weight_decay'))
def _grade_all(x, candidates, sizes, labels, held_out, weights, key, *, classes, steps, hidden, batch, rate,
               weight_decay):
  """All candidates at once with the same start and the same draws, so that they differ in their examples alone."""
  key_first, key_last, key_batch = jax.random.split(key, 3)
  width, count = x.shape[1], len(candidates)
  params = {'first': jax.random.normal(key_first, (width, hidden)) * np.sqrt(2 / width),
            'bias': jnp.zeros(hidden),
            'last': jax.random.normal(key_last, (hidden, classes)) * np.sqrt(1 / hidden)}
  params = jax.tree.map(lambda a: jnp.tile(a, (count, *[1] * a.ndim)), params)
  optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=weight_decay)
  draws = jax.vmap(lambda size: jax.random.randint(key_batch, (steps, batch), 0, size), out_axes=1)(sizes)

  def loss(params, x, y):
    logits = jax.vmap(_logits)(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(1).sum()

  def step(carry, draw):
    params, opt_state = carry
    rows = jnp.take_along_axis(candidates, draw, 1)
    grads = jax.grad(loss)(params, x[rows], labels[rows])
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), None

  (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), draws)
  predicted = jax.lax.map(lambda p: jnp.argmax(_logits(p, x[held_out]), -1), params)
  counts = weights[held_out]
  return ((predicted == labels[held_out]) * counts).sum(1) / counts.sum()


def _logits(params, x):
  return jax.nn.relu(x @ params['first'] + params['bias']) @ params['last']


def outlier_share(choose: Choose, difficulty: ArrayLike, *, part: int = 10) -> float:
  """The share of a tenth that a cover would choose, without a cut, which lies among the hardest tenth: in [0, 1].

  Isolated examples that no neighbour stands for are what a cover is made of where nothing is cut. Where they are the
  hardest as well, they are noise, which no judge of clusters can see: clusters give it labels like everything else.
  Args: choose: as in `verdict`; difficulty: float [N]; part: one part in so many, ten for a tenth.
  """
  difficulty = np.asarray(difficulty)
  tenth = max(1, len(difficulty) // part)
  hardest = np.argsort(-difficulty, kind='stable')[:tenth]
  chosen = choose(np.arange(len(difficulty)), tenth, 0.0)
  return len(np.intersect1d(chosen, hardest)) / tenth


def least(noisy: bool, pruned: float, *, least_beta: Table = LEAST_BETA, noisy_beta: Table = NOISY_BETA) -> float:
  """The least beta that a cover may use at this share pruned, where the hardest are noise and where they are not."""
  return round(interpolate(noisy_beta if noisy else least_beta, pruned), 2)


def interpolate(table: Table, pruned: float) -> float:
  """The beta that a table has for this share pruned, such as the published one."""
  shares, betas = zip(*table)
  return float(np.interp(pruned, shares, betas))


def best_beta(betas: ArrayLike, scores: NDArray, expected: float, *, errors: float = 2) -> float:
  """The beta to use: of those within two standard errors of the best mean score, the nearest to the expected one.

  The error is that of the difference to the best over all runs, which share held-out part, start and draws. Two, not
  one, since the judge's labels have errors that no number of runs averages away.
  Args: betas: float [R]; scores: float [R,Q,folds] from `grade`; expected: the beta to keep to; errors: how many.
  """
  runs = scores.reshape(len(betas), -1)
  lost = runs[runs.mean(1).argmax()] - runs
  error = lost.std(1, ddof=1) / np.sqrt(lost.shape[1]) if lost.shape[1] > 1 else 0.0
  near = np.asarray(betas)[lost.mean(1) <= errors * error + 1e-12]
  return float(min(near, key=lambda beta: (abs(beta - expected), beta)))


def forecast(chosen: NDArray, randoms: NDArray, *, confidence: float = 0.95) -> tuple[float, float]:
  """Is the chosen coreset likely to beat a random one? From `grade`'s scores, without labels.

  Args: chosen: float [Q,folds] of the coreset; randoms: float [K,Q,folds] of random subsets of the same size, other
    ones in each fold; confidence: of the interval.
  Returns: (difference of mean accuracies, half width of its 95 % interval): the spread over clusterings, and that of
    one random subset around their mean, since that is what the user would draw.
  """
  gaps = (chosen - randoms.mean(0)).mean(-1)
  draws = randoms.mean(1)
  if len(gaps) < 2 or len(draws) < 2:
    return float(gaps.mean()), float('inf')
  variance = gaps.var(ddof=1) / len(gaps) + draws.var(0, ddof=1).mean() * (1 + 1 / draws.size)
  freedom = min(len(gaps), draws.size - draws.shape[1] + 1) - 1
  return float(gaps.mean()), float(stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(variance))


def worth(gap: float, half: float, randoms: NDArray, others: NDArray, sizes: Sequence[int]) -> NDArray | None:
  """How many random examples the coreset is as good as, by a curve of random subsets of three sizes.

  The curve is a power law. It is read where it is so much higher than at the coreset's size as `forecast` says.
  Args: gap, half: of `forecast`; randoms: float [K,Q,folds] of random subsets of the coreset's size; others: float
    [2,D,Q,folds] of random subsets of the least and the most of `sizes`, three, rising, the second the coreset's.
  Returns: float64 [3], the number and its interval, all between the least size and the most; None where the curve does
    not rise.
  """
  means = np.array([others[0].mean(), randoms.mean(), others[1].mean()], np.float64)
  law = learning_curve.power_laws(np.asarray(sizes), means[None])[0]
  least, now, most = learning_curve.accuracies(law, sizes)
  if not least < now < most:
    return None
  return np.clip(learning_curve.counts(law, now + np.array([gap, gap - half, gap + half])), sizes[0], sizes[2])
