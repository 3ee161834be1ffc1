"""A small convolutional encoder trained in place on the user's own images, without labels.

Contrastive learning (SimCLR, Chen et al., ICML 2020, arXiv 2002.05709, section 2.1) with one change: the second view
shows not the same image but one of its nearest neighbours (the idea of NNCLR, Dwibedi et al., ICCV 2021, arXiv
2104.14548, with neighbours taken over the whole data set), first under PCA of the pixels, later under the encoder's own
features. Clusters then follow the classes better than those of the pixels (docs/lab/results-0.1.md).

The same bits on every layout: each logical shard runs alone, with batch norm over its own examples; projections are
gathered, so that every device computes the loss of the whole batch in the same shapes; gradients are one tree sum.
"""
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from elfs_jax.embed import FIT_ROWS, fit, pca, project, scale, shrink
from elfs_jax.embed import SIDE as PCA_SIDE
from elfs_jax.encoders import self_network as network
from elfs_jax.encoders.views import views
from elfs_jax.runtime import mesh as devices

BLOCK = 512  # Images that are embedded at a time.


class BySize(NamedTuple):
  """How long to train and in which batches where that is left open, by the number of images."""
  images_seen: int = 300_000  # In all epochs together, about,
  least_epochs: int = 11      # but no fewer epochs than this
  most_epochs: int = 20       # and no more than this.
  small_set: int = 10_000     # Fewer images than this
  small_batch: int = 256      # are seen in these batches,
  batch: int = 512            # the others in these.

  def epochs_of(self, count: int) -> int:
    """Epochs over `count` images."""
    return min(max(self.images_seen // count, self.least_epochs), self.most_epochs)

  def batch_of(self, count: int) -> int:
    """Pairs per step from `count` images."""
    return self.small_batch if count < self.small_set else self.batch


def learn(images: np.ndarray, *, mesh: Mesh, neighbors: Callable[[np.ndarray, int], np.ndarray], shards: int = 16,
          epochs: int | None = None, batch: int | None = None, width: int = 24, refresh: int = 1,
          learning_rate: float = 2e-3, flip: bool = False, seed: int = 0, by_size: BySize = BySize(),
          features: int = 512, projection: int = 128, temperature: float = 0.5, positives: int = 5,
          weight_decay: float = 1e-2, crop: float = 0.8, side: int = 64, grid: int = 16, decay: float = 0.95,
          pixel_components: int = 100, pixel_side: int = PCA_SIDE, feature_components: int = 256,
          fit_rows: int = FIT_ROWS, state: Any = None, on_epoch: Callable[[int, dict], None] | None = None,
          progress: Callable | None = None) -> dict[str, np.ndarray]:
  """Train the encoder, embed every image with it and scale the embeddings for cosine neighbours (`embed.scale`).

  Images (uint8) and the table of neighbours are held by every device; the work is shared. The result is the same to
  the bit for every mesh over the same `shards`, and after a resume.

  Args:
    images: uint8 [N, H, W, Ch], grey or colour.
    mesh: from `mesh.data_mesh(shards)`.
    neighbors: callable (embeddings float32 [N, D], k) -> int [N, k], the k nearest others of each.
    shards: the number of logical shards S; part of the recipe, like a seed.
    epochs: passes over the images; a pass drops what is left over from whole batches. None: by the number of images.
    batch: pairs per step, rounded down to a multiple of S and at most N. None: by the number of images.
    width: channels after the stem; the last convolution has 8 times as many.
    refresh: how many times the neighbours are found anew, from the encoder's own features, at even distances.
    learning_rate: AdamW's at the peak, per 256 pairs; a tenth of the steps warm up, then a cosine to 0.
    flip: also mirror views at random. Wrong for digits and text, right for most photographs.
    seed: of the weights, the order, the views and the positives.
    by_size: what epochs and batch are where they are None.
    features: width of the encoder's output.
    projection: width of the projections that the loss compares.
    temperature: of the contrastive loss.
    positives: the second image of a pair is drawn from this many neighbours.
    weight_decay: of AdamW, on matrices only.
    crop: the least share of the image's area that a random crop keeps.
    side: images with a side longer than this, in pixels, are downscaled first (`embed.shrink`).
    grid: positions along a side after the stem, which sets the cost of all that follows.
    decay: of batch norm's running statistics, per step.
    pixel_components, pixel_side: of the PCA of the pixels (`embed.pca`) that the first neighbours are found under.
    feature_components: how many of the scaled features are kept; the rest only cost time in every search.
    fit_rows: on how many rows PCA and scaling are fitted at most.
    state: resume from what `on_epoch` was given, in NumPy or JAX arrays; a list of its leaves will do.
    on_epoch: called as (epochs done, state) after each epoch. State is a tree of JAX arrays, the same on every device;
      the next step reuses their memory, so copy what is to be kept.
    progress: wraps the steps: progress(iterable, desc=, total=).
  Returns: `embeddings` float32 [N, min(feature_components, features, N - 1)]; and what `more` embeds further images
    with: `mean` and `weights` of the scaling, and the network's arrays by number.
  Raises: FloatingPointError if the loss is no longer finite.
  """
  images = shrink(images, side)
  count = len(images)
  epochs = by_size.epochs_of(count) if epochs is None else epochs
  batch = by_size.batch_of(count) if batch is None else batch
  share = max(1, min(batch, count) // shards)
  batch = share * shards
  steps = max(1, count // batch)
  positives = min(positives, count - 1)
  optimizer = _optimizer(learning_rate * batch / 256, weight_decay, epochs * steps)
  params, stats = network.init(seed, images.shape[1:], width, features, projection, grid)
  fresh = {'params': params, 'stats': stats, 'optimizer': optimizer.init(params), 'neighbors': 0, 'epoch': np.int32(0)}
  if state is None:
    pixel_embeddings = pca(images, components=pixel_components, seed=seed, side=pixel_side, fit_rows=fit_rows)
    state = fresh | {'neighbors': np.asarray(neighbors(pixel_embeddings, positives), np.int32)}
  state = devices.replicate(mesh, jax.tree.unflatten(jax.tree.structure(fresh), jax.tree.leaves(state)))
  pixels, key = devices.replicate(mesh, (images, jax.random.key(seed)))
  step = _make_step(mesh, optimizer, shards, temperature, crop, flip, decay)
  refreshes = {round(epochs * i / (refresh + 1)) for i in range(1, refresh + 1)} - {0, epochs}

  queue = range(int(state['epoch']) * steps, epochs * steps)
  for t in queue if progress is None else progress(queue, desc='training the encoder', total=len(queue)):
    epoch, i = divmod(t, steps)
    if i == 0:
      order = devices.shard(mesh, _order((seed, 1, epoch), count, steps, shards, share))
    state, loss = step(state, pixels, order, key, np.int32(i), np.int32(t))
    devices.settle(mesh, loss)
    if i + 1 < steps:
      continue
    if not math.isfinite(float(loss)):
      raise FloatingPointError(f'the encoder\'s loss is {float(loss)} after epoch {epoch + 1}: lower '
                               'embed.learning_rate')
    state = state | {'epoch': devices.replicate(mesh, np.int32(epoch + 1))}
    if epoch + 1 in refreshes:
      table = neighbors(scale(apply(state, pixels), seed=seed, fit_rows=fit_rows), positives)
      state = state | {'neighbors': devices.replicate(mesh, np.asarray(table, np.int32))}
    if on_epoch is not None:
      on_epoch(epoch + 1, state)
  found = apply(state, pixels)
  mean, weights = fit(found, components=feature_components, seed=seed, fit_rows=fit_rows)
  arrays = jax.tree.leaves((state['params'], state['stats']))
  return {'embeddings': project(found, mean, weights), 'mean': mean, 'weights': weights,
          **{f'array{i:02d}': np.asarray(array) for i, array in enumerate(arrays)}}


def more(images: np.ndarray, learned: Mapping[str, np.ndarray], *, mesh: Mesh, width: int = 24, features: int = 512,
         projection: int = 128, side: int = 64, grid: int = 16) -> np.ndarray:
  """Further images, of the same size, as `learn` with these settings embedded those that it learned from.

  Args: images: uint8 [M, H, W, Ch]; learned: what `learn` returned; mesh and the others: as there.
  Returns: float32 [M, D].
  """
  images = shrink(images, side)
  fresh = network.init(0, images.shape[1:], width, features, projection, grid)
  arrays = [learned[name] for name in sorted(learned) if name.startswith('array')]
  params, stats = jax.tree.unflatten(jax.tree.structure(fresh), arrays)
  state = devices.replicate(mesh, {'params': params, 'stats': stats})
  return project(apply(state, devices.replicate(mesh, images)), learned['mean'], learned['weights'])


def _optimizer(rate, weight_decay, steps):
  """AdamW: a tenth of the steps warm up to `rate`, then a cosine to 0; decay on matrices only."""
  schedule = optax.warmup_cosine_decay_schedule(0., rate, max(1, steps // 10), max(2, steps))
  return optax.adamw(schedule, weight_decay=weight_decay, mask=partial(jax.tree.map, lambda a: a.ndim > 1))


def _order(seed, count, steps, shards, share):
  """Which images each shard sees at each step of an epoch: int32 [S, steps, B / S]."""
  order = np.resize(np.random.default_rng(seed).permutation(count), steps * shards * share)
  return order.reshape(steps, shards, share).swapaxes(0, 1).astype(np.int32)


def apply(state, pixels):
  """Features float32 [N, D] of uint8 images held by every device: blocks of one shape on the first device here."""
  local = jax.tree.map(lambda a: a.addressable_data(0), (state['params'], state['stats'], pixels))
  count = len(pixels)
  rows = np.minimum(np.arange(-(-count // BLOCK) * BLOCK), count - 1).astype(np.int32).reshape(-1, BLOCK)
  return np.concatenate([np.asarray(_features(*local, row)) for row in rows])[:count]


@devices.repeatable()
def _features(params, stats, pixels, rows):
  return network.encode(params, pixels[rows].astype(jnp.float32) / 255, stats)[0]


def _make_step(mesh, optimizer, shards, temperature, crop, flip, decay):
  """A jitted training step on the mesh: (state, pixels, order [S, steps, B / S], key, i, step) -> (state, loss)."""
  local = shards // mesh.devices.size

  def step(state, pixels, order, key, i, step):
    params = state['params']
    first = jax.lax.axis_index(devices.AXIS) * local
    def see(j):
      anchor = order[j, i]
      # All that is random in one draw: each draw of its own adds a second to the compilation.
      draw_key = jax.random.fold_in(key, step * shards + first + j)
      random = jax.random.uniform(draw_key, (9 + pixels.shape[-1] ** 2, 2 * len(anchor)))
      table = state['neighbors']
      pick = (random[0, :len(anchor)] * table.shape[1]).astype(jnp.int32)
      both = jnp.concatenate([anchor, table[anchor, pick]])
      return views(random[1:], pixels[both], crop, flip)
    seen = jax.lax.map(see, jnp.arange(local))  # No convolution inside, so a loop, which compiles once.
    outs, pullbacks, moments = [], [], []
    for x in seen:
      def forward(params):
        features, moments = network.encode(params, x)
        return network.project(params, features).reshape(2, order.shape[-1], -1), moments
      z, pullback, moment = jax.vjp(forward, params, has_aux=True)
      outs.append(z)
      pullbacks.append(pullback)
      moments.append(moment)
    z_S2bD = jax.lax.all_gather(jnp.stack(outs), devices.AXIS, tiled=True)
    z_2BD = z_S2bD.swapaxes(0, 1).reshape(2, -1, z_S2bD.shape[-1])
    alive = step >= 0
    loss, slope = devices.fence(jax.value_and_grad(partial(network.contrastive_loss, temperature=temperature)), z_2BD,
                                alive=alive)
    slope = slope.reshape(2, shards, -1, slope.shape[-1]).swapaxes(0, 1)
    slope = jax.lax.dynamic_slice_in_dim(slope, first, local)
    grads = [pullback(slope[j])[0] for j, pullback in enumerate(pullbacks)]
    grads, moments = devices.all_tree_sum(list(zip(grads, moments)), alive)
    return devices.fence(partial(_update, optimizer, shards, decay), state, grads, moments, alive=alive), loss

  everywhere, split = P(), P(devices.AXIS)
  sharded = jax.shard_map(step, mesh=mesh, in_specs=(everywhere, everywhere, split, everywhere, everywhere, everywhere),
                          out_specs=everywhere, check_vma=False)
  return devices.jit(sharded, donate_argnums=0)


def _update(optimizer, shards, decay, state, grads, moments):
  updates, optimizer_state = optimizer.update(grads, state['optimizer'], state['params'])
  stats = jax.tree.map(lambda a, m: decay * a + (1 - decay) * m / shards, state['stats'], moments)
  return state | {'params': optax.apply_updates(state['params'], updates), 'stats': stats, 'optimizer': optimizer_state}
