"""elfs-jax next WORKDIR --labels=FILE --budget=N

Choose the next N images of a run around the labels that have come back. What is labelled counts as covered and is not
chosen again; with 20 labels or more, images of which a classifier on them is unsure count more. Settings and data are
those of the run in WORKDIR, and stages that did not change are reused. The labels of all rounds are kept in
WORKDIR/labels.csv, so that each round brings its new ones alone. The list of before is kept under its date.
"""
import argparse
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import config as config_lib
from elfs_jax import data
from elfs_jax.budget import budget_count, parse_budget
from elfs_jax.data import labelled as labelled_lib
from elfs_jax.runtime import handed, store

# Settings that may be a file.
PATHS = ('data', 'labels'), ('data', 'labelled'), ('embed', 'weights'), ('select', 'group_by')


def command(argv: Sequence[str]) -> None:
  """The command `elfs-jax next`. Raises: ValueError, OSError."""
  parser = _Parser('elfs-jax next', description=__doc__.partition('\n')[2], allow_abbrev=False,
                   usage='elfs-jax next WORKDIR --labels=FILE --budget=N',
                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('workdir', metavar='WORKDIR', help='of a run that has ended, such as runs/folder')
  parser.add_argument('--labels', metavar='FILE', required=True,
                      help='labels of any of the images, as Label Studio (JSON, JSON-MIN, CSV), CVAT ("CVAT for '
                      'images", the archive or the XML) or COCO has them, or a .csv with the columns id and label')
  parser.add_argument('--budget', metavar='N', required=True,
                      help='how many new ones: a count, or a share of all images')
  given = parser.parse_args(argv)
  from elfs_jax.runtime.progress import bar
  run(given.workdir, given.labels, given.budget, progress=bar)


class _Parser(argparse.ArgumentParser):
  def error(self, message):
    raise ValueError(f'elfs-jax next: {message}; see elfs-jax next --help')


def run(workdir, labels, budget: int | float | str, *, say: Callable[[str], Any] = print,
        progress: Callable | None = None) -> None:
  """Choose the next images in a workdir.

  Args:
    workdir: of a run on data in files.
    labels: a file, as `elfs_jax.data.labelled.read` takes it, with labels.
    budget: how many new ones, a count or a share of all images.
    say, progress: as in `pipeline.run`.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  workdir = pathlib.Path(workdir).expanduser()
  config = _config_in(workdir)
  with config.ignore_type():
    config.select.budget = parse_budget(budget) if isinstance(budget, str) else budget
  if not pathlib.Path(labels).expanduser().is_file():
    raise FileNotFoundError(f'{labels}: no such file; --labels is what the labelling tool exported')
  say(data.reading(config.data.name, config.data.path))
  from elfs_jax import pipeline
  from elfs_jax.runtime import mesh
  mesh.pin_threads()
  kept: dict[str, str] = {}
  def labelling(dataset):
    made, merged = _with_labels(dataset, labels, workdir)
    kept.update(merged)
    return made
  dataset = pipeline.read_data(config, workdir, progress, labelling=labelling)
  _check_room(config.select.budget, dataset)
  pipeline.check(dataset, config)
  waiting = [name for name in handed.chosen_in(workdir) if name not in kept]
  if waiting:
    dataset.notes.append(f'{len(waiting)} that were chosen before have no label, such as {waiting[0]!r}; they may be '
                         'chosen again')
  with store.held(workdir):
    store.write_labels(workdir, kept)
  pipeline.run(dataset, config, workdir, say=say, progress=progress)


def _with_labels(dataset: data.Dataset, file, workdir: pathlib.Path) -> tuple[data.Dataset, dict[str, str]]:
  """The data with the labels of all rounds; and these by id, also of images that are gone.

  What the run's own `data.labelled` names stays labelled as well.
  """
  new = labelled_lib.read(file, dataset.ids, dataset.root)
  if not new.labels:
    raise ValueError(f'{file}: no labels in it; give a .csv with the columns id and label, or what the labelling tool '
                     'exported')
  before = store.labels_in(workdir)
  found = {dataset.ids[row]: str(label) for row, label in zip(new.rows.tolist(), new.labels, strict=True)}
  merged = before | found
  place = {name: row for row, name in enumerate(dataset.ids)}
  own = dataset.labelled.tolist()
  rows: dict[int, Any] = dict(zip(own, dataset.labelled_labels or [None] * len(own), strict=True))
  rows |= {place[name]: label for name, label in merged.items() if name in place}
  changed = sum(before.get(name, label) != label for name, label in found.items())
  gone = sum(name not in place for name in merged)
  line = f'{len(merged)} labels in {workdir / store.LABELS}, {len(merged) - len(before)} of them new'
  line += f', {changed} changed' * (changed > 0) + f', {gone} of images that are gone' * (gone > 0)
  made = dataclasses.replace(dataset, labelled=np.array(list(rows), np.int64), labelled_labels=list(rows.values()),
                             notes=[*dataset.notes, *new.notes, line])
  return made, merged


def _check_room(budget, dataset):
  left = len(dataset.ids) - len(dataset.labelled)
  count = budget_count(budget, len(dataset.ids))
  if count > left:
    raise ValueError(f'--budget={budget}: {left} of {len(dataset.ids)} images are without a label; give at most {left}')


def _config_in(workdir: pathlib.Path) -> ConfigDict:
  """The settings of the run in a workdir."""
  source = store.source_in(workdir) if (workdir / 'coreset.csv').is_file() else None
  if source is None:
    raise FileNotFoundError(f'{workdir}: holds no choice; give the workdir of a run that has ended, such as '
                            'runs/folder')
  if source['name'] not in data.SOURCES and ':' not in source['name']:
    raise ValueError(f'{workdir}: is of data in memory, which it does not hold; in Python call select_coreset(..., '
                     'labelled=FILE) again')
  if source['name'] == 'folder' and _facts(workdir).get('embedding') == 'given':
    raise ValueError(f'{workdir}: its embeddings were made by a function in Python, which it does not hold; there call '
                     'select_coreset(..., labelled=FILE) again')
  settings = json.loads((workdir / 'config.json').read_text('utf-8'))
  config = config_lib.get_config()
  for section, field in PATHS:  # They start where the run was started.
    value = settings.get(section, {}).get(field)
    there = os.path.join(settings.get('folder', ''), str(value))
    if isinstance(value, str) and not os.path.exists(value) and os.path.isfile(there):
      settings[section][field] = there
  with config.ignore_type():
    for name, part in settings.items():
      if name == 'seed':
        config.seed = part
      elif name in config and isinstance(part, dict):
        config[name].update({field: tuple(value) if isinstance(value, list) else value
                             for field, value in part.items() if field in config[name]})
    config.data.path, config.data.images = source['path'], source['images']  # Absolute: as they were meant there.
  return config


def _facts(workdir):
  file = workdir / 'metrics.json'
  return json.loads(file.read_text('utf-8')) if file.is_file() else {}
