"""The small network that `self_supervised` trains, convolutions with batch norm, and its loss."""
import jax
import jax.numpy as jnp
import numpy as np
import optax

from elfs_jax.runtime import mesh as devices


def init(seed, shape, width, features, projection, grid=16):
  """Parameters and batch norm's running statistics for images of `shape` (H, W, Ch), NumPy arrays."""
  random = np.random.default_rng((seed, 0))
  stem = -(-max(shape[:2]) // grid)
  kernels = [(stem + 2, shape[2], width), (3, width, 2 * width), (3, 2 * width, 4 * width), (3, 4 * width, 8 * width)]
  def normal(*shape):
    return random.normal(scale=np.sqrt(2 / np.prod(shape[:-1])), size=shape).astype(np.float32)
  def norm(size):
    return {'scale': np.ones(size, np.float32), 'bias': np.zeros(size, np.float32)}
  conv = [{'kernel': normal(size, size, into, out), **norm(out)} for size, into, out in kernels]
  last = jax.eval_shape(lambda: _convolve(conv, jnp.zeros((1, *shape)), [None] * len(conv))[0])
  params = {
    'conv': conv,
    'features': {'kernel': normal(last.size, features), **norm(features)},
    'hidden': {'kernel': normal(features, features), **norm(features)},
    'out': {'kernel': normal(features, projection)}}
  stats = [(np.zeros_like(layer['bias']), np.ones_like(layer['bias'])) for layer in (*conv, params['features'])]
  return params, stats


def encode(params, x_BHWC, stats=None):
  """Features [B, D] of images in [0, 1], and the mean and mean square before each batch norm.

  A linear layer sees every position of the last convolution: their mean forgets where things are, which tells garments
  and digits apart (docs/lab/tried.md). Batch norm uses the running `stats`, or the batch's own where None.
  """
  *own, last = stats or [None] * (len(params['conv']) + 1)
  x, moments = _convolve(params['conv'], x_BHWC, own)
  layer = params['features']
  x, moment = _batch_norm(layer, devices.matmul(x.reshape(len(x), -1), layer['kernel']), last)
  return x, moments + [moment]


def _convolve(layers, x, stats):
  """Each convolution with its batch norm; a mean over 2x2 blocks after all but the first and the last."""
  moments, dtype = [], devices.compute_dtype()
  for i, (layer, own) in enumerate(zip(layers, stats)):
    stride = layer['kernel'].shape[0] - 2
    x = jax.lax.conv_general_dilated(x.astype(dtype), layer['kernel'].astype(dtype), (stride, stride), 'SAME',
                                     dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    x, moment = _batch_norm(layer, x.astype(jnp.float32), own)
    moments.append(moment)
    x = jax.nn.relu(x)
    if 0 < i < len(layers) - 1 and max(x.shape[1:3]) > 4:
      x = _halve(x)
  return x, moments


def project(params, features):
  hidden, _ = _batch_norm(params['hidden'], devices.matmul(features, params['hidden']['kernel']), None)
  z = devices.matmul(jax.nn.relu(hidden), params['out']['kernel'])
  return z * jax.lax.rsqrt((z * z).sum(-1, keepdims=True) + 1e-12)


def contrastive_loss(z_2BD, temperature):
  """NT-Xent (arXiv 2002.05709, equation 1) of B pairs of unit vectors, mean over the 2B rows."""
  size = z_2BD.shape[1]
  z = z_2BD.reshape(2 * size, -1)
  logits = z @ z.T / temperature - 1e9 * jnp.eye(2 * size)
  partner = (jnp.arange(2 * size) + size) % (2 * size)
  return optax.softmax_cross_entropy_with_integer_labels(logits, partner).mean()


def _batch_norm(layer, x, moments):
  """Normalise over all but the last axis, by the given (mean, mean square) or the batch's own, which it returns."""
  if moments is None:
    axes = tuple(range(x.ndim - 1))
    moments = x.mean(axes), (x * x).mean(axes)
  mean, square = moments
  scale = layer['scale'] * jax.lax.rsqrt(jnp.maximum(square - mean * mean, 0) + 1e-5)
  return x * scale + (layer['bias'] - mean * scale), moments


def _halve(x_BHWC):
  """Mean of 2x2 blocks; an odd side is padded with zeros."""
  count, height, width, channels = x_BHWC.shape
  x = jnp.pad(x_BHWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
  return x.reshape(count, -(-height // 2), 2, -(-width // 2), 2, channels).mean((2, 4))
