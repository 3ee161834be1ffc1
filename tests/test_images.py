"""Images as a source: pixels at any size, the map of decoded files and its cache, identity, the table of sources."""
import dataclasses
import gc
import inspect
import io
import os
import pathlib
import shutil
import sys
import threading
import time
import types

import numpy as np
import pytest
from conftest import peak_of_reading
from PIL import Image

from elfs_jax import data, table
from elfs_jax.data import decode, files
from elfs_jax.data.dataset import fingerprint
from elfs_jax.runtime import artifacts


def picture(height=40, width=60, seed=0):
  rng = np.random.default_rng(seed)
  return Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def square(image, size):
  """As the docstrings say it, computed apart: the shorter side becomes `size`, the centre is cut out."""
  width, height = image.size
  side = min(width, height)
  left, top = (width - side) / 2, (height - side) / 2
  return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))


@pytest.fixture
def photos(tmp_path):
  root = tmp_path / 'photos'
  for i, name in enumerate(('a/0.png', 'a/1.png', 'b/2.png', 'b/3.png', 'b/4.png')):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    picture(40 + i, 60, i).save(root / name)
  return root


@pytest.fixture
def opened(monkeypatch):
  """The names of the image files that are opened."""
  names, read = [], decode.file_content
  monkeypatch.setattr(decode, 'file_content', lambda path: names.append(os.path.basename(path)) or read(path))
  return names


def use_tensorflow_datasets(monkeypatch, pictures, place):
  """Instead of the library, one that has these images, labelled by their number."""
  examples = [{'image': np.asarray(image), 'label': i} for i, image in enumerate(pictures)]
  class Builder:
    info = types.SimpleNamespace(features={'label': types.SimpleNamespace(names=[f'c{i}' for i in range(9)])})
    data_path = place
    def as_data_source(self, split):
      return examples if split == 'train' else examples[:2]
  module = types.ModuleType('tensorflow_datasets')
  module.builder = lambda name, **keywords: Builder()
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', module)
  return examples


# Pixels


@pytest.mark.parametrize('kind', ['folder', 'array', 'tfds'])
def test_every_kind_of_images_answers_alike(kind, tmp_path, monkeypatch):
  pictures = [picture(48, 48, i) for i in range(6)]
  if kind == 'folder':
    for i, image in enumerate(pictures):
      image.save(tmp_path / f'{i}.png')
    dataset, own = data.load('folder', tmp_path, size=20), 20
  elif kind == 'array':
    dataset, own = data.from_memory(np.stack([np.asarray(image) for image in pictures])), 48
  else:
    use_tensorflow_datasets(monkeypatch, pictures, tmp_path)
    dataset, own = data.load('cifar10', tmp_path, size=20), 20
    assert dataset.labels.tolist() == list(range(6)) and dataset.test_images.shape == (2, 20, 20, 3)
  rows = [4, 0, 5, 4, -2]
  for size in (None, own, 7, 33, 64):
    seen = []
    def progress(iterable, desc, total):
      seen.append(total)
      return iterable
    found = dataset.pixels(rows, size, progress)
    expected = np.stack([square(pictures[row], own if size is None else size) for row in rows])
    assert type(found) is np.ndarray and found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    assert seen == ([] if size in (None, own) else [5])
  np.testing.assert_array_equal(dataset.images, dataset.pixels(range(6)))
  assert dataset.pixels([], 9).shape == (0, 9, 9, 3)


def test_pixels_of_grey_arrays_of_any_shape():
  images = np.stack([np.asarray(picture(30, 44, i).convert('L')) for i in range(4)])
  dataset = data.from_memory(images)
  found = dataset.pixels(np.array([3, 1]), 12)
  assert found.shape == (2, 12, 12, 1)
  np.testing.assert_array_equal(found[0, ..., 0], square(Image.fromarray(images[3]), 12))


def test_jpeg_is_decoded_anew_at_the_size_asked_for(tmp_path):
  """A small map made larger would be blurred; a photograph decoded at 96 is what it is from the whole file."""
  for i in range(2):
    picture(600, 800, i).save(tmp_path / f'{i}.jpg', quality=95)
  dataset = data.load('folder', tmp_path, size=4)
  found = dataset.pixels([1], 96)[0].astype(int)
  assert np.abs(found - square(Image.open(tmp_path / '1.jpg'), 96)).mean() < 3
  assert np.abs(found - decode.resize(dataset.images[1], 96)).mean() > 6


