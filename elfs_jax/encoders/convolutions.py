"""What the convolutional encoders share: layers whose batch norm is folded in, and their published tensors.

In a trained network batch norm is a scale and an offset per channel, so it goes into the kernel and the bias of the
convolution before it, once and for all.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax


class Unit(nn.Module):
  """A convolution with a bias, then an activation: [B, H, W, Ch] -> [B, H / stride, W / stride, features].

  Attributes:
    features: channels of the output.
    kernel: its side.
    stride: of the output's grid.
    padding: 'SAME' as TensorFlow pads, more at the end where it is uneven; or as many zeros on each side.
    depthwise: each channel has a kernel of its own, and `features` are as many as the input's.
    activation: applied last.
    dtype: of the products.
  """
  features: int
  kernel: int = 1
  stride: int = 1
  padding: str | int = 'SAME'
  depthwise: bool = False
  activation: Callable = lambda x: x
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    channels = 1 if self.depthwise else x.shape[-1]
    # An axis of one channel counts as the fan-in, as it should.
    kernel = self.param('kernel', nn.initializers.he_normal(), (self.kernel, self.kernel, channels, self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    pads = [padding(side, self.kernel, self.stride, self.padding) for side in x.shape[1:3]]
    convolve = depthwise if self.depthwise else dense
    x = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, pads)
    return self.activation(x + bias.astype(self.dtype))


def padding(side: int, kernel: int, stride: int, how: str | int) -> tuple[int, int]:
  """Zeros before and after one axis."""
  if how != 'SAME':
    return how, how
  total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
  return total // 2, total - total // 2


def dense(x, kernel, stride, pads):
  """A convolution over all channels; one of a single pixel is a matrix product."""
  if kernel.shape[0] == 1:
    return jnp.matmul(x[:, ::stride, ::stride], kernel[0, 0])
  return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def depthwise(x, kernel, stride, pads):
  """A convolution of each channel with its own kernel [k, k, 1, channels].

  XLA's own is 5 to 30 times slower on the CPU than the sum of the shifted pictures, which becomes one loop.
  """
  if jax.default_backend() != 'cpu':
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                    feature_group_count=x.shape[-1])
  size = len(kernel)
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  rows, columns = ((side - size) // stride * stride + 1 for side in x.shape[1:3])
  total = 0
  for i in range(size):
    for j in range(size):
      total += x[:, i:i + rows:stride, j:j + columns:stride] * kernel[i, j, 0]
  return total


class Row(NamedTuple):
  """A line of a family's table: which published convolution and batch norm make which of our units."""
  convolution: str
  norm: str
  ours: tuple[str, ...]


NORM = ('weight', 'bias', 'running_mean', 'running_var')


def convert(tensors: Mapping[str, np.ndarray], rows: Sequence[Row], shapes: Mapping[str, Any],
            left_out: Callable[[str], bool], eps: float) -> dict[str, Any]:
  """Published tensors -> the parameters of units.

  Args:
    tensors: by their published names; kernels are [out, in, height, width] as PyTorch has them.
    rows: the table.
    shapes: the tree of our parameters' shapes.
    left_out: callable (name) -> whether a tensor of that name may be there and is not used.
    eps: what batch norm adds to the variance.
  Returns: a tree of float32 arrays, for `{'params': tree}`.
  Raises: ValueError that lists all tensors that are missing, that have no place, or do not fit.
  """
  units = []
  for row in rows:
    unit = shapes
    for key in row.ours:
      unit = unit[key]
    units.append(unit)
  wanted = {}
  for row, unit in zip(rows, units):
    height, width, channels, features = unit['kernel'].shape
    wanted[f'{row.convolution}.weight'] = (features, channels, height, width)
    wanted |= {f'{row.norm}.{name}': (features,) for name in NORM}
  fit(tensors, wanted, left_out)

  params = {}
  for row in rows:
    room = params
    for key in row.ours[:-1]:
      room = room.setdefault(key, {})
    room[row.ours[-1]] = fold(tensors[f'{row.convolution}.weight'],
                              *(tensors[f'{row.norm}.{name}'] for name in NORM), eps)
  return params


def fit(tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple], left_out: Callable[[str], bool]) -> None:
  """Raises: ValueError that lists all tensors that are missing, that have no place, or do not fit `shapes`."""
  unused = lambda name: name not in shapes and not left_out(name)
  wrong = [f'{name} is missing' for name in shapes if name not in tensors]
  wrong += [f'{name} {tensors[name].shape} has no place' for name in tensors if unused(name)]
  wrong += [f'{name} {tensors[name].shape} does not fit: it should be {shape}' for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape]
  if wrong:
    raise ValueError(f'the weights are not those of this encoder: {"; ".join(wrong)}')


def fold(kernel, scale, offset, mean, variance, eps):
  """A convolution [out, in, height, width] and its batch norm -> the kernel and bias of a unit."""
  kernel, scale, offset, mean, variance = (np.asarray(a, np.float64) for a in (kernel, scale, offset, mean, variance))
  scale = scale / np.sqrt(variance + eps)
  return {'kernel': (kernel.transpose(2, 3, 1, 0) * scale).astype(np.float32),
          'bias': (offset - mean * scale).astype(np.float32)}
