"""The Python way: the whole pipeline in one call."""
import dataclasses
import os
import pathlib
import tempfile

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import config as config_lib, data
from elfs_jax.runtime import hosts, mesh


@dataclasses.dataclass(frozen=True)
class Coreset:
  """The chosen examples and what led to them."""
  indices: np.ndarray        # int64 [n], hardest first
  scores: dict               # name -> float32 [N]: aum, forgetting, correctness, el2n
  pseudo_labels: np.ndarray  # int32 [N]
  beta: float | None         # the fraction dropped from the hard end; None for methods without
  workdir: pathlib.Path      # with coreset.csv, report.html and the rest
  ids: list                  # [N] strings: of a folder each image's path in it, without those that can't be read


def select_coreset(images=None, *, embeddings=None, budget, num_classes, beta='auto', workdir=None, seed=0,
                   config=None):
  """Choose the `budget` examples worth labelling, without any label.

  On several hosts (after `jax.distributed.initialize()`) each calls it alike and gets the same.

  Args:
    images: uint8 [N,H,W] or [N,H,W,Ch], or a folder's path, or a `data.Dataset`.
    embeddings: float [N,D], alone or of the same examples as `images`, which are then an array.
    budget: a count (500), a fraction (0.1) or words ('10%').
    num_classes: clusters to look for, int; None estimates it.
    beta: the fraction of N dropped from the hard end, or 'auto' to search it without labels; in place of the config's.
    workdir: folder for results (on the first host), reused where nothing changed; default a new temporary folder.
    seed: of everything random; in place of the config's.
    config: from `elfs_jax.config.get_config()`, for other settings; the arguments above override it. Default: the
      fast recipe, for a folder with mirrored views, as `launch.py` uses it.
  Returns: `Coreset`.
  Raises: ValueError or FileNotFoundError, in one line that names the input and the mend.
  """
  mesh.pin_threads()
  from elfs_jax import pipeline
  in_folder = isinstance(images, (str, os.PathLike))
  if embeddings is not None and (in_folder or isinstance(images, data.Dataset)):
    raise ValueError('embeddings= go with an array of images or stand alone, not with a folder or a Dataset: read the '
                     "images into an array, or use elfs_jax.data.load('embeddings', FILE, images=FOLDER)")
  if config is None:
    config = config_lib.pictures() if in_folder else config_lib.get_config()
  if not isinstance(config, ConfigDict):
    raise ValueError(f'config= is a {type(config).__name__}: give what elfs_jax.config.get_config() or read(FILE) '
                     'returns')
  config = config.copy_and_resolve_references()
  if config.data.labels is not None and not in_folder:
    raise ValueError(f'data.labels={config.data.labels!r} goes with a folder: give elfs_jax.data.from_memory(images, '
                     'labels=...) as images')
  if in_folder:
    config.data.name, config.data.path = 'folder', str(images)
    dataset = hosts.on_each(
        lambda: data.load('folder', str(images), labels=config.data.labels, size=config.data.size))
  elif isinstance(images, data.Dataset):
    dataset, config.data.name = images, 'memory'
  else:
    dataset, config.data.name = data.from_memory(images=images, embeddings=embeddings), 'memory'
  with config.ignore_type():  # A copy holds each field to the type of its last value.
    config.select.budget, config.select.beta = _plain(budget), _plain(beta)
    config.cluster.num_classes, config.seed = _plain(num_classes), _plain(seed)
  workdir = pathlib.Path(workdir or hosts.from_lead(lambda: tempfile.mkdtemp(prefix='elfs_jax_'))).expanduser()
  chosen, _ = pipeline.run(dataset, config, workdir, say=lambda _: None, progress=pipeline.bar)
  return Coreset(chosen.indices, chosen.scores, chosen.pseudo_labels, chosen.beta, workdir, dataset.ids)


def _plain(value):
  """A NumPy scalar as Python's own, which a config can keep."""
  return value.item() if isinstance(value, np.generic) else value
