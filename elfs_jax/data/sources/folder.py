"""A folder of images of any size and mode, each read once and decoded in parallel."""
import collections
import os
import pathlib
import re
import time

import numpy as np

from elfs_jax.data import decode, files, ranges
from elfs_jax.data import parts as parts_lib

# Formats that Pillow may lack (HEIC, AVIF) stand here too: such a file is listed as skipped, not overlooked.
EXTENSIONS = frozenset('.apng .avif .bmp .dib .gif .heic .heif .ico .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pcx '
                       '.pgm .png .pnm .ppm .tga .tif .tiff .webp'.split())
HEIF = '.heic', '.heif'
SIZE = 64
TOLD = 8  # Endings of files left out that are counted one by one.
# What is given in place of a folder -> what it is, and what to do.
ARCHIVES = '.zip .tar .gz .tgz .bz2 .xz .zst .7z .rar'.split()
TABLES = '.csv .tsv .txt .json .jsonl .xlsx .parquet'.split()
ARRAYS = '.npz .npy'.split()


def read(path, *, size=None, value_range=None, max_pixels=None, progress=None, cache=None, labels=None, test='none',
         names=None, fit='crop', dry=False) -> dict:
  """Decode every image of a folder to RGB, a square of `size` pixels.

  With `test` auto, a folder whose images all lie in train/ and test/ (or valid/, or all three; `parts.of`) is chosen
  from in one part and tested on in the other. Test images are read only where the folders are their labels.

  Args:
    path: the folder.
    size: side of the images in pixels; default 64.
    value_range: of images of more than 8 bits, the values that become black and white; default from the files, the
      same for all of a kind (`ranges.finder`).
    max_pixels: larger images are skipped; default Pillow's bound, 179 million.
    progress: optional; called as progress(iterable, desc=..., total=...).
    cache: a folder that keeps what was decoded for the next time, or None.
    labels: `folders` where they are the labels, or anything else.
    test: auto, or none: all images are chosen from.
    names: the files to read, paths that are absolute or start at the folder; default all images in it.
    fit: how a picture of another shape becomes a square, one of `decode.FITS`.
    dry: decode nothing; see `files.decode_all`.
  Returns: a dict of `images` uint8 [N,size,size,3], a memory map; `ids` [N], paths relative to the folder and sorted;
    `skipped`, a list of (path, reason) of files that are no images or are cut short; `notes`, `root`, `decode`,
    `content`; with a test set `test_images` and `test_ids`.
  Raises: FileNotFoundError and ValueError as `listing` does; ValueError if no file can be decoded, or there is no room.
  """
  size = SIZE if size is None else int(size)
  root = pathlib.Path(path).expanduser()
  entries, left_out = _found(path) if names is None else ([_named(root, name) for name in names], '')
  entries, tests, notes = _parted(path, entries, test, str(labels) == 'folders')
  entries = entries + tests
  span = ranges.finder(root, [entry.name for entry in entries], value_range, max_pixels)
  def holds(note):
    kind = ranges.kind_of_code(note)
    return kind is None or note == ranges.code(kind, span(kind))
  how = {'max_pixels': max_pixels, 'how': fit}
  found = files.decode_all(entries, lambda i: _row(root, entries[i], size, span, how), (size, size, 3), cache=cache,
                           key=('folder', os.path.realpath(root), fit), holds=holds, progress=progress, dry=dry)
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
    return _decode_again(root / ids[row], kept[row].size, found.digests[row], size, span, how)
  notes += [f'files left out by the ending of their names: {left_out}'] if left_out else []
  content = files.fingerprint(ids[:count], [entry.size for entry in kept[:count]], found.digests[:count],
                              (size, size, 3), found.notes[:count])
  fields = {'images': found.images[:count], 'ids': ids[:count], 'skipped': skipped, 'decode': anew,
            'root': os.path.abspath(root), 'content': content, 'notes': notes + ranges.notes(found.notes, span)}
  if count < len(ids):
    fields |= {'test_images': found.images[count:], 'test_ids': ids[count:]}
  return fields


def _parted(path, entries, test, labelled):
  """Entries to choose from, those to test on where folders are labels, and lines that say what was taken as what."""
  found = None if test == 'none' else parts_lib.of({entry.name.partition('/')[0] for entry in entries})
  if found is None:
    return entries, [], []
  flat = next((entry.name for entry in entries if labelled and entry.name.count('/') < 2), None)
  if flat is not None:
    raise ValueError(f"{path}: data.labels='folders' takes the parent folder as the class, but {flat!r} lies in none "
                     'below it; put every image into a folder of its class, or drop data.labels')
  named = parts_lib.Parts(*([f'{name}/' for name in names] for names in found))
  def of(names):
    return [entry for entry in entries if entry.name.startswith(tuple(names))]
  return of(named.pool), of(named.test) if labelled else [], [parts_lib.note(
      named, labelled, '; --config.data.test=none chooses from all')]


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
  return _found(path)[0]


