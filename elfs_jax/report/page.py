"""The report: one HTML page that needs nothing else, with the chosen pictures, what they stand for and the numbers."""
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elfs_jax.report import charts, plane, thumbnails

SHOWN = 500        # Chosen ones.
OTHERS = 24        # Of those left out.
NEAREST = 4        # Neighbours of each.
TYPICAL = 3        # Of a cluster, and as many chosen ones,
CLUSTERS = 60      # of so many clusters.
LISTED = 100       # Names in a list.
ROOM = 4_600_000   # Characters of the page, about; of its text so much at most: the pictures get the rest.
TEXT = 900_000
BIG_PART = 0.68    # Of the room for pictures: those that can be looked at; the others are small.
SMALL = 64         # Pixels of the small ones.
NAME = 120         # Characters of a name in a list.


class Choice(NamedTuple):
  """What was chosen of N examples, and what is known of each."""
  ids: Sequence[str]          # [N]
  paths: Sequence[str]        # [n] of the chosen: where their files are, '' where they have none
  kept: np.ndarray            # int64 [n], in the order in which to label
  beta: float                 # the fraction of N that was dropped from the hard end
  difficulty: np.ndarray      # float [N], higher is harder; as float32 it is shown
  pseudo_labels: np.ndarray   # int [N]
  embeddings: np.ndarray      # float32 [N,D]
  neighbors: np.ndarray       # int [N,k], -1 for none
  similarity: np.ndarray      # float [N,k]
  by: np.ndarray              # int64 [N], the chosen or labelled one that stands for each; -1 for none, or itself
  duplicates: np.ndarray      # int64 [N], the row that each is an exact copy of, -1 for none
  covered: np.ndarray         # float [n + 1], as `select.coverage_curve` has it,
  at_random: np.ndarray       # and that of random ones
  enough: int                 # how many of the first cover nine tenths of what all do
  suspects: Mapping[str, np.ndarray]  # rows, by what they seem to be
  skipped: Sequence[tuple[str, str]]  # (path, reason) of files that could not be read
  map: str = 'pca'            # how the map is laid out, of `plane.PLANES`


def render(choice: Choice, *, words: Mapping[str, Any], score_name: str, pictures: Callable | None,
           decodes: bool) -> str:
  """Render the page. Everything is escaped; images are embedded, and no other resource is named.

  Args:
    choice: what is shown.
    words: what the page says: `title`, `answer`, `verdict`, `verdict_note`, `steps` (sentence, command), `curve`,
      `hardest`, `facts` (name, value), `tables` (dicts with `title`, `columns`, `rows` and perhaps `note`), `settings`
      (name, value), `versions` (name, value) and `repeat`, a command or ''.
    score_name: what `difficulty` measures, for the axis and the captions.
    pictures: the images as pictures(rows int [m], size or None) -> uint8 [m,H,W,Ch], None where there are none.
    decodes: whether they are decoded from files, at the size that is asked for; else they are shown as they are.
  Returns: the page, a string of HTML, below 5 MB.
  """
  import jinja2
  difficulty = np.asarray(choice.difficulty, np.float64)
  hard, rest = charts.left_out(difficulty, choice.kept, choice.beta)
  score = difficulty.astype(np.float32).astype(np.float64)  # Without what sets ties apart: whole numbers are whole.
  shown = {'hard': hard[:OTHERS], 'kept': choice.kept[:SHOWN], 'rest': rest[::-1][:OTHERS]}
  big = np.concatenate([shown[kind] for kind in ('kept', 'hard', 'rest')])
  clusters = _clusters(choice)
  copies = _copies(choice)
  suspects = [(kind, rows) for kind, rows in choice.suspects.items() if len(rows)]
  small = _others(big, [row for cluster in clusters for row in cluster['typical'] + cluster['chosen']],
                  [row for rows in copies[:OTHERS] for row in rows[:1]],
                  [row for _, rows in suspects for row in rows[:OTHERS].tolist()],
                  [row for place in range(NEAREST) for row in choice.neighbors[big, place:place + 1].ravel()],
                  choice.by[big])
  room = ROOM - TEXT
  large_ones, small_ones, tiny = {}, {}, False
  if pictures is not None:
    # The small ones as they are in memory: so many are not decoded anew.
    large_ones = thumbnails.encoded(pictures, big, int(BIG_PART * room), decodes=decodes)
    small_ones = thumbnails.encoded(pictures, small, room - sum(map(len, large_ones.values())), decodes=False,
                                    most=SMALL)
    tiny = not decodes and max(pictures(big[:1], None).shape[1:3]) < 64
  names = {'hard': ('Hardest, left out', 'hardest first'),
           'kept': ('Chosen', 'in the order to label'),
           'rest': ('Easier, not chosen' if charts.all_easier(difficulty, rest, choice.kept) else 'Others, not chosen',
                    'easiest first')}
  groups = {kind: {
    'kind': kind, 'name': names[kind][0], 'order': names[kind][1], 'count': {'hard': len(hard), 'rest': len(rest)}.get(
      kind, len(choice.kept)),
    'items': [{'row': row, 'rank': rank + 1, 'id': str(choice.ids[row]), 'score': f'{score[row] + 0.0:.3g}',
               'cluster': int(choice.pseudo_labels[row]), 'picture': large_ones.get(row)}
              for rank, row in enumerate(shown[kind].tolist())]} for kind in ('kept', 'hard', 'rest')}
  environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                   undefined=jinja2.StrictUndefined,
                                   loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent, 'utf-8'))
  environment.filters |= {'cell': _cell, 'number': '{:,}'.format, 'short': short}
  return environment.get_template('template.html.j2').render(
    words=words, groups=groups, clusters=clusters[:CLUSTERS], cluster_count=len(clusters), copies=copies,
    suspects=suspects, skipped=choice.skipped, ids=choice.ids, score_name=score_name, beta=f'{choice.beta:.4g}',
    n=len(difficulty), easier=names['rest'][0].startswith('Easier'), listed=LISTED, others=OTHERS,
    chart=charts.histogram(score, hard, choice.kept, rest),
    curve=charts.curve(choice.covered, choice.at_random, choice.enough), map=_map(choice, hard),
    what='examples' if pictures is None else 'images', pictured=pictures is not None, tiny=tiny,
    content=_content(choice, big, small, small_ones))


