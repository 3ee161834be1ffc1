"""The workdir: which data its results are of, the lock that one run holds, and the artifacts at the end."""
import contextlib
import csv
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import filelock
import numpy as np

from elfs_jax.runtime import artifacts, handed, hosts
from elfs_jax.runtime.lists import path_of

LABELS = 'labels.csv'  # What was labelled in all rounds.
STALE = 'items.csv', 'skipped.csv', 'metrics.json', 'report.html'  # Gone before a new choice is written.
RESULTS = ('coreset.csv', *STALE, 'holdout.csv', 'coreset.npy', 'embeddings.npy', 'pseudo_labels.npy', 'scores.npz')
# The files of each folder of a workdir, as a pattern: what `artifacts.write` and the map of images put there.
OWN = {'.': '|'.join(map(re.escape, ('config.json', *RESULTS, LABELS, 'runs.csv', 'benchmark.md', 'benchmark.png'))),
       'stages': r'\w+\.(?:npz|seconds)', 'images': r'images-[0-9a-f]{16}\.np[yz]'}


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
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
  for folder, names in OWN.items():
    for file in (workdir / folder).glob('.*'):
      if re.fullmatch(rf'\.({names})\.[0-9a-f]{{8}}', file.name) and file.is_file():
        file.unlink()  # Of a run that was stopped while it wrote.


def temporary() -> pathlib.Path:
  """A new temporary folder, the same name on every host."""
  return pathlib.Path(hosts.from_lead(lambda: tempfile.mkdtemp(prefix='elfs_jax_')))


def source_of(name: str, path: str | None, images: str | None, identity: str | None) -> dict[str, Any]:
  """What tells the data of one workdir from another's.

  A path has one spelling, wherever the run was started. Data in memory has no path, so its fingerprint counts.
  """
  paths = {'path': path, 'images': images}
  spelled = {key: value and os.path.abspath(os.path.expanduser(value)) for key, value in paths.items()}
  return {'name': name} | spelled | ({'content': identity} if name == 'memory' else {})


