"""Glyphs: the letters and digits of the fonts on this machine as grey images, after the manner of notMNIST."""
import os
import pathlib
import re

import numpy as np

from elfs_jax.data import decode

SYSTEM_FONTS = '/usr/share/fonts'
CHARACTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
SIDE, MARGIN = 28, 2
EM = 96  # Pixels to the em when drawn, before the reduction to SIDE: large enough that hinting leaves no trace.
# Mean difference in grey levels below which two faces are one (in two formats, say), and two families one design. Faces
# of unrelated families differ by 12 and more.
TWINS, KIN = 4.0, 9.0
INSTALL = 'apt-get install fonts-dejavu fonts-liberation fonts-freefont-ttf fonts-lato'
SAME_SHAPE = 0.7  # Median correlation of small letters with their capitals above which a font has capitals alone.
NO_LETTERS = re.compile(r'symbol|dingbat|ornament|initials|\bicon|emoji|math|braille|barcode|keyboard', re.I)


def read(path=None, *, seed=0, progress=None) -> dict:
  """Every usable font's 62 characters, 28x28, white on black; a seeded fifth of the families is the test set.

  A font has one scale, so that `o` stays smaller than `O`; every character is centred. Fonts are left out that can't be
  read, hold no letters or digits, draw small letters as capitals, or look like one that came before.

  Args:
    path: the folder that is searched for .ttf and .otf files, with the folders below; None: the system's.
    seed: of the choice of the test set.
    progress: optional; called as progress(iterable, desc=..., total=...).
  Returns: a dict of `images` uint8 [N,28,28], `labels` [N], `ids` ('truetype/lato/Lato-Bold.ttf:A'), `test_images`,
    `test_labels`, `class_names` (the characters) and `skipped` (path, reason).
  Raises: FileNotFoundError, ValueError: in one line, for no such folder or fewer than two families.
  """
  root = pathlib.Path(SYSTEM_FONTS if path is None else path).expanduser()
  if not root.is_dir():
    raise FileNotFoundError(f'{root}: no such folder of fonts; run `{INSTALL}`, or set data.path to one')
  files = _files(root)
  fonts, skipped = [], []
  for file in progress(files, desc='Drawing fonts', total=len(files)) if progress else files:
    try:
      fonts.append((file, *_draw(root / file)))
    except (OSError, ValueError) as error:
      skipped.append((file, decode.one_line(error)))
  families = families_of([name for _, name, _ in fonts])
  fonts = [(file, families[name], images) for file, name, images in fonts]
  fonts, twins = _without_twins(fonts)
  families = sorted({family for _, family, _ in fonts})
  if len(families) < 2:
    raise ValueError(f'{root}: {len(families)} usable font families (.ttf, .otf) of the two or more that glyphs needs; '
                     f'run `{INSTALL}`, or set data.path to a folder of fonts')
  held = set(np.random.default_rng(seed).permutation(families)[:max(1, len(families) // 5)].tolist())
  kept, test = ([font for font in fonts if (font[1] in held) == tested] for tested in (False, True))
  labels = np.arange(len(CHARACTERS))
  return {'images': np.concatenate([images for *_, images in kept]), 'labels': np.tile(labels, len(kept)),
          'ids': [f'{file}:{character}' for file, *_ in kept for character in CHARACTERS],
          'test_images': np.concatenate([images for *_, images in test]), 'test_labels': np.tile(labels, len(test)),
          'class_names': list(CHARACTERS), 'skipped': sorted(skipped + twins)}


def _files(root):
  """Relative posix paths of the fonts below a folder, sorted; a linked file counts once."""
  found = {}
  for directory, _, names in os.walk(root):
    for name in names:
      if os.path.splitext(name)[1].lower() in ('.ttf', '.otf'):
        file = pathlib.Path(directory, name)
        found.setdefault(os.path.realpath(file), []).append(file.relative_to(root).as_posix())
  return sorted(min(paths) for paths in found.values())


def families_of(names):
  """{a face's name: its family}, generous, so that no design is in two families.

  The family is the first word ('Lato Semibold', 'Linux Biolinum'), or another's that this word starts with
  ('OCRABold' belongs to 'OCRA').
  """
  words = sorted({_first_word(name) for name in names}, key=lambda word: (len(word), word))
  family = {}
  for word in words:
    family[word] = next((shorter for shorter in family.values() if len(shorter) > 3 and word.startswith(shorter)), word)
  return {name: family[_first_word(name)] for name in names}


def _first_word(name):
  return re.split(r'[\s_-]', name.strip().lower())[0]


def _draw(file):
  """A font file -> (its family name, uint8 [62,28,28]). Raises: OSError, ValueError that says why it can't be used."""
  from PIL import ImageFont
  font = ImageFont.truetype(str(file), EM, layout_engine=ImageFont.Layout.BASIC)
  family, style = font.getname()
  if not family or NO_LETTERS.search(f'{family} {style} {file.stem}'):
    raise ValueError('a font of symbols')
  masks = [_mask(font, character) for character in CHARACTERS]
  missing = [_mask(font, code) for code in '\uffff\ufffe']  # No characters: fonts draw a box, or nothing.
  if any(not mask.size or any(np.array_equal(mask, box) for box in missing) for mask in masks):
    raise ValueError('lacks a letter or a digit')
  if _capitals_only(masks):
    raise ValueError('draws small letters as capitals')
  sides = [max(mask.shape) for mask in masks]
  scale = (SIDE - 2 * MARGIN) / np.quantile(sides, 0.9)  # A swash or two may be larger, and is shrunk.
  return family, np.stack([_place(mask, min(scale, (SIDE - 2) / max(mask.shape))) for mask in masks])


def _mask(font, character):
  """The ink of a character, uint8 [h,w] cut to its bounding box; [0,0] for none."""
  mask = font.getmask(character)
  ink = np.asarray(mask, np.uint8).reshape(mask.size[::-1])
  rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
  return ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] if len(rows) else np.zeros((0, 0), np.uint8)


def _place(mask, scale):
  """A mask, scaled, in the middle of a square."""
  from PIL import Image
  height, width = (max(1, round(side * scale)) for side in mask.shape)
  image = np.zeros((SIDE, SIDE), np.uint8)
  top, left = (SIDE - height) // 2, (SIDE - width) // 2
  small = Image.fromarray(mask).resize((width, height), Image.Resampling.BOX)
  image[top:top + height, left:left + width] = np.asarray(small)
  return image


def _capitals_only(masks):
  """Whether the small letters that should differ from their capitals are the same shape, at any size."""
  from PIL import Image
  def shape(character):
    mask = masks[CHARACTERS.index(character)]
    return np.asarray(Image.fromarray(mask).resize((16, 16), Image.Resampling.BOX), np.float32).ravel()
  with np.errstate(invalid='ignore'):  # A solid box, of no spread.
    same = [np.corrcoef(shape(small), shape(small.upper()))[0, 1] for small in 'abdeghnqrt']
  return not np.median(same) < SAME_SHAPE


def _without_twins(fonts):
  """(file, family, images) of the fonts that look like none before them, and the rest as (file, reason).

  Families with a face in common, nearly, become one: copies of a design go by many names.
  """
  pixels = [images[:, ::2, ::2].astype(np.float32).ravel() for *_, images in fonts]  # A quarter tells them apart.
  kept, twins, group = [], [], {family: family for _, family, _ in fonts}
  for i, (file, family, _) in enumerate(fonts):
    away = np.array([np.abs(pixels[j] - pixels[i]).mean() for j in kept])
    for near in np.flatnonzero(away < KIN):
      old, new = group[family], group[fonts[kept[near]][1]]
      group = {name: new if now == old else now for name, now in group.items()}
    if (away < TWINS).any():
      twins.append((file, f'looks like {fonts[kept[away.argmin()]][0]}'))
    else:
      kept.append(i)
  return [(fonts[i][0], group[fonts[i][1]], fonts[i][2]) for i in kept], twins
