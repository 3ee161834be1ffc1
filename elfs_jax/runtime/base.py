"""What a run learned of every example, so that a later one adds to it in place of computing all anew.

The large arrays are the artifacts of the workdir; `stages/base.npz` has the rest, with checksums of them.
"""
import json
import pathlib
import zlib
from typing import Any, NamedTuple

import numpy as np

from elfs_jax.runtime import artifacts, hosts

FILES = ('embeddings.npy', 'scores.npz')  # The second has the pseudo-labels too.


class Base(NamedTuple):
  """What is known of M examples."""
  ids: list[str]
  digests: np.ndarray            # uint8 [M, 16], of their content
  whole: np.ndarray              # bool [M]: all else was computed with it, not taken over from its neighbours
  embeddings: np.ndarray         # float32 [M, D]
  pseudo_labels: np.ndarray      # int32 [M]
  scores: dict[str, np.ndarray]  # name -> float32 [M]
  facts: dict[str, Any]          # numbers and words
  learned: dict[str, np.ndarray] # what embeds further examples


def write(workdir: pathlib.Path, key: str, base: Base) -> None:
  """Keep it; `embeddings.npy` and `scores.npz` of the same examples lie in the workdir already."""
  hosts.from_lead(lambda: _write(workdir, key, base))


def _write(workdir, key, base):
  facts = json.dumps({'ids': base.ids, 'facts': base.facts, 'sums': _sums(workdir)})
  arrays = {f'learned_{name}': array for name, array in base.learned.items()}
  artifacts.keep(workdir / 'stages' / 'base.npz', key,
                 {'text': np.frombuffer(facts.encode('utf-8', 'surrogateescape'), np.uint8), 'digests': base.digests,
                  'whole': base.whole, **arrays})


def read(workdir: pathlib.Path, key: str) -> Base | None:
  """What was kept under this key, on every host; None without it, or where a file has changed since."""
  found = hosts.from_lead(lambda: _read(workdir, key))
  return None if found is None else Base(*found)


def _read(workdir, key):
  kept = artifacts.kept(workdir / 'stages' / 'base.npz', key)
  if kept is None:
    return None
  try:
    text = json.loads(kept['text'].tobytes().decode('utf-8', 'surrogateescape'))
    if text['sums'] != _sums(workdir):
      return None
    embeddings = np.load(workdir / 'embeddings.npy', mmap_mode='r', allow_pickle=False)
    with np.load(workdir / 'scores.npz', allow_pickle=False) as file:
      scores = {name: file[name] for name in file.files}
    labels = scores.pop('pseudo_label')
  except artifacts.DAMAGED:
    return None
  learned = {name.removeprefix('learned_'): array for name, array in kept.items() if name.startswith('learned_')}
  return [text['ids'], kept['digests'], kept['whole'], embeddings, labels, scores, text['facts'], learned]


def _sums(workdir):
  """Checksums of the artifacts that belong to it."""
  sums = []
  for name in FILES:
    checksum = 0
    with open(workdir / name, 'rb') as file:
      while block := file.read(1 << 24):
        checksum = zlib.crc32(block, checksum)
    sums.append(checksum)
  return sums
