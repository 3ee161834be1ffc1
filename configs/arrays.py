"""An .npz with `images` uint8 [N,H,W] or [N,H,W,3] and perhaps `labels`, or an .npy of images.

  elfs-jax --config=arrays --config.data.path=IMAGES.npz --config.select.budget=500

The same settings as `elfs_jax.select_coreset(images, budget=500, num_classes=None)`, and the same coreset.
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'arrays'
  return config
