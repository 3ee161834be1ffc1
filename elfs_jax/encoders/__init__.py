"""Vision encoders that never saw a label: images in, embeddings out.

`ENCODERS` is the table of those that make embeddings for a run. Every entry's function is called as
`function(images, *, seed, ...)`, with those fields of the config's section `embed` that its signature names, and
returns float32 [N, D]. Where its signature names them it is also given `mesh`, `shards`, `neighbors` (a callable,
embeddings and k -> int [N, k]), `progress`, `state` and `on_epoch`.

Pretrained encoders are not here yet; `load` will come to this file, one file per family beside it.
"""
from collections.abc import Callable
from typing import NamedTuple


class Encoder(NamedTuple):
  """One way to embed: the function, as `table.load` takes it, what `--help` says of it, and whether it sees images."""
  function: str | Callable
  help: str
  images: bool = True


ENCODERS = {
    'pca': Encoder('elfs_jax.embed:pca', 'principal components of the pixels'),
    'self_supervised': Encoder('elfs_jax.encoders.self_supervised:embed',
                               'a small network, trained in place on the images'),
}
