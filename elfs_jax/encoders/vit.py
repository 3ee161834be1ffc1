"""The family of vision transformers: the network by its options, and published weights for it.

`convert` takes the tensors as timm publishes them, or the authors' own files of DINO and DINOv2, whose names are nearly
the same. PyTorch is not needed.
"""
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from elfs_jax.encoders.vit_network import ViT

# Published tensors that no embedding needs: the token that stands for a masked patch in training, and a classifier.
LEFT_OUT = ('mask_token', 'head.weight', 'head.bias')


def build(options: Mapping[str, Any], dtype: Any = jnp.float32) -> ViT:
  """The network with these options (the attributes of `ViT`) and matrix products in `dtype`."""
  return ViT(**options, dtype=dtype)


def convert(tensors: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, Any]:
  """Published tensors -> the parameters of `build(options)`.

  Position embeddings made for another size of picture are resampled (`resample`).

  Args:
    tensors: by their name in timm's file, or in the authors' file of DINO or DINOv2.
    options: of the family.
  Returns: a tree of float32 arrays, for `{'params': tree}`.
  Raises: ValueError that lists all tensors that are missing, that have no place, or do not fit.
  """
  network = build(options)
  picture = jax.ShapeDtypeStruct((1, network.size, network.size, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), picture)['params']
  tensors = from_authors(tensors, network)
  rows = table(network)

  wrong = [f'{name} is missing' for name, _, _ in rows if name not in tensors]
  known = {name for name, _, _ in rows} | set(LEFT_OUT)
  wrong += [f'{name} {tensors[name].shape} has no place' for name in sorted(tensors) if name not in known]
  params = {}
  for name, path, transform in rows:
    if name not in tensors:
      continue
    *rooms, last = path.split('/')
    room, shape = params, shapes
    for key in rooms:
      room, shape = room.setdefault(key, {}), shape[key]
    try:
      room[last] = np.ascontiguousarray(transform(np.asarray(tensors[name], np.float32)))
    except ValueError:  # Another number of axes, or position embeddings that are no square.
      room[last] = None
    if room[last] is None or room[last].shape != shape[last].shape:
      wrong.append(f'{name} {tensors[name].shape} does not fit: {path} is {shape[last].shape}')
  if wrong:
    raise ValueError(f'the weights are not those of this encoder: {"; ".join(wrong)}')
  return params


def table(network: ViT) -> list[tuple[str, str, Callable[[np.ndarray], np.ndarray]]]:
  """(timm's name, our name, what makes ours of theirs) for each parameter of the network."""
  as_is = lambda a: a
  turned = lambda a: np.transpose(a, (1, 0))  # PyTorch's matrices are [out, in].
  patches = lambda a: np.transpose(a, (2, 3, 1, 0)).reshape(-1, len(a))  # [out, channels, row, column], as in `cut`.
  def layer(theirs, ours, bias=True, kernel=turned):
    rows = [(f'{theirs}.weight', f'{ours}/kernel', kernel)]
    return rows + [(f'{theirs}.bias', f'{ours}/bias', as_is)] if bias else rows
  norm = lambda theirs, ours: [(f'{theirs}.weight', f'{ours}/scale', as_is), (f'{theirs}.bias', f'{ours}/bias', as_is)]

  rows = layer('patch_embed.proj', 'patch', not network.pre_norm, patches) + norm('norm', 'norm')
  if network.class_token:
    rows += [('cls_token', 'class_token', as_is)]
  if network.registers:
    rows += [('reg_token', 'registers', as_is)]
  if not network.rotary:
    prefix = int(network.class_token and network.class_position)
    rows += [('pos_embed', 'positions', lambda a: resample(a, network.grid, prefix))]
  if network.pre_norm:
    rows += norm('norm_pre', 'norm_pre')
  for i in range(network.depth):
    theirs, ours = f'blocks.{i}', f'block_{i}'
    rows += norm(f'{theirs}.norm1', f'{ours}/norm1') + norm(f'{theirs}.norm2', f'{ours}/norm2')
    rows += layer(f'{theirs}.attn.qkv', f'{ours}/qkv', network.qkv_bias) + layer(f'{theirs}.attn.proj', f'{ours}/proj')
    rows += layer(f'{theirs}.mlp.fc1', f'{ours}/fc1') + layer(f'{theirs}.mlp.fc2', f'{ours}/fc2')
    if network.layer_scale:  # timm has DINOv3 among the EVA networks, which call it otherwise.
      scale = f'{theirs}.gamma_{{}}' if network.rotary else f'{theirs}.ls{{}}.gamma'
      rows += [(scale.format(branch), f'{ours}/scale{branch}', as_is) for branch in (1, 2)]
  if network.output == 'projected':
    rows += layer('head', 'projection')
  if network.output == 'pooled':
    rows += [('attn_pool.latent', 'pool/query', as_is)] + norm('attn_pool.norm', 'pool/norm')
    for name in ('q', 'kv', 'proj', 'mlp.fc1', 'mlp.fc2'):
      rows += layer(f'attn_pool.{name}', f'pool/{name.removeprefix("mlp.")}')
  return rows


