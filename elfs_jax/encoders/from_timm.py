"""Any encoder of timm, in PyTorch: for what the table of encoders does not have. Needs the extra `timm`."""
import difflib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from elfs_jax.encoders import preprocess, pretrained, tensors
from elfs_jax.encoders.zoo import Pretrained

PREFIX = 'timm:'
FREE = ('apache', 'mit', 'bsd', 'cc0', 'unlicense', 'cc-by-4', 'cc-by-sa')  # How licences for any use begin.


class Encoder:
  """A function from pictures to embeddings: uint8 [B, H, W, 3] (or grey [B, H, W, 1]) -> float32 [B, width].

  Mean, deviation and input size are timm's for this encoder. Pictures are resized as by the encoders of the table: the
  shorter side becomes `input_size` (bicubic, antialiased), then the centre is cut out; timm would resize to a little
  more first where the encoder's `crop_pct` is below 1. The embedding is what timm's network gives without its last
  layer: its own pooling, normed where its head norms. On a GPU that PyTorch sees, else on the CPU, in float32 and in
  batches of a fixed shape.

  Attributes: as of `pretrained.Encoder`, `params` excepted; `model`, the network.
  """

  def __init__(self, name: str, model):
    """`model`: of `timm.create_model`, without a classifier."""
    import timm
    import torch
    config = timm.data.resolve_model_data_config(model)
    channels, height, width = config['input_size']
    if channels != 3 or height != width:
      raise ValueError(f'{name}: it takes {height} x {width} pixels of {channels} channels; only squares in colour are '
                       'made here')
    self.name, self.input_size = name, height
    self.licence, self.commercial = _licence(model.pretrained_cfg.get('license'))
    self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    self.batch = 16 if self.device.type == 'cpu' else 128
    self.model = model.eval().to(self.device)
    self._mean, self._std = (torch.tensor(config[key], device=self.device).view(1, 3, 1, 1) for key in ('mean', 'std'))
    shape = self._embed(np.zeros((1, height, width, 3), np.uint8)).shape
    if len(shape) != 2:
      raise ValueError(f'{name}: it gives {list(shape[1:])} numbers a picture, not one vector')
    self.width = shape[1]

  def __call__(self, images) -> np.ndarray:
    preprocess.check(images)
    done = np.empty((len(images), self.width), np.float32)
    for start in range(0, len(images), self.batch):
      part = np.asarray(images[start:start + self.batch])
      whole = np.zeros((self.batch, *part.shape[1:]), np.uint8)
      whole[:len(part)] = part
      done[start:start + self.batch] = self._embed(whole)[:len(part)]
    return done

  def _embed(self, images):
    import torch
    with torch.inference_mode():
      x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float()
      x = (self._fit(x) / 255 - self._mean) / self._std
      return self.model(x).float().cpu().numpy()

  def _fit(self, x):
    """[B, Ch, H, W] from 0 to 255 -> whole numbers [B, Ch, size, size]."""
    import torch
    size, height, width = self.input_size, *x.shape[2:]
    rows, columns = preprocess.target(height, width, size)
    for shape in ((height, columns), (rows, columns)):  # As Pillow does it: along the rows first, then rounded.
      if x.shape[2:] != shape:
        x = torch.nn.functional.interpolate(x, shape, mode='bicubic', antialias=True, align_corners=False)
        x = x.round().clamp(0, 255)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return x[:, :, top:top + size, left:left + size]


def embed(pixels: Callable, count: int, name: str, *, weights: str | None = None, seed: int = 0, chunk: int = 512,
          on_disk: Callable | None = None, progress: Callable | None = None) -> np.ndarray:
  """`pretrained.embed` with an encoder of timm's; `name`: timm:NAME."""
  return pretrained.in_chunks(load(name, weights, seed=seed), pixels, count, chunk=chunk, on_disk=on_disk,
                              progress=progress)


