"""The proxy: a classifier trained on pseudo-labels, and how it learned each example (ELFS, section 4.2)."""
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh
import numpy as np

from elfs_jax import select
from elfs_jax.training import loop as train


def dynamics_scores(inputs: np.ndarray, pseudo_labels: np.ndarray, num_classes: int, recipe: train.Recipe, *,
                    epochs: int, mesh: Mesh, shards: int = 16, seed: int = 0, state: Any = None,
                    on_epoch: Callable | None = None, progress: Callable | None = None) -> dict[str, np.ndarray]:
  """Train a proxy on the pseudo-labels of all N examples and return its training dynamics.

  Args: as in `train.fit`; `pseudo_labels` int32 [N] take the place of labels.
  Returns: dict of float32 [N]: `aum`, `forgetting`, `correctness`, `el2n`.
  """
  return train.fit(inputs, pseudo_labels, num_classes, recipe, epochs=epochs, mesh=mesh, shards=shards, seed=seed,
                   state=state, on_epoch=on_epoch, progress=progress).scores


# Which way each score points: difficulty = sign * score, higher is harder.
HARDER = {'aum': -1, 'forgetting': 1, 'correctness': -1, 'el2n': 1}


def difficulty(scores, name, *, seed):
  """The named score as a difficulty, float64 [N], higher is harder; ties go by AUM, then by a seeded hash."""
  return select.break_ties(HARDER[name] * scores[name], -scores['aum'], seed=seed)
