"""The workdir: whose results it holds, the stages kept in it, checkpoints of what is under way, and the artifacts."""
import contextlib
import json
import os
import pathlib
import time
from typing import NamedTuple

import filelock
import jax
import numpy as np

from elfs_jax.runtime import artifacts, hosts


class Run(NamedTuple):
  """What the stages share: where results are kept, how progress is shown, what is on which device."""
  workdir: pathlib.Path
  config: object
  mesh: object
  say: callable
  progress: callable
  times: dict


@contextlib.contextmanager
def alone(workdir):
  """Hold the workdir, so that no other run mixes its results in. Raises: ValueError if one holds it already."""
  lock = filelock.FileLock(workdir / '.lock', timeout=0)
  try:
    hosts.from_lead(lambda: _hold(workdir, lock))
    yield
  finally:
    lock.release()


def _hold(workdir, lock):
  blocked = next((folder for folder in (workdir, *workdir.parents) if folder.exists() and not folder.is_dir()), None)
  if blocked:
    raise ValueError(f'workdir {workdir}: {blocked} is a file, choose a folder')
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock.acquire()
  except filelock.Timeout:
    raise ValueError(f'another run is at work in workdir {workdir}: wait for it, or choose another --workdir') from None
  except OSError as error:
    raise ValueError(f'workdir {workdir} cannot be written ({error.strerror}): choose another --workdir') from None
  for folder in (workdir, workdir / 'stages'):
    for unfinished in folder.glob('.*.' + 8 * '[0-9a-f]'):  # Of a run that was stopped while it wrote.
      unfinished.unlink()


def stage(run, name, key, compute, *, shared=False):
  """The stage's arrays, from the workdir or computed, the same on every host; says which, and how long it took.

  `compute` is called on the lead, of several hosts that share its work on all.
  """
  start, path = time.monotonic(), run.workdir / 'stages' / f'{name}.npz'
  run.say(f'[{name}] ...')
  if not shared:
    arrays, reused = hosts.from_lead(lambda: artifacts.cached(path, key, compute))
  else:
    arrays = hosts.from_lead(lambda: artifacts.kept(path, key))
    reused = arrays is not None
    if not reused:
      made = compute()
      arrays = hosts.from_lead(lambda: artifacts.keep(path, key, made))
  if not reused:
    hosts.from_lead(_checkpoint(run, name, key).clear)  # Not before the stage is kept.
  run.times[name] = time.monotonic() - start
  run.say(f'[{name}] ' + ('reused' if reused else f'done in {run.times[name]:.1f} s'))
  return {name: value if value.ndim else value.item() for name, value in arrays.items()}


def checkpointed(run, name, key):
  """Arguments that let a stage's training go on where a killed run stopped."""
  checkpoint = _checkpoint(run, name, key)
  state = hosts.from_lead(checkpoint.restore)
  if state is not None:
    run.say('  going on from the checkpoint of a run that was stopped')
  def on_epoch(epoch, state):
    if hosts.from_lead(checkpoint.due):
      whole = jax.tree.map(hosts.gather, state)
      hosts.from_lead(lambda: checkpoint.save(epoch, whole))
  return {'state': state, 'on_epoch': on_epoch}


def _checkpoint(run, name, key):
  return artifacts.Checkpoint(run.workdir / 'checkpoints' / name, key)


def claim(workdir, config, dataset):
  """Take the workdir for this data, or raise if it holds results of other data. Returns the data's fingerprint.

  Its config.json stays that of the results in it until `write`.
  """
  identity = dataset.identity
  hosts.check_same('images or embeddings', identity)
  hosts.from_lead(lambda: _claim(workdir, config, identity))
  return identity


def _claim(workdir, config, identity):
  source, path = _source(config, identity), workdir / 'config.json'
  if not path.exists():
    return _write_config(path, config, source)
  try:
    before = json.loads(path.read_text())['source']
    same, theirs = before == source, _words(before)
  except (ValueError, KeyError, TypeError):
    raise ValueError(f'{path} is not a config that elfs_jax wrote: choose another workdir') from None
  if not same:
    mine = _words(source)
    raise ValueError(f'workdir {workdir} holds the results of {theirs if theirs != mine else "other data"}, this run '
                     f'is of {mine}: choose another --workdir or delete that one')


def _source(config, identity):
  """What tells the data of one workdir from another's; a path has one spelling, wherever the run was started."""
  paths = {name: path and os.path.abspath(os.path.expanduser(str(path)))
           for name, path in (('path', config.data.path), ('images', config.data.images))}
  return {'name': config.data.name} | paths | ({'content': identity} if config.data.name == 'memory' else {})


def _words(source):
  return source['name'] + (f' ({source["path"]})' if source['path'] else '')


def _write_config(path, config, source):
  artifacts.write_text(path, json.dumps({'source': source} | json.loads(config.to_json()), indent=2))


def write(run, dataset, chosen, identity):
  """The artifacts, `coreset.csv` last, so that its presence means that the rest is there; what was there goes first."""
  names = sorted(chosen.scores)
  for stale in ('coreset.csv', 'skipped.csv', 'metrics.json', 'report.html'):
    (run.workdir / stale).unlink(missing_ok=True)
  _write_config(run.workdir / 'config.json', run.config, _source(run.config, identity))
  ids = np.asarray(dataset.ids, object)
  artifacts.write_array(run.workdir / 'embeddings.npy', chosen.embeddings)
  artifacts.write_array(run.workdir / 'pseudo_labels.npy', chosen.pseudo_labels)
  artifacts.write_arrays(run.workdir / 'scores.npz', chosen.scores | {'pseudo_label': chosen.pseudo_labels})
  artifacts.write_array(run.workdir / 'coreset.npy', chosen.indices)
  if dataset.skipped:
    artifacts.write_rows(run.workdir / 'skipped.csv', ['path', 'reason'], dataset.skipped)
    count = len(dataset.skipped)
    run.say(f'{count} file{"s" * (count > 1)} could not be read: {run.workdir / "skipped.csv"}')
  rows = [[rank, i, ids[i], int(chosen.pseudo_labels[i]), *(repr(float(chosen.scores[s][i])) for s in names)]
          for rank, i in enumerate(chosen.indices.tolist())]
  artifacts.write_rows(run.workdir / 'coreset.csv', ['rank', 'index', 'id', 'pseudo_label', *names], rows)
  run.say(f'coreset in {run.workdir / "coreset.csv"}')
