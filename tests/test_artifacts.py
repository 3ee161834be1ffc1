import csv
import os
import shutil

import numpy as np
import pytest

from elfs_jax.runtime import artifacts


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / 'a.txt'
  artifacts.write_text(path, 'old')
  def fail(file):
    file.write(b'half')
    raise OSError('disk full')
  with pytest.raises(OSError):
    artifacts.write(path, fail)
  assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_fingerprints_follow_the_content():
  a = np.arange(6)
  base = artifacts.fingerprint(a, {'x': 1, 'y': [2, 'z']})
  assert base == artifacts.fingerprint(a.copy(), {'y': [2, 'z'], 'x': 1})
  assert len({base, artifacts.fingerprint(a.reshape(2, 3), {'x': 1, 'y': [2, 'z']}),
              artifacts.fingerprint(a.astype(np.int32), {'x': 1, 'y': [2, 'z']}),
              artifacts.fingerprint(a[::-1], {'x': 1, 'y': [2, 'z']}), artifacts.fingerprint(a, {'x': 2})}) == 5
  assert artifacts.fingerprint('k', 1, 32) != artifacts.fingerprint('k', 13, 2)


def cached(path, key, compute):
  """What is kept under the key, or else kept now, and whether it was there."""
  arrays = artifacts.kept(path, key)
  return (artifacts.keep(path, key, compute()), False) if arrays is None else (arrays, True)


def test_a_stage_is_reused_until_its_key_changes_or_its_file_is_damaged(tmp_path):
  path, calls = tmp_path / 'stage.npz', []
  def compute():
    calls.append(1)
    return {'a': np.arange(1000), 'b': 3.5}
  for key, runs, damage in (('k', 1, False), ('k', 1, False), ('l', 2, False), ('l', 3, True)):
    if damage:
      content = bytearray(path.read_bytes())
      content[len(content) // 2] ^= 0xff
      path.write_bytes(content)
    arrays, reused = cached(path, key, compute)
    assert len(calls) == runs and (arrays['a'] == np.arange(1000)).all() and arrays['b'] == 3.5


def test_a_stage_with_any_byte_changed_is_made_again_or_right(tmp_path):
  path = tmp_path / 'stage.npz'
  cached(path, 'k', lambda: {'a': np.arange(3)})
  content = path.read_bytes()
  for place in range(len(content)):
    path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1:])
    assert cached(path, 'k', lambda: {'a': np.arange(3)})[0]['a'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o077, 0o600)])
def test_files_follow_the_umask(tmp_path, umask, mode):
  before = os.umask(umask)
  try:
    artifacts.write_text(tmp_path / 'a', 'mine')
  finally:
    os.umask(before)
  assert (tmp_path / 'a').stat().st_mode & 0o777 == mode


def test_a_checkpoint_comes_back_in_order_and_only_under_its_key(tmp_path, monkeypatch):
  monkeypatch.setattr(artifacts, 'CHECKPOINT_SECONDS', 0)
  state = {'b': np.arange(12.).reshape(3, 4), 'a': (np.float32(2), np.array([True, False]))}
  artifacts.Checkpoint(tmp_path / 'c', 'k').save(1, state)
  artifacts.Checkpoint(tmp_path / 'c', 'k').save(2, state | {'b': state['b'] + 1})
  leaves = artifacts.Checkpoint(tmp_path / 'c', 'k').restore()
  assert leaves[0] == 2 and leaves[1].tolist() == [True, False] and (leaves[2] == state['b'] + 1).all()
  assert artifacts.Checkpoint(tmp_path / 'c', 'other').restore() is None
  assert not (tmp_path / 'c').exists()


def test_a_damaged_checkpoint_or_a_kill_during_a_save_leaves_the_one_before(tmp_path, monkeypatch):
  monkeypatch.setattr(artifacts, 'CHECKPOINT_SECONDS', 0)
  checkpoint = artifacts.Checkpoint(tmp_path / 'c', 'k')
  checkpoint.save(1, {'a': np.arange(5)})
  shutil.copytree(tmp_path / 'c/k/1', tmp_path / 'first')
  (tmp_path / 'c/k/9.orbax-checkpoint-tmp').mkdir()
  checkpoint.save(10, {'a': np.arange(7)})
  assert [path.name for path in (tmp_path / 'c/k').iterdir()] == ['10']
  shutil.copytree(tmp_path / 'c/k/10', tmp_path / 'second')
  shutil.copytree(tmp_path / 'first', tmp_path / 'c/k/9')  # Killed before it could be dropped.
  assert len(checkpoint.restore()[0]) == 7
  files = [file for file in (tmp_path / 'second').rglob('*') if file.is_file()]
  for damage in (lambda content: content[:20], lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]):
    for file in files:
      shutil.rmtree(tmp_path / 'c/k/10')
      shutil.copytree(tmp_path / 'second', tmp_path / 'c/k/10')
      target = tmp_path / 'c/k/10' / file.relative_to(tmp_path / 'second')
      target.write_bytes(damage(target.read_bytes()))
      assert checkpoint.restore()[0].tolist() in ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6])
  def die(*_, **__):
    raise OSError('disk full')
  with monkeypatch.context() as patch:
    patch.setattr('orbax.checkpoint.Checkpointer.save', die)
    with pytest.raises(OSError):
      checkpoint.save(3, {'a': np.arange(9)})
  assert len(checkpoint.restore()[0]) in (5, 7)
  for file in (tmp_path / 'c/k').glob('*/**/*'):
    file.unlink() if file.is_file() else None
  assert checkpoint.restore() is None and not (tmp_path / 'c').exists()


def test_a_checkpoint_is_due_once_a_minute(tmp_path, monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(artifacts.time, 'monotonic', lambda: clock[0])
  checkpoint, kept = artifacts.Checkpoint(tmp_path / 'c', 'k'), []
  for epoch, seconds in enumerate((30, 61, 90, 120, 122, 180), 1):
    clock[0] = seconds
    if checkpoint.due():
      checkpoint.save(epoch, {'a': np.full(3, epoch)})
    leaves = artifacts.Checkpoint(tmp_path / 'c', 'k').restore()
    kept.append(leaves and int(leaves[0][0]))
  assert kept == [None, 2, 2, 2, 5, 5]


def test_any_name_comes_back_from_a_table_of_rows(tmp_path):
  """A carriage return ends a line for every reader; Python before 3.13 did not quote it where lines end otherwise."""
  names = ['a\rb.png', 'a\nb', 'a\r\nb', '\r', 'a,b', '"', "=cmd|' /C calc'!A0", '', ' a ', 'é']
  artifacts.write_rows(tmp_path / 'x.csv', ['rank', 'id'], enumerate(names))
  for newline in ('', None):  # As it stands, and with each kind of line end made one, as spreadsheets do.
    with open(tmp_path / 'x.csv', newline=newline, encoding='utf-8') as file:
      rows = list(csv.reader(file))
    assert rows[0] == ['rank', 'id'] and len(rows) == 1 + len(names)
    if newline == '':
      assert [name for _, name in rows[1:]] == names
  pandas = pytest.importorskip('pandas')
  assert pandas.read_csv(tmp_path / 'x.csv', keep_default_na=False)['id'].tolist() == names
