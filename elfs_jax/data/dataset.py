"""The data set: examples as every stage sees them, read by a source or given as arrays, and checked once, here.

Labels are optional everywhere, and only `evaluate` may see them.
"""
import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from elfs_jax import table
from elfs_jax.data import checked, given, room, sources
from elfs_jax.data import decode as decoding
from elfs_jax.data import labelled as labelled_lib
from elfs_jax.data import labels as labels_lib

BLOCK = 1 << 26  # Bytes of an array that are digested at a time.


@dataclasses.dataclass(frozen=True)
class Dataset:
  """N examples. `images` or `embeddings` may be None, not both. A test set has labels, and images or embeddings.

  Copies with other fields (`dataclasses.replace`) share the images and what is known of their content; arrays are not
  to be written to.
  """
  images: np.ndarray | None  # uint8 [N,H,W,Ch], Ch 1 (grey) or 3 (RGB); of files a read-only np.memmap at `data.size`
  ids: list[str]  # [N] unique: a posix path relative to the folder, else str(index) or the maker's
  labels: np.ndarray | None = None  # int32 [N], -1 where there is none
  embeddings: np.ndarray | None = None  # float32 [N,D]
  test_images: np.ndarray | None = None  # uint8 [M,H,W,Ch]
  test_labels: np.ndarray | None = None  # int32 [M]
  class_names: list[str] | None = None
  skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # (path, reason), in path order
  decode: Callable[[int, int], np.ndarray] | None = None  # (row, size) -> uint8 [size,size,Ch], of images in files
  labelled: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))  # int64 [m]: labelled already
  labelled_labels: list | None = None  # [m], as they were given
  root: str | None = None  # the folder that the ids are paths in, where they are
  test_embeddings: np.ndarray | None = None  # float32 [M,D]
  holdout: list[str] = dataclasses.field(default_factory=list)  # ids of those held out, which are none of the N
  group_names: list[str] | None = None  # [N], the group that each is of, '' where it is alone; None without groups
  notes: list[str] = dataclasses.field(default_factory=list)  # what a run says of how the data were read
  fit: str = 'crop'  # how `pixels` makes squares of images of another shape, one of `decode.FITS`
  fingerprints: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)  # of arrays, once asked for

  @property
  def told(self) -> tuple[np.ndarray, list[str]]:
    """Those labelled already of which the label is known: rows int64 [k], and their labels."""
    given = self.labelled_labels or []
    known = [i for i, label in enumerate(given) if label is not None]
    return self.labelled[np.array(known, np.int64)], [str(given[i]) for i in known]

  def pixels(self, rows: Sequence[int] | np.ndarray, size: int | None = None, progress: Callable | None = None
             ) -> np.ndarray:
    """The images of some rows, at the size asked for; files are decoded anew, in parallel.

    Args:
      rows: int [n].
      size: side of the squares, in pixels, that images become as `fit` says; None: as `images` has them.
      progress: optional; called as progress(iterable, desc=..., total=...).
    Returns: uint8 [n,H,W,Ch].
    Raises: ValueError without images, for no such size, or where a file has changed or is gone since.
    """
    if self.images is None:
      raise ValueError('these data are embeddings alone, without images')
    checked.size(size)
    rows = np.arange(len(self.images))[np.asarray(rows, np.int64)]
    if size is None or self.images.shape[1:3] == (size, size):
      return np.asarray(self.images[rows])
    room.need_memory(len(rows) * size * size * self.images.shape[3], f'{len(rows):,} images at {size} pixels',
                     'ask for fewer at a time, or a smaller size')
    decode = self.decode or (lambda row, size: decoding.resize(self.images[row], size, self.fit))
    out = np.empty((len(rows), size, size, self.images.shape[3]), np.uint8)
    def one(i):
      out[i] = decode(int(rows[i]), int(size))
    decoding.parallel(one, len(rows), progress, f'Reading images at {size} pixels')
    return out

  @property
  def identity(self) -> str:
    """A fingerprint of the images and embeddings: the same for the same content, whatever the machine or the path.

    Of files it comes from relative paths, sizes in bytes, digests of content and the default size. It is computed once.
    """
    parts = [self._fingerprint(array) for array in (self.images, self.embeddings) if array is not None]
    parts += [self.fit] * (self.fit != 'crop')
    return parts[0] if len(parts) == 1 else hashlib.sha256(' '.join(parts).encode()).hexdigest()

  def _fingerprint(self, array):
    known = self.fingerprints.get(id(array))
    if known is None or known[0] is not array:  # Kept with its array, so that no other has its id.
      known = self.fingerprints[id(array)] = array, fingerprint(array)
    return known[1]


