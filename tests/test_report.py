import base64
import html.parser
import io
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

from elfs_jax import select
from elfs_jax.report import page as report


class Page(html.parser.HTMLParser):
  """Tags, attributes and text of a page; fails on a tag that is not closed in order."""
  VOID = {'meta', 'img'}

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.text = [], [], ''
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


def make(n=200, budget=0.3, beta=0.2, images=None, **changes):
  rng = np.random.default_rng(0)
  difficulty = rng.normal(size=n)
  arguments = dict(title='Title', facts=[('seed', 3)], tables=[], difficulty=difficulty, beta=beta, score_name='-aum',
                   kept=select.double_end(difficulty, budget, beta), ids=[f'i{i}' for i in range(n)],
                   pictures=None if images is None else lambda rows, size: images[rows],
                   pseudo_labels=rng.integers(0, 4, n), result='one line') | changes
  return arguments, report.render(**arguments)


def shown(page):
  """The names in the three grids, in order."""
  sections = re.findall(r'<ul class="items (\w+).*?</ul>', page, re.S)
  groups = re.findall(r'<ul class="items .*?</ul>', page, re.S)
  return {kind: re.findall(r'<bdi>(.*?)</bdi>', group) for kind, group in zip(sections, groups)}


def test_the_grids_show_what_was_dropped_and_kept():
  arguments, page = make()
  order = np.argsort(-arguments['difficulty'])
  groups = shown(page)
  assert groups['hard'] == [f'i{i}' for i in order[:24]]
  assert groups['rest'] == [f'i{i}' for i in order[::-1][:24]]
  kept = [f'i{i}' for i in arguments['kept']]
  ranks = [kept.index(name) for name in groups['kept']]
  assert len(ranks) == 24 and ranks == sorted(ranks) and ranks[0] == 0 and ranks[-1] == len(kept) - 1
  text = ' '.join(Page(page).text.split())
  assert '60 of 200 images kept' not in text and '60 of 200 examples kept; the 40 hardest (beta 0.2)' in text
  assert 'and 100 easier ones dropped' in text and text.index('one line') < text.index('seed')


def test_pictures_are_embedded_whole():
  rng = np.random.default_rng(1)
  for channels in (1, 3):
    images = rng.integers(0, 256, (200, 8, 9, channels), np.uint8)
    arguments, text = make(images=images)
    page = Page(text)
    sources = [attributes['src'] for tag, attributes in page.tags if tag == 'img']
    assert len(sources) == 72
    first = Image.open(io.BytesIO(base64.b64decode(sources[0].removeprefix('data:image/png;base64,'))))
    assert np.array_equal(np.asarray(first).reshape(8, 9, channels), images[np.argmax(arguments['difficulty'])])
    assert 'tiny' in next(a['class'] for _, a in page.tags if 'items' in a.get('class', ''))


def test_large_pictures_are_made_small():
  picture = np.random.default_rng(0).integers(0, 256, (400, 200, 3), np.uint8)
  data = base64.b64decode(report.png(picture).split(',')[1])
  assert Image.open(io.BytesIO(data)).size == (64, 128)


def test_nothing_is_fetched_and_everything_is_escaped():
  evil = '<script>alert("x")</script>\'"&'
  n = 30
  arguments, text = make(n=n, images=np.zeros((n, 4, 4, 1), np.uint8), ids=[f'{evil}{i}' for i in range(n)], title=evil,
                         result=evil, score_name=evil, facts=[(evil, evil)],
                         tables=[dict(title=evil, columns=[evil], rows=[[evil]], note=evil)])
  page = Page(text)
  assert not [tag for tag, _ in page.tags if tag in ('script', 'link', 'iframe', 'object', 'base')]
  assert page.text.count(evil) >= 7 + n
  for tag, attributes in page.tags:
    assert not [name for name in attributes if name.startswith('on') or name == 'href']
    assert attributes.get('src', 'data:').startswith('data:')
  assert 'url(' not in text and '@import' not in text and 'http' not in text


def test_tables_and_facts():
  rows = [['ELFS', 12345, 91.23456, None], ['random', np.int64(7), np.float32(0.5), '±']]
  _, text = make(tables=[dict(title='Accuracy', columns=['a', 'b', 'c', 'd'], rows=rows, note='a note')],
                 facts=[('count', 1234), ('flag', True)])
  cells = re.findall(r'<td>(.*?)</td>', text)
  assert cells == ['ELFS', '12,345', '91.23', '', 'random', '7', '0.5', '±']
  assert 'a note' in text and '<dd>1,234</dd>' in text and '<dd>True</dd>' in text


@pytest.mark.parametrize('difficulty', [
  np.random.default_rng(0).normal(size=500),
  np.random.default_rng(1).integers(0, 6, 500).astype(float),
  np.random.default_rng(2).exponential(1e-6, 500),
  np.random.default_rng(3).normal(1e6, 3e4, 500),
  np.zeros(500)], ids=['normal', 'ties', 'small', 'large', 'constant'])
