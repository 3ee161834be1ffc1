"""The report: one HTML page that needs nothing else, with the numbers, the score's histogram and the images."""
import base64
import io
import math
import pathlib
from collections.abc import Callable

import numpy as np

from elfs_jax.budget import floor_count

SHOWN = 24  # thumbnails a group
THUMBNAIL = 128  # pixels, at most
BINS = 50
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 270, 52, 12, 44, 44  # of the chart, in its own units


def render(*, title: str, facts, tables, difficulty: np.ndarray, kept: np.ndarray, beta: float, score_name: str,
           pictures: Callable | None = None, decodes: bool = False, ids, pseudo_labels: np.ndarray,
           result: str = '') -> str:
  """Render the page. Everything is escaped; images are embedded, and no other resource is named.

  Args:
    title: the heading.
    facts: a list of (name, value).
    tables: a list of dicts with `title`, `columns`, `rows` (of strings or numbers) and perhaps `note`.
    difficulty: float [N], higher is harder; as float32 it is shown.
    kept: int64 [n], the coreset, in the order in which to label.
    beta: the fraction of N dropped from the hard end.
    score_name: what `difficulty` measures, for the axis and the captions.
    pictures: the images as pictures(rows int [m], size or None) -> uint8 [m,H,W,Ch], None where there are none.
    decodes: whether they are decoded from files, at the size of a thumbnail; else they are shown as they are.
    ids: [N] strings.
    pseudo_labels: int [N].
    result: the run's result in one line, shown first.
  Returns: the page, a string of HTML.
  """
  import jinja2
  difficulty, kept = np.asarray(difficulty, np.float64), np.asarray(kept, np.int64)
  hard, rest = left_out(difficulty, kept, beta)
  easier = _all_easier(difficulty, rest, kept)
  score = difficulty.astype(np.float32).astype(np.float64)  # Without what sets ties apart: whole numbers are whole.
  side = 0
  def thumbnails(indices):
    nonlocal side
    images = [None] * len(indices)
    if pictures is not None and len(indices):
      images = pictures(indices, THUMBNAIL if decodes else None)
      side = max(images.shape[1:3])
    return [{'id': str(ids[i]), 'score': f'{score[i] + 0.0:.3g}', 'label': int(pseudo_labels[i]),
             'png': None if image is None else png(image)} for i, image in zip(indices, images, strict=True)]
  groups = [
    {'kind': 'hard', 'name': 'Hardest, dropped', 'count': len(hard), 'order': 'hardest first',
     'items': thumbnails(hard[:SHOWN])},
    {'kind': 'kept', 'name': 'Kept', 'count': len(kept), 'order': 'spread over all kept, in the order to label',
     'items': thumbnails(kept[np.unique(np.linspace(0, len(kept) - 1, SHOWN).round().astype(int))])},
    {'kind': 'rest', 'name': 'Easier, dropped' if easier else 'Others, not chosen', 'count': len(rest),
     'order': 'easiest first', 'items': thumbnails(rest[::-1][:SHOWN])},
  ]
  environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                   undefined=jinja2.StrictUndefined)
  environment.filters['cell'] = _cell
  template = environment.from_string(pathlib.Path(__file__).with_name('template.html.j2').read_text('utf-8'))
  return template.render(
    title=title, result=result, facts=facts, tables=tables, groups=groups, score_name=score_name, beta=f'{beta:.4g}',
    n=len(difficulty), easier=easier, chart=histogram(score, hard, kept, rest),
    what='examples' if pictures is None else 'images', tiny=0 < side < 64)


def left_out(difficulty, kept, beta):
  """What is not in the coreset: the hard end, which was dropped, and the rest: two int64 arrays, each hardest first.

  Of `double_end` the rest is the easy end; other methods leave out examples between chosen ones.
  """
  others = np.setdiff1d(np.arange(len(difficulty)), kept)
  others = others[np.argsort(-difficulty[others], kind='stable')]
  cut = floor_count(beta, len(difficulty))
  return others[:cut], others[cut:]


def _all_easier(difficulty, rest, kept):
  return len(rest) > 0 and difficulty[rest].max() <= difficulty[kept].min()


def histogram(difficulty, hard, kept, rest):
  """Geometry of the chart: stacked bars, both cuts and the axes, in the chart's own units."""
  low, high = difficulty.min(), difficulty.max()
  if high - low < BINS and np.array_equal(difficulty, np.round(difficulty)):
    edges = np.arange(low - 0.5, high + 1)  # A bar for each whole number.
  else:
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
  counts = {kind: np.histogram(difficulty[index], edges)[0]
            for kind, index in (('rest', rest), ('kept', kept), ('hard', hard))}
  top_tick, y_ticks = _ticks(0, sum(counts.values()).max())
  def x(value):
    return round(float(LEFT + (value - edges[0]) / (edges[-1] - edges[0]) * (WIDTH - LEFT - RIGHT)), 2)
  def y(count):
    return round(float(HEIGHT - BOTTOM - count / top_tick * (HEIGHT - TOP - BOTTOM)), 2)
  bars, base = [], np.zeros(len(edges) - 1)
  for kind, count in counts.items():
    bars += [{'kind': kind, 'x': x(edges[b]), 'width': round(x(edges[b + 1]) - x(edges[b]), 2),
              'y': y(base[b] + count[b]), 'height': round(y(base[b]) - y(base[b] + count[b]), 2)}
             for b in np.flatnonzero(count)]
    base += count
  cuts = []
  below = max(difficulty[group].max(initial=-np.inf) for group in (kept, rest))
  if len(hard) and difficulty[hard].min() >= below:
    at = x((below + difficulty[hard].min()) / 2)
    cuts.append({'x': at, 'y': 13, 'text': f'hard cut: {len(hard):,} dropped',
                 'anchor': 'start' if at < WIDTH - 150 else 'end'})
  if _all_easier(difficulty, rest, kept):
    at = x((difficulty[kept].min() + difficulty[rest].max()) / 2)
    cuts.append({'x': at, 'y': 30, 'text': f'easy cut: {len(rest):,} dropped',
                 'anchor': 'end' if at > 150 else 'start'})
  _, x_ticks = _ticks(edges[0], edges[-1])
  return {'width': WIDTH, 'height': HEIGHT, 'left': LEFT, 'right': WIDTH - RIGHT, 'top': TOP, 'bottom': HEIGHT - BOTTOM,
          'bars': bars, 'cuts': cuts, 'y_ticks': [(y(t), f'{t:,.0f}') for t in y_ticks],
          'x_ticks': [(x(t), f'{t:.4g}') for t in x_ticks if edges[0] <= t <= edges[-1]]}


def png(image):
  """uint8 [H,W,Ch] -> a data URI of a PNG, at most THUMBNAIL pixels a side."""
  from PIL import Image
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  picture.thumbnail((THUMBNAIL, THUMBNAIL))
  file = io.BytesIO()
  picture.save(file, 'PNG')
  return 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()


def _ticks(low, high):
  """About five round numbers from `low` on: (the first one at or above `high`, those up to it)."""
  step = (high - low) / 4 or 1
  power = 10.0 ** math.floor(math.log10(step))
  step = next(power * m for m in (1, 2, 5, 10) if power * m >= step * (1 - 1e-9))
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  return last * step, [round(i * step, 12) for i in range(first, last + 1)]


def _cell(value):
  if isinstance(value, (bool, str)) or value is None:
    return '' if value is None else value
  return f'{value:,}' if isinstance(value, (int, np.integer)) else f'{value:.4g}'
