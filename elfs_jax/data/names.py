"""Names in a table or list -> examples, compared in one form: the spelling on disk is not always the one in a table."""
import collections
import os
import re
import unicodedata
from collections.abc import Sequence

UNKNOWN, AMBIGUOUS = -1, -2  # In place of a row.
ENDING = re.compile(r'(?<=[^/])\.[A-Za-z][A-Za-z0-9]{1,4}$')


def find(names: Sequence[str], ids: Sequence[str], root: str | None = None) -> list[int]:
  """The example that each name is the name of.

  A name is an id as it stands, or else in one form: Unicode NFC, `/` for back slashes, no `./`. Where that finds none,
  all may stand below the folder `root`, or below one other folder, or be file names alone. The ending of a file's name
  may be left out. What fits two examples is `AMBIGUOUS`.

  Args: names; ids: [N] unique; root: the folder that the ids are paths in, or None.
  Returns: for each name its row, `UNKNOWN` or `AMBIGUOUS`.
  """
  rows = find_exact(names, ids)
  if UNKNOWN not in rows:
    return rows
  forms, known = [_form(name) for name in names], _table([_form(name) for name in ids])
  def looked_up(prefix, table):
    return [row if row != UNKNOWN or not form.startswith(prefix) else table.get(form[len(prefix):], UNKNOWN)
            for row, form in zip(rows, forms)]
  for prefix in ('', *_folders(root), *_common(forms, known)):
    found = looked_up(prefix, known)
    if any(row != UNKNOWN for row in found):
      return found
  return looked_up('', _table([_form(name).rpartition('/')[2] for name in ids]))


def find_exact(names: Sequence[str], ids: Sequence[str]) -> list[int]:
  """`find` of names that are spelled as the ids are; white space around them does not count."""
  rows = {name: row for row, name in enumerate(ids)}
  return [rows.get(name, rows.get(name.strip(), UNKNOWN)) for name in names]


def refuse_ambiguous(what, names: Sequence[str], rows: Sequence[int]) -> None:
  """Raises: ValueError for a name that `find` found to be `AMBIGUOUS`; what: the file or argument."""
  if AMBIGUOUS in rows:
    raise ValueError(f'{what}: {names[list(rows).index(AMBIGUOUS)]!r} fits several images; write it as coreset.csv\'s '
                     'column id does, with its folder and ending')


def are_whole(names: Sequence[str]) -> bool:
  """Whether all are whole numbers."""
  return all(re.fullmatch(r'\s*-?[0-9]+(\.0+)?\s*', name) for name in names)


def are_numbers(names: Sequence[str]) -> bool:
  """Whether all are numbers or empty."""
  try:
    for name in names:
      float(name or 0)
  except ValueError:
    return False
  return True


def _form(name):
  name = re.sub(r'/(\.?/)+', '/', unicodedata.normalize('NFC', name.strip()).replace('\\', '/'))
  return name[2:] if name.startswith('./') else name


def _table(forms):
  """{form, or form without the ending: row}."""
  table = {}
  for row, form in enumerate(forms):
    table[form] = AMBIGUOUS if form in table else row
  short = collections.defaultdict(list)
  for row, form in enumerate(forms):
    short[ENDING.sub('', form)].append(row)
  return {form: rows[0] if len(rows) == 1 else AMBIGUOUS for form, rows in short.items()} | table


def _folders(root):
  """How a path below `root` may begin."""
  if root is None:
    return []
  return [f'{_form(folder).rstrip("/")}/' for folder in (os.path.abspath(root), os.path.realpath(root),
                                                        os.path.basename(os.path.abspath(root)))]


def _common(forms, known):
  """The one folder below which all the names stand that end in a known one; none where there are several."""
  folders = set()
  for form in forms:
    place = form.find('/') + 1
    while place and form[place:] not in known:
      place = form.find('/', place) + 1
    if place:
      folders.add(form[:place])
    if len(folders) > 1:
      return []
  return folders
