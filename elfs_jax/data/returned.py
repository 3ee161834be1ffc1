"""Labels that come back: the export of a labelling tool -> which labels each image got.

A format is one function, what was parsed -> `Returned`, and one entry of `FORMATS`. The content decides the format, not
the name of the file.
"""
import io
import json
import pathlib
import re
import urllib.parse
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from xml.etree import ElementTree

from elfs_jax.data import labels as labels_lib
from elfs_jax.data import room

# Columns of Label Studio's flat exports that are neither data nor answers. `id` is there that of the task.
OWN = {'id', 'annotator', 'annotation_id', 'created_at', 'updated_at', 'lead_time', 'agreement'}
QUESTIONS = 'label', 'choice', 'choices'  # What a question is called, taken first where there are several.
UPLOADED = re.compile(r'^/?data/upload/\d+/([0-9a-f]{8}-)?')  # What Label Studio puts before an uploaded file's name.
PLACED = re.compile(r'^\d{6,}/')  # What `elfs_jax.export.cvat` puts before a frame's name.


class Returned(NamedTuple):
  """The images of an export, m of them, one perhaps more than once."""
  names: list[list[str]]    # Ways to name them, the best first, [m] each; '' where an image has no such name.
  answers: list[list[str]]  # [m]: the labels that each got; none where it was skipped.


class Format(NamedTuple):
  """An export of a labelling tool."""
  kind: str                  # What it is parsed as: json, xml or csv (a list of rows, a dict each).
  fits: Callable[[Any], bool]
  read: Callable[[Any], Returned]


def read(path) -> tuple[str, Returned] | None:
  """The name of an export's format and what is in it; None where a text is no export, but perhaps a plain table.

  Args: path: of a file, or of a .zip that holds one. Raises: ValueError in one line.
  """
  content, inside = _content(path)
  sure = inside or pathlib.Path(path).suffix.lower() in ('.json', '.xml')
  kind, parsed = _parsed(path, content, sure)
  if kind is None:
    return None
  fitting = next((name for name, entry in FORMATS.items() if entry.kind == kind and entry.fits(parsed)), None)
  if fitting is not None:
    try:
      return fitting, FORMATS[fitting].read(parsed)
    except (KeyError, TypeError, AttributeError) as error:
      raise ValueError(f'{path}: looks like an export of {fitting}, but is not as that is written '
                       f'({type(error).__name__}: {error}); export it again') from None
    except ValueError as error:
      raise ValueError(f'{path}: {error}') from None
  if sure:
    raise ValueError(f'{path}: not an export that is known ({", ".join(FORMATS)}); export it as one of these, or as a '
                     '.csv with the columns id and label')
  return None


def _content(path):
  """The bytes of a file, or of the one .xml or .json in a .zip; and whether it is the latter."""
  file = pathlib.Path(path).expanduser()
  room.need_memory(10 * file.stat().st_size, f'{path}', 'give a smaller file')
  content = file.read_bytes()
  if not content.startswith(b'PK\x03\x04'):
    return content, False
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      inner = [info for info in archive.infolist() if re.search(r'\.(xml|json)$', info.filename)]
      if len(inner) != 1:
        raise ValueError(f'{path}: an archive with {len(inner)} files of labels (.xml or .json); give one with one, '
                         'such as CVAT\'s "CVAT for images 1.1", or the file itself')
      room.need_memory(10 * inner[0].file_size, f'{path}', 'give a smaller file')
      return archive.read(inner[0]), True
  except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
    raise ValueError(f'{path}: not a sound .zip ({error}); save it again') from None


def _parsed(path, content, sure):
  """(kind, what was parsed); (None, None) for other text."""
  text = content.removeprefix(b'\xef\xbb\xbf').lstrip()
  try:
    if text[:1] == b'<':
      return 'xml', ElementTree.fromstring(text)
    if text[:1] in (b'[', b'{'):
      return 'json', json.loads(text)
  except (ValueError, RecursionError, ElementTree.ParseError) as error:
    if sure:
      raise ValueError(f'{path}: cannot be read ({error}); export it again') from None
    return None, None
  if sure:
    raise ValueError(f'{path}: holds neither JSON nor XML; export it again')
  if b'annotation_id' not in text.partition(b'\n')[0].lower():
    return None, None
  header, rows = labels_lib.table_of(path, ['annotation_id'])
  return 'csv', [dict(zip(header, row)) for row in rows[1:]]


