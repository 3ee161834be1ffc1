import base64
import html
import html.parser
import io
import json
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree

import numpy as np
import pytest
from conftest import BARE, STRICT
from PIL import Image

from elfs_jax import select, vectors
from elfs_jax.report import charts, plane, suspects, texts, thumbnails, words
from elfs_jax.report import page as report

BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'


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


WORDS = dict(title='Title', answer='Yes', verdict='one line', verdict_note='a note', steps=[('do this', 'a command')],
             curve='a curve', hardest='not bad', facts=[('seed', 3)], tables=[], settings=[('seed', '3')],
             versions=[('numpy', '2')], repeat='elfs-jax again')


def make(n=200, budget=0.3, beta=0.2, images=None, pictures=None, decodes=False, score_name='-aum', words=None,
         **changes):
  """A choice of n random points, and its page."""
  rng = np.random.default_rng(0)
  difficulty = changes.get('difficulty', rng.normal(size=n))
  embeddings = rng.normal(size=(n, 5)).astype(np.float32)
  k = min(6, n - 1)
  near = vectors.nearest(embeddings, k)
  kept = changes.get('kept', select.double_end(difficulty, budget, beta))
  similarity = np.sort(rng.random((n, k)).astype(np.float32))[:, ::-1]
  curve = np.linspace(0, 0.5, len(kept) + 1)
  choice = report.Choice(**dict(
      ids=[f'i{i}' for i in range(n)], paths=[''] * len(kept), kept=kept, beta=beta, difficulty=difficulty,
      pseudo_labels=rng.integers(0, 4, n), embeddings=embeddings, neighbors=near, similarity=similarity,
      by=np.where(np.isin(np.arange(n), kept), -1, kept[0]), duplicates=np.full(n, -1), covered=curve,
      at_random=curve / 2, enough=len(kept), suspects={}, skipped=[]) | changes)
  if images is not None:
    pictures = lambda rows, size: images[rows]
  return choice, report.render(choice, words=WORDS | (words or {}), score_name=score_name, pictures=pictures,
                               decodes=decodes)


def shown(page):
  """The names in the three grids, in order."""
  sections = re.findall(r'<ul class="items (\w+).*?</ul>', page, re.S)
  groups = re.findall(r'<ul class="items .*?</ul>', page, re.S)
  return {kind: re.findall(r'<bdi>(.*?)</bdi>', group) for kind, group in zip(sections, groups)}


def content(page):
  """What the script is given."""
  return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)[1])


def test_the_grids_show_what_was_dropped_and_kept():
  choice, page = make()
  order = np.argsort(-choice.difficulty)
  groups = shown(page)
  assert groups['hard'] == [f'i{i}' for i in order[:24]]
  assert groups['rest'] == [f'i{i}' for i in order[::-1][:24]]
  assert groups['kept'] == [f'i{i}' for i in choice.kept]
  text = ' '.join(Page(page).text.split())
  assert '60 of 200 images kept' not in text and '60 of 200 examples kept; the 40 hardest (beta 0.2)' in text
  assert 'and 100 easier ones dropped' in text and text.index('one line') < text.index('seed')


def test_pictures_are_embedded_whole():
  rng = np.random.default_rng(1)
  for channels in (1, 3):
    images = rng.integers(0, 256, (200, 8, 9, channels), np.uint8)
    choice, text = make(images=images)
    page = Page(text)
    sources = [attributes['src'] for tag, attributes in page.tags if tag == 'img' and 'src' in attributes]
    assert len(sources) == 60 + 48
    others = content(text)['pictures']
    for source, row in [(sources[0], choice.kept[0]), (sources[60], np.argmax(choice.difficulty)),
                        *((other, int(row)) for row, other in others.items())]:
      found = Image.open(io.BytesIO(base64.b64decode(source.removeprefix('data:image/png;base64,'))))
      assert np.array_equal(np.asarray(found).reshape(8, 9, channels), images[row])
    assert 'tiny' in next(a['class'] for _, a in page.tags if 'items' in a.get('class', ''))
    asked = {attributes['data-from'] for tag, attributes in page.tags if 'data-from' in attributes}
    asked |= {str(row) for item in content(text)['items'].values() for row, _ in item['near']}
    native = {attributes['data-row'] for tag, attributes in page.tags if tag == 'button' and 'data-row' in attributes}
    assert asked <= native | set(others) and not native & set(others)


