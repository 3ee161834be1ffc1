"""Damages files of every kind at random and gives them to their readers: damage.py SEED COUNT MEMORY.

It runs apart from the tests, so that what waits for ever or takes too much memory ends it and not them.
"""
import gzip
import io
import json
import pathlib
import pickle
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile

import numpy as np
from PIL import Image

from elfs_jax import data
from elfs_jax.data import labels
from elfs_jax.encoders import tensors

seed, count, memory = map(int, sys.argv[1:])
IDS = [f'a/{i}.png' for i in range(6)]
SPLICES = [b'\0', b'\xff', b'\xff' * 4, b'\xff' * 8, b'\x7f\xff\xff\xff', b'\0' * 8, b'\x80', b'9' * 12, b'(', b')',
           b',f2', b"'", b'"', b'-', b'\n', b'\r', b';', b'{', b'}', b'<U', b'O', b'\0\0\0\x40', b'1e999', b'nan',
           b'\xe2\x80\xa8']


def array(value, save=np.save, **named):
  file = io.BytesIO()
  save(file, **named) if named else save(file, value)
  return file.getvalue()


def image(mode, name, **more):
  rng = np.random.default_rng(1)
  picture = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((24, 18))
  if mode == 'I;16':
    picture = Image.fromarray(np.asarray(picture.convert('L')).astype(np.uint16) * 200)
  else:
    picture = picture.convert(mode)
  file = io.BytesIO()
  picture.save(file, name, **more)
  return file.getvalue()


