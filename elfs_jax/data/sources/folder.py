"""A folder of images of any size and mode, each read once and decoded in parallel."""
import os
import pathlib
import time

import numpy as np

from elfs_jax.data import decode, files
from elfs_jax.data import parts as parts_lib

# Formats that Pillow may lack (HEIC, AVIF) stand here too: such a file is listed as skipped, not overlooked.
EXTENSIONS = frozenset('.apng .avif .bmp .dib .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pcx '
                       '.pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())
SIZE = 64


def read(path, *, size=None, progress=None, cache=None, labels=None, test='none', names=None, fit='crop',
         dry=False) -> dict:
  """Decode every image of a folder to RGB, a square of `size` pixels.

  With `test` auto, a folder whose images all lie in train/ and test/ (or valid/, or all three; `parts.of`) is chosen
  from in one part and tested on in the other. Test images are read only where the folders are their labels.

  Args:
    path: the folder.
    size: side of the images in pixels; default 64.
    progress: optional; called as progress(iterable, desc=..., total=...).
    cache: a folder that keeps what was decoded for the next time, or None.
    labels: `folders` where they are the labels, or anything else.
    test: auto, or none: all images are chosen from.
    names: the files to read, paths that are absolute or start at the folder; default all images in it.
    fit: how a picture of another shape becomes a square, one of `decode.FITS`.
    dry: decode nothing; see `files.decode_all`.
  Returns: a dict of `images` uint8 [N,size,size,3], a memory map; `ids` [N], paths relative to the folder and sorted;
    `skipped`, a list of (path, reason) of files that are no images or are cut short; `root`, `decode`, `content`;
    with a test set `test_images` and `test_ids`; `note`, a line on it.
  Raises: FileNotFoundError and ValueError as `listing` does; ValueError if no file can be decoded.
  """
  size = SIZE if size is None else int(size)
  root = pathlib.Path(path).expanduser()
  entries = listing(path) if names is None else [_named(root, name) for name in names]
  entries, tests, note = _parted(path, entries, test, str(labels) == 'folders')
  entries = entries + tests
  found = files.decode_all(entries, lambda i: _row(root, entries[i], size, fit), (size, size, 3), cache=cache,
                           key=('folder', os.path.realpath(root), fit), progress=progress, dry=dry)
  skipped = [(_printable(name), reason) for name, reason in found.skipped]
  if found.images is None:
    raise ValueError(f'{path}: none of {len(entries)} image files can be read ({skipped[0][0]}: {skipped[0][1]}); '
                     'give a folder of sound images')
  kept = [entries[i] for i in found.rows]
  count = int(np.searchsorted(found.rows, len(entries) - len(tests)))  # Of images to choose from; the rest are tests.
  if not count:
    raise ValueError(f'{path}: none of the images to choose from can be read ({skipped[0][0]}: {skipped[0][1]})')
  ids = [name for name, _, _ in kept]
  def anew(row, size):
    return _decode_again(root / ids[row], kept[row].size, found.digests[row], size, fit)
  fields = {'images': found.images[:count], 'ids': ids[:count], 'skipped': skipped, 'decode': anew,
            'root': os.path.abspath(root), 'note': note, 'content': files.fingerprint(
                ids[:count], [entry.size for entry in kept[:count]], found.digests[:count], (size, size, 3))}
  if count < len(ids):
    fields |= {'test_images': found.images[count:], 'test_ids': ids[count:]}
  return fields


def _parted(path, entries, test, labelled):
  """Entries to choose from, those to test on where folders are labels, and a line that says what was taken as what."""
  found = None if test == 'none' else parts_lib.of({entry.name.partition('/')[0] for entry in entries})
  if found is None:
    return entries, [], None
  flat = next((entry.name for entry in entries if labelled and entry.name.count('/') < 2), None)
  if flat is not None:
    raise ValueError(f"{path}: data.labels='folders' takes the parent folder as the class, but {flat!r} lies in none "
                     'below it; put every image into a folder of its class, or drop data.labels')
  named = parts_lib.Parts(*([f'{name}/' for name in names] for names in found))
  def of(names):
    return [entry for entry in entries if entry.name.startswith(tuple(names))]
  return of(named.pool), of(named.test) if labelled else [], parts_lib.note(
      named, labelled, '; --config.data.test=none chooses from all')


def listing(path) -> list[files.Entry]:
  """List a folder's image files, recursively, without opening them.

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
  for directory, folders, names in os.walk(root, onerror=_unreadable, followlinks=True):
    shown, folders[:] = sorted(name for name in folders if not name.startswith('.')), []
    for name in shown:
      real = os.path.realpath(os.path.join(directory, name))
      if real not in seen:
        seen.add(real)
        folders.append(name)
    for name in names:
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


def count(path, seconds: float = 0.3) -> tuple[int, bool]:
  """How many image files lie in a folder and below, by their names, and whether all could be counted in this time.

  Linked folders are left out.
  """
  found, end = 0, time.monotonic() + seconds
  for _, folders, names in os.walk(os.path.expanduser(path)):
    folders[:] = [name for name in folders if not name.startswith('.')]
    found += sum(not name.startswith('.') and os.path.splitext(name)[1].lower() in EXTENSIONS for name in names)
    if time.monotonic() > end:
      return found, False
  return found, True


def _entry(file, root):
  try:
    stat = file.stat()
  except OSError:  # A dangling link: reading it lists it as skipped.
    stat = file.lstat()
  return files.Entry(file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns)


def _named(root, name):
  if not (root / name).is_file():
    raise FileNotFoundError(f'{name}: no such file; give paths of image files that are absolute or start at {root}')
  stat = (root / name).stat()
  return files.Entry(name, stat.st_size, stat.st_mtime_ns)


def _row(root, entry, size, fit):
  """Read and decode one file."""
  digest = b''
  try:
    entry.name.encode()
    with decode.FILES.hold(entry.size):
      content = decode.file_content(root / entry.name)
      digest = decode.digest(content)
      return files.Row(decode.decode(content, size, fit), digest)
  except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
    return files.Row(digest=digest, reason=decode.reason_of(error))


def _decode_again(file, bytes_, digest, size, fit):
  """A file at another size. Raises: ValueError if it is not what it was."""
  try:
    with decode.FILES.hold(bytes_):
      content = decode.file_content(file)
      if decode.digest(content) == digest.tobytes():
        return decode.decode(content, size, fit)
    reason = 'it has changed'
  except Exception as error:
    reason = decode.reason_of(error)
  raise ValueError(f'{file}: cannot be decoded again as it was when the folder was read ({reason}); run again')


def _unreadable(error):
  raise ValueError(f'{error.filename}: this folder cannot be read ({error.strerror}); allow it, or move it away')


def _printable(path):
  return path.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
