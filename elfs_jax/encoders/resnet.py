"""ResNet-50 as PyTorch has it (stride in the middle convolution of a block), for SwAV's and DINO's weights.

Residual networks: He et al., CVPR 2016, arXiv 1512.03385. SwAV: arXiv 2006.09882. DINO: arXiv 2104.14294.
"""
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from elfs_jax.encoders.convolutions import Row, Unit
from elfs_jax.encoders.convolutions import convert as convert_units

STAGES = (3, 4, 6, 3)  # Blocks of each.
EXPANSION = 4  # A block's output has as many times the channels of its inside.
EPS = 1e-5  # Of batch norm.
# Published tensors that no embedding needs: classifiers, SwAV's projection and prototypes, counts of batches.
LEFT_OUT = ('fc.', 'projection_head.', 'prototypes.')


class Bottleneck(nn.Module):
  """[B, H, W, Ch] -> [B, H / stride, W / stride, 4 * channels]; `dtype` of products."""
  channels: int
  stride: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    wide = EXPANSION * self.channels
    unit = lambda features, name, **kwargs: Unit(features, dtype=self.dtype, name=name, **kwargs)
    y = unit(self.channels, 'first', activation=nn.relu)(x)
    y = unit(self.channels, 'middle', kernel=3, stride=self.stride, padding=1, activation=nn.relu)(y)
    y = unit(wide, 'last')(y)
    if x.shape != y.shape:
      x = unit(wide, 'shortcut', stride=self.stride)(x)
    return nn.relu(x + y)


class ResNet50(nn.Module):
  """Normalised pictures float32 [B, size, size, 3] -> the pooled features float32 [B, 2048]; `dtype` of products."""
  size: int = 224
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    x = Unit(64, 7, 2, 3, activation=nn.relu, dtype=self.dtype, name='stem')(x)
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for stage, count in enumerate(STAGES):
      for i in range(count):
        stride = 2 if stage and not i else 1
        x = Bottleneck(64 * 2 ** stage, stride, self.dtype, name=f'block_{stage}_{i}')(x)
    return x.astype(jnp.float32).mean((1, 2))


def build(options: Mapping[str, Any], dtype: Any = jnp.float32) -> ResNet50:
  """The network with these options (the attributes of `ResNet50`) and products in `dtype`."""
  return ResNet50(**options, dtype=dtype)


def convert(tensors: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, Any]:
  """Tensors by torchvision's names, after `module.` in SwAV's file -> the parameters of `build(options)`.

  Raises: ValueError that lists all tensors that are missing, that have no place, or do not fit.
  """
  network = build(options)
  picture = jax.ShapeDtypeStruct((1, network.size, network.size, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), picture)['params']
  return convert_units({name.removeprefix('module.'): tensor for name, tensor in tensors.items()}, table(), shapes,
                       left_out, EPS)


def table() -> list[Row]:
  """Which published layers make which of our units."""
  rows = [Row('conv1', 'bn1', ('stem',))]
  for stage, count in enumerate(STAGES):
    for i in range(count):
      layers = [('conv1', 'bn1', 'first'), ('conv2', 'bn2', 'middle'), ('conv3', 'bn3', 'last')]
      if not i:
        layers.append(('downsample.0', 'downsample.1', 'shortcut'))
      rows += [Row(f'layer{stage + 1}.{i}.{convolution}', f'layer{stage + 1}.{i}.{norm}', (f'block_{stage}_{i}', ours))
               for convolution, norm, ours in layers]
  return rows


def left_out(name: str) -> bool:
  """See `LEFT_OUT`."""
  return name.startswith(LEFT_OUT) or name.endswith('.num_batches_tracked')
