"""Fashion-MNIST from its four IDX files."""
import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from elfs_jax.data import decode, room

DEBIAN = '/usr/share/datasets/fashion-mnist'
MOST_AXES = 4
CLASSES = 'T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot'.split(',')


def read(path=None) -> dict:
  """60,000 grey images of 28x28 with labels, and the test set. Raises: FileNotFoundError, ValueError in one line."""
  root = pathlib.Path(DEBIAN if path is None else path).expanduser()
  def array(stem):
    for file in (root / f'{stem}.gz', root / stem):
      if file.is_file():
        return _idx(file)
    raise FileNotFoundError(f'{root / stem}[.gz]: no such file; run `apt-get install dataset-fashion-mnist`, or set '
                            'data.path to a folder that holds the four IDX files of Fashion-MNIST')
  return {'images': array('train-images-idx3-ubyte'), 'labels': array('train-labels-idx1-ubyte'),
          'test_images': array('t10k-images-idx3-ubyte'), 'test_labels': array('t10k-labels-idx1-ubyte'),
          'class_names': CLASSES}


def _idx(file):
  """An IDX file of unsigned bytes: two zeros, the type (8), the number of axes, big-endian sizes, then the values."""
  try:
    with (gzip.open if file.suffix == '.gz' else open)(file, 'rb') as opened:
      start = opened.read(4)
      axes = start[3] if len(start) == 4 and start[:3] == b'\0\0\x08' and start[3] <= MOST_AXES else 0
      sizes = opened.read(4 * axes)
      shape = struct.unpack(f'>{axes}I', sizes) if axes and len(sizes) == 4 * axes else (0,)
      room.need_memory(math.prod(shape), f'{file}', 'fetch it again')
      values = opened.read(math.prod(shape) + 1)  # One more than it should have.
  except (OSError, EOFError, zlib.error, struct.error) as error:
    raise ValueError(f'{file}: cannot be read ({decode.one_line(error)}); fetch it again') from None
  if not values or len(values) != math.prod(shape):
    raise ValueError(f'{file}: not an IDX file of bytes, or cut short; fetch it again')
  return np.frombuffer(values, np.uint8).reshape(shape)
