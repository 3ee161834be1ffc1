"""Vision transformers: one network whose options make it DINO, DINOv2, DINOv3, CLIP or SigLIP.

All of them cut the picture into patches, add what tells the patches apart, and pass them through equal blocks of
attention and a two-layer perceptron (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929). They differ in the options of
`ViT`. Where their weights come from: `vit`.
"""
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

ACTIVATIONS = {
    'gelu': lambda x: nn.gelu(x, approximate=False),
    'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),  # CLIP as OpenAI trained it.
}
TEMPERATURE = 100.  # Of DINOv3's rotary embeddings: the longest period is nearly this many times the picture's half.

class ViT(nn.Module):
  """A vision transformer, from normalised pictures to embeddings.

  Attributes:
    patch: the side of a patch, in pixels.
    width: of a token.
    depth: the number of blocks.
    heads: of the attention.
    size: the side of the pictures, in pixels; a multiple of `patch`.
    output: what the embedding is. 'token': the class token after the last norm. 'projected': that, projected to
      `projection` numbers (CLIP). 'pooled': what one learned query finds in all tokens (SigLIP, without a class token).
    projection: width of the embedding for output='projected'.
    registers: tokens without a meaning or a position, which keep the patches clean (DINOv2 with registers, DINOv3).
    class_position: the class token has a position embedding, too.
    rotary: positions turn queries and keys in place of being added to the tokens (DINOv3).
    layer_scale: each branch of a block is scaled, channel by channel.
    qkv_bias: queries, keys and values have a bias. DINOv3's keys have none, and in the distilled models (S, B, L) the
      others' are zero, so that the published files leave all three out.
    pre_norm: the tokens are normed before the first block, and the patches have no bias (CLIP).
    activation: a name in `ACTIVATIONS`.
    eps: of the layer norms.
    dtype: of the matrix products. Norms, softmax and the sums over the blocks are float32.
  """
  patch: int
  width: int
  depth: int
  heads: int
  size: int = 224
  output: str = 'token'
  projection: int = 0
  registers: int = 0
  class_position: bool = True
  rotary: bool = False
  layer_scale: bool = False
  qkv_bias: bool = True
  pre_norm: bool = False
  activation: str = 'gelu'
  eps: float = 1e-6
  dtype: Any = jnp.float32

  @property
  def grid(self) -> int:
    """Patches along a side."""
    return self.size // self.patch

  @property
  def class_token(self) -> bool:
    return self.output != 'pooled'

  @nn.compact
  def __call__(self, images):
    """float32 [B, size, size, 3], normalised -> float32 [B, width] ([B, projection] for output='projected')."""
    if images.shape[1:] != (self.size, self.size, 3):
      raise ValueError(f'pictures of shape {images.shape[1:]} do not fit: this encoder takes {self.size, self.size, 3}')
    norm = lambda name: nn.LayerNorm(self.eps, name=name)
    token = lambda name, *shape: self.param(name, nn.initializers.normal(0.02), (1, *shape, self.width))

    x = nn.Dense(self.width, use_bias=not self.pre_norm, dtype=self.dtype, name='patch')(cut(images, self.patch))
    x = x.astype(jnp.float32)
    first = [token('class_token', 1)] if self.class_token else []
    if not self.rotary:
      positions = token('positions', self.grid ** 2 + (self.class_token and self.class_position))
      x += positions[:, -self.grid ** 2:]
      if self.class_token and self.class_position:
        first[0] = first[0] + positions[:, :1]
    if self.registers:
      first.append(token('registers', self.registers))
    x = jnp.concatenate([jnp.broadcast_to(part, (len(x), *part.shape[1:])) for part in first] + [x], 1)

    if self.pre_norm:
      x = norm('norm_pre')(x)
    turn = rotation(self.grid, self.width // self.heads, x.shape[1] - self.grid ** 2) if self.rotary else None
    for i in range(self.depth):
      x = Block(self.heads, self.layer_scale, self.qkv_bias, self.activation, self.eps, self.dtype,
                name=f'block_{i}')(x, turn)

    if self.output == 'pooled':
      return Pool(self.heads, self.activation, self.eps, self.dtype, name='pool')(norm('norm')(x)).astype(jnp.float32)
    x = norm('norm')(x[:, 0])
    if self.output == 'projected':
      x = nn.Dense(self.projection, dtype=self.dtype, name='projection')(x)
    return x.astype(jnp.float32)


class Block(nn.Module):
  """Attention and a perceptron, each normed before and added to its input: float32 [B, N, width] -> the same."""
  heads: int
  layer_scale: bool
  qkv_bias: bool
  activation: str
  eps: float
  dtype: Any

  @nn.compact
  def __call__(self, x, turn):
    width = x.shape[-1]
    def scaled(branch, name):
      if not self.layer_scale:
        return branch
      return branch * self.param(name, nn.initializers.ones, (width,))

    y = nn.LayerNorm(self.eps, name='norm1')(x)
    qkv = nn.Dense(3 * width, use_bias=self.qkv_bias, dtype=self.dtype, name='qkv')(y)
    q, k, v = jnp.split(qkv.reshape(*y.shape[:2], 3 * self.heads, -1), 3, 2)
    if turn is not None:
      q, k = rotate(q, *turn), rotate(k, *turn)
    y = nn.Dense(width, dtype=self.dtype, name='proj')(attention(q, k, v).reshape(y.shape))
    x += scaled(y, 'scale1')
    y = nn.LayerNorm(self.eps, name='norm2')(x)
    return x + scaled(perceptron(y, self.activation, self.dtype), 'scale2')


class Pool(nn.Module):
  """SigLIP's head: one learned query looks at all tokens: [B, N, width] -> [B, width]."""
  heads: int
  activation: str
  eps: float
  dtype: Any

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    dense = lambda name, features=width: nn.Dense(features, dtype=self.dtype, name=name)
    query = self.param('query', nn.initializers.normal(width ** -0.5), (1, 1, width))
    q = dense('q')(query).reshape(1, 1, self.heads, -1)
    k, v = jnp.split(dense('kv', 2 * width)(x).reshape(*x.shape[:2], 2 * self.heads, -1), 2, 2)
    x = dense('proj')(attention(jnp.broadcast_to(q, (len(x), *q.shape[1:])), k, v).reshape(len(x), width))
    x = x.astype(jnp.float32)
    return x + perceptron(nn.LayerNorm(self.eps, name='norm')(x), self.activation, self.dtype)


def perceptron(x, activation, dtype):
  """Two layers, the inner four times as wide; their parameters belong to the module that calls."""
  width = x.shape[-1]
  x = ACTIVATIONS[activation](nn.Dense(4 * width, dtype=dtype, name='fc1')(x))
  return nn.Dense(width, dtype=dtype, name='fc2')(x)


def attention(q, k, v):
  """softmax(q k / sqrt(d)) v per head, with the softmax in float32: [B, N or M, heads, d] each -> [B, N, heads, d].

  With the heads moved to the front, the products are plain batches of matrices: on the CPU the whole network takes a
  sixth less time than over the axes as they stand, or with `jax.nn.dot_product_attention`.
  """
  q, k, v = (a.transpose(0, 2, 1, 3) for a in (q * q.shape[-1] ** -0.5, k, v))
  weights = nn.softmax(jnp.matmul(q, k.swapaxes(2, 3), preferred_element_type=jnp.float32))
  return jnp.matmul(weights.astype(v.dtype), v).transpose(0, 2, 1, 3)


def cut(images, patch):
  """[B, S, S, C] -> [B, (S / patch)^2, patch * patch * C], row by row; a convolution with that stride is a product."""
  count, side, _, channels = images.shape
  x = images.reshape(count, side // patch, patch, side // patch, patch, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(count, (side // patch) ** 2, patch * patch * channels)


def rotation(grid, depth, first):
  """DINOv3's rotary embedding: by which angles to turn the queries and keys.

  A patch's coordinates are those of its middle, row before column, from -1 to 1 over the picture. A quarter of a head's
  `depth` channels have one period each for the row, the next quarter for the column, and the second half the same
  again. The periods are float32, as in timm and transformers; the authors' files round them to bfloat16.

  Args:
    grid: patches along a side.
    depth: channels of a head.
    first: tokens without a position, which come first and are not turned.
  Returns: (cosine, sine), float32 [first + grid^2, 1, depth] each.
  """
  middles = (2 * (np.arange(grid, dtype=np.float32) + np.float32(0.5)) / np.float32(grid) - 1).astype(np.float32)
  places = np.stack(np.meshgrid(middles, middles, indexing='ij'), -1).reshape(-1, 2)
  periods = np.float32(TEMPERATURE) ** (np.arange(depth // 4, dtype=np.float32) / np.float32(depth // 4))
  angles = (np.float32(2 * math.pi) * places[:, :, None] / periods).reshape(len(places), 1, -1)
  angles = np.concatenate([np.zeros((first, 1, depth), np.float32), np.concatenate([angles, angles], -1)])
  return np.cos(angles), np.sin(angles)


def rotate(x, cosine, sine):
  """Turn channel i with channel i + d / 2, in float32: [B, N, heads, d] -> the same."""
  left, right = jnp.split(x, 2, -1)
  return (x * cosine + jnp.concatenate([-right, left], -1) * sine).astype(x.dtype)
