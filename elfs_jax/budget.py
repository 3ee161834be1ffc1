"""Budgets: a count (500) or a fraction of N (0.1, '10%'). A fraction f means floor(f * N + 1e-9) examples."""
import numbers

import numpy as np


def budget_count(budget, n):
  """The number of examples that `budget` means for n examples. Raises: ValueError if out of range or none."""
  given = budget
  if isinstance(budget, str):
    budget = parse_budget(budget)
  if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
    raise ValueError(f'budget={budget!r} must be a count such as 500 or a fraction such as 0.1 or 10%')
  if isinstance(budget, numbers.Integral):
    count = int(budget)
  elif 0 < budget <= 1:
    count = floor_count(budget, n)
    if count == 0:
      raise ValueError(f'budget={given} of {n} examples is less than one example: take at least {1 / n:.2g}')
  else:
    raise ValueError(f'budget={given} must be a whole count or a fraction in (0, 1], at most 100%')
  if not 1 <= count <= n:
    raise ValueError(f'budget={given} must be between 1 and the number of examples, {n}')
  return count


def parse_budget(text):
  """A budget as people type it: '10%' or '0.1' a fraction, '500' a count. Raises: ValueError otherwise."""
  try:
    if text.strip().endswith('%'):
      return float(text.strip()[:-1]) / 100
    return float(text) if any(c in text for c in '.eE') else int(text)
  except ValueError:
    raise ValueError(f'budget={text!r} must be a count such as 500 or a fraction such as 0.1 or 10%') from None


def floor_count(fraction, n):
  """floor(fraction * n), safe against 0.29 * 100 = 28.999..."""
  return int(np.floor(fraction * n + 1e-9))
