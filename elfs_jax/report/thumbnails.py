"""Small pictures for the page, as data URIs, within a number of characters for all of them."""
import base64
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

# (pixels a side at most, quality), best first; a quality of None is a PNG, which keeps every pixel.
LARGE = ((320, 78), (256, 74), (224, 70), (192, 68), (160, 64), (128, 58), (96, 52), (64, 46), (48, 40), (32, 30))
TINY = ((64, None), (64, 80), (64, 60), (48, 50), (32, 40), (24, 30))
BLOCK = 64     # Pictures that are asked for at a time.
SAMPLE = 24    # Encoded first, to see how large all would be.


def encoded(pictures: Callable, rows: ArrayLike, room: int, *, decodes: bool, most: int = LARGE[0][0]
            ) -> dict[int, str]:
  """The pictures of some rows, as large and as good as there is room for.

  Args:
    pictures: as pictures(rows int [m], size or None) -> uint8 [m,H,W,Ch].
    rows: int [m], distinct, the most important first: the last are left out where even the smallest find no room.
    room: characters for all of them.
    decodes: whether they are decoded from files, at the size that is asked for; else they are taken as they are.
    most: pixels a side at most.
  Returns: row -> data URI.
  """
  rows = np.asarray(rows, np.int64)
  if not len(rows):
    return {}
  tiny = not decodes and max(pictures(rows[:1], None).shape[1:3]) < 64
  steps = [step for step in (TINY if tiny else LARGE) if step[0] <= most] or [LARGE[-1]]
  some = rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).round().astype(int))]
  looked = pictures(some, steps[0][0] if decodes else None)
  for side, quality in steps[:-1]:
    if np.mean([len(data_uri(picture, side, quality)) for picture in looked]) * len(rows) <= room:
      found = _within(pictures, rows, room, decodes, side, quality)
      if len(found) == len(rows):
        return found
  return _within(pictures, rows, room, decodes, *steps[-1])


def _within(pictures, rows, room, decodes, side, quality):
  """As many of the first rows as there is room for."""
  found = {}
  for start in range(0, len(rows), BLOCK):
    block = rows[start:start + BLOCK]
    for row, picture in zip(block.tolist(), pictures(block, side if decodes else None), strict=True):
      text = data_uri(picture, side, quality)
      room -= len(text)
      if room < 0:
        return found
      found[row] = text
  return found


def data_uri(picture: np.ndarray, side: int, quality: int | None) -> str:
  """uint8 [H,W,Ch] -> a data URI of it, at most `side` pixels: WebP or JPEG of this quality, PNG where it is None."""
  from PIL import Image, features
  image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
  image.thumbnail((side, side))
  kind = 'png' if quality is None else 'webp' if features.check('webp') else 'jpeg'
  file = io.BytesIO()
  image.save(file, kind, **({} if quality is None else {'quality': quality}))
  return f'data:image/{kind};base64,' + base64.b64encode(file.getvalue()).decode()