def _found(path):
  """`listing`, and in words the endings of the files that are left out."""
  root = pathlib.Path(path).expanduser()
  if not root.is_dir():
    _refuse(path, root)
  found, links, left_out, seen = [], [], collections.Counter(), {os.path.realpath(root)}
  for directory, folders, names in os.walk(root, onerror=_unreadable, followlinks=True):
    shown, folders[:] = sorted(name for name in folders if not name.startswith('.')), []
    for name in shown:
      real = os.path.realpath(os.path.join(directory, name))
      if real not in seen:
        seen.add(real)
        folders.append(name)
    for name in names:
      ending = os.path.splitext(name)[1].lower()
      if not name.startswith('.') and ending in EXTENSIONS:
        file = pathlib.Path(directory, name)
        (links if file.is_symlink() else found).append(file)
      elif not name.startswith('.'):
        left_out[_printable(ending)] += 1
  seen = {os.path.realpath(file) for file in found} if links else set()
  for file in sorted(links):
    real = os.path.realpath(file)
    if real not in seen:
      seen.add(real)
      found.append(file)
  others = _counts(left_out)
  if not found:
    raise ValueError(f'{path}: no image file in this folder or below{others and f", but {others}"}; it looks for '
                     'extensions such as .jpg and .png')
  return sorted(_entry(file, root) for file in found), others


def _counts(endings):
  """20 .dcm, 5 without an ending, ..."""
  by_count = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
  told = [f'{count:,} {ending or "without an ending"}' for ending, count in by_count[:TOLD]]
  rest = sum(count for _, count in by_count[TOLD:])
  return ', '.join(told + [f'{rest:,} others'] * bool(rest))


def _refuse(path, root):
  """Raises: FileNotFoundError or ValueError, by what is given in place of a folder."""
  ending, exists = root.suffix.lower(), root.exists()
  if re.match(r'[A-Za-z][A-Za-z0-9+.-]*:/', str(path)) and not exists:
    raise ValueError(f'{path}: a URL; download the images, and set data.path to the folder that holds them')
  if re.search(r'[*?[]', str(path)) and not exists:
    raise ValueError(f'{path}: a pattern; set data.path to the folder alone, which is searched with all below it')
  missing = '' if exists else ' (there is no such file either)'
  if ending in ARCHIVES:
    raise ValueError(f'{path}: an archive, not a folder{missing}; unpack it, and set data.path to the folder that it '
                     'made')
  if ending in TABLES:
    raise ValueError(f'{path}: a table, not a folder{missing}; set data.path to the folder that holds the images '
                     '(labels in a table go to data.labels)')
  if ending in ARRAYS:
    raise ValueError(f'{path}: an array, not a folder{missing}; use --config=arrays for images and --config=embeddings '
                     'for features, in Python the array itself')
  if exists:
    raise ValueError(f'{path}: a file, not a folder; set data.path to the folder that holds the images')
  raise FileNotFoundError(f'{path}: no such folder; set data.path to a folder of images')


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


def _row(root, entry, size, span, how):
  """Read and decode one file. Its note says of what kind it is, and the range by which it was read."""
  digest, note = b'', [0]
  def asked(kind):
    note[0] = ranges.code(kind, span(kind))
    return span(kind)
  try:
    entry.name.encode()
    with decode.FILES.hold(entry.size):
      content = decode.file_content(root / entry.name)
      digest = decode.digest(content)
      return files.Row(decode.decode(content, size, asked, **how), digest, note[0])
  except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
    reason, heif = decode.reason_of(error), entry.name.lower().endswith(HEIF)
    if heif:
      reason += '; HEIC needs the package pillow-heif'
    # Without a digest it is tried again the next time.
    return files.Row(digest=b'' if heif or decode.may_pass(error) else digest, reason=reason)


def _decode_again(file, bytes_, digest, size, span, how):
  """A file at another size. Raises: ValueError if it is not what it was."""
  try:
    with decode.FILES.hold(bytes_):
      content = decode.file_content(file)
      if decode.digest(content) == digest.tobytes():
        return decode.decode(content, size, span, **how)
    reason = 'it has changed'
  except Exception as error:
    reason = decode.reason_of(error)
  raise ValueError(f'{file}: cannot be decoded again as it was when the folder was read ({reason}); run again')


def _unreadable(error):
  raise ValueError(f'{error.filename}: this folder cannot be read ({error.strerror}); allow it, or move it away')


def _printable(path):
  return path.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
