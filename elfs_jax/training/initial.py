"""The weights that training starts from, drawn by NumPy: compiling a draw for each kernel takes longer than training a
small network.
"""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Kernel = tuple[int, ...]  # A kernel's shape: [in, out] or [height, width, in, out].


class Init(NamedTuple):
  """A way to draw the weights of a layer."""
  convolution: Callable[[np.random.Generator, Kernel, Kernel], np.ndarray]  # (rng, shape, the kernel's shape)
  linear: Callable[[np.random.Generator, Kernel, Kernel], np.ndarray]
  bias: Callable[[np.random.Generator, Kernel, Kernel], np.ndarray]
  help: str


def _fan_in(kernel):
  return np.prod(kernel[:-1])


def _fan_out(kernel):
  return np.prod(kernel[:-2]) * kernel[-1]


def _he(rng, shape, kernel):
  return rng.normal(size=shape) * np.sqrt(2 / _fan_in(kernel))


def _he_out(rng, shape, kernel):
  return rng.normal(size=shape) * np.sqrt(2 / _fan_out(kernel))


def _uniform(rng, shape, kernel):
  return rng.uniform(-1, 1, shape) / np.sqrt(_fan_in(kernel))


def _zero(rng, shape, kernel):
  return np.zeros(shape)


INITS = {
    'he': Init(_he, _he, _zero, 'normal, of variance 2 / fan-in (He et al., arXiv 1502.01852)'),
    'torch': Init(_uniform, _uniform, _uniform, "uniform up to 1 / root of fan-in, biases too: PyTorch's default"),
    'torchvision': Init(_he_out, _uniform, _uniform, 'convolutions normal, of variance 2 / fan-out, the rest as torch: '
                        "torchvision's ResNets"),
}


def draw(shapes: Mapping[str, Any], init: str, rng: np.random.Generator) -> dict[str, Any]:
  """Variables of a linen module, float32: kernels and their biases by `init`, scales and variances 1, the rest 0.

  Args: shapes: a nested dict whose leaves have a `shape`; init: of `INITS`; rng: draws layer by layer, in the order of
    their names.
  Returns: a dict like `shapes`, of NumPy arrays.
  """
  if 'kernel' not in shapes:
    return {name: draw(part, init, rng) if isinstance(part, Mapping)
            else np.full(part.shape, name in ('scale', 'var'), np.float32) for name, part in sorted(shapes.items())}
  kernel, way = shapes['kernel'].shape, INITS[init]
  kinds = {'kernel': way.linear if len(kernel) == 2 else way.convolution, 'bias': way.bias}
  return {name: kinds[name](rng, leaf.shape, kernel).astype(np.float32) for name, leaf in sorted(shapes.items())}