def fingerprint(array: np.ndarray) -> str:
  """A hex digest of an array's type, shape and content, which is read in blocks."""
  digest = hashlib.sha256(f'{array.dtype}{array.shape}'.encode())
  rows = max(1, BLOCK // max(1, array[:1].nbytes))
  for start in range(0, len(array), rows):
    digest.update(np.ascontiguousarray(array[start:start + rows]).tobytes())
  return digest.hexdigest()


def load(name: str, path=None, *, images=None, labels=None, labelled=None, size: int | None = None, test: str = 'auto',
         value_range: Sequence[float] | None = None, max_pixels: int | None = None, fit: str = 'crop', cache=None,
         progress: Callable | None = None, dry: bool = False) -> Dataset:
  """Read a data set.

  Args:
    name: one of `SOURCES`, which says what each is and what `path` is to it.
    path: a file or folder.
    images: for `embeddings`: the images that they came from, an .npy, an .npz or a folder.
    labels: an .npy, .txt or .csv of N labels in the order of the ids, or a .csv with a column `label` and one of the
      ids, in any order, for all or some; for a folder also the word `folders` (the parent folder's name).
    labelled: examples that are labelled already, as `labelled.read` takes them.
    size: side in pixels of the squares that a folder's images (default 64) or those of TensorFlow Datasets become
      (ImageNet by default 160, others stay as they are).
    test: of a folder with train/ and test/: auto, which `parts.of` describes, or none, to choose from all.
    value_range: of a folder's images of more than 8 bits, the values that become black and white; default found from
      the files, one range for all of a kind, such as 16-bit PNG.
    max_pixels: larger images of a folder are skipped; default 179 million, Pillow's bound.
    fit: how a picture of another shape becomes a square, one of `decode.FITS`: crop, pad or stretch.
    cache: a folder that keeps decoded images, so that the next run decodes only files that changed; default: they lie
      in a temporary file for as long as the data set is used.
    progress: optional; called as progress(iterable, desc=..., total=...).
    dry: decode no file and write none.
  Returns: `Dataset`.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend; with `dry`
    `files.Undecoded` where files are still to be decoded.
  """
  sources.check(name, path, images=images, size=size, test=test, range=value_range, max_pixels=max_pixels)
  checked.size(size, 'data.size')
  table.check_name(decoding.FITS, 'data.fit', fit)
  fields = sources.read(name, name=name, path=path, images=images, size=size, labels=labels, test=test,
                        value_range=value_range, max_pixels=max_pixels, progress=progress, cache=cache, fit=fit,
                        dry=dry)
  test_ids = fields.pop('test_ids', [])
  if str(labels) == 'folders':
    where = path if images is None else images
    fields['labels'], tested = (labels_lib.parents(ids, where) for ids in (fields.get('ids'), test_ids))
    fields['class_names'] = sorted({*fields['labels'], *tested})
    if tested:
      fields['test_labels'] = tested
  elif labels is not None:
    count = (*np.shape(fields['embeddings'] if 'embeddings' in fields else fields['images']), 0)[0]
    ids = checked.names(fields.get('ids'), count, str(path))
    found, column = labels_lib.label_file(labels, ids, fields.get('root'))
    fields |= {'labels': found, 'labels_from': labels, 'labels_by': column}
    fields.pop('class_names', None)
  return _dataset(where=f'{name} data' if path is None else str(path), labelled=labelled, fit=fit, **fields)


def from_memory(images=None, embeddings=None, labels=None, ids=None, *, labelled=None, test_images=None,
                test_labels=None, test_embeddings=None, size: int | None = None,
                fit: str = 'crop', progress: Callable | None = None) -> Dataset:
  """A `Dataset` of arrays in memory, checked as `load` checks files.

  Args:
    images: uint8 [N,H,W] or [N,H,W,Ch], Ch 1 or 3; or a list or a table's column of paths of image files, or of
      Pillow's pictures.
    embeddings: real numbers [N,D]; images, embeddings or both. An array, a tensor, a table, or a list or a column of
      vectors.
    labels: N class indices or class names; None where there is none.
    ids: N unique names; default the paths of files, else the index.
    labelled: examples that are labelled already, as `labelled.read` takes them.
    test_images, test_embeddings, test_labels: a test set, as `images` (but no paths), `embeddings` and `labels`.
    size: side in pixels of images in files (default 64), and of pictures, which keep their own size if they share one.
    fit: how a picture of another shape becomes a square, one of `decode.FITS`: crop, pad or stretch.
    progress: optional; called as progress(iterable, desc=..., total=...) while files are read.
  Raises: FileNotFoundError or ValueError, in one line that names the input and the mend.
  """
  checked.size(size)
  table.check_name(decoding.FITS, 'fit', fit)
  paths, pictures = given.paths_in(images), given.pictures_in(images)
  fields: dict = {'images': images}
  if paths is not None:
    fields = given.read_files(paths, size, progress, fit)
  elif pictures is not None:
    fields = given.of_pictures(pictures, size, fit)
  if ids is not None:
    fields['ids'] = ids
    fields.pop('root', None)  # Names of another kind.
  return _dataset(embeddings=embeddings, labels=labels, labelled=labelled, test_images=test_images,
                  test_labels=test_labels, test_embeddings=test_embeddings, fit=fit, **fields)


def with_embeddings(dataset: Dataset, embeddings) -> Dataset:
  """The data with embeddings [N,D] of its images. Raises: ValueError."""
  single = checked.embeddings(embeddings, 'embeddings')
  if len(single) != len(dataset.ids):
    raise ValueError(f'{len(single)} embeddings for {len(dataset.ids)} images; give one row for each')
  return dataclasses.replace(dataset, embeddings=single, test_embeddings=None)


def with_labels(dataset: Dataset, labels) -> Dataset:
  """The data with N class indices or names, which a comparison uses. Raises: ValueError."""
  indices, class_names = labels_lib.class_indices(labels, len(dataset.ids), None, 'labels', partial=True)
  return dataclasses.replace(dataset, labels=indices, class_names=class_names,
                             notes=dataset.notes + labels_lib.notes(indices, None))


def with_labelled(dataset: Dataset, labelled, labels=None) -> Dataset:
  """The data with examples that are labelled already.

  Args: labelled: as `labelled.read` takes them; labels: one for each of them, where they do not come with it.
  Raises: FileNotFoundError or ValueError, in one line.
  """
  rows, own, notes = labelled_lib.read(labelled, dataset.ids, dataset.root)
  if labels is not None:
    own = list(labels)
    if len(own) != len(rows):
      raise ValueError(f'labels= has {len(own)} labels for {len(rows)} examples in labelled=; give one each')
  return dataclasses.replace(dataset, labelled=rows, labelled_labels=own, notes=[*dataset.notes, *notes])


def _dataset(*, images=None, embeddings=None, labels=None, ids=None, test_images=None, test_labels=None,
             class_names=None, skipped=(), decode=None, content=None, root=None, labelled=None, where='input',
             labels_from=None, labels_by=None, test_embeddings=None, notes=(), fit='crop'):
  """The one validator: checked arrays of matching lengths -> Dataset. `content`: the fingerprint of files."""
  if images is None and embeddings is None:
    raise ValueError('give images (uint8 [N,H,W,Ch]), embeddings (float [N,D]) or both')
  if (test_images is None and test_embeddings is None) != (test_labels is None):
    raise ValueError(f'{where}: test_images or test_embeddings go with test_labels; give both or neither')
  if images is not None:
    images = checked.images(images, f'{where}: images')
  if embeddings is not None:
    embeddings = checked.embeddings(embeddings, f'{where}: embeddings')
  n = len(embeddings if images is None else images)
  missing = f' ({len(skipped)} files could not be read, the first {skipped[0][0]!r})' if skipped else ''
  if embeddings is not None and len(embeddings) != n:
    raise ValueError(f'{where}: {len(embeddings)} embeddings but {n} images{missing}; give one row for each image')
  if labels is not None:
    labels, class_names = labels_lib.class_indices(labels, n, class_names, f'{labels_from or where}: labels', missing,
                                                   partial=True)
    notes = [*notes, *labels_lib.notes(labels, labels_by)]
  if test_images is not None:
    test_images = checked.images(test_images, f'{where}: test_images')
  if test_embeddings is not None:
    test_embeddings = checked.embeddings(test_embeddings, f'{where}: test_embeddings')
  for name, test, of in (('images', test_images, images), ('embeddings', test_embeddings, embeddings)):
    if test is not None:
      if of is None:
        raise ValueError(f'{where}: test_{name} go with {name}, and there are none')
      test_labels, class_names = labels_lib.class_indices(test_labels, len(test), class_names, f'{where}: test_labels')
      if test.shape[1:] != of.shape[1:]:
        raise ValueError(f'{where}: test_{name} are {test.shape[1:]}, {name} {of.shape[1:]}; make them equal')
  ids = checked.names(ids, n, where)
  decides, what = (images, 'images') if embeddings is None else (embeddings, 'embeddings')
  if n > 1 and all(np.array_equal(one, decides[0]) for one in decides[1:]):
    raise ValueError(f'{where}: all {n} {what} are the same; there is nothing to choose between')
  labelled, labelled_labels, said = labelled_lib.read(labelled, ids, root)
  known = {} if content is None else {id(images): (images, content)}
  return Dataset(images, ids, labels, embeddings, test_images, test_labels, class_names, list(skipped), decode,
                 labelled, labelled_labels, root, test_embeddings, notes=[*notes, *said], fit=fit,
                 fingerprints=known)
