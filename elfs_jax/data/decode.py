"""Decoding by Pillow: any image file -> uint8 RGB of one size, many at once in threads, within a bound on memory."""
import concurrent.futures
import contextlib
import ctypes
import hashlib
import io
import math
import os
import pathlib
import re
import threading
import warnings
from collections.abc import Callable

import numpy as np

from elfs_jax.data import opening, room

BLOCK = 32  # Images that a thread takes at a time, at most.
LARGE = 1 << 24  # Bytes that decoding takes, from which a picture is shrunk strip by strip and its memory given back.
GAP = 3  # How much larger than asked for a picture stays when it is shrunk by a whole number, before it is resized.
STRIP = 1 << 20  # Pixels of a strip, about.
ORIENTATION = 0x0112  # The EXIF tag.
LIGHT = 'PNG', 'JPEG', 'MPO', 'GIF', 'BMP', 'DIB', 'TIFF', 'PPM', 'PCX', 'TGA'  # Decoded without further copies.
MOST_WORDS = 300  # Characters of what a library says.
# How a picture that is not square becomes one.
FITS = {'crop': 'the shorter side fills it, the ends of the longer one are cut off',
        'pad': 'the whole picture, with grey beside it', 'stretch': 'the whole picture, out of proportion'}
GREY = '#808080'  # What pads: about 0 to a network, once the mean of pictures is taken off.


class Budget:
  """Bytes that threads share: who wants more than is left waits; one that wants more than all waits to be alone."""

  def __init__(self, total: int):
    self.total, self.left, self.changed = total, total, threading.Condition()

  @contextlib.contextmanager
  def hold(self, amount: int):
    """Have `amount` bytes of the budget for as long as the block runs."""
    amount = min(amount, self.total)
    with self.changed:
      self.changed.wait_for(lambda: self.left >= amount)
      self.left -= amount
    try:
      yield
    finally:
      with self.changed:
        self.left += amount
        self.changed.notify_all()