def test_the_chart_adds_up(difficulty):
  kept = select.double_end(difficulty, 0.25, 0.1)
  hard, rest = report.left_out(difficulty, kept, 0.1)
  assert len(hard) == 50 and len(rest) == 325
  assert difficulty[hard].min() >= difficulty[kept].max() and difficulty[rest].max() <= difficulty[kept].min()
  assert sorted(np.concatenate([hard, kept, rest])) == list(range(500))
  chart = report.histogram(difficulty, hard, kept, rest)
  heights = {kind: sum(bar['height'] for bar in chart['bars'] if bar['kind'] == kind)
             for kind in ('hard', 'kept', 'rest')}
  scale = sum(heights.values()) / 500
  for kind, count in (('hard', 50), ('kept', 125), ('rest', 325)):
    assert heights[kind] / scale == pytest.approx(count, abs=1)
  for bar in chart['bars']:
    assert bar['x'] >= chart['left'] - 0.01 and bar['x'] + bar['width'] <= chart['right'] + 0.02 and bar['width'] > 0
    assert chart['top'] - 0.01 <= bar['y'] and bar['y'] + bar['height'] <= chart['bottom'] + 0.02
  bottoms = {bar['x']: [] for bar in chart['bars']}
  for bar in chart['bars']:  # Stacked: the rest at the bottom, each on top of the one before.
    assert bar['y'] + bar['height'] == pytest.approx((bottoms[bar['x']] or [chart['bottom']])[-1], abs=0.02)
    bottoms[bar['x']].append(bar['y'])
  easy_cut, hard_cut = (next(cut for cut in chart['cuts'] if cut['text'].startswith(kind)) for kind in ('easy', 'hard'))
  assert chart['left'] <= easy_cut['x'] <= hard_cut['x'] <= chart['right']
  assert '50 dropped' in hard_cut['text'] and '325 dropped' in easy_cut['text']
  assert len(chart['x_ticks']) >= 1 and 3 <= len(chart['y_ticks']) <= 8
  assert len({text for _, text in chart['y_ticks']}) == len(chart['y_ticks'])


def test_the_chart_is_sound_svg_and_ends_may_be_empty():
  for budget, beta in ((0.3, 0.2), (0.4, 0.0), (1.0, 0.0), (0.5, 0.5)):
    _, text = make(budget=budget, beta=beta)
    Page(text)
    svg = re.search(r'<svg.*?</svg>', text, re.S).group()
    lines = [e for e in xml.etree.ElementTree.fromstring(svg).iter('line') if e.get('class') == 'cut']
    assert len(lines) == (beta > 0) + (budget + beta < 1)
    assert ('None.' in text) == (len(lines) < 2)


def test_what_is_left_out_between_the_kept_is_not_called_easier():
  difficulty = np.random.default_rng(0).normal(size=300)
  _, text = make(n=300, difficulty=difficulty, kept=select.stratified(difficulty, 0.3, 0.2, seed=0))
  assert 'hard cut: 60 dropped' in text and 'easy cut' not in text
  words = ' '.join(Page(text).text.split())
  assert '90 of 300 examples kept; the 60 hardest (beta 0.2) were not to be chosen.' in words
  assert 'Others, not chosen 150' in words and 'asier' not in words
  _, text = make(n=300, difficulty=difficulty, kept=select.hardest(difficulty, 30), beta=0.0)
  assert '30 of 300 examples kept; 270 easier ones dropped.' in ' '.join(Page(text).text.split())
  _, text = make(n=300, difficulty=difficulty, kept=select.easiest(difficulty, 30), beta=0.0)
  words = ' '.join(Page(text).text.split())
  assert '30 of 300 examples kept.' in words and 'hardest (' not in words and 'asier' not in words


def test_the_hard_cut_stands_where_the_dropped_begin():
  difficulty = np.arange(1000.0) / 1000
  hard, kept, rest = np.arange(900, 1000), np.arange(0, 500, 10), np.setdiff1d(np.arange(900), np.arange(0, 500, 10))
  chart = report.histogram(difficulty, hard, kept, rest)
  begins = min(bar['x'] for bar in chart['bars'] if bar['kind'] == 'hard')
  assert abs(chart['cuts'][0]['x'] - begins) < 12  # A bar of 50.


def test_a_handful_of_examples():
  for n in (2, 5):
    _, text = make(n=n, budget=1, beta=0.0)
    assert len(shown(text)['kept']) == 1


def test_ties_are_dropped_as_they_were_chosen():
  forgotten = np.random.default_rng(0).integers(0, 4, 400).astype(np.float32)
  difficulty = select.break_ties(forgotten, seed=0)
  _, text = make(n=400, difficulty=difficulty, kept=select.double_end(difficulty, 100, 0.1), beta=0.1)
  groups = shown(text)
  order = np.argsort(-difficulty)
  assert groups['hard'] == [f'i{i}' for i in order[:24]] and groups['rest'] == [f'i{i}' for i in order[::-1][:24]]
  assert len(re.findall('<rect class="(?:hard|kept|rest)"', text)) <= 3 * 4  # A bar for each whole number.


def test_files_are_asked_for_at_the_size_of_a_thumbnail():
  asked = []
  def pictures(rows, size):
    asked.append((len(rows), size))
    return np.zeros((len(rows), size or 4, size or 4, 3), np.uint8)
  _, page = make(pictures=pictures, decodes=True)
  assert len(asked) == 3 and all(size == report.THUMBNAIL and count <= report.SHOWN for count, size in asked)
  assert 'tiny' not in page.split('<body>')[1]
  _, page = make(pictures=pictures)
  assert asked[-1][1] is None and 'tiny' in page.split('<body>')[1]
