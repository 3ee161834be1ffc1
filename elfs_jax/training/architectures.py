"""The networks of the table in `networks`, as linen modules: float [B,...] -> logits float32 [B,C].

They are called with `train=` True or False; `dtype` is that of matmuls and convolutions, parameters and logits are
float32. The function that builds one takes (num_classes, width, dtype).
"""
from functools import partial

import flax.linen as nn
import jax.numpy as jnp


def small(num_classes, width, dtype):
  """Three 3x3 convolutions of `width`, 2 and 4 times `width` channels."""
  return Small(num_classes, width, dtype)


def resnet18(num_classes, width, dtype):
  """ResNet-18 with a 3x3 stem, for images to 96 pixels; `width` is not used, its widths are those published."""
  return ResNet(num_classes, (2, 2, 2, 2), False, dtype)


def resnet34(num_classes, width, dtype):
  """ResNet-34 with ImageNet's 7x7 stem; `width` is not used, its widths are those published."""
  return ResNet(num_classes, (3, 4, 6, 3), True, dtype)


def mlp(num_classes, width, dtype):
  """One hidden layer of 16 times `width`, on embeddings."""
  return MLP(num_classes, 16 * width, dtype)


def _norm(train, dtype):
  return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype)


def _classify(module, features):
  """The last layer; its input can be asked for as the intermediate `features`."""
  module.sow('intermediates', 'features', features.astype(jnp.float32))
  return nn.Dense(module.num_classes)(features.astype(jnp.float32))


class Small(nn.Module):
  """Three 3x3 convolutions with batch norm, then a linear layer on the mean and the largest of each channel."""
  num_classes: int
  width: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, train):
    while min(x.shape[1:3]) >= 56:
      x = halve(x)
    for scale in (1, 2, 4):
      x = nn.Conv(scale * self.width, (3, 3), use_bias=False, dtype=self.dtype)(x)
      x = nn.relu(_norm(train, self.dtype)(x))
      if min(x.shape[1:3]) >= 4:
        x = halve(x)
    x = jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)
    return _classify(self, x)


def halve(x):
  """Mean over 2x2 squares, odd edges dropped: on the CPU several times faster than `reduce_window`'s gradient."""
  b, h, w, c = x.shape
  return x[:, :h // 2 * 2, :w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


class ResNet(nn.Module):
  """He et al., arXiv 1512.03385, with basic blocks."""
  num_classes: int
  blocks: tuple
  imagenet: bool
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, train):
    conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.he_normal())
    norm = partial(_norm, train, self.dtype)
    if self.imagenet:
      x = nn.relu(norm()(conv(64, (7, 7), (2, 2), padding=3)(x)))
      x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
    else:
      x = nn.relu(norm()(conv(64, (3, 3))(x)))
    for stage, blocks in enumerate(self.blocks):
      for block in range(blocks):
        x = _basic_block(x, 64 * 2 ** stage, 2 if stage and not block else 1, conv, norm)
    return _classify(self, x.mean((1, 2)))


def _basic_block(x, width, stride, conv, norm):
  y = nn.relu(norm()(conv(width, (3, 3), (stride, stride), padding=1)(x)))
  y = norm()(conv(width, (3, 3), padding=1)(y))
  if x.shape != y.shape:
    x = norm()(conv(width, (1, 1), (stride, stride))(x))
  return nn.relu(x + y)


class MLP(nn.Module):
  """One hidden layer, for a proxy on embeddings."""
  num_classes: int
  hidden: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, train):
    x = nn.relu(_norm(train, self.dtype)(nn.Dense(self.hidden, dtype=self.dtype)(x)))
    return _classify(self, x)