def test_large_pictures_are_made_small():
  picture = np.random.default_rng(0).integers(0, 256, (400, 200, 3), np.uint8)
  for quality, kind in ((None, 'PNG'), (50, 'WEBP')):
    image = Image.open(io.BytesIO(base64.b64decode(thumbnails.data_uri(picture, 128, quality).split(',')[1])))
    assert (image.size, image.format) == ((64, 128), kind)


def test_pictures_find_room_and_the_first_come_first():
  images = np.random.default_rng(0).integers(0, 256, (300, 100, 100, 3), np.uint8)  # Noise takes the most room.
  rows, sizes = np.random.default_rng(1).permutation(300), []
  for room in (10_000_000, 1_000_000, 300_000, 20_000):
    found = thumbnails.encoded(lambda rows, size: images[rows], rows, room, decodes=False)
    assert sum(map(len, found.values())) <= room and list(found) == rows[:len(found)].tolist()
    sizes.append(Image.open(io.BytesIO(base64.b64decode(found[rows[0]].split(',')[1]))).size[0])
    assert len(found) == 300 or room == 20_000 and 0 < len(found) < 300
  assert sizes[0] == 100 and sizes == sorted(sizes, reverse=True) and sizes[-1] == 32


def test_the_page_stays_below_five_megabytes():
  n, rng = 4000, np.random.default_rng(0)
  images = rng.integers(0, 256, (n, 64, 64, 3), np.uint8)
  _, text = make(n=n, images=images, ids=[f'{i}/' + 'long name/' * 20 for i in range(n)], paths=['/x' * 150] * 1200,
                 skipped=[('y' * 300, 'z' * 300)] * 5000, duplicates=np.where(np.arange(n) < 2000, 3999, -1),
                 suspects={'Very dark': np.arange(n)})
  assert 2_000_000 < len(text.encode()) < 5_000_000
  assert len(shown(text)['kept']) == 500 and 'The first 500' in text


EVIL = '</script><script>alert("x")</script><!--\'"&{{ 7 * 7 }}'


def test_nothing_is_fetched_and_everything_is_escaped():
  n = 30
  choice, text = make(
      n=n, images=np.zeros((n, 4, 4, 1), np.uint8), ids=[f'{EVIL}{i}' for i in range(n)], paths=[EVIL] * 9,
      score_name=EVIL, suspects={EVIL: np.arange(3)}, skipped=[(EVIL, EVIL)],
      duplicates=np.where(np.arange(n) == 1, 0, -1), words=dict(
          title=EVIL, answer=EVIL, verdict=EVIL, steps=[(EVIL, EVIL)], curve=EVIL, hardest=EVIL, repeat=EVIL,
          facts=[(EVIL, EVIL)], settings=[(EVIL, EVIL)], versions=[(EVIL, EVIL)],
          tables=[dict(title=EVIL, columns=[EVIL], rows=[[EVIL]], note=EVIL)]))
  page = Page(text)
  assert [attributes for tag, attributes in page.tags if tag == 'script'] == [
      {'type': 'application/json', 'id': 'content'}, {}]
  assert not [tag for tag, _ in page.tags if tag in ('link', 'iframe', 'object', 'base')]
  assert page.text.count(EVIL) >= 20 + n and text.count('<!--') == 0
  for tag, attributes in page.tags:
    assert not [name for name in attributes if name.startswith('on')]
    assert attributes.get('src', 'data:').startswith('data:') and attributes.get('href', '#').startswith('#')
  assert 'url(' not in text and '@import' not in text and '://' not in text and "default-src 'none'" in text
  given = content(text)
  assert {item['path'] for item in given['items'].values()} == {EVIL, ''} and len(given['items']) == 30
  assert 'alert' not in text.split('id="content">')[1].split('</script>')[0].replace('\\u003cscript\\u003ealert', '')