def test_pixels_that_cannot_be(photos):
  dataset = data.load('folder', photos, size=8)
  for size in (0, 2.5, True):
    with pytest.raises(ValueError, match='whole number of pixels'):
      dataset.pixels([0], size)
  with pytest.raises(IndexError):
    dataset.pixels([5], 9)
  with pytest.raises(ValueError, match='embeddings alone'):
    data.from_memory(embeddings=np.eye(3)).pixels([0])
  picture(seed=9).save(photos / 'a/1.png')
  (photos / 'b/2.png').unlink()
  for row, words in ((1, 'a/1.png.*changed.*run again'), (2, 'b/2.png.*No such file.*run again')):
    with pytest.raises(ValueError, match=words):
      dataset.pixels([row], 9)
    dataset.pixels([row], 8)  # The map is as it was.


# The map and its cache


def test_the_map_is_read_only_and_gone_with_the_data_set(photos, tmp_path, monkeypatch):
  place = tmp_path / 'temporary'
  place.mkdir()
  monkeypatch.setattr('tempfile.tempdir', str(place))
  def mapped():
    return str(place) in pathlib.Path('/proc/self/maps').read_text()
  dataset = data.load('folder', photos, size=8)
  assert isinstance(dataset.images, np.memmap) and list(place.iterdir()) == []
  with pytest.raises(ValueError, match='read-only'):
    dataset.images[0] = 0
  images = np.array(dataset.images)
  dataset = dataclasses.replace(dataset, labels=None, class_names=None)
  gc.collect()
  np.testing.assert_array_equal(dataset.images, images)
  if sys.platform == 'linux':
    assert mapped()
    del dataset
    gc.collect()
    assert not mapped()


def test_the_cache_is_used_again_for_all_that_has_not_changed(photos, tmp_path, opened):
  cache = tmp_path / 'cache'
  (photos / 'a/broken.png').write_text('no image')
  (photos / 'gone.png').symlink_to(tmp_path / 'nowhere')
  first = data.load('folder', photos, size=8, cache=cache)
  assert sorted(opened) == ['0.png', '1.png', '2.png', '3.png', '4.png', 'broken.png', 'gone.png']
  kept = sorted(file.name for file in cache.iterdir())
  assert [name.rpartition('.')[2] for name in kept] == ['npy', 'npz'] and kept[0].startswith('images-')
  np.testing.assert_array_equal(np.load(cache / kept[0]), first.images)

  def again(*expected, **more):
    opened.clear()
    dataset = data.load('folder', photos, size=8, cache=cache, **more)
    assert sorted(opened) == sorted([*expected, 'gone.png'])
    plain = data.load('folder', photos, size=8)
    np.testing.assert_array_equal(dataset.images, plain.images)
    assert (dataset.ids, dataset.skipped, dataset.identity) == (plain.ids, plain.skipped, plain.identity)
    return dataset

  times = [file.stat().st_mtime_ns for file in sorted(cache.iterdir())]
  again()  # A file that can't be read is tried again.
  assert times == [file.stat().st_mtime_ns for file in sorted(cache.iterdir())]
  picture(seed=7).save(photos / 'a/1.png')          # Changed,
  picture(seed=8).save(photos / 'b/25.png')         # added,
  (photos / 'b/3.png').unlink()                     # removed,
  picture(seed=9).save(photos / 'a/broken.png')     # mended.
  changed = again('1.png', '25.png', 'broken.png')
  assert changed.identity != first.identity
  again()
  np.testing.assert_array_equal(np.array(first.images[3]), square(picture(43, 60, 3), 8))  # The old map lives on.
  (photos / 'b/4.png').unlink()
  again()
  assert [file.name for file in sorted(cache.iterdir())] == kept


def test_nothing_is_opened_where_nothing_changed_and_no_bar_is_shown(photos, tmp_path, opened):
  data.load('folder', photos, size=8, cache=tmp_path / 'cache')
  opened.clear()
  dataset = data.load('folder', photos, size=8, cache=tmp_path / 'cache', progress=lambda *_, **__: 1 / 0)
  assert opened == [] and len(dataset.ids) == 5
  data.load('folder', photos, size=9, cache=tmp_path / 'cache')  # Another size is another map.
  assert len(opened) == 5
  shutil.copytree(photos, tmp_path / 'other')
  data.load('folder', tmp_path / 'other', size=8, cache=tmp_path / 'cache')
  assert len(opened) == 10


def test_a_damaged_cache_is_made_anew(photos, tmp_path, opened):
  cache = tmp_path / 'cache'
  images = np.array(data.load('folder', photos, size=8, cache=cache).images)
  table, pixels = next(cache.glob('*.npz')), next(cache.glob('*.npy'))
  def cut(file):
    file.write_bytes(file.read_bytes()[:-50])
  def flip(file):
    content = bytearray(file.read_bytes())
    content[300] ^= 1
    file.write_bytes(content)
  for damage in (lambda: cut(table), lambda: cut(pixels), table.unlink, pixels.unlink, lambda: flip(pixels),
                 lambda: table.write_text('nothing')):
    time.sleep(0.01)  # So that the time of change differs.
    damage()
    opened.clear()
    np.testing.assert_array_equal(data.load('folder', photos, size=8, cache=cache).images, images)
    assert len(opened) == 5


