"""A folder of images of any size and mode, decoded in parallel into one uint8 array."""
import concurrent.futures
import os
import pathlib
import warnings

import numpy as np

# Formats that Pillow may lack (HEIC, AVIF) stand here too: such a file is listed as skipped, not overlooked.
EXTENSIONS = frozenset('.apng .avif .bmp .dib .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pcx '
                       '.pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())
BLOCK = 32


def listing(path):
  """List a folder's image files, recursively, without opening them: what a fingerprint of the folder needs.

  Files are known by their extension; hidden ones, and those in hidden folders, are left out. Links are followed, each
  real folder and file once.

  Args:
    path: the folder.
  Returns: a list of (posix path relative to the folder, size in bytes, modification time in ns), sorted by path.
  Raises: FileNotFoundError if there is no such folder; ValueError if it is a file, cannot be read (also a folder in
    it) or holds no image file.
  """
  root = pathlib.Path(path).expanduser()
  if not root.exists():
    raise FileNotFoundError(f'{path}: no such folder; set data.path to a folder of images')
  if not root.is_dir():
    raise ValueError(f'{path}: a file, not a folder; give the folder that holds the images, or for an .npz or .npy of '
                     'images configs/arrays.py, in Python the array')
  found, links, seen = [], [], {os.path.realpath(root)}
  for directory, folders, files in os.walk(root, onerror=_unreadable, followlinks=True):
    shown, folders[:] = sorted(name for name in folders if not name.startswith('.')), []
    for name in shown:
      real = os.path.realpath(os.path.join(directory, name))
      if real not in seen:
        seen.add(real)
        folders.append(name)
    for name in files:
      if not name.startswith('.') and os.path.splitext(name)[1].lower() in EXTENSIONS:
        file = pathlib.Path(directory, name)
        (links if file.is_symlink() else found).append(file)
  seen = {os.path.realpath(file) for file in found} if links else set()
  for file in sorted(links):
    real = os.path.realpath(file)
    if real not in seen:
      seen.add(real)
      found.append(file)
  if not found:
    raise ValueError(f'{path}: no image file in this folder or below; it looks for extensions such as .jpg and .png')
  return sorted(_entry(file, root) for file in found)


def _entry(file, root):
  try:
    stat = file.stat()
  except OSError:  # A dangling link: decoding lists it as skipped.
    stat = file.lstat()
  return file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns


def read(path, size, progress=None):
  """Decode every image of a folder to RGB: the shorter side becomes `size` pixels, then the centre is cut out.

  Args:
    path: the folder.
    size: side of the result in pixels.
    progress: optional; called as progress(iterable, desc=..., total=...).
  Returns: (images uint8 [N,size,size,3], paths [N] relative and sorted, skipped: a list of (path, reason)). Files
    that are no images, or are cut short, are skipped.
  Raises: FileNotFoundError and ValueError as `listing` does; ValueError if no file can be decoded.
  """
  root = pathlib.Path(path).expanduser()
  paths = [relative for relative, _, _ in listing(path)]
  images = np.empty((len(paths), size, size, 3), np.uint8)
  def decode(i):
    reason = None
    try:
      paths[i].encode()
      images[i] = decode_file(root / paths[i], size)
    except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
      reason = reason_of(error)
    return reason
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Pillow's, of files that it reads all the same; of others it raises.
    reasons = list(parallel(decode, len(paths), progress, 'Reading images'))
  skipped = [(_printable(p), reason) for p, reason in zip(paths, reasons) if reason]
  good = [i for i, reason in enumerate(reasons) if not reason]
  if not good:
    first = f'{skipped[0][0]}: {skipped[0][1]}'
    raise ValueError(f'{path}: none of {len(paths)} image files can be read ({first}); give a folder of sound images')
  if skipped:
    for to, i in enumerate(good):  # In place: a second copy may not fit.
      images[to] = images[i]
  return images[:len(good)], [paths[i] for i in good], skipped


def decode_file(path, size):
  """One image file -> uint8 [size,size,3]: its first frame, upright, over white where it is transparent."""
  from PIL import Image, ImageOps
  with Image.open(path) as image:
    image.draft('RGB', (2 * size, 2 * size))  # JPEG decodes at a fraction of its size, never below this.
    return fit(to_rgb(ImageOps.exif_transpose(image)), size)


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
  return image.convert('RGB')


def fit(image, size):
  """A Pillow image -> uint8 [size,size] or [size,size,Ch]: the shorter side becomes `size`, the centre is cut out."""
  from PIL import Image, ImageOps
  return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


def parallel(function, n, progress, desc):
  """Yield function(0), ..., function(n - 1) in order, computed by threads in blocks."""
  def block(start):
    return [function(i) for i in range(start, min(start + BLOCK, n))]
  pool = concurrent.futures.ThreadPoolExecutor()
  try:
    results = (result for block_results in pool.map(block, range(0, n, BLOCK)) for result in block_results)
    yield from progress(results, desc=desc, total=n) if progress else results
  finally:
    pool.shutdown(cancel_futures=True)


def _unreadable(error):
  raise ValueError(f'{error.filename}: this folder cannot be read ({error.strerror}); allow it, or move it away')


def reason_of(error):
  """Why a file could not be decoded, in a few words."""
  from PIL import UnidentifiedImageError
  if isinstance(error, UnidentifiedImageError):
    return 'not an image, or of a format that Pillow cannot read'
  if isinstance(error, UnicodeEncodeError):
    return 'the file name is not valid UTF-8: rename it'
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  return one_line(error)


def one_line(error):
  """What an error says, or what it is, in one line."""
  return ' '.join(str(error).split()) or type(error).__name__


def _printable(path):
  return path.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
