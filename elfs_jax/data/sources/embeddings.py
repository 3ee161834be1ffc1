"""Embeddings that the user brings, perhaps with the images that they came from."""
import os

from elfs_jax.data import npz
from elfs_jax.data.sources import folder


def read(path, *, images=None, size=None, value_range=None, max_pixels=None, progress=None, cache=None, fit='crop',
         dry=False) -> dict:
  """An .npy of floats [N,D], or an .npz with `embeddings` and perhaps `labels`, `ids`, `test_embeddings` and
  `test_labels`; images: folder or file."""
  fields = npz.read(path, 'embeddings', ('labels', 'ids', 'test_embeddings', 'test_labels'))
  if images is None:
    return fields
  if os.path.isdir(os.path.expanduser(images)):
    return fields | folder.read(images, size=size, value_range=value_range, max_pixels=max_pixels, progress=progress,
                                cache=cache, fit=fit, dry=dry)
  return fields | npz.read(images, 'images')