def test_the_cache_of_tensorflow_datasets(tmp_path, monkeypatch):
  place, cache = tmp_path / 'prepared', tmp_path / 'cache'
  place.mkdir()
  (place / 'shard').write_text('x')
  pictures = [picture(20, 24, i) for i in range(4)]
  examples = use_tensorflow_datasets(monkeypatch, pictures, place)
  seen = []
  def progress(iterable, desc, total):
    seen.append(total)
    return iterable
  first = data.load('cifar10', place, size=8, cache=cache, progress=progress)
  second = data.load('cifar10', place, size=8, cache=cache, progress=progress)
  assert seen == [4, 2] and second.labels.tolist() == [0, 1, 2, 3] and second.test_labels.tolist() == [0, 1]
  np.testing.assert_array_equal(first.images, second.images)
  assert first.identity == second.identity == data.load('cifar10', place, size=8).identity
  examples[2]['image'] = np.asarray(picture(20, 24, 9))
  (place / 'shard').write_text('xy')
  third = data.load('cifar10', place, size=8, cache=cache, progress=progress)
  assert seen == [4, 2, 4, 2] and third.identity != first.identity
  examples[3]['image'] = np.asarray(picture(24, 24, 9))
  with pytest.raises(ValueError, match='3: an image of shape .24, 24, 3. among others.*data.size'):
    data.load('cifar10', place)


def test_a_map_that_cannot_be_written(photos, tmp_path, monkeypatch):
  (tmp_path / 'file').touch()
  with pytest.raises(ValueError, match='file.*no map of decoded images can be written there.*another folder'):
    data.load('folder', photos, cache=tmp_path / 'file')
  def full(*_):
    raise OSError(28, 'No space left on device')
  monkeypatch.setattr(os, 'pwrite', full)
  for cache in (None, tmp_path / 'cache'):
    with pytest.raises(ValueError, match='No space left on device') as error:
      data.load('folder', photos, cache=cache)
    assert '\n' not in str(error.value)
  assert list((tmp_path / 'cache').iterdir()) == []


# Identity


def test_identity_of_files_goes_by_content_and_relative_path_alone(photos, tmp_path):
  dataset = data.load('folder', photos, size=8)
  shutil.copytree(photos, tmp_path / 'elsewhere', copy_function=shutil.copyfile)  # With other times.
  assert data.load('folder', tmp_path / 'elsewhere', size=8).identity == dataset.identity
  assert data.load('folder', photos, size=9).identity != dataset.identity
  (tmp_path / 'elsewhere/a/1.png').rename(tmp_path / 'elsewhere/a/11.png')
  assert data.load('folder', tmp_path / 'elsewhere', size=8).identity != dataset.identity
  # One byte after the picture's end, of the same size and time: the pixels are the same, the file is not.
  file = photos / 'b/4.png'
  file.write_bytes(file.read_bytes() + b'x')
  before, stat = data.load('folder', photos, size=8), file.stat()
  file.write_bytes(file.read_bytes()[:-1] + b'y')
  os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
  after = data.load('folder', photos, size=8)
  assert np.array_equal(before.images, after.images) and before.identity != after.identity


def test_identity_of_files_needs_no_pixels_and_is_kept_by_copies(photos, monkeypatch):
  dataset = data.load('folder', photos, size=8, labels='folders')
  monkeypatch.setattr('elfs_jax.data.dataset.fingerprint', lambda array: 1 / 0)
  assert dataclasses.replace(dataset, labels=None, class_names=None).identity == dataset.identity


def test_identity_of_arrays():
  images = np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3), np.uint8)
  embeddings = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
  both = data.from_memory(images, embeddings)
  alone = data.from_memory(images), data.from_memory(embeddings=embeddings)
  assert len({both.identity, *(one.identity for one in alone)}) == 3
  assert both.identity == data.from_memory(images.copy(), embeddings.copy(), labels=range(7)).identity
  # As runs before this one named it: their workdirs go on.
  assert alone[0].identity == artifacts.fingerprint(images) and alone[1].identity == artifacts.fingerprint(embeddings)
  other = images.copy()
  other[6, 4, 4, 2] ^= 1
  assert data.from_memory(other).identity != alone[0].identity
  assert dataclasses.replace(alone[0], images=other).identity == data.from_memory(other).identity
  assert dataclasses.replace(both, images=None).identity == alone[1].identity


def test_an_array_is_fingerprinted_in_blocks(monkeypatch):
  images = np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3), np.uint8)
  whole = fingerprint(images)
  monkeypatch.setattr('elfs_jax.data.dataset.BLOCK', 160)
  assert fingerprint(images) == whole == artifacts.fingerprint(images)


