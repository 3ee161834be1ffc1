"""A fair test set: examples drawn uniformly at random that leave the data before anything is chosen."""
import dataclasses
import hashlib
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elfs_jax.data.dataset import BLOCK, Dataset


def hold_out(dataset: Dataset, count: int | None, *, groups: ArrayLike | None = None, standing: Sequence[str] = (),
             seed: int = 0) -> Dataset:
  """The data without a test set, whose ids are its `holdout`.

  The draw depends on the seed and the ids alone, so that the same ids are held out again, more of them hold the fewer,
  and labels play no part. What is labelled already, and its copies, can't be drawn.

  Args:
    count: how many, at least those of `standing`; None: no more than them.
    groups: int [N], equal for examples that stay together; default each alone. Copies are found by
      `elfs_jax.copies.equal_rows(dataset.images)`.
    standing: ids that are held out already, and stay so; what is their copy goes with them.
    seed: of the draw.
  Returns: `Dataset`, its `notes` with a line on what was held out.
  """
  n = len(dataset.ids)
  groups = np.arange(n) if groups is None else np.asarray(groups)
  place = {name: i for i, name in enumerate(dataset.ids)}
  before = [place[name] for name in standing if name in place]
  count = len(before) if count is None else count
  labelled = np.setdiff1d(dataset.labelled, before)  # What is labelled of a test set serves to test.
  rows = np.array(_draw(dataset.ids, count, groups, set(labelled.tolist()), before, seed), np.int64)
  kept = np.setdiff1d(np.arange(n), rows)
  said = _said(len(rows), n, count, before, np.isin(dataset.labelled, rows).sum(), dataset.root)
  made = take(dataset, kept)
  return dataclasses.replace(made, holdout=[dataset.ids[i] for i in rows],
                             notes=[*dataset.notes, said])


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


def _said(held, n, count, before, labelled, root):
  again = ', those of before among them' if before else ''
  line = f'{held} of {n} are held out as a test set{again}: holdout.csv has their ids'
  if held != count:
    line += f' ({count} were asked for; {"those of before stay" if len(before) > count else "copies stay together"})'
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
