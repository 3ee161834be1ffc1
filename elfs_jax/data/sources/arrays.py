"""Images as an array in a file of NumPy's."""
from elfs_jax.data import npz


def read(path) -> dict:
  """An .npz with `images` uint8 [N,H,W] or [N,H,W,Ch] and perhaps labels, ids and a test set, or an .npy of images."""
  return npz.read(path, 'images', ('labels', 'ids', 'test_images', 'test_labels'))
