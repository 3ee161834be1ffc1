"""Suspects: pictures that may show nothing. They are listed for a person to look at; none is left out for it.

NumPy alone. Images may be a memory map, and are read once, in blocks.
"""
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 1 << 26   # Bytes that are read at a time.
KINDS: Mapping[str, str] = {
    'blank': 'Blank or nearly one colour',
    'dark': 'Very dark',
    'placeholder': 'The same picture many times, as a placeholder would be'}


def find(images: ArrayLike, groups: ArrayLike = (), *, spread: float = 4.0, dark: float = 40.0, often: int = 10
         ) -> dict[str, NDArray[np.int64]]:
  """Which images may show nothing.

  The checks are of the kinds that cleanvision makes. A picture is blank where its grey values hardly differ, and very
  dark where even its bright parts, the 95th percentile of its grey values, are dark. A blank one is not called dark,
  and what occurs many times is called that alone.

  Args:
    images: uint8 [N,H,W,Ch], Ch 1 or 3.
    groups: int [N], a number for each group of exact copies; empty: there are none.
    spread: standard deviation of the grey values, of 255, below which a picture is blank.
    dark: brightness, of 255, below which a picture is very dark.
    often: of so many copies and more, each is a placeholder.
  Returns: rows in rising order for each of `KINDS`, int64.
  """
  images = images if isinstance(images, np.ndarray) else np.asarray(images)
  often_there = np.zeros(len(images), bool)
  if len(np.asarray(groups)):
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    often_there = sizes[group] >= often
  blank, is_dark = np.zeros(len(images), bool), np.zeros(len(images), bool)
  step = max(1, BLOCK // max(1, 4 * images[:1].nbytes))
  for start in range(0, len(images), step):
    block = slice(start, start + step)
    grey = np.asarray(images[block]).mean(-1, dtype=np.float32)
    grey = grey.reshape(len(grey), -1)
    blank[block] = grey.std(1) < spread
    place = int(0.95 * (grey.shape[1] - 1))
    is_dark[block] = np.partition(grey, place, axis=1)[:, place] < dark
  found = (blank & ~often_there, is_dark & ~blank & ~often_there, often_there)
  return {kind: np.flatnonzero(rows) for kind, rows in zip(KINDS, found, strict=True)}
