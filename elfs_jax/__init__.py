"""elfs_jax: which n of N unlabelled images are worth labelling (ELFS, arXiv 2406.04273) in JAX."""
import importlib

_MODULES = ('benchmark', 'cluster', 'config', 'data', 'dynamics', 'embed', 'encoders', 'evaluate', 'judge', 'neighbors',
            'pipeline', 'proxy', 'report', 'runtime', 'select', 'training')
_FUNCTIONS = ('select_coreset', 'Coreset')

__all__ = [*_MODULES, *_FUNCTIONS]
__version__ = '0.1.0'


def __getattr__(name):
  """Import what is asked for when it is asked for, so that `import elfs_jax` stays light."""
  if name in _FUNCTIONS:
    return getattr(importlib.import_module('elfs_jax.api'), name)
  if name in _MODULES:
    return importlib.import_module(f'elfs_jax.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
  return __all__
