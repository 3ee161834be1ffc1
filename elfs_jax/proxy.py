"""The proxy: a classifier trained on pseudo-labels, and how it learned each example (ELFS, section 4.2)."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from elfs_jax.scores import SCORES
from elfs_jax.training import loop as train


def dynamics_scores(inputs: np.ndarray, pseudo_labels: np.ndarray, num_classes: int, recipe: train.Recipe, *,
                    epochs: int, mesh: Mesh, shards: int = 16, seed: int = 0, state: Any = None,
                    on_epoch: Callable | None = None, progress: Callable | None = None,
                    names: Sequence[str] = tuple(SCORES)) -> dict[str, np.ndarray]:
  """Train a proxy on the pseudo-labels of all N examples and return its training dynamics.

  Args: as in `train.fit`; `pseudo_labels` int32 [N] take the place of labels; `names`: the scores of `SCORES` that are
    returned, an argument so that a result which was kept before one was added is not taken for one that has it.
  Returns: dict of float32 [N]: `aum`, `forgetting`, `correctness`, `el2n`, `aum_logits`.
  """
  fitted = train.fit(inputs, pseudo_labels, num_classes, recipe, epochs=epochs, mesh=mesh, shards=shards, seed=seed,
                     state=state, on_epoch=on_epoch, progress=progress)
  return {name: fitted.scores[name] for name in names}
