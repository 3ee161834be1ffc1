"""Tables of choices: each entry names a function, which is imported when it is used, and says what it is.

A kind of thing that there is a choice of (a source, an encoder, a clustering, a score, a selection method, an export)
has one table, in the `__init__.py` of its room. `--help`, the checks and the benchmark read the tables, so that what is
added to one is known everywhere. An entry `timm:NAME` stands for all names that begin with `timm:`.
"""
import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def load(function: str | Callable) -> Callable:
  """The function that an entry names as 'package.module:name'; a function is returned as it is."""
  if callable(function):
    return function
  module, _, name = function.partition(':')
  return getattr(importlib.import_module(module), name)


def look_up(table: Mapping[str, Any], what: str, name: str) -> Any:
  """The entry called `name`. Raises: ValueError that says which setting is wrong and which names there are."""
  check_name(table, what, name)
  return table[entry_of(table, name) or name]


def entry_of(names, name: str) -> str | None:
  """The entry that goes by a name: the name itself, or `timm:NAME` for any `timm:...`; None where there is none."""
  if name in names:
    return name
  prefix, _, rest = str(name).partition(':')
  return f'{prefix}:NAME' if rest and f'{prefix}:NAME' in names else None


def check_name(names, what: str, name: str) -> None:
  """Raises: ValueError unless `name` goes by one of `names`; `what` is the setting, for the message."""
  if entry_of(names, name) is None:
    near = difflib.get_close_matches(str(name), names, 1)
    raise ValueError(f'{what}={name!r} is unknown' + (f': did you mean {near[0]!r}? There' if near else '; there')
                     + f' are {", ".join(names)}')


def accepted(function: Callable, settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
  """What the function's parameters name: of `given`, and else of a section of the settings."""
  named = inspect.signature(function).parameters
  return {name: given[name] if name in given else settings[name] for name in named if name in given or name in settings}
