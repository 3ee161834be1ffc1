"""elfs_jax: which n of N unlabelled images are worth labelling (ELFS, arXiv 2406.04273) in JAX."""
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from elfs_jax.api import Coreset, select_coreset

__all__ = ['Coreset', 'cluster', 'config', 'data', 'dynamics', 'encoders', 'evaluate', 'export', 'neighbors', 'select',
           'select_coreset']
_FUNCTIONS = ('Coreset', 'select_coreset')


def __getattr__(name: str) -> Any:
  """Import what is asked for when it is asked for, so that `import elfs_jax` stays light."""
  if name == '__version__':
    from importlib import metadata
    return metadata.version('elfs_jax')
  if name in _FUNCTIONS:
    return getattr(importlib.import_module('elfs_jax.api'), name)
  if name in __all__:
    return importlib.import_module(f'elfs_jax.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return [*__all__, '__version__']
