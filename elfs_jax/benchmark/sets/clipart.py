"""Clip art: drawings by many people, as untidy as a folder of pictures is, of the kinds that its folders name."""
import collections
import pathlib

import numpy as np

from elfs_jax.data.sources import folder

DEBIAN = '/usr/share/openclipart/png'
SIDE = 32
LEAST = 100  # A kind of fewer pictures has too few to test on.
NO_KIND = 'unsorted'


def read(path=None, *, progress=None) -> dict:
  """The pictures of Debian's openclipart-png, 32x32, over white, by the folder at the top that each lies in.

  Args:
    path: the folder of the package's folders; default where Debian puts it.
    progress: optional; called as progress(iterable, desc=..., total=...).
  Returns: a dict of `images` uint8 [N,32,32,3], `labels` (names) [N], `ids` ('animals/birds/dove.png'), `class_names`
    and `skipped` as `folder.read` has it. Kinds of fewer than 100 pictures are left out, and what is unsorted.
  Raises: FileNotFoundError where the package is missing, ValueError where the folder holds no two such kinds.
  """
  root = pathlib.Path(DEBIAN if path is None else path).expanduser()
  mend = 'run `apt-get install openclipart-png`, or set data.path to its folder png'
  if not root.is_dir():
    raise FileNotFoundError(f'{root}: no such folder; {mend}')
  found = folder.read(root, size=SIDE, progress=progress)
  ids = found['ids']
  tops = [i.partition('/')[0] for i in ids]
  kinds = sorted(kind for kind, count in collections.Counter(tops).items() if count >= LEAST and kind != NO_KIND)
  if len(kinds) < 2:
    raise ValueError(f'{root}: fewer than two folders of {LEAST} pictures or more; {mend}')
  kept = [i for i, top in enumerate(tops) if top in kinds]
  return {'images': found['images'][kept], 'labels': np.array(tops)[kept], 'ids': [ids[i] for i in kept],
          'class_names': kinds, 'skipped': found['skipped']}