def test_identity_of_embeddings_with_files(photos, tmp_path):
  np.save(tmp_path / 'e.npy', np.eye(5))
  np.save(tmp_path / 'f.npy', np.eye(5) * 2)
  first, second = (data.load('embeddings', tmp_path / f'{name}.npy', images=photos, size=8) for name in 'ef')
  assert first.identity != second.identity
  picture(seed=9).save(photos / 'a/1.png')
  assert data.load('embeddings', tmp_path / 'e.npy', images=photos, size=8).identity != first.identity
  assert first.pixels([0], 16).shape == (1, 16, 16, 3)


# Memory


def test_a_budget_is_kept_and_what_exceeds_it_runs_alone():
  budget, lock, now, most = decode.Budget(10), threading.Lock(), [], []
  def work(amount):
    with budget.hold(amount):
      with lock:
        now.append(amount)
        most.append(list(now))
      time.sleep(0.002)
      with lock:
        now.remove(amount)
  threads = [threading.Thread(target=work, args=[amount]) for amount in [3, 6, 40, 5, 1, 9] * 4]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(most) == 24 and budget.left == 10
  assert all(sum(held) <= 10 or held == [40] for held in most)
  with pytest.raises(ZeroDivisionError), budget.hold(7):
    1 / 0
  assert budget.left == 10


@pytest.mark.parametrize('extension, mode, keywords, least', [
  ('jpg', 'RGB', {}, 0), ('jpg', 'RGB', {'progressive': True}, 6), ('png', 'RGB', {}, 4), ('png', 'RGBA', {}, 16)])
def test_what_a_picture_takes_is_held(extension, mode, keywords, least, monkeypatch):
  held = []
  class Seen(decode.Budget):
    def hold(self, amount):
      held.append(amount)
      return super().hold(amount)
  monkeypatch.setattr(decode, 'PIXELS', Seen(1 << 30))
  file = io.BytesIO()
  picture(600, 800).convert(mode).save(file, {'jpg': 'JPEG', 'png': 'PNG'}[extension], **keywords)
  decode.decode(file.getvalue(), 16)
  assert least * 480_000 <= held[0] <= (24 if extension == 'png' else least + 1) * 480_000 + 7 * 16 * 16


@pytest.mark.skipif(sys.platform != 'linux', reason='ru_maxrss is in other units elsewhere')
def test_large_pictures_are_not_decoded_side_by_side_without_bound(tmp_path):
  """Sixteen threads, a budget of 32 MiB and pictures of 16 MiB each: the peak is far below sixteen pictures."""
  Image.new('RGB', (2000, 2000), 'red').save(tmp_path / '00.png', compress_level=1)
  Image.new('RGB', (2000, 2000), 'blue').save(tmp_path / '01.png', compress_level=1)
  for i in range(2, 16):
    shutil.copy(tmp_path / f'0{i % 2}.png', tmp_path / f'{i:02}.png')
  assert peak_of_reading(tmp_path, count=16, threads=16, budget=1 << 25) < 120  # MiB; all at once would be 250.


# The table


def test_a_new_source_is_one_function_and_one_entry(monkeypatch, tmp_path):
  def stripes(path, *, size=None):
    """Toy: as many striped images as the file's name says."""
    side = size or 6
    images = np.stack([np.full((side, side), 9 * i, np.uint8) for i in range(int(path))])
    return {'images': images, 'skipped': [('x', 'y')]}
  monkeypatch.setitem(data.SOURCES, 'stripes', data.Source(stripes, 'stripes', 'needed', 'how many', sized=True))
  assert 'stripes' in data.NAMES
  dataset = data.load('stripes', '4', size=8)
  assert dataset.images.shape == (4, 8, 8, 1) and dataset.skipped == [('x', 'y')]
  assert dataset.pixels([2], 3).max() == 18
  with pytest.raises(ValueError, match='needs data.path: how many'):
    data.load('stripes')
  with pytest.raises(ValueError, match='data.images'):
    data.load('stripes', '4', images='x')
  with pytest.raises(ValueError, match='did you mean .stripes.'):
    data.load('stripe')


def test_every_entry_can_be_imported_and_takes_what_it_says():
  for name, entry in data.SOURCES.items():
    named = inspect.signature(table.load(entry.function)).parameters
    assert ('path' in named) == (entry.path != 'none') and bool(entry.path_help) == (entry.path != 'none'), name
    assert ('size' in named, 'images' in named) == (entry.sized, entry.images), name
    assert entry.help and entry.path in ('needed', 'optional', 'none'), name
    assert entry.path != 'needed' or named['path'].default is inspect.Parameter.empty, name


def test_the_table_of_a_cache_holds_any_name():
  words = ['', 'a/b.png', 'ü', os.fsdecode(b'\xff.png'), '']
  assert files._unpack(files._pack(words)) == words
