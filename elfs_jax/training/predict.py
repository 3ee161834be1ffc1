"""What a trained classifier says of other inputs."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from elfs_jax.runtime import mesh as mesh_lib

PREDICT_BATCH = 512


class Fitted(NamedTuple):
  """A trained classifier: `represent(inputs)` gives probabilities float32 [B,C] and the last layer's input [B,F]."""
  scores: dict[str, np.ndarray]  # float32 [N] each, of the examples that it was trained on
  represent: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

  def predict(self, inputs: np.ndarray) -> np.ndarray:
    """Labels int32 [B]."""
    return self.represent(inputs)[0].argmax(-1).astype(np.int32)


def representer(network, state, moments) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
  """The function `represent` of a `Fitted`: works in blocks of one shape, on the first device.

  Args: network: a linen module of `networks`; state: `loop.State` after training; moments: the mean and
    1 / std of the inputs that it was trained on.
  """
  device = jax.local_devices()[0]
  params, stats, moments = (jax.device_put(jax.tree.map(np.asarray, t), device)
                            for t in (state.params, state.stats, moments))
  def represent(inputs):
    parts = []
    for start in range(0, len(inputs), PREDICT_BATCH):
      rows = np.asarray(inputs[start:start + PREDICT_BATCH])
      padded = np.zeros((PREDICT_BATCH, *rows.shape[1:]), np.float32)
      padded[:len(rows)] = rows
      parts.append([np.asarray(part)[:len(rows)] for part in _represent(network, params, stats, moments, padded)])
    return tuple(np.concatenate(part) for part in zip(*parts))
  return represent


@mesh_lib.repeatable(static_argnames='network')
def _represent(network, params, stats, moments, x):
  mean, rate = moments
  logits, found = network.apply({'params': params, 'batch_stats': stats}, (x - mean) * rate, train=False,
                                mutable=['intermediates'])
  return jax.nn.softmax(logits), found['intermediates']['features'][0]
