"""What a setting may be: a test of its value, the words for it, and how what is typed on a command line is read."""
import numbers
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from elfs_jax.table import entry_of

MOST = 1_000_000  # A larger whole number is a slip: it would take memory or time without end.


class Bound(NamedTuple):
  """What a setting may be."""
  words: str                       # 'must be ...', for an error
  holds: Callable[[Any], bool]
  kind: str = 'plain'              # plain: read as its default's type; open: as it looks; path: as a string
  choices: Mapping[str, str] = {}  # name -> what it is, for --help; '' where the name says it


def whole(least: int, most: int = MOST, *, none: bool = False, many: bool = False) -> Bound:
  """A whole number, or None where it may be left open, or several of them."""
  def one(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= value <= most
  range_words = f'at least {least} and at most {most:,}'
  return _bound(one, f'a whole number, {range_words}', f'whole numbers, {range_words}', none, many)


def number(*, least: float = -float('inf'), above: float = -float('inf'), most: float = float('inf'),
           below: float = float('inf'), none: bool = False, many: bool = False) -> Bound:
  """A finite number in a range, or None where it may be left open, or several of them."""
  def one(value):
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and least <= value <= most and above < value < below and abs(value) < float('inf')
  low = f'above {above:g}' if above > -float('inf') else f'{least:g} or more'
  if most < float('inf'):
    range_words = f'from {least:g} to {most:g}' if least > -float('inf') else f'{low} and at most {most:g}'
  elif below < float('inf'):
    range_words = f'{low} and below {below:g}'
  else:
    range_words = low
  return _bound(one, f'a number, {range_words}', f'numbers, {range_words}', none, many)


def _bound(one, singular, plural, none, many):
  if many:
    def holds(value):
      return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(one, value))
    return Bound(f'must be {plural}, such as in (1, 2)' if 'whole' in plural else f'must be {plural}', holds)
  if none:
    return Bound(f'must be {singular}', lambda value: value is None or one(value), 'open')
  return Bound(f'must be {singular}', one)


def flag() -> Bound:
  """True or False."""
  return Bound('must be True or False', lambda value: isinstance(value, bool))


def one_of(table: Mapping[str, Any] | Iterable[str], *, none: bool = False) -> Bound:
  """One of the names of a table, or of a list of names, as `table.entry_of` knows them.

  An entry of the table has `help`, or is its help, or None.
  """
  names = list(table)
  helps = {name: getattr(entry, 'help', entry) for name, entry in table.items()} if isinstance(table, Mapping) else {}
  choices = {name: helps.get(name) or '' for name in names}
  def holds(value):
    return none and value is None or isinstance(value, str) and entry_of(names, value) is not None
  return Bound(f'is unknown: choose one of {", ".join(names)}', holds, 'open' if none else 'plain', choices)


def words(table: Mapping[str, Any] | None = None) -> Bound:
  """Text. The names of a table are listed in the help; whether a name is one of them is checked where it is used."""
  choices = {} if table is None else {name: table[name].help for name in table}
  return Bound('must be text', lambda value: isinstance(value, str), 'plain', choices)


def typed() -> Bound:
  """Anything; read as it looks, and checked against the data."""
  return Bound('', lambda value: True, 'open')


def span() -> Bound:
  """Two finite numbers, the first the smaller, or None."""
  def holds(value):
    if value is None:
      return True
    finite = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(number().holds, value))
    return finite and value[0] < value[1]
  return Bound('must be two numbers, the smaller first, such as 0,4095', holds, 'open')


def path() -> Bound:
  """A path, or None."""
  return Bound('must be a path', lambda value: value is None or isinstance(value, str), 'path')


def level_or_path() -> Bound:
  """A whole number, a path, or None; which of them fit, the data say."""
  def holds(value):
    return value is None or isinstance(value, (numbers.Integral, str)) and not isinstance(value, bool)
  return Bound('must be a folder level such as 1 or -1, or the path of a .csv', holds, 'open')


def described(help: str, bound: Bound) -> list[str]:
  """Lines of help on a field, and on its choices: a line for each that needs words."""
  choices = bound.choices
  names = '' if any(choices.values()) or not choices else f' ({", ".join(choices)})'
  lines = [textwrap.fill(help + names, 110, initial_indent=' ' * 8, subsequent_indent=' ' * 8)]
  for name, meaning in choices.items():
    if meaning:
      lines.append(textwrap.fill(f'{name}: {meaning}', 110, initial_indent=' ' * 12, subsequent_indent=' ' * 16))
  return lines
