import csv
import gzip
import os
import struct
import sys
import types
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from elfs_jax import data, pipeline
from elfs_jax.data import decode, labels
from elfs_jax.data.sources import folder


def picture(height=40, width=60, seed=0):
  """A smooth random RGB picture: small blocks of colour, enlarged."""
  rng = np.random.default_rng(seed)
  return Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def one_line(error, *words):
  message = str(error.value)
  assert '\n' not in message and len(message) < 500, message
  for word in words:
    assert word in message, (word, message)


def write_idx(path, array):
  content = b'\0\0\x08' + bytes([array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()
  path.write_bytes(gzip.compress(content) if path.suffix == '.gz' else content)


# Folders


@pytest.fixture
def photos(tmp_path):
  root = tmp_path / 'photos'
  for name, seed in (('b/two.png', 2), ('a/one.jpg', 1), ('a/Three.PNG', 3), ('c/d/four.webp', 4)):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    picture(40 + seed, 60, seed).save(root / name)
  return root


def test_folder_is_read_recursively_in_path_order(photos):
  (photos / 'notes.txt').write_text('no image')
  (photos / '.hidden').mkdir()
  picture().save(photos / '.hidden/x.png')
  picture().save(photos / 'a/._one.jpg', 'JPEG')
  (photos / 'a/loop').symlink_to(photos, target_is_directory=True)
  dataset = data.load('folder', photos, size=16)
  assert dataset.ids == ['a/Three.PNG', 'a/one.jpg', 'b/two.png', 'c/d/four.webp']
  assert dataset.images.shape == (4, 16, 16, 3) and dataset.images.dtype == np.uint8
  assert dataset.labels is None and dataset.skipped == []
  assert data.load('folder', photos).images.shape == (4, 64, 64, 3)


def test_links_are_followed_once_and_dangling_ones_are_listed(photos, tmp_path):
  (tmp_path / 'elsewhere').mkdir()
  picture().save(tmp_path / 'elsewhere/x.png')
  (photos / 'y').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
  (photos / 'z').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
  (photos / 'gone.png').symlink_to(tmp_path / 'nowhere.png')
  (photos / 'a/again.png').symlink_to(photos / 'b/two.png')
  picture().save(tmp_path / 'outside.png')
  for name in ('second.png', 'first.png'):
    (photos / name).symlink_to(tmp_path / 'outside.png')
  dataset = data.load('folder', photos, size=8)
  assert dataset.ids == ['a/Three.PNG', 'a/one.jpg', 'b/two.png', 'c/d/four.webp', 'first.png', 'y/x.png']
  assert dataset.skipped == [('gone.png', 'No such file or directory')]


def test_shorter_side_is_resized_and_the_centre_cut_out(tmp_path):
  tall, wide = picture(50, 20, 1), picture(20, 60, 2)
  tall.save(tmp_path / '1.png')
  wide.save(tmp_path / '2.png')
  images = data.load('folder', tmp_path, size=10).images
  expected = [tall.resize((10, 25), Image.Resampling.BICUBIC).crop((0, 8, 10, 18)),
              wide.resize((30, 10), Image.Resampling.BICUBIC).crop((10, 0, 20, 10))]
  assert np.abs(images[1].astype(int) - np.asarray(expected[1])).max() <= 1
  # 25 - 10 is odd: the true centre lies half a pixel between two crops.
  other = tall.resize((10, 25), Image.Resampling.BICUBIC).crop((0, 7, 10, 17))
  between = (np.asarray(expected[0]).astype(float) + np.asarray(other)) / 2
  assert np.abs(images[0] - between).max() < 25 < np.abs(images[0] - np.asarray(wide.resize((10, 10)))).max()


def test_every_mode_becomes_rgb(tmp_path):
  colour = picture()
  grey = colour.convert('L')
  low, high = np.percentile(np.asarray(grey), [0.1, 99.9])
  stretched = Image.fromarray(((np.asarray(grey) - low) * 255 / (high - low)).clip(0, 255).round().astype(np.uint8))
  sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
  unit = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
  cases = {'rgb.png': (colour, colour), 'grey.png': (grey, grey), 'cmyk.tif': (colour.convert('CMYK'), colour),
           'palette.png': (grey.convert('P'), grey),
           'sixteen.png': (sixteen, stretched), 'float.tif': (unit, stretched),
           'la.png': (grey.convert('LA'), grey), 'one.png': (grey.convert('1'), grey.convert('1'))}
  for name, (image, _) in cases.items():
    image.save(tmp_path / name)
  dataset = data.load('folder', tmp_path, size=20)
  assert dataset.ids == sorted(cases)
  for name, image in zip(dataset.ids, dataset.images):
    expected = decode.fit(cases[name][1].convert('RGB'), 20).astype(int)
    assert np.abs(image - expected).max() <= 2, name


def test_transparency_lies_over_white(tmp_path):
  pixels = np.zeros((8, 8, 4), np.uint8)
  pixels[:, 4:, 3] = 255
  Image.fromarray(pixels).save(tmp_path / 'x.png')
  palette = Image.new('P', (8, 8), 0)
  palette.putpalette([0, 0, 0, 255, 0, 0])
  palette.save(tmp_path / 'y.gif', transparency=0)
  x, y = data.load('folder', tmp_path, size=8).images
  assert (x[:, :4] == 255).all() and (x[:, 4:] == 0).all() and (y == 255).all()


def test_exif_orientation_is_respected(tmp_path):
  image = picture(40, 60)
  exif = Image.Exif()
  exif[0x0112] = 6  # Shown turned by 90 degrees clockwise.
  image.save(tmp_path / 'x.png', exif=exif)
  expected = decode.fit(image.transpose(Image.Transpose.ROTATE_270), 16)
  assert np.array_equal(data.load('folder', tmp_path, size=16).images[0], expected)
  assert not np.array_equal(expected, decode.fit(image, 16))


def test_first_frame_of_an_animation(tmp_path):
  frames = [Image.new('RGB', (9, 9), colour) for colour in ('red', 'blue')]
  frames[0].save(tmp_path / 'x.gif', save_all=True, append_images=frames[1:])
  assert (data.load('folder', tmp_path, size=4).images == [255, 0, 0]).all()


@pytest.mark.parametrize('extension', ['jpg', 'png', 'gif', 'bmp', 'webp', 'tif'])
def test_broken_files_are_skipped_and_listed(photos, extension):
  noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))
  cut = photos / f'a/cut.{extension}'
  noise.save(cut)
  sound = data.load('folder', photos, size=8)
  assert f'a/cut.{extension}' in sound.ids
  cut.write_bytes(cut.read_bytes()[:cut.stat().st_size // 2])
  (photos / f'b/empty.{extension}').touch()
  (photos / f'b/text.{extension}').write_text('this is text')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    dataset = data.load('folder', photos, size=8)
  assert [path for path, _ in dataset.skipped] == [f'{p}.{extension}' for p in ('a/cut', 'b/empty', 'b/text')]
  assert all(reason and '\n' not in reason and str(photos) not in reason for _, reason in dataset.skipped)
  kept = [i for i, name in enumerate(sound.ids) if 'cut' not in name]
  assert dataset.ids == [sound.ids[i] for i in kept] and np.array_equal(dataset.images, sound.images[kept])


def test_a_picture_of_many_pixels_is_read_without_a_warning_and_one_of_too_many_skipped(tmp_path, monkeypatch):
  for name, side in (('large', 13), ('too_large', 15)):
    Image.new('RGB', (side, side), 'red').save(tmp_path / f'{name}.png')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)  # Pillow warns above it and raises above twice it.
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    dataset = data.load('folder', tmp_path, size=4)
  assert dataset.ids == ['large.png'] and [path for path, _ in dataset.skipped] == ['too_large.png']


def test_a_file_name_that_is_no_text_is_skipped(photos):
  os.rename(photos / 'b/two.png', os.fsencode(photos) + b'/b/\xff.png')
  skipped = data.load('folder', photos, size=8).skipped
  assert skipped[0][0] == 'b/\\xff.png' and 'rename' in skipped[0][1]


def test_bad_folders(tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    data.load('folder', tmp_path / 'missing')
  one_line(error, 'missing', 'data.path')
  with pytest.raises(ValueError) as error:
    data.load('folder', tmp_path)
  one_line(error, str(tmp_path), 'no image')
  (tmp_path / 'x.png').write_text('no image')
  with pytest.raises(ValueError) as error:
    data.load('folder', tmp_path)
  one_line(error, 'none of 1', 'x.png')
  with pytest.raises(ValueError) as error:
    folder._unreadable(PermissionError(13, 'Permission denied', 'photos/locked'))
  one_line(error, 'photos/locked', 'Permission denied')
  with pytest.raises(ValueError) as error:
    data.load('folder', tmp_path / 'x.png')
  one_line(error, 'x.png', 'not a folder')


def test_listing_tells_files_apart_without_decoding(photos):
  before = folder.listing(photos)
  assert [entry[0] for entry in before] == ['a/Three.PNG', 'a/one.jpg', 'b/two.png', 'c/d/four.webp']
  assert all(size == (photos / name).stat().st_size for name, size, _ in before)
  (photos / 'b/two.png').write_text('other')
  assert [old == new for old, new in zip(before, folder.listing(photos))] == [True, True, False, True]


def test_progress_sees_every_image(photos):
  seen = []
  def progress(iterable, desc, total):
    for item in iterable:
      seen.append((desc, total))
      yield item
  data.load('folder', photos, size=8, progress=progress)
  assert len(seen) == 4 and seen[0][1] == 4


# Labels


def test_labels_from_folders_and_files(photos, tmp_path):
  dataset = data.load('folder', photos, labels='folders', size=8)
  assert dataset.class_names == ['a', 'b', 'd'] and dataset.labels.tolist() == [0, 0, 1, 2]
  assert dataset.labels.dtype == np.int32
  (tmp_path / 'l.txt').write_text('3\n1\n2\n1\n')
  (tmp_path / 'l.csv').write_text('year,label\n2001,cat\n1999,dog\n2001,cat\n2001,ant\n')
  np.save(tmp_path / 'l.npy', np.array([0., 1., 5., 2.]))
  assert data.load('folder', photos, labels=tmp_path / 'l.txt', size=8).labels.tolist() == [3, 1, 2, 1]
  assert data.load('folder', photos, labels=tmp_path / 'l.npy', size=8).labels.tolist() == [0, 1, 5, 2]
  dataset = data.load('folder', photos, labels=tmp_path / 'l.csv', size=8)
  assert dataset.class_names == ['ant', 'cat', 'dog'] and dataset.labels.tolist() == [1, 2, 1, 0]


def test_labels_by_name_in_any_order(photos, tmp_path):
  in_order = data.load('folder', photos, size=8)
  rows = [(name, f'kind {i % 3}') for i, name in enumerate(in_order.ids)] + [('unreadable.png', 'kind 7')]
  for column in ('path', 'ID', 'filename'):
    (tmp_path / 'l.csv').write_text(f'label,{column}\n' + ''.join(f'{kind},{name}\n' for name, kind in rows[::-1]))
    dataset = data.load('folder', photos, labels=tmp_path / 'l.csv', size=8)
    assert dataset.labels.tolist() == [0, 1, 2, 0] and dataset.class_names == ['kind 0', 'kind 1', 'kind 2']
  np.save(tmp_path / 'e.npy', np.eye(4, 3))
  (tmp_path / 'l.csv').write_text('id,file,label\n71,2,a\n72,0,b\n73,1,a\n74,3,c\n75,99,c\n,,\n')
  assert data.load('embeddings', tmp_path / 'e.npy', labels=tmp_path / 'l.csv').labels.tolist() == [1, 0, 0, 2]
  np.savez(tmp_path / 'e.npz', embeddings=np.eye(4, 3), ids=['p', 'q', 'r', 's'])
  (tmp_path / 'l.csv').write_text('"id";label\r\ns;"a, b"\r\nx;c\r\nx;c\r\nr;b\r\nq;b\r\np;b\r\n')
  dataset = data.load('embeddings', tmp_path / 'e.npz', labels=tmp_path / 'l.csv')
  assert dataset.ids == list('pqrs') and dataset.labels.tolist() == [1, 1, 1, 0]
  assert dataset.class_names == ['a, b', 'b']
  (tmp_path / 'l.csv').write_text('id,label\n0,a\n2,b\n3,\n')
  dataset = data.load('embeddings', tmp_path / 'e.npy', labels=tmp_path / 'l.csv')
  assert dataset.labels.tolist() == [0, -1, 1, -1] and dataset.class_names == ['a', 'b']
  assert dataset.notes == ["labels for 2 of 4, by the column 'id'; the comparison uses those"]


NAME = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1)


@settings(deadline=None)  # It writes files.
@given(st.lists(st.tuples(NAME, st.integers(0, 5)), min_size=1, unique_by=lambda row: row[0]), st.randoms())
def test_any_name_comes_back(tmp_path_factory, rows, random):
  file, shuffled = tmp_path_factory.mktemp('names') / 'l.csv', random.sample(rows, len(rows))
  with open(file, 'w', newline='', encoding='utf-8') as text:
    csv.writer(text).writerows([('id', 'label'), *shuffled])
  assert labels.label_file(file, [name for name, _ in rows]) == ([str(label) for _, label in rows], 'id')


def test_folders_named_by_numbers_keep_their_names(tmp_path):
  for i, name in enumerate(('10', '9')):
    (tmp_path / name).mkdir()
    picture(seed=i).save(tmp_path / name / 'x.png')
  dataset = data.load('folder', tmp_path, labels='folders', size=8)
  assert dataset.class_names == ['10', '9'] and dataset.labels.tolist() == [0, 1]


@pytest.mark.parametrize('name, content, words', [
  ('l.txt', '1\n2\n', ['l.txt: labels', '(2,)', '4 examples']),
  ('l.txt', '1\n\n2\n3\n', ['row 1 is empty']),
  ('l.txt', '-1\n1\n2\n3\n', ['class indices from 0', 'or class names']),
  ('l.csv', 'a,b\n1,2\n', ["'label'"]),
  ('l.csv', 'x,label\n1,2\n1\n', ['row 3']),
  ('l.csv', 'label,path\n1,a\n2\n', ['row 3']),
  ('l.csv', 'path,label\na/one.jpg,1\nb,2\na/one.jpg,1\n', ["'a/one.jpg'", 'more than once']),
  ('l.csv', 'path,label\nx.png,1\ny.png,2\n', ["'x.png'", "'path'", "'a/Three.PNG'", 'coreset.csv']),
  ('l.csv', 'class\na\nb\nb\na\n', ['(5,)', '4 examples', 'header']),
  ('l.dat', '1', ['.npy, .txt or .csv']),
])
def test_bad_label_files(photos, tmp_path, name, content, words):
  (tmp_path / name).write_text(content)
  with pytest.raises(ValueError) as error:
    data.load('folder', photos, labels=tmp_path / name, size=8)
  one_line(error, *words)


def test_labels_that_cannot_be(photos, tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    data.load('folder', photos, labels=tmp_path / 'none.txt')
  one_line(error, 'none.txt')
  with pytest.raises(ValueError) as error:
    data.load('digits', labels='folders')
  one_line(error, 'folders')
  picture().save(photos / 'top.png')
  with pytest.raises(ValueError) as error:
    data.load('folder', photos, labels='folders', size=8)
  one_line(error, 'top.png')
  for wrong in ([-1, 0], ['-1', '0'], ['9' * 18, '0'], [0.5, 1], [np.nan, 1], [None, None], [[0], [1]], [0]):
    with pytest.raises(ValueError) as error:
      data.from_memory(embeddings=np.eye(2), labels=np.array(wrong))
    one_line(error, 'labels')


# Arrays and embeddings


def test_arrays(tmp_path):
  rng = np.random.default_rng(0)
  grey, colour = rng.integers(0, 256, (5, 7, 6), np.uint8), rng.integers(0, 256, (5, 7, 6, 3), np.uint8)
  np.save(tmp_path / 'x.npy', colour)
  np.savez_compressed(tmp_path / 'x.npz', images=grey, labels=np.array(list('edcba')), test_images=grey[:2],
                      test_labels=np.array(['b', 'e']))
  dataset = data.load('arrays', tmp_path / 'x.npy')
  assert np.array_equal(dataset.images, colour) and dataset.labels is None and dataset.ids == list('01234')
  dataset = data.load('arrays', tmp_path / 'x.npz')
  assert np.array_equal(dataset.images, grey[..., None]) and dataset.labels.tolist() == [4, 3, 2, 1, 0]
  assert dataset.test_images.shape == (2, 7, 6, 1) and dataset.test_labels.tolist() == [1, 4]
  np.savez(tmp_path / 'y.npz', images=grey, labels=list('aaabb'), test_images=grey[:1], test_labels=['z'])
  with pytest.raises(ValueError) as error:
    data.load('arrays', tmp_path / 'y.npz')
  one_line(error, 'test_labels', "'z'")


def test_embeddings_with_and_without_images(photos, tmp_path):
  rng = np.random.default_rng(0)
  x, images = rng.normal(size=(4, 3)), rng.integers(0, 256, (4, 5, 5), np.uint8)
  np.save(tmp_path / 'e.npy', x)
  np.savez(tmp_path / 'e.npz', embeddings=x.astype(np.float16), labels=[1, 0, 1, 0])
  np.save(tmp_path / 'i.npy', images)
  dataset = data.load('embeddings', tmp_path / 'e.npy')
  assert dataset.images is None and dataset.embeddings.dtype == np.float32 and dataset.ids == list('0123')
  np.testing.assert_array_equal(dataset.embeddings, x.astype(np.float32))
  assert data.load('embeddings', tmp_path / 'e.npz', images=tmp_path / 'i.npy').images.shape == (4, 5, 5, 1)
  dataset = data.load('embeddings', tmp_path / 'e.npy', images=str(photos), labels='folders', size=8)
  assert dataset.ids[0] == 'a/Three.PNG' and dataset.labels.tolist() == [0, 0, 1, 2]
  (photos / 'b/two.png').write_text('no image')
  with pytest.raises(ValueError) as error:
    data.load('embeddings', tmp_path / 'e.npy', images=photos)
  one_line(error, '4 embeddings', '3 images', 'b/two.png')


def test_single_precision_of_an_npy_stays_in_the_file_and_gives_the_same_run(tiny, tmp_path):
  x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
  np.save(tmp_path / 'e.npy', x)
  np.savez(tmp_path / 'e.npz', embeddings=x)
  mapped, read = (data.load('embeddings', tmp_path / name) for name in ('e.npy', 'e.npz'))
  assert isinstance(mapped.embeddings, np.memmap) and not isinstance(read.embeddings, np.memmap)
  assert mapped.identity == read.identity and not mapped.embeddings.flags.writeable
  tiny.update_from_flattened_dict({'data.name': 'memory', 'embed.method': 'auto', 'select.beta': 0.1})
  chosen = [pipeline.select_from(one, tiny, tmp_path / name, say=lambda _: None).indices
            for name, one in (('a', mapped), ('b', read))]
  np.testing.assert_array_equal(*chosen)
  x[7, 2] = np.nan
  np.save(tmp_path / 'f.npy', x)
  with pytest.raises(ValueError, match=r'1 of 60 rows \(7\)'):
    data.load('embeddings', tmp_path / 'f.npy')
  np.save(tmp_path / 'g.npy', np.asfortranarray(x[:5]))
  np.testing.assert_array_equal(data.load('embeddings', tmp_path / 'g.npy').embeddings, x[:5])


@pytest.mark.parametrize('images, words', [
  (np.zeros((4, 8, 8, 4), np.uint8), ['4 channels', '[..., :3]']),
  (np.zeros((4, 8, 8, 2), np.uint8), ['2 channels']),
  (np.zeros((4, 3, 8, 8), np.uint8), ['transpose']),
  (np.zeros((4, 8, 8)), ['float64', '* 255']),
  (np.zeros((4, 8, 8), np.int64), ['int64', 'astype']),
  (np.zeros((0, 8, 8), np.uint8), ['(0, 8, 8)']),
  (np.zeros((4, 8), np.uint8), ['(4, 8)']),
  ([np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)], ['differ in shape']),
  (np.array(['a.png', 'b.png'], 'S'), ['no pixels', "a folder's path"]),
])
def test_bad_images(images, words, tmp_path):
  with pytest.raises(ValueError) as error:
    data.from_memory(images)
  one_line(error, 'images', *words)
  if isinstance(images, np.ndarray):
    np.savez(tmp_path / 'bad.npz', images=images)
    with pytest.raises(ValueError) as error:
      data.load('arrays', tmp_path / 'bad.npz')
    one_line(error, 'bad.npz', *words)


def test_embeddings_that_are_not_finite_name_their_rows(tmp_path):
  x = np.ones((100, 4))
  x[[3, 50, 51, 52, 53, 99], 1] = np.nan, np.inf, -np.inf, 1e300, np.nan, np.nan
  np.save(tmp_path / 'e.npy', x)
  for call in (lambda: data.from_memory(embeddings=x), lambda: data.load('embeddings', tmp_path / 'e.npy')):
    with pytest.raises(ValueError) as error:
      call()
    one_line(error, '6 of 100', '3, 50, 51, 52, 53, ...')


@pytest.mark.parametrize('embeddings, words', [
  (np.ones(4), 'float64 (4,)'), (np.ones((4, 0)), '(4, 0)'), (np.ones((2, 2), complex), 'complex'),
  ('e.npy', 'np.load'), (np.eye(4) * 1e-18, '1.0e-18'), (np.eye(4) * 1e25, '1.0e+25'),
  (np.ones((4, 2)) * 1e300, '1.0e+300'), (np.eye(4) * 1e-50, '1.0e-50')])
def test_bad_embeddings(embeddings, words):
  with pytest.raises(ValueError) as error:
    data.from_memory(embeddings=embeddings)
  one_line(error, 'embeddings', words)


def test_from_memory():
  images = np.zeros((3, 4, 4), np.uint8)
  dataset = data.from_memory(images, embeddings=np.eye(3), labels=['x', 'y', 'x'], ids=[7, 8, 9])
  assert dataset.ids == ['7', '8', '9'] and dataset.labels.tolist() == [0, 1, 0] and dataset.class_names == ['x', 'y']
  for arguments, words in (
      (dict(), ['images']),
      (dict(images=images, embeddings=np.eye(2)), ['2 embeddings', '3 images']),
      (dict(images=images, labels=[0, 1]), ['(2,)', '3 examples']),
      (dict(images=images, ids=['a', 'b']), ['2 ids']),
      (dict(images=images, ids=['a', 'b', 'b']), ["'b'", 'unique']),
      (dict(images=images), ['all 3 images are the same']),
      (dict(embeddings=np.ones((4, 2))), ['all 4 embeddings are the same'])):
    with pytest.raises(ValueError) as error:
      data.from_memory(**arguments)
    one_line(error, *words)


def test_files_that_are_no_arrays(tmp_path):
  np.save(tmp_path / 'objects.npy', np.array([{}, 1], object), allow_pickle=True)
  np.savez_compressed(tmp_path / 'cut.npz', images=np.random.default_rng(0).integers(0, 256, (9, 9, 9), np.uint8))
  (tmp_path / 'cut.npz').write_bytes((tmp_path / 'cut.npz').read_bytes()[:300])
  np.save(tmp_path / 'cut.npy', np.zeros((9, 9, 9), np.uint8))
  (tmp_path / 'cut.npy').write_bytes((tmp_path / 'cut.npy').read_bytes()[:300])
  sound = tmp_path / 'flipped.npz'
  np.savez(sound, images=np.zeros((9, 9, 9), np.uint8))
  content = bytearray(sound.read_bytes())
  content[500] ^= 1
  sound.write_bytes(content)
  (tmp_path / 'text.npy').write_text('text')
  (tmp_path / 'empty.npy').touch()
  np.savez(tmp_path / 'other.npz', pixels=np.zeros(3))
  for file in tmp_path.iterdir():
    with pytest.raises(ValueError) as error:
      data.load('arrays', file)
    one_line(error, file.name, 'save it')
    assert 'allow_pickle' not in str(error.value)
  with pytest.raises(ValueError) as error:
    data.load('arrays', tmp_path)
  one_line(error, 'folder')
  with pytest.raises(FileNotFoundError) as error:
    data.load('arrays', tmp_path / 'none.npz')
  one_line(error, 'none.npz')


# Named data sets


def test_digits():
  from sklearn.datasets import load_digits
  dataset = data.load('digits')
  assert dataset.images.shape == (1797, 8, 8, 1) and dataset.images.max() == 255
  assert np.abs(dataset.images[..., 0] / 255 - load_digits().images / 16).max() < 0.5 / 255 + 1e-9
  assert np.array_equal(dataset.labels, load_digits().target) and dataset.test_images is None
  assert dataset.class_names == list('0123456789')


@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_fashion_mnist_files(tmp_path, suffix):
  rng = np.random.default_rng(0)
  images, labels = rng.integers(0, 256, (6, 28, 28), np.uint8), rng.integers(0, 10, 6, np.uint8)
  for stem, array in (('train-images-idx3', images), ('train-labels-idx1', labels), ('t10k-images-idx3', images[:2]),
                      ('t10k-labels-idx1', labels[:2])):
    write_idx(tmp_path / f'{stem}-ubyte{suffix}', array)
  dataset = data.load('fashion_mnist', tmp_path)
  assert np.array_equal(dataset.images[..., 0], images) and dataset.labels.tolist() == labels.tolist()
  assert len(dataset.test_images) == 2 and len(dataset.class_names) == 10
  file = tmp_path / f'train-images-idx3-ubyte{suffix}'
  file.write_bytes(file.read_bytes()[:-20])
  with pytest.raises(ValueError) as error:
    data.load('fashion_mnist', tmp_path)
  one_line(error, file.name)
  file.unlink()
  with pytest.raises(FileNotFoundError) as error:
    data.load('fashion_mnist', tmp_path)
  one_line(error, 'apt-get install dataset-fashion-mnist', 'data.path')


@pytest.mark.parametrize('arguments, words', [
  (dict(name='digit'), ["'digits'"]),
  (dict(name='folder'), ['data.path']),
  (dict(name='folder', path=''), ['data.path']),
  (dict(name='digits', path='photos'), ['photos', 'folder.py']),
  (dict(name='digits', images='x.npy'), ['data.images']),
  (dict(name='arrays', path='x.npy', size=32), ['data.size=32']),
  (dict(name='folder', path='x', size=0), ['data.size=0']),
  (dict(name='folder', path='x', size=6.5), ['data.size=6.5']),
])
def test_arguments_that_contradict(arguments, words):
  with pytest.raises(ValueError) as error:
    data.load(**arguments)
  one_line(error, *words)


def test_tensorflow_datasets_of_unequal_size_are_cut_to_squares(monkeypatch):
  examples = [{'image': np.asarray(picture(30 + i, 50, i)), 'label': i} for i in range(3)]
  class Builder:
    info = types.SimpleNamespace(features={'label': types.SimpleNamespace(names=['x', 'y', 'z'])})
    def as_data_source(self, split):
      return {'train': examples, 'validation': examples[:1]}[split]
  calls = []
  module = types.ModuleType('tensorflow_datasets')
  module.builder = lambda name, **keywords: calls.append((name, keywords)) or Builder()
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', module)
  dataset = data.load('imagenet', 'somewhere', size=12)
  assert calls == [('imagenet2012', {'file_format': 'array_record', 'data_dir': 'somewhere'})]
  assert dataset.images.shape == (3, 12, 12, 3) and dataset.test_images.shape == (1, 12, 12, 3)
  assert dataset.labels.tolist() == [0, 1, 2] and dataset.class_names == ['x', 'y', 'z']
  assert np.array_equal(dataset.images[1], decode.fit(picture(31, 50, 1), 12))
  assert data.load('imagenet').images.shape == (3, 160, 160, 3)


def test_without_tensorflow_datasets_the_error_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  with pytest.raises(ValueError) as error:
    data.load('cifar10')
  one_line(error, "pip install 'elfs_jax[tfds]'")


def test_tensorflow_datasets_for_real(tmp_path):
  """Prepares ten images under CIFAR-10's name with the real library, and reads them as the user would."""
  tfds = pytest.importorskip('tensorflow_datasets')
  with pytest.raises(ValueError) as error:
    data.load('cifar10', tmp_path)
  one_line(error, 'download_and_prepare()', str(tmp_path))
  pixels = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
  for i, image in enumerate(pixels):
    Image.fromarray(image).save(tmp_path / f'{i}.png')
  class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.builder('cifar10', data_dir=tmp_path).version
    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
        'id': tfds.features.Text(), 'image': tfds.features.Image(shape=(32, 32, 3)),
        'label': tfds.features.ClassLabel(names=[f'class {c}' for c in range(10)])}))
    def _split_generators(self, manager):
      return {'train': self._generate_examples(8), 'test': self._generate_examples(2)}
    def _generate_examples(self, n):
      for i in range(n):
        yield i, {'id': str(i), 'image': tmp_path / f'{i}.png', 'label': i}
  Cifar10(data_dir=tmp_path, file_format='array_record').download_and_prepare()
  dataset = data.load('cifar10', tmp_path)
  assert np.array_equal(dataset.images, pixels[dataset.labels]) and sorted(dataset.labels) == list(range(8))
  assert dataset.test_images.shape == (2, 32, 32, 3) and dataset.class_names[9] == 'class 9'