def _others(big, *lists):
  """Rows of lists, each once and none of `big`, the first lists first: int64."""
  known = set(big.tolist()) | {-1}
  rows = [int(row) for rows in lists for row in rows]
  return np.array([row for row in dict.fromkeys(rows) if row not in known], np.int64)


def _clusters(choice):
  """Each cluster with its typical and its first chosen ones, the largest first."""
  sizes = np.bincount(choice.pseudo_labels)
  of_chosen = choice.pseudo_labels[choice.kept]
  typical = plane.typical(choice.embeddings, choice.pseudo_labels, TYPICAL)
  return [{'name': int(c), 'size': int(sizes[c]), 'count': int((of_chosen == c).sum()), 'typical': typical[c].tolist(),
           'chosen': choice.kept[:SHOWN][of_chosen[:SHOWN] == c][:TYPICAL].tolist()}
          for c in np.argsort(-sizes, kind='stable') if sizes[c]]


def _copies(choice):
  """Groups of exact copies: lists of rows, the one that stands for the others first; the largest first."""
  rows = np.flatnonzero(choice.duplicates >= 0)
  found: dict[int, list[int]] = {}
  for row, of in zip(rows.tolist(), choice.duplicates[rows].tolist(), strict=True):
    found.setdefault(of, [of]).append(row)
  return sorted(found.values(), key=lambda group: -len(group))


def _map(choice, hard):
  """The map: places of all that are drawn, in three kinds, and how many that is."""
  rows = plane.sample(len(choice.ids), choice.kept[:plane.POINTS // 2])
  places = charts.plane(plane.PLANES[choice.map].function(choice.embeddings, rows))
  is_hard, chosen = np.isin(rows, hard), np.isin(rows, choice.kept)
  count = min(len(choice.kept), SHOWN)  # They stand in front.
  how = plane.PLANES[choice.map].help.partition(' (')[0]
  return {'how': how, 'width': charts.MAP_WIDTH, 'height': charts.MAP_HEIGHT, 'count': len(rows),
          'rest': charts.dots(places[~is_hard & ~chosen]), 'hard': charts.dots(places[is_hard]),
          'more': charts.dots(places[count:][chosen[count:]]),
          'chosen': [{'row': row, 'cluster': int(choice.pseudo_labels[row]), 'x': x, 'y': y}
                     for row, (x, y) in zip(rows[:count].tolist(), places[:count].tolist(), strict=True)]}


def _content(choice, big, small, pictures):
  """What the script shows of the pictures that can be looked at, for a script tag of JSON."""
  stands = np.bincount(choice.by[choice.by >= 0], minlength=len(choice.ids))
  path = dict(zip(choice.kept.tolist(), choice.paths, strict=True))
  def near(row):
    return [[int(i), round(float(s), 3)] for i, s in zip(choice.neighbors[row, :NEAREST],
                                                         choice.similarity[row, :NEAREST], strict=True) if i >= 0]
  items = {row: {'path': path.get(row, ''), 'near': near(row), 'stands': int(stands[row]) if row in path else None,
                 'by': int(choice.by[row])} for row in big.tolist()}
  named = {row for item in items.values() for row in (item['by'], *(i for i, _ in item['near']))}
  known = set(big.tolist()) | {-1}
  names = {row: short(choice.ids[row]) for row in sorted(named | set(small.tolist())) if row not in known}
  return {'items': items, 'names': names, 'pictures': pictures}


def short(name: str) -> str:
  """A name for a list: its end, where it is long."""
  return name if len(str(name)) <= NAME else '…' + str(name)[1 - NAME:]


def _cell(value):
  if isinstance(value, (bool, str)) or value is None:
    return '' if value is None else value
  return f'{value:,}' if isinstance(value, (int, np.integer)) else f'{value:.4g}'
