"""What lies in folders: ranges of more than 8 bits, large pictures, what is no picture, and what is no folder."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT, launch, peak_of_reading
from PIL import Image

from elfs_jax import data
from elfs_jax.data import decode, files, ranges, room
from elfs_jax.data.sources import folder
from elfs_jax.encoders import tensors


def scene(seed, side=24):
  """Smooth grey values from 0 to 1, float64 [side,side]."""
  rough = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
  return np.asarray(Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)) / 255


def save(root, values, kind='float32', ending='tif'):
  root.mkdir(parents=True, exist_ok=True)
  for i, value in enumerate(values):
    value = value if kind == 'float32' else value.round()
    Image.fromarray(value.astype(kind)).save(root / f'{i}.{ending}')
  return root


def fails(function, *words, error=ValueError):
  with pytest.raises(error) as raised:
    function()
  message = str(raised.value)
  assert '\n' not in message and len(message) < 400 and all(word in message for word in words), message


def within(seconds, function):
  """What a function returns or raises; a failure where it takes longer."""
  done = []
  def work():
    try:
      done.append((function(), None))
    except Exception as error:
      done.append((None, error))
  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  thread.join(seconds)
  assert done, 'it waits for ever'
  if done[0][1]:
    raise done[0][1]
  return done[0][0]


# Ranges


@pytest.mark.parametrize('kind, ending, low, high', [
  ('float32', 'tif', 0.1, 1.02), ('float32', 'tif', -40, 900), ('uint16', 'png', 0, 4095), ('uint16', 'tif', 0, 100),
  ('uint16', 'tif', 0, 65535), ('int32', 'tif', 0, 257), ('int32', 'tif', -9e6, 9e6)])
def test_one_range_for_the_folder(tmp_path, kind, ending, low, high):
  """Pictures of several brightness keep it, and all levels, wherever their values lie."""
  shares = np.array([0.5, 0.9, 0.98, 1.0, 1.0, 0.7])[:, None, None]
  values = low + (high - low) * shares * np.stack([scene(i) for i in range(6)])
  dataset = data.load('folder', save(tmp_path / 'x', values, kind, ending), size=24)
  if kind != 'float32':
    values = values.round()
  black, white = np.percentile(values, [0.1, 99.9])
  expected = ((values - black) / (white - black) * 255).clip(0, 255)
  assert np.abs(dataset.images[..., 0] - expected).max() <= 1
  assert len(np.unique(dataset.images)) > min(200, 0.9 * len(np.unique(values.round(6))))
  name = {'float32': 'float', 'uint16': '16-bit', 'int32': '32-bit'}[kind] + {'tif': ' TIFF', 'png': ' PNG'}[ending]
  assert dataset.notes == [f'6 {name} images: values from {black:g} to {white:g} become black to white; '
                           'data.range=LOW,HIGH sets others']
  again = dataset.pixels(range(6), 12)[..., 0]
  half = expected.reshape(6, 12, 2, 12, 2).mean((2, 4))
  assert np.abs(again - half).mean() < 3  # Bicubic, by the same range.


def test_a_range_can_be_set_and_8_bits_are_as_they_are(tmp_path):
  save(tmp_path / 'x', [scene(0), scene(1) * 2])
  grey = Image.fromarray((scene(2) * 100).astype(np.uint8))
  grey.save(tmp_path / 'x/z.png')
  dataset = data.load('folder', tmp_path / 'x', size=24, value_range=(0, 2))
  assert np.abs(dataset.images[0, ..., 0] - scene(0) * 127.5).max() <= 1 and dataset.images[1].max() == 255
  assert (dataset.images[2, ..., 0] == np.asarray(grey)).all()
  assert dataset.notes[0].startswith('2 float TIFF images: values from 0 to 2 ')
  fails(lambda: data.load('folder', tmp_path / 'x', value_range=(2, 2)), 'data.range=(2, 2)', 'smaller first')
  fails(lambda: data.load('digits', value_range=(0, 2)), 'data.range=(0, 2)', "'digits'")
  done = launch('--config=folder', f'--config.data.path={tmp_path}/x', '--config.data.range=5,1')
  assert done.returncode == 2 and 'data.range=(5, 1) must be two numbers' in done.stderr


def test_values_that_are_not_finite_do_not_count(tmp_path):
  values = np.stack([scene(i) for i in range(4)])
  values[0, 0, :3] = np.nan, np.inf, -np.inf
  image = data.load('folder', save(tmp_path / 'x', values), size=24).images[0, ..., 0]
  assert image[0, 1] == 255 and image[0, 2] == 0 and image.std() > 20


def test_a_cache_holds_what_was_read_by_the_same_range(tmp_path, monkeypatch):
  opened, read = [], decode.file_content
  monkeypatch.setattr(decode, 'file_content', lambda path: opened.append(os.path.basename(path)) or read(path))
  root, cache = save(tmp_path / 'x', [scene(i) for i in range(3)]), tmp_path / 'cache'
  Image.fromarray((scene(9) * 255).astype(np.uint8)).save(root / 'z.png')
  def load(**more):
    opened.clear()
    dataset = data.load('folder', root, size=24, cache=cache, **more)
    plain = data.load('folder', root, size=24, **more)
    assert (dataset.images == plain.images).all() and dataset.identity == plain.identity
    assert dataset.notes == plain.notes
    return dataset, sorted(opened[:-len(plain.ids)])
  first, _ = load()
  assert load()[1] == []
  other, names = load(value_range=(0, 3))
  assert names == ['0.tif', '1.tif', '2.tif'] and other.identity != first.identity  # The file of 8 bits is kept.
  assert load(value_range=(0, 3))[1] == []
  Image.fromarray(np.full((24, 24), 7, np.float32)).save(root / '3.tif')
  assert load()[1] == ['0.tif', '1.tif', '2.tif', '3.tif']
  assert load()[1] == []


def test_each_kind_of_file_has_its_own_range(tmp_path):
  """Pillow stretches the 12 bits of a PGM to 16, those of a PNG not."""
  values = [(scene(i) * 4095).round().astype(np.uint16) for i in range(3)]
  for i, value in enumerate(values):
    Image.fromarray(value).save(tmp_path / f'{i}.png')
    (tmp_path / f'{i}.pgm').write_bytes(b'P5 24 24 4095\n' + value.astype('>u2').tobytes())
  dataset = data.load('folder', tmp_path, size=24)
  images = dataset.images.astype(int)
  assert dataset.ids[:2] == ['0.pgm', '0.png'] and np.abs(images[::2] - images[1::2]).max() <= 1
  assert [note.split(':')[0] for note in dataset.notes] == ['3 16-bit PNG images', '3 16-bit PPM images']


def test_a_range_depends_on_the_files_alone(tmp_path, monkeypatch):
  """Of many files a sample is read, the same one whatever the order in which threads come."""
  names = [f'{i:03}.tif' for i in range(200)]
  for i, name in enumerate(names):
    Image.fromarray(np.full((2, 2), i, np.float32)).save(tmp_path / name)
  found = {ranges.finder(tmp_path, names, None, None)('float TIFF') for _ in range(2)}
  assert len(found) == 1
  low, high = found.pop()
  assert 0 <= low < 25 and 175 < high <= 199
  assert ranges.finder(tmp_path, names[:3], None, None)('16-bit TIFF') == (0, 65535)  # There are none.


# What is no picture


def test_only_regular_files_are_opened(tmp_path):
  for i in range(3):
    Image.fromarray((scene(i) * 255).astype(np.uint8)).save(tmp_path / f'{i}.png')
  os.mkfifo(tmp_path / 'pipe.png')
  (tmp_path / 'null.jpg').symlink_to('/dev/zero')
  place = os.getcwd()
  with socket.socket(socket.AF_UNIX) as listening:
    os.chdir(tmp_path)  # Names of sockets are short.
    try:
      listening.bind('socket.gif')
    finally:
      os.chdir(place)
    dataset = within(20, lambda: data.load('folder', tmp_path, size=8))
  assert dataset.ids == ['0.png', '1.png', '2.png']
  kinds = {'null.jpg': 'a device', 'pipe.png': 'a named pipe', 'socket.gif': 'a socket'}
  assert dataset.skipped == [(name, f'{kind}, not a regular file') for name, kind in kinds.items()]


def test_no_reader_waits_for_a_pipe(tmp_path):
  for name in ('x.npy', 'x.npz', 'x.csv', 'x.txt', 'x.safetensors', 'train-images-idx3-ubyte'):
    os.mkfifo(tmp_path / name)
  both = (ValueError, FileNotFoundError)
  for function in (lambda: data.load('arrays', tmp_path / 'x.npy'), lambda: data.load('embeddings', tmp_path / 'x.npz'),
                   lambda: data.load('digits', labels=tmp_path / 'x.csv'),
                   lambda: data.load('digits', labelled=tmp_path / 'x.txt'),
                   lambda: tensors.read(tmp_path / 'x.safetensors'),
                   lambda: data.load('fashion_mnist', tmp_path), lambda: data.load('folder', tmp_path / 'x.npy')):
    fails(lambda: within(20, function), error=both)


def test_files_left_out_by_their_ending_are_counted(tmp_path):
  for i in range(3):
    Image.fromarray((scene(i) * 255).astype(np.uint8)).save(tmp_path / f'{i}.png')
  assert data.load('folder', tmp_path, size=8).notes == []
  (tmp_path / 'sub').mkdir()
  for name in ('a.dcm', 'sub/b.DCM', 'c.dcm', 'd.cr2', 'e.mp4', 'photo', 'sub/photo', '.hidden.cr2'):
    (tmp_path / name).write_bytes(b'\0')
  dataset = data.load('folder', tmp_path, size=8)
  assert dataset.notes == ['files left out by the ending of their names: 3 .dcm, 2 without an ending, 1 .cr2, 1 .mp4']
  for i in range(12):
    (tmp_path / f'x.k{i:02}').touch()
  assert data.load('folder', tmp_path, size=8).notes[0].endswith(', 8 others')
  for name in '012':
    (tmp_path / f'{name}.png').unlink()
  fails(lambda: data.load('folder', tmp_path), 'no image file', '3 .dcm')
  done = launch('--config=folder', f'--config.data.path={tmp_path}')
  assert done.returncode == 2 and '3 .dcm' in done.stderr


def test_heic_names_the_package_that_reads_it(tmp_path):
  for i in range(3):
    Image.fromarray((scene(i) * 255).astype(np.uint8)).save(tmp_path / f'{i}.png')
  (tmp_path / 'x.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
  assert 'pillow-heif' in dict(data.load('folder', tmp_path, size=8).skipped)['x.heic']


@pytest.mark.parametrize('path, words', [
  ('labels.csv', ['a table', 'data.labels']), ('photos.zip', ['an archive', 'unpack']),
  ('photos.tar.gz', ['an archive']),
  ('photos/*.jpg', ['a pattern', 'the folder alone']), ('https://example.com/photos.zip', ['a URL', 'download']),
  ('s3://bucket/photos', ['a URL']), ('x.npz', ['an array', '--config=arrays']), ('one.jpg', ['a file, not a folder'])])
def test_what_is_given_in_place_of_a_folder(tmp_path, monkeypatch, path, words):
  monkeypatch.chdir(tmp_path)
  for exists in (False, True):
    if exists and words[0] in ('a URL', 'a pattern'):
      continue
    if exists:
      pathlib.Path(path).write_bytes(b'x')
    elif words[0] == 'a file, not a folder':
      continue
    fails(lambda: data.load('folder', path), path, 'data.path' if 'array' not in words[0] else 'Python', *words)
  fails(lambda: data.load('folder', 'missing'), 'no such folder', error=FileNotFoundError)


# Room


def test_what_is_too_large_is_refused_before_it_is_made(tmp_path, monkeypatch):
  for i in range(3):
    Image.fromarray((scene(i) * 255).astype(np.uint8)).save(tmp_path / f'{i}.png')
  done = launch('--config=folder', f'--config.data.path={tmp_path}', '--config.data.size=6000000',
                f'--workdir={tmp_path}/w')
  assert done.returncode == 2 and done.stderr.startswith('error: one image of 6000000 x 6000000 pixels would take 432')
  assert 'data.size' in done.stderr and done.stderr.count('\n') == 1
  monkeypatch.setattr(room, 'memory', lambda: 1 << 20)
  fails(lambda: data.load('folder', tmp_path, size=600), 'would take 4 MB of memory, and 1 MB are free', 'data.size')
  dataset = data.load('folder', tmp_path, size=8)
  fails(lambda: dataset.pixels([0] * 9, 300), '9 images at 300 pixels', 'fewer')
  np.save(tmp_path / 'x.npy', np.zeros((600, 600)))  # Of float32 it would stay in its file.
  np.savez_compressed(tmp_path / 'x.npz', embeddings=np.zeros((600, 600), np.float32))
  for name in ('x.npy', 'x.npz'):
    fails(lambda: data.load('embeddings', tmp_path / name), name, 'would take', 'MB of memory')


def test_a_map_needs_room_on_the_disk(tmp_path, monkeypatch):
  """A hundred thousand images of 800 x 800 pixels."""
  entries = [files.Entry(str(i), 1, 1) for i in range(100_000)]
  monkeypatch.setattr(shutil, 'disk_usage', lambda place: shutil._ntuple_diskusage(9 * 10 ** 10, 0, 9 * 10 ** 10))
  for cache, mend in ((None, 'TMPDIR'), (tmp_path / 'deep/cache', '--workdir')):
    fails(lambda: files.decode_all(entries, lambda i: 1 / 0, (800, 800, 3), cache=cache),
          '100,000 images of 800 x 800 pixels would take 192.0 GB of disk', '90.0 GB are free', mend)
  assert not (tmp_path / 'deep').exists()


def test_memory_is_bounded_by_ulimit():
  script = ('import resource; from elfs_jax.data import room; '
            'resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); print(room.memory())')
  done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT,
                        env=os.environ | {'PYTHONPATH': str(ROOT)})
  assert 1 << 30 < int(done.stdout) < 3 << 30, done.stderr


# Large pictures


@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', 'RGBA', 'LA', '1', 'I;16', 'F', 'CMYK'])
@pytest.mark.parametrize('width, height', [(2100, 1400), (9000, 301), (301, 9000), (20000, 61)])
def test_a_large_picture_is_what_it_would_be_whole(mode, width, height, monkeypatch):
  """Cut, converted and shrunk by strips: within rounding what Pillow makes of the whole picture."""
  rng = np.random.default_rng(0)
  image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
  if mode in ('RGBA', 'LA'):
    alpha = Image.fromarray(rng.integers(0, 256, (5, 7), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    image = image.convert(mode)
    image.putalpha(alpha)
  elif mode == 'I;16':
    image = Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16) * 257)
  else:
    image = image.convert(mode)
  content = encoded(image, 'TIFF' if mode in ('F', 'CMYK') else 'PNG', orientation=6)
  span = {'16-bit PNG': (0, 65535), 'float TIFF': (0, 255)}.__getitem__
  shrunk = []
  original = decode._shrunk
  monkeypatch.setattr(decode, '_shrunk', lambda *arguments: shrunk.append(1) or original(*arguments))
  monkeypatch.setattr(decode, 'LARGE', 1 << 20)
  found = decode.decode(content, 32, span).astype(int)
  monkeypatch.setattr(decode, 'LARGE', 1 << 40)
  whole = decode.decode(content, 32, span).astype(int)
  assert shrunk and found.shape == (32, 32, 3)
  assert np.abs(found - whole).mean() < (1.5 if mode in ('1', 'P') else 0.7)
  assert whole.std() > 10


def encoded(image, name, orientation):
  import io
  file, exif = io.BytesIO(), Image.Exif()
  exif[decode.ORIENTATION] = orientation
  image.save(file, name, exif=exif)
  return file.getvalue()


@pytest.mark.skipif(sys.platform != 'linux', reason='ru_maxrss is in other units elsewhere')
def test_large_pictures_take_little_more_than_their_pixels(tmp_path):
  """Four of 16 million pixels with transparency (64 MB each as decoded), and one thread for each."""
  image = Image.new('RGBA', (8000, 2000), (10, 200, 30, 128))
  image.paste((200, 0, 0, 255), (3500, 200, 4500, 1800))
  image.save(tmp_path / '0.png', compress_level=1)
  for i in range(1, 4):
    (tmp_path / f'{i}.png').write_bytes((tmp_path / '0.png').read_bytes() + bytes([i]))
  Image.new('RGB', (9, 9)).save(tmp_path / 'other.png')
  # MiB; one alone with four copies of its pixels takes 300.
  assert peak_of_reading(tmp_path, count=5, threads=4, budget=1 << 27) < 200


def test_what_pillow_refuses_for_its_size_can_be_allowed(tmp_path, monkeypatch):
  for name, side in (('a', 9), ('b', 8), ('large', 15)):
    Image.new('RGB', (side, side), name == 'a' and 'red' or 'blue').save(tmp_path / f'{name}.png')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  for _ in range(2):
    dataset = data.load('folder', tmp_path, size=4, cache=tmp_path / 'cache')
    assert dataset.skipped == [('large.png', '225 pixels, more than 200; data.max_pixels=225 allows it')]
  dataset = data.load('folder', tmp_path, size=4, cache=tmp_path / 'cache', max_pixels=225)
  assert dataset.ids == ['a.png', 'b.png', 'large.png'] and dataset.pixels([2], 6).shape == (1, 6, 6, 3)
  assert Image.MAX_IMAGE_PIXELS == 100
  assert data.load('folder', tmp_path, size=4, max_pixels=70).skipped == [
      ('a.png', '81 pixels, more than 70; data.max_pixels=81 allows it'),
      ('large.png', '225 pixels, more than 70; data.max_pixels=225 allows it')]
  fails(lambda: data.load('folder', tmp_path, max_pixels=0), 'data.max_pixels=0', 'at least 1')


def test_a_file_of_another_kind_of_program_is_not_run(tmp_path):
  """Pillow hands PostScript to another program."""
  (tmp_path / 'x.png').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n')
  Image.new('RGB', (9, 9)).save(tmp_path / 'y.png')
  Image.new('RGB', (9, 9), 'red').save(tmp_path / 'z.png')
  reason = 'not an image, or of a format that Pillow cannot read'
  assert data.load('folder', tmp_path, size=4).skipped == [('x.png', reason)]
  assert folder.EXTENSIONS >= {'.png', '.heic', '.tif'}