def test_tables_and_facts():
  rows = [['ELFS', 12345, 91.23456, None], ['random', np.int64(7), np.float32(0.5), '±']]
  _, text = make(words=dict(tables=[dict(title='Accuracy', columns=['a', 'b', 'c', 'd'], rows=rows, note='a note')],
                            facts=[('count', 1234), ('flag', True)], settings=[]))
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
  hard, rest = charts.left_out(difficulty, kept, 0.1)
  assert len(hard) == 50 and len(rest) == 325
  assert difficulty[hard].min() >= difficulty[kept].max() and difficulty[rest].max() <= difficulty[kept].min()
  assert sorted(np.concatenate([hard, kept, rest])) == list(range(500))
  chart = charts.histogram(difficulty, hard, kept, rest)
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
    drawn = [xml.etree.ElementTree.fromstring(svg) for svg in re.findall(r'<svg.*?</svg>', text, re.S)]
    assert len(drawn) == 3
    lines = [e for svg in drawn for e in svg.iter('line') if e.get('class') == 'cut']
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
  chart = charts.histogram(difficulty, hard, kept, rest)
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
  assert {size for _, size in asked} == {320, None} and max(count for count, _ in asked) <= thumbnails.BLOCK
  assert 'class="tiny"' not in page and ' tiny"' not in page
  asked.clear()
  _, page = make(pictures=pictures)
  assert {size for _, size in asked} == {None} and ' tiny"' in page


def test_what_each_stands_for_and_its_neighbours():
  choice, text = make()
  items = content(text)['items']
  assert len(items) == 60 + 48 and items[str(choice.kept[0])]['stands'] == 140
  for row, item in items.items():
    assert [i for i, _ in item['near']] == choice.neighbors[int(row), :4].tolist()
    assert (item['stands'] is None) == (int(row) not in choice.kept)


def test_duplicates_and_skipped_are_named():
  duplicates = np.full(200, -1)
  duplicates[[5, 6, 7]], duplicates[9] = 4, 8
  _, text = make(duplicates=duplicates, skipped=[('a/b.jpg', 'broken')] * 150)
  said = ' '.join(Page(text).text.split())
  assert 'Exact copies 2 groups' in said and re.search('i4 3 i5, ?i6, ?i7', said) and 'i8 1 i9' in said
  assert 'Skipped files 150' in said and said.count('a/b.jpg') == 100 and 'And 50 more: skipped.csv' in said
  said = Page(make()[1]).text
  assert 'Exact copies' not in said and 'Skipped files' not in said and 'Suspects' not in said


@pytest.mark.parametrize('channels', [1, 3])
def test_suspects(channels):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (60, 16, 16, channels), np.uint8)
  images[3] = 200                                       # One colour,
  images[4] = 200 + rng.integers(-2, 3, images[4].shape)  # nearly so,
  images[5] = 0                                         # black: blank, not dark.
  images[6] //= 8                                       # Dark,
  images[7] //= 8
  images[7, :, :2] = 250                                # but with a light eighth;
  images[8, 2:] = 255                                   # a drawing on white.
  groups = np.arange(60)
  groups[20:30], groups[40:49] = 20, 40
  found = suspects.find(images, groups)
  assert list(found) == list(suspects.KINDS)
  assert found['blank'].tolist() == [3, 4, 5] and found['dark'].tolist() == [6]
  assert found['placeholder'].tolist() == list(range(20, 30))
  assert [len(rows) for rows in suspects.find(images[10:], ()).values()] == [0, 0, 0]


def test_suspects_are_found_in_blocks(monkeypatch):
  images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
  images[[0, 6, 7, 49]] = 7
  monkeypatch.setattr(suspects, 'BLOCK', 7 * 4 * 8 * 8 * 3)
  assert suspects.find(images)['blank'].tolist() == [0, 6, 7, 49]


def test_the_plane_is_of_the_first_two_principal_components():
  rng = np.random.default_rng(0)
  x = (rng.normal(size=(500, 30)) * np.linspace(3, 0.1, 30) + 1).astype(np.float32)
  units = x / np.linalg.norm(x, axis=1, keepdims=True)
  _, _, v = np.linalg.svd(units - units.mean(0), full_matrices=False)
  rows = rng.permutation(500)[:70]
  expected = ((units - units.mean(0)) @ v[:2].T)[rows]
  found = plane.pca(x, rows)
  np.testing.assert_allclose(found * np.sign((found * expected).sum(0)), expected, atol=1e-3)
  assert plane.pca(np.ones((5, 1)), [0, 3]).tolist() == [[0, 0], [0, 0]]


