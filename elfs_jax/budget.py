"""Budgets: a count (500) or a fraction of N (0.1, '10%'). A fraction f means floor(f * N + 1e-9) examples."""
import math
import numbers

import numpy as np

KINDS = 'must be a count such as 500 or a fraction such as 0.1 or 10%'


def budget_count(budget: int | float | str, n: int) -> int:
  """The number of examples that `budget` means for n examples. Raises: ValueError if out of range or none."""
  given = budget
  if isinstance(budget, str):
    budget = parse_budget(budget)
  if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
    raise ValueError(f'budget={budget!r} {KINDS}')
  if isinstance(budget, numbers.Integral):
    count = int(budget)
  elif 0 < budget <= 1:
    count = floor_count(budget, n)
    if count == 0:
      least = math.ceil(1e6 / n) / 1e6
      raise ValueError(f'budget={given} of {n} examples is less than one example: give at least {least:g}')
  else:
    raise ValueError(f'budget={given} is out of range: give a whole count, or a fraction above 0 and up to 1 (100%)')
  if not 1 <= count <= n:
    raise ValueError(f'budget={given} is out of range: there are {n} examples, so give a count from 1 to {n}')
  return count


def reserve_count(reserve: int | float | str, budget: int) -> int:
  """How many more a reserve is: a count, or a share of the budget rounded up. Raises: ValueError if it is neither."""
  given = reserve
  try:
    reserve = parse_budget(reserve) if isinstance(reserve, str) else reserve
  except ValueError:
    reserve = math.nan
  whole = isinstance(reserve, numbers.Integral)
  if isinstance(reserve, bool) or not isinstance(reserve, numbers.Real) or not 0 <= reserve < math.inf or not (
      whole or reserve <= 1):
    raise ValueError(f'select.reserve={given!r} must be a count such as 50, a share of the budget such as 10%, or 0')
  return int(reserve) if whole else math.ceil(reserve * budget - 1e-9)


def parse_budget(text: str) -> int | float:
  """A budget as people type it: '10%' or '0.1' a fraction, '500' a count. Raises: ValueError otherwise."""
  try:
    if text.strip().endswith('%'):
      return float(text.strip()[:-1]) / 100
    return float(text) if any(c in text for c in '.eE') else int(text)
  except ValueError:
    raise ValueError(f'budget={text!r} {KINDS}') from None


def floor_count(fraction: float, n: int) -> int:
  """floor(fraction * n), safe against 0.29 * 100 = 28.999..."""
  return int(np.floor(fraction * n + 1e-9))
