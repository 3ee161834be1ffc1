"""Decoding by Pillow: any image file -> uint8 RGB of one size, many at once in threads, within a bound on memory."""
import concurrent.futures
import contextlib
import ctypes
import hashlib
import io
import os
import pathlib
import threading
import warnings
from collections.abc import Callable

import numpy as np

BLOCK = 32  # Images that a thread takes at a time, at most.
LARGE = 1 << 24  # Bytes of a picture after which free memory goes back to the system.
ORIENTATION = 0x0112  # The EXIF tag.
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
PIXELS, FILES = Budget(1 << 30), Budget(1 << 28)


def file_content(path) -> bytes:
  """All bytes of a file. Every file of images is opened here."""
  return pathlib.Path(path).read_bytes()


def digest(content) -> bytes:
  """16 bytes that tell one content from another; `content`: bytes, or an array."""
  if isinstance(content, np.ndarray):
    content = f'{content.dtype}{content.shape}'.encode() + np.ascontiguousarray(content).tobytes()
  return hashlib.blake2b(content, digest_size=16).digest()


def decode(content: bytes, size: int, how: str = 'crop') -> np.ndarray:
  """An image file's bytes -> uint8 [size,size,3]: its first frame, upright, over white where it is transparent.

  It becomes a square as `how` of `FITS` says. Waits until the memory that it takes is free.
  Raises: nearly anything, as Pillow's plugins do on a broken file.
  """
  from PIL import Image
  image = Image.open(io.BytesIO(content))
  width, height = image.size
  image.draft('RGB', (2 * size, 2 * size))  # JPEG decodes at a fraction of its size, never below this.
  # A progressive one is held whole by libjpeg all the same, in 16 bits.
  whole = 6 * width * height if image.info.get('progressive') else 0
  needed = whole + _bytes_to_decode(image)
  with PIXELS.hold(needed):
    try:
      return _square(image, size, how)
    finally:
      image.close()  # Frees its pixels, before others get the memory.
      if needed >= LARGE:
        _return_memory()


def _square(image, size, how):
  from PIL import ImageOps
  image.load()  # First: in some formats the orientation stands after the pixels.
  if image.getexif().get(ORIENTATION, 1) != 1:
    image = ImageOps.exif_transpose(image)
  return fit(to_rgb(image), size, how)


def _bytes_to_decode(image) -> int:
  """About what an opened image takes at most while it is decoded, turned and converted: copies of 4 bytes a pixel."""
  width, height = image.size
  plain = (image.format in ('JPEG', 'MPO', 'PNG', 'BMP') and image.mode in ('RGB', 'L')
           and 'transparency' not in image.info)
  return width * height * (8 if plain else 24)


def _return_memory():
  """glibc keeps for each thread what that thread has freed: gigabytes, where many decode large pictures in turn."""
  try:
    ctypes.CDLL(None).malloc_trim(0)
  except (OSError, TypeError, AttributeError):  # Another C library.
    pass


def decode_file(path, size: int) -> np.ndarray:
  """`decode` of a file."""
  return decode(file_content(path), size)


def to_rgb(image):
  """A Pillow image of any mode -> RGB. Grey of more than 8 bits goes by its range: 0 to 65535, 0 to 255 or 0 to 1."""
  from PIL import Image
  if image.mode == 'F' or image.mode.startswith('I'):
    grey = np.nan_to_num(np.asarray(image, np.float32))
    if image.mode == 'F' and grey.max() <= 1:
      grey = grey * 255
    elif image.mode.startswith('I;16') or grey.max() > 255:
      grey = grey / 257
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
  from PIL import UnidentifiedImageError
  if isinstance(error, UnidentifiedImageError):
    return 'not an image, or of a format that Pillow cannot read'
  if isinstance(error, UnicodeEncodeError):
    return 'the file name is not valid UTF-8: rename it'
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return one_line(error)


def one_line(error: Exception) -> str:
  """What an error says, or what it is, in one line."""
  return ' '.join(str(error).split()) or type(error).__name__
