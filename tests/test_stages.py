"""Stages: what makes their key, what is reused, what the run supplies; and what goes between hosts."""
import functools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from elfs_jax.runtime import artifacts, hosts, stages

X = np.arange(6.0)


def total(x, scale=1, *, offset=0):
  return {'total': scale * x.sum() + offset, 'words': 'a sum'}


@pytest.fixture
def run(tmp_path):
  said = []
  return stages.Run(tmp_path, None, said.append, stages._no_bar, {}, {}), said


def key(function=total, name='total', version=1, **arguments):
  return stages.key_of(name, function, version, arguments)


def test_a_stage_prints_two_lines_and_is_reused_while_its_arguments_are_the_same(run):
  current, said = run
  calls = []
  def counted(x, scale=1):
    calls.append(scale)
    return total(x, scale)
  for scale in (2, 2, 3):
    assert stages.stage(current, 'total', counted, x=X, scale=scale) == {'total': scale * 15.0, 'words': 'a sum'}
  assert calls == [2, 3]
  assert said[:2] == ['[total] ...', f'[total] done in {said[1].split()[3]} s'] and said[2:4] == ['[total] ...',
                                                                                           '[total] reused']
  assert current.times['total'] >= 0


def test_a_key_sees_every_argument_and_every_default():
  def other_default(x, scale=2, *, offset=0):
    pass
  other_default.__module__, other_default.__qualname__ = total.__module__, total.__qualname__
  keys = [key(x=X), key(x=X + 1), key(x=X, scale=2), key(x=X, offset=1), key(x=X, version=2), key(x=X, name='other'),
          key(other_default, x=X)]
  assert key(x=X, scale=1) == keys[0]  # Written out or not.
  assert keys[6] == key(x=X, scale=2)  # A default that changes is a setting that changes.
  assert len(set(keys)) == 6


def test_a_key_leaves_out_what_the_run_supplies_and_knows_what_is_known():
  def trained(x, *, mesh, progress, state, on_epoch, rate=1):
    pass
  assert key(trained, x=X) == key(trained, x=X, rate=1) != key(trained, x=X, rate=2)
  assert key(trained, x=stages.Known(X, 'a')) == key(trained, x=stages.Known(None, 'a')) != key(trained, x=X)


def test_a_function_counts_by_its_name_and_a_partial_by_its_arguments_too():
  plain, bound = key(x=X, offset=np.argmax), functools.partial(np.argmax, axis=1)
  assert plain == key(x=X, offset=np.argmax) != key(x=X, offset=np.argmin)
  assert key(x=X, offset=bound) == key(x=X, offset=functools.partial(np.argmax, axis=1))
  assert len({plain, key(x=X, offset=bound), key(x=X, offset=functools.partial(np.argmax, axis=0)),
              key(x=X, offset=functools.partial(np.argmax, a=X))}) == 4
  assert key(x=X, offset=hosts.on_lead(total)) == key(x=X, offset=total)


def test_what_a_function_may_return(run):
  class Two(NamedTuple):
    first: np.ndarray
    second: int | None
  current, _ = run
  for name, function, expected in (('array', lambda: X, X), ('number', lambda: 3, 3), ('text', lambda: 'a', 'a'),
                                   ('two', lambda: Two(X, 1), {'first': X, 'second': 1}),
                                   ('one', lambda: Two(X, None), {'first': X})):
    for _ in range(2):  # Computed, then reused.
      found = stages.stage(current, name, function)
      np.testing.assert_equal(found, expected)


def test_a_stage_gets_the_checkpoint_of_a_run_that_was_stopped(run, monkeypatch):
  monkeypatch.setattr(artifacts, 'CHECKPOINT_SECONDS', 0)
  current, said = run
  seen = []
  def trained(*, epochs, state, on_epoch):
    first = 0 if state is None else int(state[0])
    for epoch in range(first, epochs):
      seen.append(epoch)
      on_epoch(epoch + 1, [np.int32(epoch + 1)])
      if len(seen) == 2:
        raise InterruptedError
    return np.int32(epochs)
  with pytest.raises(InterruptedError):
    stages.stage(current, 'trained', trained, epochs=4)
  assert stages.stage(current, 'trained', trained, epochs=4) == 4
  assert seen == [0, 1, 2, 3] and '  going on from the checkpoint of a run that was stopped' in said
  assert not (current.workdir / 'checkpoints/trained').exists()


def test_an_array_on_disk_goes_on_at_its_chunk_and_is_made_anew_where_it_is_damaged(run):
  current, said = run
  made, stop = [], [4]
  def filled(*, x, on_disk):
    array, done = on_disk(x.shape)
    for end in range(done + 2, len(x) + 1, 2):
      if end in stop:
        raise InterruptedError
      array[end - 2:end] = x[end - 2:end]
      on_disk.filled(end)
      made.append(end)
    return array
  x = np.arange(16, dtype=np.float32).reshape(8, 2)
  with pytest.raises(InterruptedError):
    stages.stage(current, 'filled', filled, x=x)
  stop.clear()
  found = stages.stage(current, 'filled', filled, x=x)
  np.testing.assert_array_equal(found, x)
  assert made == [2, 4, 6, 8] and not found.flags.writeable and stages.GOING_ON in said
  assert not (current.workdir / 'checkpoints/filled').exists()
  np.testing.assert_array_equal(stages.stage(current, 'filled', filled, x=x), x)
  assert len(made) == 4 and said[-1] == '[filled] reused'
  stages.stage(current, 'filled', filled, x=x + 1)  # Another key.
  assert len(made) == 8
  path = current.workdir / 'stages/filled.npy'
  path.write_bytes(path.read_bytes()[:-1] + b'?')
  np.testing.assert_array_equal(stages.stage(current, 'filled', filled, x=x + 1), x + 1)
  assert len(made) == 12


NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-2 ** 60, 2 ** 60), st.text(max_size=5),
                    st.floats(allow_nan=False), arrays.arrays(np.float32, arrays.array_shapes(max_side=3)),
                    arrays.arrays(np.int32, arrays.array_shapes(min_dims=0, max_side=3)))
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                                       max_size=3), max_leaves=8)


@given(VALUES)
def test_numbers_and_text_arrive_at_other_hosts_as_they_were(value):
  np.testing.assert_equal(hosts._unpacked(hosts._packed(value)), value)


def test_nothing_but_numbers_and_text_goes_between_hosts():
  with pytest.raises(TypeError, match='object'):
    hosts._packed({'a': object()})
  data = hosts._packed({'a': X})
  assert b'pickle' not in data and hosts._unpacked(data)['a'].tolist() == X.tolist()


@pytest.mark.parametrize('error', [ValueError('two\nlines'), FileNotFoundError(2, 'No such file', 'a.png'),
                                   FloatingPointError('loss'), KeyError('k')])
def test_an_error_arrives_as_its_kind_with_its_words(error):
  name, arguments = hosts._unpacked(hosts._packed(hosts._described(error)))
  assert name == type(error).__name__ and str(type(error)(*arguments)) == str(error)


def test_an_error_of_another_library_arrives_as_one_that_every_host_knows():
  class Strange(Exception):
    pass
  assert hosts._described(Strange('odd')) == ['RuntimeError', ['host 0: Strange: odd']]
