"""The parts that a data set comes in, by the names that people give them: which is chosen from, and which tests."""
from collections.abc import Iterable
from typing import NamedTuple

KINDS = {'train': 'train', 'training': 'train', 'val': 'validation', 'valid': 'validation',
         'validation': 'validation', 'test': 'test', 'testing': 'test'}


class Parts(NamedTuple):
  """Names of parts: those that are chosen from together, and those of the test set."""
  pool: list[str]
  test: list[str]


def of(names: Iterable[str]) -> Parts | None:
  """Training images are chosen from, and validation images too where there is a test set beside them.

  Args: names: of all parts, in any case of letters.
  Returns: None unless all are names of such parts, one of them of training images and one of others.
  """
  named = {kind: sorted(name for name in names if KINDS.get(name.lower()) == kind) for kind in KINDS.values()}
  train, validation, test = named['train'], named['validation'], named['test']
  if len(train) + len(validation) + len(test) < len(list(names)) or not train or not (validation or test):
    return None
  return Parts(train + validation, test) if test else Parts(train, validation)


def note(parts: Parts, tested: bool, more: str = '') -> str:
  """One line on what was taken as what; `tested`: the test set has labels, and is used; `more`: ends it."""
  pool, test = ' and '.join(parts.pool), ' and '.join(parts.test)
  line = f'{pool} {"are" if len(parts.pool) > 1 else "is"} chosen from'
  if test:
    line += f', {test} is the test set' if tested else f', {test} is left out, as a test set without labels'
  return line + more
