"""How fast a classifier trains with its dynamics recorded, beside PyTorch and beside the machine's own limit.

  python benchmarks/training.py                                                    what two CPU cores can do in minutes
  python benchmarks/training.py --networks=mlp,small,resnet18 --images=50000 --epochs=4 --peer    a GPU, CIFAR's shape

Random colour images, 32x32, that lie on the device; views are cropped and mirrored. Images a second over whole epochs,
the first left out, since it compiles. With --peer (needs PyTorch): its ResNet-18 on the same batches, data on the
device, in bfloat16 and channels last on a GPU, without views or dynamics. The limit is a large matrix product in the
same precision.
"""
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from elfs_jax.runtime import mesh
from elfs_jax.training import loop as train
from elfs_jax.training import networks

NETWORKS = flags.DEFINE_list('networks', ['mlp', 'small'], f'Of {", ".join(networks.NETWORKS)}.')
SHARDS = flags.DEFINE_list('shards', ['1', '16'], 'Numbers of logical shards.')
IMAGES = flags.DEFINE_integer('images', 4096, 'How many.')
EPOCHS = flags.DEFINE_integer('epochs', 3, 'Epochs.', lower_bound=2)
BATCH = flags.DEFINE_integer('batch', 256, 'Examples a step.')
PEER = flags.DEFINE_bool('peer', False, "Also PyTorch's ResNet-18.")
CLASSES, SIDE, FEATURES = 10, 32, 256
GFLOPS = {'resnet18': 3 * 2 * 0.5556}  # An image, forward and backward: He et al. with a 3x3 stem at 32x32.


def main(_):
  mesh.pin_threads()
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (IMAGES.value, SIDE, SIDE, 3), np.uint8)
  rows, labels = rng.normal(size=(IMAGES.value, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, IMAGES.value)
  limit = product_tflops()
  print(f'{jax.devices()[0].device_kind}, JAX {jax.__version__}, a matrix product: {limit:.3g} TFLOP/s\n\n'
        '| network | shards | images/s | ms a step | of the limit | first epoch |\n|---|---|---|---|---|---|')
  for network in NETWORKS.value:
    for shards in map(int, SHARDS.value):
      inputs = rows if network == 'mlp' else images
      first, speed = measure(inputs, labels.astype(np.int32), network, shards)
      share = f'{speed * GFLOPS[network] / limit / 1000:.0%}' if network in GFLOPS else ''
      print(f'| {network} | {shards} | {speed:,.0f} | {BATCH.value / speed * 1000:.2f} | {share} | {first:.1f} s |',
            flush=True)
  if PEER.value:
    peer = torch_speed(images, labels)
    print(f'| PyTorch, resnet18 | | {peer:,.0f} | {BATCH.value / peer * 1000:.2f} | '
          f'{peer * GFLOPS["resnet18"] / limit / 1000:.0%} | |')


def measure(inputs, labels, network, shards):
  """Seconds of the first epoch, with compilation, and images a second in the median of the others."""
  recipe, ends = train.Recipe(network=network, batch=BATCH.value, flip=True), [time.monotonic()]
  def on_epoch(_, state):
    jax.block_until_ready(state)
    ends.append(time.monotonic())
  train.fit(inputs, labels, CLASSES, recipe, epochs=EPOCHS.value, mesh=mesh.data_mesh(shards), shards=shards,
            on_epoch=on_epoch)
  seconds = np.diff(ends)
  return seconds[0], len(labels) / np.median(seconds[1:])


def product_tflops():
  """What the device does on one large matrix product, in TFLOP/s."""
  size = 1024 if jax.default_backend() == 'cpu' else 8192
  x = jax.random.normal(jax.random.key(0), (size, size), mesh.compute_dtype())
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(x, x))
  def once():
    start = time.monotonic()
    jax.block_until_ready([product(x, x) for _ in range(10)])
    return (time.monotonic() - start) / 10
  return 2 * size ** 3 / min(once() for _ in range(3)) / 1e12


def torch_speed(images, labels):
  """Images a second of PyTorch's training step of the same network."""
  import torch
  from torch import nn
  gpu = torch.cuda.is_available()
  device, layout = ('cuda' if gpu else 'cpu'), torch.channels_last
  torch.backends.cudnn.benchmark = True

  class Block(nn.Module):
    def __init__(self, into, out, stride):
      super().__init__()
      self.body = nn.Sequential(nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
                                nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
      same = stride == 1 and into == out
      self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False),
                                                           nn.BatchNorm2d(out))

    def forward(self, x):
      return torch.relu(self.body(x) + self.skip(x))

  blocks = [Block(64 * 2 ** max(0, stage - (block == 0)), 64 * 2 ** stage, 2 if stage and not block else 1)
            for stage in range(4) for block in range(2)]
  model = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *blocks,
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)).to(device, memory_format=layout)
  optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
  data = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)
  targets = torch.from_numpy(np.asarray(labels, np.int64)).to(device)

  def epoch():
    order = torch.randperm(len(data), device=device)
    for rows in order.split(BATCH.value):
      x = data[rows].to(memory_format=layout).float().div_(255)
      with torch.autocast(device, torch.bfloat16, enabled=gpu):
        loss = nn.functional.cross_entropy(model(x), targets[rows])
      optimizer.zero_grad(set_to_none=True)
      loss.backward()
      optimizer.step()
    return float(loss)
  epoch()
  seconds = []
  for _ in range(EPOCHS.value - 1):
    start = time.monotonic()
    epoch()
    seconds.append(time.monotonic() - start)
  return len(data) / np.median(seconds)


if __name__ == '__main__':
  app.run(main)