def test_umap_keeps_kinds_apart_and_is_asked_for_by_name(monkeypatch):
  monkeypatch.setattr(plane.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"report.map=umap needs a package: pip install 'elfs_jax\[umap\]'"):
    plane.check('umap')
  plane.check('pca')
  monkeypatch.undo()
  pytest.importorskip('umap')
  rng = np.random.default_rng(0)
  kinds = np.arange(90) % 3
  x = np.concatenate([rng.normal(size=(3, 20))[kinds] + rng.normal(0, 0.2, (90, 20)), np.ones((5, 20))])
  rows = rng.permutation(90)
  found = plane.umap(x, rows)
  near = np.argsort(np.square(found[:, None] - found[None]).sum(-1), 1)[:, 1]
  assert found.shape == (90, 2) and (kinds[rows] == kinds[rows][near]).mean() > 0.95
  np.testing.assert_array_equal(plane.umap(x, rows), found)
  assert np.isfinite(plane.umap(x, np.arange(90, 95))).all()


def test_a_sample_has_the_chosen_and_nothing_twice():
  rows = plane.sample(10_000, [7, 3, 9], 100)
  assert rows[:3].tolist() == [7, 3, 9] and len(set(rows.tolist())) == 100
  assert sorted(plane.sample(5, [4], 100)) == [0, 1, 2, 3, 4]


def test_typical_ones_lie_in_the_middle_of_their_cluster():
  rng = np.random.default_rng(0)
  x, labels = rng.normal(size=(90, 8)).astype(np.float32), rng.integers(0, 3, 90)
  labels[labels == 1] = 3  # Label 1 has none.
  found = plane.typical(x, labels, 4)
  units = x / np.linalg.norm(x, axis=1, keepdims=True)
  for c, rows in enumerate(found):
    members = np.flatnonzero(labels == c)
    order = sorted(members, key=lambda i: -units[i] @ units[members].mean(0)) if len(members) else []
    assert rows.tolist() == order[:4]


def test_places_on_the_map_keep_distances_and_stay_inside():
  points = np.random.default_rng(0).normal(size=(300, 2)) * [3, 1]
  points[7] = 1e6
  places = charts.plane(points)
  assert (places >= 0).all() and (places <= [charts.MAP_WIDTH, charts.MAP_HEIGHT]).all()
  inside = np.setdiff1d(np.flatnonzero((places > 11).all(1) & (places < [620, 400]).all(1)), 7)
  a, b = (np.linalg.norm(values[inside[1:]] - values[inside[:-1]], axis=1) for values in (points, places))
  np.testing.assert_allclose(b / a, np.median(b / a), rtol=0.1, atol=0.15 / a.min())
  assert np.isfinite(charts.plane(np.zeros((4, 2)))).all()


@pytest.mark.parametrize('gap, half, side, words_of', [
    (0.043, 0.037, 'better', 'should be 0.6 to 8.0 points more accurate than'),
    (-0.043, 0.037, 'worse', 'should be 0.6 to 8.0 points less accurate than'),
    (0.006, 0.023, 'probably better', 'probably more accurate than one trained on as many random ones: between 1.7 '
     'points less and 2.9 points more, +0.6 on average'),
    (-0.006, 0.023, 'probably worse', 'probably less accurate than'),
    (0.001, 0.02, 'alike', 'about as accurate as one trained on as many random ones: between 1.9 points less'),
    (0.0, 0.0, 'alike', 'about as'), (0.1, np.inf, 'unknown', 'too few')])
def test_the_forecast_is_a_sentence_with_a_range(gap, half, side, words_of):
  judged = {'gap': np.float64(gap), 'half': np.float64(half)}
  assert words.side(judged) == side and words_of in words.forecast(judged)
  assert 'no measurable' not in words.forecast(judged)
  answer, verdict, _ = texts.verdict({'judge': judged})
  assert answer == texts.ANSWERS[side] and words.forecast(judged) in verdict


@pytest.mark.parametrize('worth, said', [
    ((2.1, 1.75, 2.55), 'as good as about 420 random ones (350 to 510)'),
    ((2.1, 0.5, 4.0), 'as good as about 420 random ones (fewer than 100 to more than 800)'),
    ((4.0, 2.6, 4.0), 'as good as more than 800 random ones'),
    ((0.5, 0.5, 0.7), 'as good as fewer than 100 random ones')])
def test_the_forecast_says_how_many_random_labels_the_choice_is_worth(worth, said):
  judged = {'gap': 0.05, 'half': 0.02, 'worth': np.array(worth), 'sizes': np.array([0.5, 1, 4]), 'budget': 200}
  assert words.worth(judged) == said and words.forecast(judged).endswith(f'random ones; they are {said}')
  assert words.worth({'gap': 0.05, 'half': 0.02}) == ''


