"""The charts of the page as geometry, in their own units: the template draws it."""
import math

import numpy as np
from numpy.typing import ArrayLike

from elfs_jax.budget import floor_count

BINS = 50
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 270, 52, 12, 44, 44
MAP_WIDTH, MAP_HEIGHT, MAP_EDGE = 640, 420, 10
CURVE_POINTS = 200


def left_out(difficulty, kept, beta):
  """What is not in the coreset: the hard end, which was dropped, and the rest: two int64 arrays, each hardest first.

  Of `double_end` the rest is the easy end; other methods leave out examples between chosen ones.
  """
  others = np.setdiff1d(np.arange(len(difficulty)), kept)
  others = others[np.argsort(-difficulty[others], kind='stable')]
  cut = floor_count(beta, len(difficulty))
  return others[:cut], others[cut:]


def all_easier(difficulty, rest, kept):
  """Whether what was not chosen is all easier than what was, so that a line parts them."""
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
  if all_easier(difficulty, rest, kept):
    at = x((difficulty[kept].min() + difficulty[rest].max()) / 2)
    cuts.append({'x': at, 'y': 30, 'text': f'easy cut: {len(rest):,} dropped',
                 'anchor': 'end' if at > 150 else 'start'})
  _, x_ticks = _ticks(edges[0], edges[-1])
  return {'width': WIDTH, 'height': HEIGHT, 'left': LEFT, 'right': WIDTH - RIGHT, 'top': TOP, 'bottom': HEIGHT - BOTTOM,
          'bars': bars, 'cuts': cuts, 'y_ticks': [(y(t), f'{t:,.0f}') for t in y_ticks],
          'x_ticks': [(x(t), f'{t:.4g}') for t in x_ticks if edges[0] <= t <= edges[-1]]}


def curve(covered: ArrayLike, at_random: ArrayLike, enough: int) -> dict:
  """Geometry of the curve of coverage: two lines, and where the first `enough` lie.

  Args: covered, at_random: float [n + 1], shares from 0 to 1, of the choice and of random ones; enough: from 1 to n.
  """
  covered, at_random = np.asarray(covered), np.asarray(at_random)
  count, top, bottom = len(covered) - 1, 14, HEIGHT - BOTTOM
  most, y_ticks = _ticks(0, 100 * max(covered.max(), at_random.max(), 0.01))
  def x(number):
    return round(float(LEFT + number / max(1, count) * (WIDTH - LEFT - RIGHT)), 2)
  def y(share):
    return round(float(bottom - 100 * share / most * (bottom - top)), 2)
  places = np.unique(np.linspace(0, count, min(count + 1, CURVE_POINTS)).round().astype(int))
  line, random_line = (' '.join(f'{x(m)},{y(values[m])}' for m in places) for values in (covered, at_random))
  _, x_ticks = _ticks(0, count)
  return {'width': WIDTH, 'height': HEIGHT, 'left': LEFT, 'right': WIDTH - RIGHT, 'top': top, 'bottom': bottom,
          'line': line, 'random': random_line, 'mark': (x(enough), y(covered[enough])),
          'y_ticks': [(y(t / 100), f'{t:g} %') for t in y_ticks],
          'x_ticks': [(x(t), f'{t:,.0f}') for t in x_ticks if t <= count and t == round(t)]}


def plane(points: ArrayLike) -> np.ndarray:
  """Points of any plane, float [m,2] -> places on the map, float [m,2]; both axes at one scale, none far outside.

  The scale is that of the middle 99 %, so that one stray point does not press all others together; it lies on the edge.
  """
  points = np.asarray(points, np.float64)
  low, high = np.percentile(points, [0.5, 99.5], axis=0)
  size = np.array([MAP_WIDTH - 2 * MAP_EDGE, MAP_HEIGHT - 2 * MAP_EDGE])
  scale = min(size / np.maximum(high - low, 1e-12))
  places = (points - (low + high) / 2) * min(scale, 1e12) * [1, -1] + [MAP_WIDTH / 2, MAP_HEIGHT / 2]
  return places.clip(MAP_EDGE / 2, [MAP_WIDTH - MAP_EDGE / 2, MAP_HEIGHT - MAP_EDGE / 2]).round(1)


def dots(places: ArrayLike) -> str:
  """Places as one SVG path of dots, which round ends of its line draw."""
  return ''.join(f'M{x:g} {y:g}h0' for x, y in np.asarray(places).tolist())


def _ticks(low, high):
  """About five round numbers from `low` on: (the first one at or above `high`, those up to it)."""
  step = (high - low) / 4 or 1
  power = 10.0 ** math.floor(math.log10(step))
  step = next(power * m for m in (1, 2, 5, 10) if power * m >= step * (1 - 1e-9))
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  return last * step, [round(i * step, 12) for i in range(first, last + 1)]