def from_authors(tensors: Mapping[str, np.ndarray], network: ViT) -> dict[str, np.ndarray]:
  """The authors' names and shapes -> timm's, where they differ: DINOv2 with registers.

  There the class token has a position embedding; timm adds it to the token once and for all.
  """
  tensors = dict(tensors)
  if 'register_tokens' in tensors and {'cls_token', 'pos_embed'} <= tensors.keys() and not network.class_position:
    tensors['reg_token'] = tensors.pop('register_tokens')
    positions = np.asarray(tensors['pos_embed'], np.float32)
    tensors['cls_token'] = np.asarray(tensors['cls_token'], np.float32) + positions[:, :1]
    tensors['pos_embed'] = positions[:, 1:]
  return tensors


def resample(positions: np.ndarray, grid: int, prefix: int) -> np.ndarray:
  """Position embeddings for another number of patches, as timm resamples them.

  Bicubic (a = -0.5) with antialiasing, corners not aligned, no offset: `resample_abs_pos_embed` of timm. (The DINOv2
  authors' code does this for the networks with registers only; for the others it leaves antialiasing out and adds 0.1
  to the number of patches in the scale.)

  Args:
    positions: float32 [1, prefix + old^2, D], row by row.
    grid: patches along a side, wanted.
    prefix: how many come first that stand for no patch, and are kept.
  Returns: float32 [1, prefix + grid^2, D].
  Raises: ValueError if they are no square.
  """
  old = math.isqrt(max(positions.shape[1] - prefix, 0)) if positions.ndim == 3 else 0
  if not old or prefix + old ** 2 != positions.shape[1]:
    raise ValueError(f'{positions.shape} is not a square of position embeddings after {prefix}')
  if old == grid:
    return positions
  first, patches = positions[:, :prefix], positions[:, prefix:]
  patches = patches.reshape(old, old, -1)
  matrix = cubic(old, grid)
  patches = np.einsum('ia,abd,jb->ijd', matrix, patches, matrix, optimize=True)
  return np.concatenate([first, patches.reshape(1, grid * grid, -1).astype(np.float32)], 1)


def cubic(old: int, new: int) -> np.ndarray:
  """The matrix float64 [new, old] that resamples a line by antialiased cubic convolution (Keys, a = -0.5)."""
  scale = old / new
  middles = (np.arange(new) + 0.5) * scale
  distance = np.abs(np.arange(old) + 0.5 - middles[:, None]) / max(scale, 1.)
  near = (1.5 * distance - 2.5) * distance ** 2 + 1
  far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
  weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.))
  return weights / weights.sum(1, keepdims=True)