# Two budgets, since who decodes a file holds its bytes already: within one, all could wait for each other.
PIXELS, FILES = Budget(min(1 << 30, max(LARGE, room.memory() // 4))), Budget(1 << 28)


def file_content(path) -> bytes:
  """All bytes of a file. Every file of images is opened here. Raises: OSError, ValueError if it is no regular file."""
  size = opening.refuse_irregular(path)
  if size >= LARGE:
    room.need_memory(size, 'this file', 'free some, or leave it out')
  return pathlib.Path(path).read_bytes()


def digest(content) -> bytes:
  """16 bytes that tell one content from another; `content`: bytes, or an array."""
  if isinstance(content, np.ndarray):
    content = f'{content.dtype}{content.shape}'.encode() + np.ascontiguousarray(content).tobytes()
  return hashlib.blake2b(content, digest_size=16).digest()


def decode(content: bytes, size: int, span: Callable[[str], tuple[float, float]] = opening.nominal,
           max_pixels: int | None = None, how: str = 'crop') -> np.ndarray:
  """An image file's bytes -> uint8 [size,size,3]: its first frame, upright, over white where it is transparent.

  It becomes a square as `how` of `FITS` says. Waits until the memory that it takes is free.

  Args:
    span: of files of more than 8 bits: kind, as `opening.kind_of` has it -> the values that become black and white.
    max_pixels: larger images are refused; None: than Pillow's own bound.
    how: one of `FITS`.
  Raises: nearly anything, as Pillow's plugins do on a broken file.
  """
  image = opening.open_image(io.BytesIO(content), max_pixels)
  width, height = image.size
  image.draft('RGB', (2 * size, 2 * size))  # JPEG decodes at a fraction of its size, never below this.
  kind = opening.kind_of(image)
  black_white = None if kind is None else span(kind)  # Before memory is held, since it may take some itself.
  # A progressive one is held whole by libjpeg all the same, in 16 bits.
  whole = 6 * width * height if image.info.get('progressive') else 0
  needed = whole + _bytes_to_decode(image) + 7 * size * size
  large = needed >= LARGE
  if large:
    needed = whole + _bytes_to_shrink(image, size, how)
    room.need_memory(needed, 'decoding it', 'free some, or leave it out')
  with PIXELS.hold(needed):
    try:
      return (_shrunk if large else _square)(image, size, black_white, how)
    finally:
      image.close()  # Frees its pixels, before others get the memory.
      if large:
        _return_memory()


def _square(image, size, black_white, how):
  from PIL import ImageOps
  image.load()  # First: in some formats the orientation stands after the pixels.
  if image.getexif().get(ORIENTATION, 1) != 1:
    image = ImageOps.exif_transpose(image)
  return fit(to_rgb(image, black_white), size, how)


def _shrunk(image, size, black_white, how):
  """`_square` of a large image: of what is seen one strip at a time is converted and shrunk by a whole number."""
  from PIL import Image, ImageOps
  image.load()
  (left, top, right, bottom), factor = _seen(image.size, size, how)
  x0, y0, x1, y1 = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
  small = Image.new('RGB', (-(-(x1 - x0) // factor), -(-(y1 - y0) // factor)))
  rows = max(1, STRIP // (x1 - x0) // factor) * factor
  for y in range(y0, y1, rows):
    strip = to_rgb(image.crop((x0, y, x1, min(y + rows, y1))), black_white)
    small.paste(strip.reduce(factor) if factor > 1 else strip, (0, (y - y0) // factor))
  box = [(place - start) / factor for place, start in ((left, x0), (top, y0), (right, x0), (bottom, y0))]
  sides = [max(1, round(side * size / max(image.size))) for side in image.size] if how == 'pad' else (size, size)
  made = ImageOps.pad(small.resize(sides, Image.Resampling.BICUBIC, box), (size, size), color=GREY)
  made.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
  return np.asarray(ImageOps.exif_transpose(made))


def _seen(sides, size, how):
  """The part that is seen (left, top, right, bottom), and by what it is shrunk before it is resized."""
  width, height = sides
  filling = max(sides) if how == 'pad' else min(sides)
  factor = max(1, filling // (GAP * size))
  if how != 'crop':
    return (0, 0, width, height), factor
  left, top = (width - filling) / 2, (height - filling) / 2
  return (left, top, left + filling, top + filling), factor


def _bytes_to_decode(image) -> int:
  """About what an opened image takes at most while it is decoded, turned and converted: copies of 4 bytes a pixel."""
  width, height = image.size
  plain = (image.format in ('JPEG', 'MPO', 'PNG', 'BMP') and image.mode in ('RGB', 'L')
           and 'transparency' not in image.info)
  return width * height * (8 if plain else 24)


def _bytes_to_shrink(image, size, how) -> int:
  """About what it takes to decode an image and to shrink it strip by strip."""
  width, height = image.size
  stored = 1 if image.mode in ('1', 'L', 'P') else 2 if image.mode.startswith('I;16') else 4
  (left, top, right, bottom), factor = _seen(image.size, size, how)
  across, down = right - left, bottom - top
  strip = 24 * max(STRIP, math.ceil(across) * factor)
  small = 4 * (int(across) // factor + 1) * (int(down) // factor + 1)
  return width * height * (stored if image.format in LIGHT else 24) + strip + small + 7 * size * size


def _return_memory():
  """glibc keeps for each thread what that thread has freed: gigabytes, where many decode large pictures in turn."""
  try:
    ctypes.CDLL(None).malloc_trim(0)
  except (OSError, TypeError, AttributeError):  # Another C library.
    pass


def decode_file(path, size: int) -> np.ndarray:
  """`decode` of a file."""
  return decode(file_content(path), size)


def to_rgb(image, black_white: tuple[float, float] | None = None):
  """A Pillow image of any mode -> RGB. Grey of more than 8 bits: the values `black_white` become 0 and 255."""
  from PIL import Image
  if opening.kind_of(image) is not None:
    low, high = black_white or opening.nominal(opening.kind_of(image))
    grey = np.nan_to_num((np.asarray(image).astype(np.float64) - low) * (255 / ((high - low) or 1)))
    image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
  if image.has_transparency_data:
    image = image.convert('RGBA')
    image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
  return image if image.mode == 'RGB' else image.convert('RGB')


def fit(image, size: int, how: str = 'crop') -> np.ndarray:
  """A Pillow image -> uint8 [size,size] or [size,size,Ch], as `how` of `FITS` says; by default the centre is kept."""
  from PIL import Image, ImageOps
  square, filtered = (size, size), Image.Resampling.BICUBIC
  if how == 'pad':
    return np.asarray(ImageOps.pad(image, square, filtered, color=GREY))
  return np.asarray(image.resize(square, filtered) if how == 'stretch' else ImageOps.fit(image, square, filtered))


def resize(image: np.ndarray, size: int, how: str = 'crop') -> np.ndarray:
  """`fit` of an array: uint8 [H,W,Ch] -> uint8 [size,size,Ch], Ch 1 or 3; the array itself where it has that size."""
  from PIL import Image
  if image.shape[:2] == (size, size):
    return image
  return fit(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), size, how).reshape(size, size, -1)


def parallel(function: Callable, n: int, progress: Callable | None, desc: str) -> list:
  """[function(0), ..., function(n - 1)], computed by a thread for each core; Pillow's warnings are not shown.

  progress: optional; called as progress(iterable, desc=..., total=...).
  """
  threads = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
  step = max(1, min(BLOCK, n // (4 * threads)))
  def block(start):
    return [function(i) for i in range(start, min(start + step, n))]
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Pillow warns of files that it reads all the same; of others it raises.
      results = (result for block_results in pool.map(block, range(0, n, step)) for result in block_results)
      return list(progress(results, desc=desc, total=n) if progress else results)
  finally:
    pool.shutdown(cancel_futures=True)


def reason_of(error: Exception) -> str:
  """Why a file could not be decoded, in a few words."""
  from PIL import Image, UnidentifiedImageError
  if isinstance(error, UnidentifiedImageError):
    return 'not an image, or of a format that Pillow cannot read'
  if isinstance(error, Image.DecompressionBombError):
    pixels, bound = re.findall('[0-9]+', str(error))[:2]
    return f'{pixels} pixels, more than {bound}; data.max_pixels={pixels} allows it'
  if isinstance(error, MemoryError):
    return 'there is too little memory to decode it'
  if isinstance(error, UnicodeEncodeError):
    return 'the file name is not valid UTF-8: rename it'
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return one_line(error)


def may_pass(error: Exception) -> bool:
  """Whether a file that could not be decoded may be with another setting, or more memory."""
  from PIL import Image
  return isinstance(error, (Image.DecompressionBombError, MemoryError, room.NoRoom))


def one_line(error: Exception) -> str:
  """What an error says, or what it is, in one line, not a long one."""
  words = ' '.join(str(error).split()) or type(error).__name__
  return words if len(words) <= MOST_WORDS else f'{words[:MOST_WORDS]}...'