def load(name: str, weights: str | os.PathLike | None = None, *, seed: int = 0) -> Encoder:
  """An encoder of timm's with its weights.

  Args:
    name: timm:NAME, with NAME as `timm.list_models` has it.
    weights: a file of them (safetensors or PyTorch's), 'random', or None to download them once. Files are read as those
      of the other encoders are: nothing in them is run.
    seed: of random weights.
  Raises: ValueError in one line if timm is missing or knows no such name, or the file cannot be had or does not fit.
  """
  timm, short = _timm(name), name.removeprefix(PREFIX)
  config = _config(timm, name)
  create = timm.create_model
  if isinstance(weights, str) and weights == 'random':
    import torch
    with torch.random.fork_rng(devices=[]):
      torch.manual_seed(seed)
      return Encoder(name, create(short, num_classes=0))
  path = _find(name, config) if weights is None else pathlib.Path(weights)
  if not path.is_file():
    raise ValueError(f'embed.weights={str(path)!r} is no file: it should be the weights of {name}')
  import torch
  arrays = {key: torch.from_numpy(np.array(array)) for key, array in tensors.read(path).items()}
  try:  # With its classifier: without one, timm would leave what the file lacks at random.
    model = create(short, pretrained=True, num_classes=config.num_classes,
                   pretrained_cfg_overlay={'state_dict': arrays})
    model.reset_classifier(0)
  except Exception as error:  # What a network raises on the weights of another.
    raise ValueError(f'{name}: {path}: the weights do not fit ({" ".join(str(error).split())[:300]})') from None
  model.pretrained_cfg.pop('state_dict', None)  # Else the weights would stay in memory twice.
  return Encoder(name, model)


def licence_of(name: str) -> str | None:
  """The licence of the weights where it is not free for every use, or is not known; else None. Raises: as `load`."""
  licence, commercial = _licence(_config(_timm(name), name).license)
  return None if commercial else licence


def _timm(name):
  try:
    import timm
    return timm
  except ImportError as error:
    raise ValueError(f"{name} needs PyTorch and timm ({error}): pip install 'elfs_jax[timm]'") from None
  except Exception as error:  # Such as a RuntimeError of torchvision's beside another PyTorch.
    raise ValueError(f'{name}: timm cannot be imported ({type(error).__name__}: {" ".join(str(error).split())[:200]}); '
                     'torch and torchvision may not fit together: install both anew, from one index') from None


def _config(timm, name) -> Any:
  """What timm knows of an encoder: its PretrainedCfg."""
  short = name.removeprefix(PREFIX)
  try:
    if timm.is_model(short):
      return timm.get_pretrained_cfg(short, allow_unregistered=False)
  except RuntimeError:  # An unknown tag, what follows the dot; or none at all.
    pass
  known = [*timm.list_models(), *timm.list_pretrained()]
  near = difflib.get_close_matches(short, known, 5, 0.5)
  raise ValueError(f'{name} is unknown to timm {timm.__version__}: '
                   + (f'the nearest are {", ".join(near)}' if near else 'timm.list_pretrained() lists those there are'))


def _find(name, config) -> pathlib.Path:
  """The file of the weights on this machine, after a download if need be."""
  if config.hf_hub_id:
    row = _row(config, hub=config.hf_hub_id, file=config.hf_hub_filename or 'model.safetensors')
    return pretrained.from_hub(name, row)
  if isinstance(config.url, str) and config.url:
    return pretrained.from_address(name, _row(config, hub='', file=config.url))
  raise ValueError(f'{name}: timm has no weights for it; name one of timm.list_pretrained(), or set embed.weights to a '
                   'file')


def _row(config, hub, file):
  """What `pretrained` needs to fetch a file."""
  return Pretrained('', 0, 0, config.license or '', False, hub, file, None, config.mean, config.std, '', {})


def _licence(licence):
  """(The licence in words, whether it allows commercial use without further agreement.)"""
  if not licence:
    return 'not said by timm; see the page of the weights', False
  return licence, licence.lower().startswith(FREE)
