"""What the tests of encoders share: PyTorch as an oracle where it is installed, and pictures."""
import functools
import io
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image


@functools.cache
def timm():
  """The package timm, or a skip. torchvision, which it needs, may lack the operators that its import names."""
  torch = pytest.importorskip('torch')
  try:
    import torchvision  # noqa: F401
  except ImportError:
    pass
  except RuntimeError:
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms', 'roi_align', 'roi_pool', 'ps_roi_align', 'ps_roi_pool', 'deform_conv2d'):
      library.define(f'{name}() -> ()')
      if name not in ('nms', 'qnms'):
        library.define(f'_{name}_backward() -> ()')
    timm.library = library  # What it defines goes when it does.
  return pytest.importorskip('timm')


def pictures(count, height, width=None, seed=0):
  """Random uint8 [count, height, width, 3], smooth and with hard edges."""
  rng = np.random.default_rng(seed)
  width = width or height
  coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
  smooth = np.stack([Image.fromarray(c).resize((width, height), Image.BICUBIC) for c in coarse])
  noise = rng.integers(0, 256, smooth.shape)
  return np.where(rng.random((count, height, width, 1)) < .2, noise, smooth).astype(np.uint8)


def photographs(count, size):
  """The first real photographs at hand as uint8 [count, size, size, 3], or a skip."""
  path = pathlib.Path(__file__).parents[2] / 'shared/data/clothing.tar'  # Beside the checkout, where it is at hand.
  if not path.exists():
    pytest.skip('shared/data/clothing.tar is not here')
  found = []
  with tarfile.open(path) as archive:
    for member in archive:
      if member.name.endswith('.jpg'):
        picture = Image.open(io.BytesIO(archive.extractfile(member).read())).convert('RGB')
        found.append(np.asarray(picture.resize((size, size), Image.BICUBIC)))
      if len(found) == count:
        return np.stack(found)
