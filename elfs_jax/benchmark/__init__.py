"""The benchmark: every way to choose, compared on one data set."""
import importlib

_HOME = {'run': 'harness', 'report': 'harness', 'read': 'runs'}  # Imported when asked for: a plain run needs none.

__all__ = list(_HOME)


def __getattr__(name):
  if name not in _HOME:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
