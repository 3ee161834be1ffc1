"""A fair test set: examples drawn uniformly at random that leave the data before anything is chosen."""
import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elfs_jax.data.dataset import BLOCK, Dataset
from elfs_jax.data.groups import joined, numbered


def hold_out(dataset: Dataset, count: int | None, *, groups: ArrayLike | None = None, standing: Sequence[str] = (),
             seed: int = 0) -> Dataset:
  """The data without a test set, whose ids are its `holdout`.

  The draw depends on the seed and the ids alone, so that the same ids are held out again, more of them hold the fewer,
  and labels play no part. What is of one group of the data (`with_groups`) stays together. What is labelled already
  can't be drawn, nor what is of its group.

  Args:
    count: how many, at least those of `standing`; None: no more than them.
    groups: int [N], equal for further examples that stay together; default each alone. Copies are found by
      `elfs_jax.copies.equal_rows(dataset.images)`.
    standing: ids that are held out already, and stay so; what is of a group with them goes with them.
    seed: of the draw.
  Returns: `Dataset`, its `notes` with a line on what was held out.
  Raises: ValueError where groups are too large for the count, or `standing` has a part of one without the rest.
  """
  n = len(dataset.ids)
  groups = np.arange(n) if groups is None else np.asarray(groups)
  place = {name: i for i, name in enumerate(dataset.ids)}
  before = [place[name] for name in standing if name in place]
  count = len(before) if count is None else count
  labelled = np.setdiff1d(dataset.labelled, before)  # What is labelled of a test set serves to test.
  together = 'copies'
  if dataset.group_names is not None:
    together = 'copies and groups'
    groups = joined(groups, numbered(dataset.group_names))
    _check_standing(groups, before, labelled)
  rows = np.array(_draw(dataset.ids, count, groups, set(labelled.tolist()), before, seed), np.int64)
  kept = np.setdiff1d(np.arange(n), rows)
  if count and not len(rows):
    numbers, sizes = np.unique(groups, return_counts=True)
    sizes = sizes[~np.isin(numbers, groups[labelled])]
    raise ValueError(f'select.holdout={count}: {together} stay together, and ' + (
        f'the smallest of them that has no labels has {sizes.min()}; hold out as many' if len(sizes) else
        'each of them has labels already'))
  said = _said(len(rows), n, count, before, np.isin(dataset.labelled, rows).sum(), dataset.root, together)
  made = take(dataset, kept)
  return dataclasses.replace(made, holdout=[dataset.ids[i] for i in rows],
                             notes=[*dataset.notes, said])


def _check_standing(groups, before, labelled):
  """Refuse a test set of before that was not drawn by these groups."""
  in_test = np.isin(groups, groups[before])
  in_test[before] = False
  if in_test[labelled].any() or len(before) and in_test.sum() + len(before) == len(groups):
    raise ValueError('what is held out already is of the same groups as what is labelled or left to choose from: take '
                     'another workdir, where it is drawn by select.group_by, or leave that out')


def _draw(ids, count, groups, labelled, before, seed):
  """Rows in random order: groups whole, those in the test set before first, then all that fit."""
  order = np.argsort(groups, kind='stable')
  cuts = np.flatnonzero(np.diff(groups[order])) + 1
  members = [part.tolist() for part in np.split(order, cuts)]
  group_of = {row: number for number, part in enumerate(members) for row in part}
  first = list(dict.fromkeys(group_of[row] for row in before))
  rows = [row for number in first for row in members[number] if row not in labelled]
  taken = set(first)
  free = [part for number, part in enumerate(members) if number not in taken and labelled.isdisjoint(part)]
  for part in sorted(free, key=lambda part: _chance(seed, ids[part[0]])):
    if len(rows) >= count:
      break
    if len(rows) + len(part) <= count:
      rows += part
  return rows


def _chance(seed, name):
  """A place in a random order, which does not depend on what else there is."""
  return hashlib.blake2b(f'{seed} {name}'.encode('utf-8', 'surrogateescape'), digest_size=16).digest()


def _said(held, n, count, before, labelled, root, together):
  again = ', those of before among them' if before else ''
  line = f'{held} of {n} are held out as a test set{again}: holdout.csv has their ids'
  if held != count:
    why = 'those of before stay' if len(before) > count else f'{together} stay together'
    line += f' ({count} were asked for; {why})'
  if labelled:
    line += f'; {labelled} of them have labels, which are left for the test'
  if root is None:
    line += '; rows are counted without them, ids stay'
  return line


def take(dataset: Dataset, rows: np.ndarray) -> Dataset:
  """The data of some rows, int64 [n]; the test set stays. A memory map becomes another, of a temporary file."""
  images = dataset.images if dataset.images is None else _rows_of(dataset.images, rows)
  place = np.full(len(dataset.ids), -1)
  place[rows] = np.arange(len(rows))
  labelled = place[dataset.labelled]
  own = dataset.labelled_labels
  decode, known = dataset.decode, {}
  if dataset.images is not None and id(dataset.images) in dataset.fingerprints:  # Of files, by their content.
    made = hashlib.sha256(dataset.fingerprints[id(dataset.images)][1].encode() + rows.tobytes()).hexdigest()
    known = {id(images): (images, made)}
  return dataclasses.replace(
      dataset, images=images, ids=[dataset.ids[i] for i in rows], fingerprints=known,
      labels=None if dataset.labels is None else dataset.labels[rows],
      group_names=dataset.group_names and [dataset.group_names[i] for i in rows],
      embeddings=None if dataset.embeddings is None else dataset.embeddings[rows],
      decode=decode and (lambda row, size: decode(int(rows[row]), size)), labelled=labelled[labelled >= 0],
      labelled_labels=own and [label for label, row in zip(own, labelled, strict=True) if row >= 0])


def _rows_of(images, rows):
  if not isinstance(images, np.memmap):
    return images[rows]
  step = max(1, BLOCK // max(1, images[:1].nbytes))
  with tempfile.TemporaryFile() as file:  # Written, not mapped: on a full disk that is an error, not the end.
    for start in range(0, len(rows), step):
      file.write(np.ascontiguousarray(images[rows[start:start + step]]))
    file.flush()
    return np.memmap(file, images.dtype, 'r', 0, (len(rows), *images.shape[1:]))
