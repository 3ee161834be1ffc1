"""My own embeddings: an .npy of floats [N,D]; with images if there are any, else the proxy is an MLP on the embeddings.

  elfs-jax --config=embeddings --config.data.path=EMBEDDINGS.npy --config.select.budget=500
  ... --config.data.images=IMAGES.npy (or .npz, or a folder)
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'embeddings'
  return config
