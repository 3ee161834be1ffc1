"""Images a second of the pretrained encoders here, beside the same network in PyTorch in the same run.

  python benchmarks/encoders.py                                       efficientnet_lite2 and dino_vits16
  python benchmarks/encoders.py --encoders=dino_vitb16 --images=64    another one

Random weights and pictures of the encoder's size, so nothing is resized and nothing is fetched. Ours and PyTorch's (by
timm, channels last, as many threads as cores) run in turn; medians over the turns, the first left out, since it
compiles. Needs `pip install torch timm`.
"""
import os
import statistics
import time

import numpy as np
from absl import app, flags

from elfs_jax import encoders

ENCODERS = flags.DEFINE_list('encoders', ['efficientnet_lite2', 'dino_vits16'], 'Which; see docs/encoders.md.')
IMAGES = flags.DEFINE_integer('images', 64, 'How many pictures a turn.', lower_bound=1)
TURNS = flags.DEFINE_integer('turns', 5, 'How often each runs.', lower_bound=2)
# The same network in timm.
PEERS = {'efficientnet_lite0': 'tf_efficientnet_lite0', 'efficientnet_lite2': 'tf_efficientnet_lite2',
         'dino_vits16': 'vit_small_patch16_224', 'dino_vitb16': 'vit_base_patch16_224', 'dino_resnet50': 'resnet50'}


def peer(name, images):
  """The network in PyTorch, as a function without arguments."""
  import timm
  import torch
  torch.set_num_threads(os.cpu_count())
  network = timm.create_model(PEERS[name], pretrained=False, num_classes=0).eval()
  network = network.to(memory_format=torch.channels_last)
  pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
  def run():
    with torch.inference_mode():
      for part in pixels.to(memory_format=torch.channels_last).split(32):
        network(part)
  return run


def main(_):
  print('| encoder | ours, images/s | PyTorch, images/s | ratio |\n|---|---|---|---|')
  for name in ENCODERS.value:
    encoder = encoders.load(name, 'random')
    size = encoder.input_size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES.value, size, size, 3), np.uint8)
    runs = {'ours': lambda: encoder(images), 'theirs': peer(name, images)}
    seconds = {key: [] for key in runs}
    for _ in range(TURNS.value + 1):
      for key, run in runs.items():
        start = time.monotonic()
        run()
        seconds[key].append(time.monotonic() - start)
    ours, theirs = (IMAGES.value / statistics.median(seconds[key][1:]) for key in ('ours', 'theirs'))
    print(f'| {name} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |', flush=True)


if __name__ == '__main__':
  app.run(main)