def _label_studio(tasks):
  results = [[part for one in task.get('annotations') or [] if not one.get('was_cancelled')
              for part in one.get('result') or [] if part.get('type') == 'choices'] for task in tasks]
  question = _question({part['from_name'] for parts in results for part in parts})
  answers = [[choice for part in parts if part['from_name'] == question for choice in part['value']['choices']]
             for parts in results]
  return Returned(_ways([task['data'] for task in tasks]), _clean(answers))


def _label_studio_flat(rows):
  """JSON-MIN and CSV: the fields of the data and the answers are columns of one table."""
  columns = dict.fromkeys(name for row in rows for name in row if name not in OWN)
  found = [name for name in columns if name.lower() not in ('image', 'file', 'path', 'url')]
  question = _question(set(found))
  data = [{name: value for name, value in row.items() if name not in OWN and name != question} for row in rows]
  return Returned(_ways(data), _clean(_choices(row.get(question)) for row in rows))


def _question(names):
  """The question whose answers are the labels, of those that have answers."""
  if len(names) < 2:
    return next(iter(names), None)
  first = next((name for name in QUESTIONS if name in names), None)
  if first is None:
    raise ValueError(f'holds several questions ({", ".join(sorted(names))}); call the one that asks for the class '
                     "'label' in the labelling interface, or give a .csv with the columns id and label")
  return first


def _choices(value):
  """The labels in a cell: a word, or where there are several what Label Studio makes of them."""
  if isinstance(value, str) and value[:1] in ('[', '{'):
    try:
      value = json.loads(value)
    except ValueError:
      pass  # A word.
  if isinstance(value, dict):
    return _choices(value.get('choices', []))
  if isinstance(value, list):
    return [choice for one in value for choice in _choices(one)]
  return [] if value is None else [value]


def _ways(data):
  """Each field of the tasks' data as names of the images: `id` first, which our own tasks have, then `image`."""
  fields = dict.fromkeys(['id', 'image', *(name for one in data for name in one)])
  columns = [[_file_of(str(one.get(name) or '')) for one in data] for name in fields]
  return [column for column in columns if any(column)] or [[''] * len(data)]


def _file_of(address):
  """The path in an address: what Label Studio serves, a URL, or a path as it is."""
  parts = urllib.parse.urlsplit(address) if re.match(r'([a-z][a-z0-9+.-]*:/)?/', address, re.I) else None
  if parts is None or not (parts.scheme or parts.path.startswith('/data/')):
    return address
  served = urllib.parse.parse_qs(parts.query).get('d')
  path = served[0] if served else urllib.parse.unquote(parts.path).lstrip('/')
  return UPLOADED.sub('', path)


def _cvat(root):
  images = root.findall('image')
  answers = [[tag.get('label') or '' for tag in image.findall('tag')] for image in images]
  if not any(answers) and any(len(image) for image in images):
    raise ValueError('holds shapes and no tags: in CVAT a label of a whole image is a tag')
  frames = [image.get('name') or '' for image in images]
  return Returned([[PLACED.sub('', frame) for frame in frames], frames], _clean(answers))


def _coco(found):
  classes = {one['id']: one['name'] for one in found['categories']}
  answers = {image['id']: [] for image in found['images']}
  for one in found['annotations']:
    answers[one['image_id']].append(classes[one['category_id']])
  return Returned([[image['file_name'] for image in found['images']]], _clean(answers.values()))


def _clean(answers: Iterable[Iterable[Any]]) -> list[list[str]]:
  """Labels as strings without white space around them, and without empty ones."""
  return [[label for label in (str(one).strip() for one in each) if label] for each in answers]


def _rows_with(field):
  return lambda found: isinstance(found, list) and len(found) > 0 and all(
      isinstance(one, dict) and field in one for one in found)


FORMATS: dict[str, Format] = {
  'Label Studio JSON': Format('json', _rows_with('data'), _label_studio),
  'Label Studio JSON-MIN': Format('json', _rows_with('annotation_id'), _label_studio_flat),
  'Label Studio CSV': Format('csv', _rows_with('annotation_id'), _label_studio_flat),
  'CVAT for images': Format('xml', lambda root: root.tag == 'annotations' and root.find('image') is not None, _cvat),
  'COCO': Format('json', lambda found: isinstance(found, dict) and {'images', 'annotations', 'categories'} <= {*found},
                 _coco),
}
