"""Value ranges: what is black and what is white in images of more than 8 bits, the same for a whole folder.

Within a kind of file (such as 16-bit PNG) values mean the same from one picture to the next; a range for each picture
would hide how they differ.
"""
import pathlib
import threading
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from elfs_jax.data import decode, opening

KINDS = [f'{numbers} {name}' for numbers in opening.NOMINAL for name in opening.FORMATS]  # Of `kind_of`.
LIKELY = '.tif', '.tiff', '.png', '.pgm', '.pnm', '.jp2', '.j2k'
FILES = 64        # Of a kind, that a range is found from,
VALUES = 1 << 14  # at most so many pixels of each,
SHARES = 0.1, 99.9  # without the darkest and the brightest percent outside these.


def finder(root, names: Sequence[str], given: Sequence[float] | None, max_pixels: int | None
           ) -> Callable[[str], tuple[float, float]]:
  """A function kind -> (black, white), to be called by several threads; what it finds depends on the files alone.

  Args:
    root: a folder; names: [M] of the files in it.
    given: (black, white) for every kind; None: the `SHARES` percentiles of the values in a sample of the files.
    max_pixels: as `decode.decode` has it.
  """
  found, lock = {}, threading.Lock()
  def span(kind):
    with lock:
      if kind not in found:
        found[kind] = tuple(map(float, given or _measure(pathlib.Path(root), names, kind, max_pixels)))
      return found[kind]
  return span


def code(kind: str, span: tuple[float, float]) -> int:
  """A number above 0 that tells of what kind an image is and by which range it was read."""
  return zlib.crc32(repr(span).encode()) << 8 | KINDS.index(kind) + 1


def kind_of_code(number: int) -> str | None:
  """The kind in a `code`; None for 0, which stands for an image of 8 bits."""
  return KINDS[(number & 255) - 1] if number else None


def notes(codes: np.ndarray, span: Callable[[str], tuple[float, float]]) -> list[str]:
  """A line for each kind among images with these codes: its range."""
  kinds = [kind_of_code(number) for number in codes.tolist()]
  lines = []
  for kind in KINDS:
    if kind in kinds:
      low, high = span(kind)
      lines.append(f'{kinds.count(kind)} {kind} images: values from {low:g} to {high:g} become black to white; '
                   'data.range=LOW,HIGH sets others')
  return lines


def _measure(root, names, kind, max_pixels):
  """The range of a kind, from files in an order that is random and always the same."""
  likely = [name.lower().endswith(LIKELY) for name in names]
  samples = []
  for wanted in (True, False):
    of_these = [name for name, is_likely in zip(names, likely) if is_likely == wanted]
    for i in np.random.default_rng(0).permutation(len(of_these)):
      values = _values(root / of_these[i], kind, max_pixels)
      if values is not None and len(values):
        samples.append(values)
      if len(samples) == FILES:
        break
    if samples:
      return np.percentile(np.concatenate(samples), SHARES)
  return opening.nominal(kind)


def _values(file, kind, max_pixels):
  """Some of the finite values of a file, from all over it; None where it is of another kind or can't be read."""
  try:
    opening.refuse_irregular(file)
    with open(file, 'rb') as opened:
      image = opening.open_image(opened, max_pixels)
      if opening.kind_of(image) != kind:
        return None
      with decode.PIXELS.hold(8 * image.width * image.height):
        values = np.asarray(image).reshape(-1)
        if len(values) > VALUES:  # Not at even steps, which may go down one column.
          values = values[np.random.default_rng(0).integers(0, len(values), VALUES)]
        values = values.astype(np.float64)
        image.close()
  except Exception:  # Reading it later says why.
    return None
  return values[np.isfinite(values)]
