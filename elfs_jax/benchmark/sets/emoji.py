"""Emoji: small colour pictures of nine kinds of things, in two designs, people in six skin tones each."""
import json
import pathlib

import numpy as np

from elfs_jax.data import decode

DESIGNS = ('google', 'twitter')
SIDE = 32
INSTALL = 'npm install --prefix emoji ' + ' '.join(f'emoji-datasource-{design}@16' for design in DESIGNS)
NO_KIND = 'Component'  # Bare skin tones.


def read(path, *, seed=0, progress=None) -> dict:
  """Every emoji of the npm packages emoji-datasource-google and -twitter, 32x32, over white, by its Unicode category.

  A seeded fifth of the emoji is the test set, without skin tones; no design or tone of these is among the rest.

  Args:
    path: the folder `node_modules` that holds the two packages.
    seed: of the choice of the test set.
    progress: optional; called as progress(iterable, desc=..., total=...).
  Returns: a dict of `images` uint8 [N,32,32,3], `labels` [N], `ids` ('google/1f600.png'), `test_images`,
    `test_labels` and `class_names`.
  Raises: FileNotFoundError, ValueError: in one line, where a package or a picture is missing.
  """
  root = pathlib.Path(path).expanduser()
  for design in DESIGNS:
    if not (root / f'emoji-datasource-{design}' / 'emoji.json').is_file():
      raise FileNotFoundError(f'{root}: no package emoji-datasource-{design}; run `{INSTALL}`, or set data.path to the '
                              'node_modules that holds it')
  listed = json.loads((root / f'emoji-datasource-{DESIGNS[0]}' / 'emoji.json').read_text(encoding='utf-8'))
  listed = sorted((entry for entry in listed if entry['category'] != NO_KIND), key=lambda entry: entry['unified'])
  kinds = sorted({entry['category'] for entry in listed})
  held = np.random.default_rng(seed).permutation(len(listed))[:len(listed) // 5]
  parts = {'': np.setdiff1d(np.arange(len(listed)), held), 'test_': np.sort(held)}
  pictures = {prefix: [(file, kinds.index(listed[i]['category'])) for i in part
                       for file in _files(root, listed[i], with_tones=not prefix)] for prefix, part in parts.items()}
  fields = {'ids': [f'{file.parts[-3]}/{file.name}' for file, _ in pictures['']], 'class_names': kinds}
  for prefix, some in pictures.items():
    fields[f'{prefix}images'] = _decode([file for file, _ in some], progress)
    fields[f'{prefix}labels'] = np.array([kind for _, kind in some])
  return fields


def _files(root, entry, with_tones):
  """The pictures of one emoji, in all designs that have it."""
  faces = [entry, *(entry.get('skin_variations', {}).values() if with_tones else ())]
  return [root / f'emoji-datasource-{design}' / 'img' / design / '64' / face['image']
          for design in DESIGNS for face in faces if face[f'has_img_{design}']]


def _decode(files, progress):
  def one(i):
    try:
      return decode.decode_file(files[i], SIDE)
    except OSError as error:
      raise ValueError(f'{files[i]}: {decode.reason_of(error)}; install the package anew: `{INSTALL}`') from None
  return np.stack(decode.parallel(one, len(files), progress, 'Reading emoji'))