def claim(workdir: pathlib.Path, source: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
  """Take the workdir for this data. Its config.json stays that of the results in it until `write`.

  Raises: ValueError if the workdir holds results of other data, a config.json that is not one of ours, or without one
    files that have the names of results.
  """
  hosts.from_lead(lambda: _claim(workdir, source, settings))


def _claim(workdir, source, settings):
  _check_source(workdir, source)
  if not (workdir / 'config.json').exists():
    _write_config(workdir, source, settings)


def _check_source(workdir, source):
  before = source_in(workdir)
  if before is None:
    there = [name for name in RESULTS if (workdir / name).exists()]
    if there:
      raise ValueError(f'workdir {workdir} holds {" and ".join(there[:2])} but no config.json of elfs_jax, so they may '
                       'be your own: choose another --workdir, or move them away')
  if before not in (None, source):
    mine, theirs = _words(source), _words(before)
    raise ValueError(f'workdir {workdir} holds the results of {theirs if theirs != mine else "other data"}, this run '
                     f'is of {mine}: choose another --workdir or delete that one')


def cache_in(workdir: pathlib.Path, source: Mapping[str, Any]) -> pathlib.Path | None:
  """Where decoded images are kept; None on hosts that have no workdir. Raises: ValueError as `claim` does."""
  if not hosts.lead():
    return None
  _check_source(workdir, source)
  return workdir / 'images'


def source_in(workdir: pathlib.Path) -> dict[str, Any] | None:
  """The source of the results in a workdir, None where there are none. Raises: ValueError for another's config.json."""
  path = workdir / 'config.json'
  if not path.exists():
    return None
  try:
    source = json.loads(path.read_text('utf-8'))['source']
    _words(source)
  except (ValueError, KeyError, TypeError):
    raise ValueError(f'{path} is not a config that elfs_jax wrote: choose another workdir') from None
  return source


def _words(source):
  return source['name'] + (f' ({source["path"]})' if source['path'] else '')


def _write_config(workdir, source, settings, root=None, choice=None):
  config = {'source': source, 'folder': os.getcwd(), 'root': None if root is None else str(root), 'choice': choice}
  config |= settings
  artifacts.write_text(workdir / 'config.json', json.dumps(config, indent=2))


def write(workdir: pathlib.Path, source: Mapping[str, Any], settings: Mapping[str, Any], *, choice: Mapping[str, Any],
          indices: np.ndarray, embeddings: np.ndarray, pseudo_labels: np.ndarray, scores: Mapping[str, np.ndarray],
          skipped: Sequence[tuple[str, str]], root: pathlib.Path | None, lists: Callable[[], tuple[str, str]]
          ) -> str | None:
  """The artifacts of a choice, `coreset.csv` last, so that its presence means that the rest is there.

  What was there of an earlier choice goes first; its `coreset.csv` is kept under its date where the new one differs.

  Args: choice: what `handed.read` asks of it; indices: int64 [n]; embeddings: float32 [N,D]; pseudo_labels: int32 [N];
    scores: name -> float32 [N]; skipped: (path, reason) of files that could not be read; root: the folder that the ids
    are paths in, None where they are not; lists: () -> the texts of coreset.csv and items.csv.
  Returns: the name under which an earlier `coreset.csv` is kept, or None.
  """
  return hosts.from_lead(lambda: _write(workdir, source, settings, choice, indices, embeddings, pseudo_labels, scores,
                                        skipped, root, lists))


def _write(workdir, source, settings, choice, indices, embeddings, pseudo_labels, scores, skipped, root, lists):
  coreset, items = lists()
  before = handed.keep(workdir, coreset)
  for stale in STALE:
    (workdir / stale).unlink(missing_ok=True)
  _write_config(workdir, source, settings, root, choice)
  artifacts.write_array(workdir / 'embeddings.npy', embeddings)
  artifacts.write_array(workdir / 'pseudo_labels.npy', pseudo_labels)
  artifacts.write_arrays(workdir / 'scores.npz', {**scores, 'pseudo_label': pseudo_labels})
  artifacts.write_array(workdir / 'coreset.npy', indices)
  if skipped:
    artifacts.write_rows(workdir / 'skipped.csv', ['path', 'reason'], skipped)
  artifacts.write_text(workdir / 'items.csv', items)
  artifacts.write_text(workdir / 'coreset.csv', coreset)
  return before


def holdout_in(workdir: pathlib.Path) -> list[str]:
  """The ids that an earlier run held out, in order; the same on every host. Raises: ValueError."""
  return hosts.from_lead(lambda: _holdout_in(workdir / 'holdout.csv'))


def _holdout_in(file):
  if not file.is_file():
    return []
  with open(file, newline='', encoding='utf-8') as text:
    rows = list(csv.DictReader(text))
  if not all(row.get('id') for row in rows):
    raise ValueError(f'{file}: has no column id as elfs_jax wrote it; bring it back, or delete it to hold out anew')
  return [row['id'] for row in rows]


def write_holdout(workdir: pathlib.Path, ids: Sequence[str], root: str | None,
                  root_url: str | None = None) -> None:
  """holdout.csv: `id` and `path` of the held-out examples; nothing where there are none."""
  if ids:
    rows = [[name, '' if root is None else path_of(name, root, root_url)] for name in ids]
    hosts.from_lead(lambda: artifacts.write_rows(workdir / 'holdout.csv', ['id', 'path'], rows))


def labels_in(workdir: pathlib.Path) -> dict[str, str]:
  """The labels of all rounds, by id. Raises: ValueError where labels.csv is another's file."""
  file = workdir / LABELS
  if not file.is_file():
    return {}
  try:
    with open(file, newline='', encoding='utf-8') as text:
      header, *rows = csv.reader(text)
    if header == ['id', 'label']:
      return {name: label for name, label in rows}
  except ValueError:
    pass
  raise ValueError(f'{file}: is no list of labels as elfs_jax keeps it there; move it elsewhere, and give it by that '
                   'name')


def write_labels(workdir: pathlib.Path, labels: Mapping[str, str]) -> None:
  """labels.csv: the labels of all rounds, by id."""
  artifacts.write_rows(workdir / LABELS, ['id', 'label'], sorted(labels.items()))


def write_report(workdir: pathlib.Path, metrics: Mapping[str, Any], page: Callable[[], str]) -> None:
  """metrics.json and report.html; `page()` is its text."""
  def write_both():
    html = page()
    artifacts.write_text(workdir / 'metrics.json', json.dumps(metrics, indent=2))
    artifacts.write_text(workdir / 'report.html', html)
  hosts.from_lead(write_both)
