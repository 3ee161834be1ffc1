"""A folder of images of any size and mode, each read once and decoded in parallel."""
import os
import pathlib

from elfs_jax.data import decode, files

# Formats that Pillow may lack (HEIC, AVIF) stand here too: such a file is listed as skipped, not overlooked.
EXTENSIONS = frozenset('.apng .avif .bmp .dib .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pcx '
                       '.pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())
SIZE = 64


def read(path, *, size=None, progress=None, cache=None, names=None) -> dict:
  """Decode every image of a folder to RGB: the shorter side becomes `size` pixels, then the centre is cut out.

  Args:
    path: the folder.
    size: side of the images in pixels; default 64.
    progress: optional; called as progress(iterable, desc=..., total=...).
    cache: a folder that keeps what was decoded for the next time, or None.
    names: the files to read, paths that are absolute or start at the folder; default all images in it.
  Returns: a dict of `images` uint8 [N,size,size,3], a memory map; `ids` [N], paths relative to the folder and sorted;
    `skipped`, a list of (path, reason) of files that are no images or are cut short; `root`, `decode`, `content`.
  Raises: FileNotFoundError and ValueError as `listing` does; ValueError if no file can be decoded.
  """
  size = SIZE if size is None else int(size)
  root = pathlib.Path(path).expanduser()
  entries = listing(path) if names is None else [_named(root, name) for name in names]
  found = files.decode_all(entries, lambda i: _row(root, entries[i], size), (size, size, 3), cache=cache,
                           key=('folder', os.path.realpath(root)), progress=progress)
  skipped = [(_printable(name), reason) for name, reason in found.skipped]
  if found.images is None:
    raise ValueError(f'{path}: none of {len(entries)} image files can be read ({skipped[0][0]}: {skipped[0][1]}); '
                     'give a folder of sound images')
  kept = [entries[i] for i in found.rows]
  ids = [name for name, _, _ in kept]
  def anew(row, size):
    return _decode_again(root / ids[row], kept[row].size, found.digests[row], size)
  return {'images': found.images, 'ids': ids, 'skipped': skipped, 'decode': anew, 'root': os.path.abspath(root),
          'content': files.fingerprint(ids, [entry.size for entry in kept], found.digests, (size, size, 3))}


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


def _row(root, entry, size):
  """Read and decode one file."""
  digest = b''
  try:
    entry.name.encode()
    with decode.FILES.hold(entry.size):
      content = decode.file_content(root / entry.name)
      digest = decode.digest(content)
      return files.Row(decode.decode(content, size), digest)
  except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
    return files.Row(digest=digest, reason=decode.reason_of(error))


def _decode_again(file, bytes_, digest, size):
  """A file at another size. Raises: ValueError if it is not what it was."""
  try:
    with decode.FILES.hold(bytes_):
      content = decode.file_content(file)
      if decode.digest(content) == digest.tobytes():
        return decode.decode(content, size)
    reason = 'it has changed'
  except Exception as error:
    reason = decode.reason_of(error)
  raise ValueError(f'{file}: cannot be decoded again as it was when the folder was read ({reason}); run again')


def _unreadable(error):
  raise ValueError(f'{error.filename}: this folder cannot be read ({error.strerror}); allow it, or move it away')


def _printable(path):
  return path.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
