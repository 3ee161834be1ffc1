"""Opening files: regular ones alone, images by the formats that are known, and what kind of values these hold."""
import contextlib
import functools
import os
import stat
import threading

# No others: some of Pillow's plugins start another program.
FORMATS = ('PNG', 'JPEG', 'MPO', 'GIF', 'BMP', 'DIB', 'TIFF', 'WEBP', 'ICO', 'JPEG2000', 'PPM', 'PCX', 'TGA', 'AVIF',
           'HEIF')
NOMINAL = {'float': (0, 1), '16-bit': (0, 65535), '32-bit': (0, 65535)}  # Black and white, of a file alone.
OPENING = threading.Lock()


def refuse_irregular(path) -> int:
  """The size of a regular file in bytes.

  Raises: OSError; ValueError for what would be waited for or never ends: a named pipe, a socket, a device.
  """
  found = os.stat(path)
  mode = found.st_mode
  if not stat.S_ISREG(mode):
    kinds = {stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket', stat.S_IFDIR: 'a folder'}
    raise ValueError(f'{kinds.get(stat.S_IFMT(mode), "a device")}, not a regular file')
  return found.st_size


def open_image(file, max_pixels: int | None = None):
  """Pillow's image of an open file, not yet decoded; `max_pixels` as in `decode.decode`."""
  from PIL import Image
  if max_pixels is None:
    return Image.open(file, formats=_formats())
  with OPENING:  # Pillow knows one bound, for the whole process.
    bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
      image = Image.open(file, formats=_formats())
    finally:
      Image.MAX_IMAGE_PIXELS = bound
  pixels = image.width * image.height
  if pixels > max_pixels:
    raise Image.DecompressionBombError(f'Image size ({pixels} pixels) exceeds limit of {max_pixels} pixels')
  return image


@functools.cache
def _formats():
  """Those of `FORMATS` that this Pillow has."""
  from PIL import Image
  with contextlib.suppress(ImportError):
    import pillow_heif
    pillow_heif.register_heif_opener()
  Image.init()
  return [name for name in FORMATS if name in Image.OPEN]


def kind_of(image) -> str | None:
  """Of an opened image of grey values, what they are and the format, such as '16-bit PNG'; None of one of 8 bits.

  Formats differ in what they mean by the same values: Pillow stretches those of PPM to 16 bits, and of no other.
  """
  if image.mode == 'F':
    return f'float {image.format}'
  if image.mode.startswith('I;16') or image.mode == 'I' and image.format in ('PNG', 'PPM'):
    return f'16-bit {image.format}'
  return f'32-bit {image.format}' if image.mode == 'I' else None


def nominal(kind: str) -> tuple[float, float]:
  """What is black and what is white in a kind of file, where nothing else is known."""
  return NOMINAL[kind.split()[0]]