@pytest.mark.parametrize('said, mean, answer, sentence, note', [
    ('better', 0.8, 'Yes', '10.0 points more accurate', '5 seeds of each; their 95 % intervals lie apart.'),
    ('worse', 0.6, 'No', '10.0 points less accurate', 'lie apart'),
    ('no measurable difference', 0.72, 'Hard to say', '2.0 points more accurate', 'do not tell the two apart')])
def test_what_was_measured_is_a_sentence(said, mean, answer, sentence, note):
  summary = {'coreset': {'mean': mean, 'verdict': said}, 'random': {'mean': 0.7}}
  found = texts.verdict({'accuracy': {'summary': summary, 'random': [0.7] * 5}})
  assert found[0] == answer and sentence in found[1] and note in found[2] and 'measurable' not in ' '.join(found)


def test_commands_are_quoted():
  repeat = ['--config=folder', "--config.data.path=/my pictures/it's", '--config.select.budget=300']
  assert shlex.split(texts.command(repeat, '/a b')) == ['elfs-jax', *repeat, '--workdir=/a b']
  steps = texts.next_steps('/a b', files=True, nests=True, repeat=True)
  assert steps[1][1] == "elfs-jax export '/a b' label-studio"
  assert steps[2][1] == "elfs-jax next '/a b' --labels=EXPORT --budget=NUMBER"
  assert not [command for _, command in texts.next_steps('w', files=False, nests=False, repeat=False) if command]


PROBE = """<script>
const failed = [];
addEventListener('error', (event) => failed.push(event.message));
addEventListener('securitypolicyviolation', (event) => failed.push(event.violatedDirective));
addEventListener('load', async () => {
  const find = (query) => Array.from(document.querySelectorAll(query)), one = (query) => document.querySelector(query);
  const seen = {};
  const key = (name) => one('#close').dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true}));
  const path = () => one('#large-body .path').textContent;
  find('#chosen .open')[2].click();
  seen.opened = [one('#large').open, path(), one('#position').textContent, find('#large-body figure').length,
                 one('#large-body').textContent.includes('stands for')];
  key('ArrowRight'); seen.right = path();
  key('ArrowLeft'); key('ArrowLeft'); seen.left = path();
  one('#close').click();
  await new Promise((done) => setTimeout(done, 100));
  seen.closed = [one('#large').open, document.activeElement.dataset.row];
  one('#filter').value = '1'; one('#filter').dispatchEvent(new Event('change'));
  seen.filtered = find('#chosen li:not([hidden]) bdi').map((name) => name.textContent);
  one('#map circle').dispatchEvent(new PointerEvent('pointerenter', {clientX: 5, clientY: 5}));
  seen.tip = [one('#tip').hidden, one('#tip').textContent, find('#tip img').length];
  seen.without = find('img').filter((image) => !image.src.startsWith('data:')).length;
  seen.failed = failed;
  document.title = JSON.stringify(seen);
});
</script>"""


def test_in_a_browser(tmp_path):
  browser = next(filter(None, map(shutil.which, BROWSERS)), None)
  if browser is None:
    (pytest.fail if STRICT and not BARE else pytest.skip)('needs apt-get install chromium')
  rng = np.random.default_rng(0)
  ids = [f'{EVIL}{i}' for i in range(120)]
  choice, text = make(n=120, images=rng.integers(0, 256, (120, 8, 8, 3), np.uint8), ids=ids,
                      paths=[f'/pictures/{EVIL}{rank}' for rank in range(36)], suspects={'Very dark': np.arange(5)})
  (tmp_path / 'report.html').write_text(text.replace('<head>', '<head>' + PROBE))
  done = subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}/profile',
                         '--virtual-time-budget=5000', '--dump-dom', (tmp_path / 'report.html').as_uri()],
                        capture_output=True, text=True, timeout=120)
  seen = json.loads(html.unescape(re.search('<title>(.*?)</title>', done.stdout, re.S)[1]))
  path = [f'/pictures/{EVIL}{rank}' for rank in range(36)]
  assert seen['failed'] == [] and seen['without'] == 0
  assert seen['opened'] == [True, path[2], '3 of 36', 4, True]
  assert (seen['right'], seen['left']) == (path[3], path[1])
  assert seen['closed'] == [False, str(choice.kept[1])]
  assert seen['filtered'] == [ids[i] for i in choice.kept if choice.pseudo_labels[i] == 1]
  assert seen['tip'] == [False, ids[choice.kept[0]], 1]
