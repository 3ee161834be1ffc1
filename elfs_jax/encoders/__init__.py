"""Vision encoders that never saw a label of the user's: images in, features out.

`self_supervised` trains a small one in place on the user's own images. `load` gives one that others trained
(`zoo.PRETRAINED` lists them), one file per family beside it.
"""


def __getattr__(name):
  """`load`, imported when it is asked for, so that the table of encoders can be read without JAX."""
  if name == 'load':
    from elfs_jax.encoders.pretrained import load
    return load
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
