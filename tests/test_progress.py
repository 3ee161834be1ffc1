"""Bars: the estimate leaves out the first step, in which programs are compiled."""
import functools

import tqdm
import tqdm.std

from elfs_jax.runtime import progress


class Clock:
  """Seconds that pass when told."""

  def __init__(self):
    self.now = 1000.

  def __call__(self):
    return self.now


def shown(monkeypatch, capsys, seconds):
  """What a bar shows of steps that take so long each."""
  clock = Clock()
  monkeypatch.setattr(tqdm.std, 'time', clock)
  for step in progress.bar(seconds, desc='training', total=len(seconds)):
    clock.now += step
  return [line for line in capsys.readouterr().err.split('\r') if line.strip()]


def test_the_first_step_does_not_count_in_the_estimate(monkeypatch, capsys):
  lines = shown(monkeypatch, capsys, [60, *[1] * 9])
  assert '1/10 [01:00<?' in lines[0]  # Nothing is known yet.
  assert '2/10 [01:01<00:08,  1.00it/s]' in lines[1]
  assert '9/10 [01:08<00:01,  1.00it/s]' in lines[-2]


def test_what_is_short_shows_nothing_and_all_items_come(monkeypatch, capsys):
  assert not shown(monkeypatch, capsys, [0.5, 0.5, 0.5])
  assert list(progress.bar(iter('abc'), desc='letters', total=3)) == ['a', 'b', 'c']
  monkeypatch.setattr(tqdm, 'tqdm', functools.partial(tqdm.tqdm, disable=True))
  assert not shown(monkeypatch, capsys, [60, 1, 1])