def idx(array):
  return b'\0\0\x08' + bytes([array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()


def torch_old():
  """What PyTorch wrote before 1.6, by hand: a dictionary of one tensor."""
  parts = [pickle.dumps(tensors.MAGIC, 2), pickle.dumps(tensors.VERSION, 2), pickle.dumps({'little_endian': True}, 2)]
  return b''.join(parts) + PICKLE + pickle.dumps(['0'], 2) + struct.pack('<q', 6) + np.arange(6, dtype='<f4').tobytes()


# {'w': the tensor of 2 x 3 numbers of storage 0}, as torch.save pickles it.
PICKLE = (b'\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storage'
          b'q\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x06tq\x07QK\x00K\x02'
          b'K\x03\x86q\x08K\x03K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs.')


def torch_new():
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    archive.writestr('m/data.pkl', PICKLE)
    archive.writestr('m/byteorder', 'little')
    archive.writestr('m/data/0', np.arange(6, dtype='<f4').tobytes())
  return file.getvalue()


def safetensors():
  header = json.dumps({'w': {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]},
                       'b': {'dtype': 'BF16', 'shape': [2], 'data_offsets': [24, 28]}}).encode()
  return struct.pack('<Q', len(header)) + header + bytes(28)


def load(name, **more):
  return lambda path: data.load(name, path, **more)


def folder(path):
  return data.load('folder', path.parent, size=8)


def label_file(path):
  return labels.class_indices(labels.label_file(path, IDS)[0], 6, None, str(path), partial=True)


def labelled(path):
  return data.labelled_rows(path, IDS)


def fashion(path):
  return data.load('fashion_mnist', path.parent)


rng = np.random.default_rng(0)
pixels, words = rng.integers(0, 256, (6, 5, 4), np.uint8), np.array(['cat', 'dog', 'ant'] * 2)
table = 'file_name,label,split\n' + ''.join(f'{name},{word},train\n' for name, word in zip(IDS, words))
KINDS = [
    ('x.npy', array(pixels), load('arrays')),
    ('x.npy', array(rng.normal(size=(6, 3))), load('embeddings')),
    ('x.npy', array(words), label_file),
    ('x.npy', array(np.array(IDS[:3])), labelled),
    ('x.npz', array(None, np.savez, images=pixels, labels=words, ids=np.array(IDS)), load('arrays')),
    ('x.npz', array(None, np.savez_compressed, embeddings=np.eye(6, 3), ids=np.arange(6)), load('embeddings')),
    ('train-images-idx3-ubyte', idx(rng.integers(0, 256, (6, 5, 5), np.uint8)), fashion),
    ('train-labels-idx1-ubyte.gz', gzip.compress(idx(np.arange(6, dtype=np.uint8))), fashion),
    ('l.csv', table.encode(), label_file), ('l.csv', table.replace(',', ';').encode(), labelled),
    ('l.csv', b'rank,index,id,label\n0,1,a/1.png,x\n1,3,a/3.png,y\n', labelled),
    ('l.txt', b'cat\ndog\n3\ncat\nx y\n-1\n', label_file), ('l.txt', b'a/1.png\n./a/2.png\na/3\n', labelled),
    ('w.safetensors', safetensors(), tensors.read),
    ('w.pth', torch_old(), tensors.read), ('w.pth', torch_new(), tensors.read),
    *((f'x.{ending}', image(mode, name, **more), folder) for ending, mode, name, more in [
        ('png', 'RGB', 'PNG', {}), ('png', 'P', 'PNG', {}), ('png', 'I;16', 'PNG', {}), ('jpg', 'RGB', 'JPEG', {}),
        ('jpg', 'L', 'JPEG', {'progressive': True}), ('gif', 'P', 'GIF', {}), ('bmp', 'RGB', 'BMP', {}),
        ('tif', 'F', 'TIFF', {}), ('tif', 'RGBA', 'TIFF', {'compression': 'tiff_lzw'}), ('webp', 'RGB', 'WEBP', {}),
        ('ico', 'RGBA', 'ICO', {}), ('jp2', 'RGB', 'JPEG2000', {}), ('ppm', 'RGB', 'PPM', {}), ('pcx', 'L', 'PCX', {}),
        ('tga', 'RGBA', 'TGA', {}), ('dib', 'RGB', 'DIB', {})])]


def damaged(content, rng):
  """One to four changes: bits, bytes, a piece lost, doubled or put in, the end cut off; half of them near the start."""
  content = bytearray(content)
  for _ in range(rng.integers(1, 5)):
    if not content:
      break
    at = int(rng.integers(len(content)) if rng.random() < 0.5 else rng.integers(min(len(content), 120)))
    length, kind = int(rng.integers(1, 1 + min(16, len(content)))), rng.integers(8)
    if kind == 0:
      content[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
      content[at] = int(rng.integers(256))
    elif kind == 2:
      del content[at:at + length]
    elif kind == 3:
      content[at:at] = content[at:at + length]
    elif kind == 4:
      content[at:at + length] = rng.bytes(length)
    elif kind == 5:
      del content[at:]
    else:
      splice = SPLICES[rng.integers(len(SPLICES))]
      content[at:at + (len(splice) if kind == 6 else 0)] = splice
  return bytes(content)


with tempfile.TemporaryDirectory(dir='/dev/shm' if pathlib.Path('/dev/shm').is_dir() else None) as place:
  sound = 0
  folders = []
  for k, (name, content, reader) in enumerate(KINDS):
    home = pathlib.Path(place, str(k))
    home.mkdir()
    folders.append(home / name)
    if reader is folder:
      Image.new('RGB', (9, 9)).save(home / 'y.png')
      Image.new('RGB', (9, 9), 'red').save(home / 'z.png')
    if reader is fashion:
      for stem in ('train-images-idx3', 'train-labels-idx1', 't10k-images-idx3', 't10k-labels-idx1'):
        (home / f'{stem}-ubyte').write_bytes(idx(np.arange(6 * 25, dtype=np.uint8).reshape(6, 5, 5) if 'images' in stem
                                                 else np.arange(6, dtype=np.uint8)))
    folders[-1].write_bytes(content)
    reader(folders[-1])  # It is sound.
  size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
  warnings.simplefilter('ignore')
  for turn in range(count):
    rng = np.random.default_rng([seed, turn])
    k = turn % len(KINDS)
    name, content, reader = KINDS[k]
    bad = damaged(content, rng)
    folders[k].write_bytes(bad)
    start = time.monotonic()
    try:
      found = reader(folders[k])
      sound += 1
      if reader is folder:
        assert all('\n' not in reason for _, reason in found.skipped), found.skipped
        assert all('too little memory' not in reason for _, reason in found.skipped), found.skipped  # A MemoryError.
        assert {'y.png', 'z.png'} <= set(found.ids)
    except (ValueError, FileNotFoundError) as error:
      assert type(error).__name__ in ('ValueError', 'FileNotFoundError', 'NoRoom'), (turn, name, repr(error))
      assert '\n' not in str(error) and len(str(error)) < 700, (turn, name, str(error))
      assert name in str(error) or reader is fashion, (turn, name, str(error))
    except BaseException:
      print('turn', turn, name, k, bad[:200], file=sys.stderr)
      raise
    assert time.monotonic() - start < 10, (turn, name)
print(sound)
