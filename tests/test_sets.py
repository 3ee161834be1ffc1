"""The sets made here: letters of fonts, emoji, clip art, Fashion-MNIST with a long tail or dirt, a synthetic one."""
import collections
import hashlib
import json
import shutil
import subprocess

import matplotlib
import numpy as np
import pytest
from conftest import ROOT, debian
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from elfs_jax import config as config_lib
from elfs_jax import data
from elfs_jax.benchmark.sets import glyphs, synthetic, variants

# A family a folder. The first come with matplotlib, the others with Debian's packages.
FONTS = ('dejavu/DejaVuSans', 'dejavu/DejaVuSerif', 'dejavu/DejaVuSansMono-Bold', 'stix/STIXGeneral',
         'stix/STIXGeneralBol', 'sans/cmss10', 'mono/cmtt10')
MORE_FONTS = {'dejavu/DejaVuSans': 'fonts-dejavu-core', 'liberation/LiberationSans-Regular': 'fonts-liberation',
              'liberation/LiberationSerif-Bold': 'fonts-liberation', 'open-sans/OpenSans-Regular': 'fonts-open-sans',
              'open-sans/OpenSans-Bold': 'fonts-open-sans', 'ocr-a/OCRA': 'fonts-ocr-a',
              'ocr-a/OCRABold': 'fonts-ocr-a'}


def one_line(error, *words):
  message = str(error.value)
  assert '\n' not in message and len(message) < 500, message
  for word in words:
    assert word in message, (word, message)


def same(first, second):
  return (first.ids == second.ids and np.array_equal(first.images, second.images)
          and np.array_equal(first.labels, second.labels) and np.array_equal(first.test_images, second.test_images))


@pytest.mark.parametrize('name', ['clipart', 'emoji', 'glyphs', 'synthetic', 'fashion_mnist', 'fashion_mnist_long_tail',
                                  'fashion_mnist_dirty'])
def test_a_config_for_each(name):
  config = config_lib.read(ROOT / f'configs/{name}.py')
  assert config.data.name == name and config.data.name in data.NAMES and config.select.budget == '10%'
  assert config.cluster.num_classes == {'clipart': 12, 'emoji': 9, 'glyphs': 62, 'synthetic': 8}.get(name, 10)
  assert config.proxy.flip == config.evaluate.flip == ('fashion' in name or name in ('clipart', 'emoji'))
  assert f'elfs-jax --config={name}' in (ROOT / f'configs/{name}.py').read_text()


# Emoji


@pytest.fixture
def packages(tmp_path):
  """Two packages of ten emoji of two kinds, blue and red discs, the red ones in two tones as well; one bare tone."""
  def face(code, **more):
    return {'image': f'{code}.png', 'has_img_google': True, 'has_img_twitter': code != '1f603'} | more
  listed = [face(f'1f60{i}', unified=f'1F60{i}', category=('Flags', 'People')[i % 2],
                 skin_variations={t: face(f'1f60{i}-{t}') for t in ('1F3FB', '1F3FF') if i % 2}) for i in range(10)]
  listed.append(face('1f3fb', unified='1F3FB', category='Component'))
  for design in ('google', 'twitter'):
    root = tmp_path / f'emoji-datasource-{design}'
    (root / 'img' / design / '64').mkdir(parents=True)
    (root / 'emoji.json').write_text(json.dumps(listed))
    for entry in listed:
      for one in (entry, *entry.get('skin_variations', {}).values()):
        picture = Image.new('RGBA', (64, 64), (0, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse((8, 8, 56, 56), (0, 0, 255) if entry['category'] == 'Flags' else (255, 0, 0))
        picture.save(root / 'img' / design / '64' / one['image'])
  return tmp_path


def test_emoji_by_kind_over_white_with_whole_emoji_held_out(packages):
  found = data.load('emoji', packages)
  assert same(found, data.load('emoji', packages)) and found.class_names == ['Flags', 'People']
  for images, labels in ((found.images, found.labels), (found.test_images, found.test_labels)):
    np.testing.assert_array_equal(images[:, 16, 16], np.array([[0, 0, 255], [255, 0, 0]], np.uint8)[labels])
    assert images.shape[1:] == (32, 32, 3) and (images[:, 0, 0] == 255).all()
  seen = collections.Counter(name.split('/')[1].split('.')[0].split('-')[0] for name in found.ids)
  assert len(seen) == 8 and '1f3fb' not in seen  # Two of ten are held out, tones and all.
  held = {f'1f60{i}' for i in range(10)} - set(seen)
  assert len(found.test_labels) == sum(1 if code == '1f603' else 2 for code in held)
  assert all(count == {'1f603': 5}.get(code, 6 if int(code[-1]) % 2 else 2) for code, count in seen.items())
  assert {name.split('/')[0] for name in found.ids} == {'google', 'twitter'}


def test_emoji_that_are_not_there(packages):
  with pytest.raises(FileNotFoundError) as error:
    data.load('emoji', packages / 'nowhere')
  one_line(error, 'emoji-datasource-google', 'npm install', 'data.path')
  picture = packages / 'emoji-datasource-twitter/img/twitter/64/1f604.png'
  picture.write_bytes(picture.read_bytes()[:90])
  with pytest.raises(ValueError) as error:
    data.load('emoji', packages)
  one_line(error, str(picture), 'install the package anew')
  with pytest.raises(ValueError, match="'emoji' needs data.path"):
    data.load('emoji')


# Clip art


@pytest.fixture
def drawings(tmp_path):
  """Two kinds of a hundred drawings or more, in folders of folders, one of fewer, what is unsorted, a broken file."""
  for folder, count, color in (('animals', 60, 'red'), ('animals/birds', 40, 'red'), ('food', 101, 'blue'),
                               ('tools', 99, 'green'), ('unsorted', 120, 'black')):
    (tmp_path / folder).mkdir(exist_ok=True)
    for i in range(count):
      Image.new('RGB', (40, 60), color).save(tmp_path / folder / f'{i}.png')
  (tmp_path / 'animals/broken.png').write_bytes(b'nothing')
  return tmp_path


def test_clip_art_by_the_folder_at_the_top(drawings):
  found = data.load('clipart', drawings)
  assert found.class_names == ['animals', 'food'] and np.bincount(found.labels).tolist() == [100, 101]
  assert found.images.shape == (201, 32, 32, 3) and found.test_images is None
  np.testing.assert_array_equal(found.images[:, 16, 16], np.array([[255, 0, 0], [0, 0, 255]], np.uint8)[found.labels])
  assert [i.split('/')[0] for i in found.ids] == [found.class_names[label] for label in found.labels]
  assert 'animals/birds/39.png' in found.ids and [path for path, _ in found.skipped] == ['animals/broken.png']


def test_clip_art_that_is_not_there(drawings):
  with pytest.raises(FileNotFoundError) as error:
    data.load('clipart', drawings / 'nowhere')
  one_line(error, 'nowhere', 'apt-get install openclipart-png', 'data.path')
  with pytest.raises(ValueError) as error:
    data.load('clipart', drawings / 'animals')
  one_line(error, 'fewer than two folders of 100 pictures', 'apt-get install openclipart-png', 'data.path')


# Icons


def test_icons_are_gathered_as_the_config_says(tmp_path):
  themes = tmp_path / 'themes'
  for place in ('oxygen/base/48x48/actions/go.png', 'gnome/48x48/actions/go.png', 'elementary-xfce/mimes/48/text.png',
                'gnome/48x48/mimetypes/text.png', 'oxygen/base/64x64/actions/large.png', 'gnome/48x48/emotes/face.png'):
    (themes / place).parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGBA', (48, 48), (255, 0, 0, 255 * ('go' in place))).save(themes / place)
  text = (ROOT / 'configs/icons.py').read_text()
  script = text[text.index('  for kind'):text.index('  elfs-jax')]
  assert '/usr/share/icons/' in script and 'cut -d/ -f5' in script
  script = script.replace('/usr/share/icons', 'themes').replace('cut -d/ -f5', 'cut -d/ -f2')
  subprocess.run(['sh', '-c', script], cwd=tmp_path, check=True)
  config = config_lib.read(ROOT / 'configs/icons.py')
  icons = data.load(config.data.name, tmp_path / config.data.path, labels=config.data.labels, size=config.data.size)
  assert icons.ids == ['actions/gnome-go.png', 'actions/oxygen-go.png', 'mime/elementary-xfce-text.png',
                       'mime/gnome-text.png']
  assert icons.labels.tolist() == [0, 0, 1, 1] and icons.images.shape == (4, 32, 32, 3)
  assert (icons.images[:2] == (255, 0, 0)).all() and (icons.images[2:] == 255).all()


# Glyphs


@pytest.fixture(scope='module')
def fonts(tmp_path_factory):
  root = tmp_path_factory.mktemp('fonts')
  for name in FONTS:
    copy_font(f'{matplotlib.get_data_path()}/fonts/ttf/{name.split("/")[1]}.ttf', root / f'{name}.ttf')
  return root


def copy_font(source, target):
  target.parent.mkdir(exist_ok=True)
  shutil.copy(source, target)


@pytest.fixture(scope='module')
def letters(fonts):
  return data.load('glyphs', fonts)


def test_every_font_gives_all_characters(letters):
  count = len(letters.ids) + len(letters.test_labels)
  assert count == 62 * len(FONTS) and letters.skipped == []
  assert letters.images.shape[1:] == (28, 28, 1) and len(letters.class_names) == 62
  assert ''.join(sorted(letters.class_names)) == '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  for labels in (letters.labels, letters.test_labels):
    assert len(set(np.bincount(labels, minlength=62))) == 1
  assert [i.rsplit(':', 1)[1] for i in letters.ids] == [letters.class_names[c] for c in letters.labels]
  assert {i.rsplit(':', 1)[0] for i in letters.ids} <= {f'{name}.ttf' for name in FONTS}


def test_no_family_is_in_both_splits(letters):
  check_split(letters, FONTS)


def test_families_of_several_packages(tmp_path):
  for name, package in MORE_FONTS.items():
    copy_font(debian(package, f'/usr/share/fonts/truetype/{name}.ttf'), tmp_path / f'{name}.ttf')
  found = data.load('glyphs', tmp_path)
  assert found.skipped == []
  check_split(found, MORE_FONTS)


def check_split(found, names):
  kept = {i.split('/')[0] for i in found.ids}
  held = {name.split('/')[0] for name in names} - kept
  assert len(held) == 1  # A fifth of four, and no less than one.
  assert len(found.test_labels) == 62 * sum(name.split('/')[0] in held for name in names)


def test_characters_are_whole_centred_and_what_they_are_called(letters, fonts):
  for image in letters.images[..., 0]:
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert rows[0] and columns[0] and rows[-1] < 27 and columns[-1] < 27 and image.max() > 60
    assert abs(rows[0] + rows[-1] - 27) <= 1 and abs(columns[0] + columns[-1] - 27) <= 1
  height = {c: np.mean([image.any(1).sum() for image in letters.images[letters.labels == letters.class_names.index(c)]])
            for c in 'OoXx'}
  assert height['o'] < 0.85 * height['O'] and height['x'] < 0.85 * height['X']
  # The characters as drawn anew by Pillow, large and uncut, tell the labels of the set apart.
  font = ImageFont.truetype(str(fonts / f'{FONTS[0]}.ttf'), 24)
  drawn = np.zeros((62, 28, 28))
  for image, character in zip(drawn, letters.class_names):
    mask = font.getmask(character)
    ink = np.array(mask).reshape(mask.size[::-1])[:28, :28]
    top, left = (28 - ink.shape[0]) // 2, (28 - ink.shape[1]) // 2
    image[top:top + ink.shape[0], left:left + ink.shape[1]] = ink
  nearest = [np.square(drawn - image).sum((1, 2)).argmin() for image in letters.images[..., 0]]
  said, true = (''.join(letters.class_names[c] for c in classes) for classes in (nearest, letters.labels))
  assert np.mean([a == b for a, b in zip(said.lower(), true.lower())]) > 0.4  # By chance 0.03.


def test_glyphs_are_the_same_each_time(letters, fonts):
  assert same(letters, data.load('glyphs', fonts))


def test_unusable_fonts_are_listed(letters, fonts, tmp_path):
  root = tmp_path / 'more'
  shutil.copytree(fonts, root)
  shutil.copy(root / 'dejavu/DejaVuSans.ttf', root / 'stix/z.ttf')
  (root / 'broken.ttf').write_text('no font')
  (root / 'link.ttf').symlink_to(root / 'dejavu/DejaVuSans.ttf')
  seen = []
  more = data.load('glyphs', root, progress=lambda files, desc, total: seen.append(total) or files)
  assert [path for path, _ in more.skipped] == ['broken.ttf', 'stix/z.ttf'] and seen == [len(FONTS) + 2]
  assert 'looks like dejavu/DejaVuSans.ttf' in more.skipped[1][1]
  assert np.array_equal(more.images, letters.images)


def test_a_missing_letter_is_noticed(fonts, monkeypatch):
  monkeypatch.setattr(glyphs, 'CHARACTERS', glyphs.CHARACTERS[:-1] + '\u6f22')  # A Chinese character.
  with pytest.raises(ValueError, match='lacks a letter'):
    glyphs._draw(fonts / 'dejavu/DejaVuSans.ttf')


def test_small_letters_that_are_capitals_are_noticed(fonts):
  font = ImageFont.truetype(str(fonts / 'dejavu/DejaVuSans.ttf'), glyphs.EM)
  small = ImageFont.truetype(str(fonts / 'dejavu/DejaVuSans.ttf'), int(0.8 * glyphs.EM))
  masks = [glyphs._mask(font, c) for c in glyphs.CHARACTERS]
  capitals = [glyphs._mask(small if c.islower() else font, c.upper()) for c in glyphs.CHARACTERS]
  assert not glyphs._capitals_only(masks) and glyphs._capitals_only(capitals)


def test_families():
  names = ['Lato Light', 'Lato', 'OCRA', 'OCRABold', 'Go Mono', 'Gooper', 'DejaVu Serif']
  assert list(glyphs.families_of(names).values()) == ['lato', 'lato', 'ocra', 'ocra', 'go', 'gooper', 'dejavu']


def test_families_that_share_a_face_are_one(fonts):
  drawn = [glyphs._draw(fonts / f'{name}.ttf')[1] for name in FONTS[:3]]
  kept, twins = glyphs._without_twins(
    [('1', 'a', drawn[0]), ('2', 'b', drawn[1]), ('3', 'b', drawn[0]), ('4', 'c', drawn[2])])
  assert [file for file, *_ in kept] == ['1', '2', '4'] and twins == [('3', 'looks like 1')]
  assert kept[0][1] == kept[1][1] != kept[2][1]


def test_too_few_fonts(fonts, tmp_path):
  with pytest.raises(ValueError) as error:
    data.load('glyphs', tmp_path)
  one_line(error, str(tmp_path), '0 usable', 'apt-get install', 'data.path')
  with pytest.raises(ValueError) as error:
    data.load('glyphs', fonts / 'stix')
  one_line(error, '1 usable', 'apt-get install')
  with pytest.raises(FileNotFoundError) as error:
    data.load('glyphs', tmp_path / 'none')
  one_line(error, 'none', 'apt-get install')


# Fashion-MNIST


@pytest.fixture(scope='module')
def fashion_mnist():
  """For tests that read Debian's copy, from where it is installed."""
  debian('dataset-fashion-mnist', '/usr/share/datasets/fashion-mnist')


@pytest.fixture(scope='module')
def clean(fashion_mnist):
  return data.load('fashion_mnist')


@pytest.fixture(scope='module')
def scraped(fashion_mnist):
  return data.load('fashion_mnist_dirty')


def test_long_tail(clean):
  tailed = data.load('fashion_mnist_long_tail')
  sizes = np.bincount(tailed.labels)
  assert sorted(sizes, reverse=True) == [6000, 3596, 2156, 1292, 774, 464, 278, 166, 100, 60]
  assert sizes.max() == 100 * sizes.min() and sizes.tolist() != sorted(sizes, reverse=True)
  index = np.array(tailed.ids, int)
  assert np.array_equal(tailed.images, clean.images[index]) and np.array_equal(tailed.labels, clean.labels[index])
  assert np.array_equal(tailed.test_images, clean.test_images) and tailed.class_names == clean.class_names
  assert same(tailed, data.load('fashion_mnist_long_tail'))
  other = variants.long_tail({'images': clean.images, 'labels': clean.labels}, seed=1)
  assert np.bincount(other['labels']).tolist() != sizes.tolist()


def test_the_dirty_set_has_what_it_says(clean, scraped):
  bare, kinds = (np.array(part) for part in zip(*(i.partition(':')[::2] for i in scraped.ids)))
  kinds = np.array([kind.rstrip('0123456789') for kind in kinds])
  counts = collections.Counter(kinds.tolist())
  assert counts == {'': 15_000, 'copy': 7_500, **{kind: 500 for kind in variants.CORRUPTIONS}}
  assert np.array_equal(scraped.labels, clean.labels[bare.astype(int)])
  assert np.array_equal(scraped.images[kinds == ''], clean.images[bare[kinds == ''].astype(int)])
  assert np.array_equal(scraped.test_images, clean.test_images)
  assert set(collections.Counter(bare[kinds == 'copy']).values()) == {25}
  assert set(bare[kinds == 'copy']) <= set(bare[kinds == ''])
  assert not set(bare[np.isin(kinds, variants.CORRUPTIONS)]) & set(bare[kinds == ''])
  # Shuffled: any tenth of it has its share.
  assert abs(np.mean(kinds[:2500] == 'copy') - 0.3) < 0.04
  hashes = {hashlib.sha256(image.tobytes()).digest() for image in scraped.images[kinds == 'copy']}
  assert len(hashes) == 7_500


def test_copies_are_near_and_corrupted_ones_are_not(clean, scraped):
  def distance(image, original):
    """Mean difference in grey levels at the best of nine shifts."""
    shifted = [np.roll(original, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return min(np.abs(image.astype(int) - other)[1:-1, 1:-1].mean() for other in shifted)
  away = collections.defaultdict(list)
  for i, image in list(zip(scraped.ids, scraped.images[..., 0]))[:6000]:
    number, _, kind = i.partition(':')
    away[kind.rstrip('0123456789')].append(distance(image, clean.images[int(number), ..., 0].astype(int)))
  assert max(away['']) == 0 and 0.5 < min(away['copy']) and max(away['copy']) < 4.5
  for kind in variants.CORRUPTIONS:
    # A sandal in the dark or a blur is near the original because both are mostly black.
    assert np.quantile(away[kind], 0.05) > 8, kind
    assert np.median(away[kind]) > 20, kind


def test_the_dirty_set_is_the_same_each_time(scraped):
  assert same(scraped, data.load('fashion_mnist_dirty'))


@pytest.mark.parametrize('name', ['fashion_mnist_long_tail', 'fashion_mnist_dirty'])
def test_without_fashion_mnist(name, tmp_path):
  with pytest.raises(FileNotFoundError) as error:
    data.load(name, tmp_path)
  one_line(error, 'apt-get install dataset-fashion-mnist', 'data.path', str(tmp_path))


# Synthetic


@pytest.fixture(scope='module')
def known():
  return data.load('synthetic')


def kinds_of(dataset):
  return np.array([i.split(':')[0] for i in dataset.ids])


def test_synthetic_kinds_and_classes(known):
  kinds = kinds_of(known)
  assert collections.Counter(kinds.tolist()) == {'core': 3648, 'border': 1520, 'noise': 912}
  for kind, share in (('core', 0.6), ('border', 0.25), ('noise', 0.15)):
    assert np.mean(kinds == kind) == share
    assert len(set(np.bincount(known.labels[kinds == kind]))) == 1
    assert abs(np.mean(kinds[:2000] == kind) - share) < 0.05
  assert known.images.shape == (6080, 8, 8, 1) and known.test_images.shape == (2040, 8, 8, 1)
  assert np.mean((known.images == 0) | (known.images == 255)) < 0.001


def test_synthetic_is_the_same_each_time(known):
  assert same(known, data.load('synthetic'))
  assert not np.array_equal(synthetic.make(1)['test_images'], known.test_images[..., 0])
  with pytest.raises(ValueError) as error:
    data.load('synthetic', 'somewhere')
  one_line(error, "data.name='synthetic'", 'somewhere')


def test_noise_tells_nothing_and_borders_are_on_the_right_side(known):
  x, kinds = known.images.reshape(len(known.ids), -1) / 255, kinds_of(known)
  neighbours = KNeighborsClassifier(15).fit(known.test_images.reshape(-1, 64) / 255, known.test_labels)
  right = neighbours.predict(x) == known.labels
  assert right[kinds == 'core'].mean() > 0.99 and right[kinds == 'border'].mean() > 0.85
  assert right[kinds == 'noise'].mean() < 0.02


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')  # 60 epochs are enough.
@pytest.mark.parametrize('model', ['mlp', 'linear'])
def test_a_choice_rich_in_borders_beats_a_random_one(known, model):
  x, kinds, rng = known.images.reshape(len(known.ids), -1) / 255 - 0.5, kinds_of(known), np.random.default_rng(0)
  def accuracy(chosen, seed):
    classifier = LogisticRegression(C=10, max_iter=300) if model == 'linear' else MLPClassifier(
      (64,), max_iter=60, random_state=seed, learning_rate_init=5e-3, n_iter_no_change=60)
    return classifier.fit(x[chosen], known.labels[chosen]).score(
      known.test_images.reshape(-1, 64) / 255 - 0.5, known.test_labels)
  scores = collections.defaultdict(list)
  for seed in range(2):
    order = {kind: rng.permutation(np.flatnonzero(kinds == kind)) for kind in ('core', 'border', 'noise')}
    scores['best'].append(accuracy(np.r_[order['border'][:486], order['core'][:122]], seed))
    scores['random'].append(accuracy(rng.permutation(len(x))[:608], seed))
    scores['cores'].append(accuracy(order['core'][:608], seed))
  scores['noise'].append(accuracy(order['noise'][:608], 0))
  best, random, cores, noise = (np.mean(scores[name]) for name in ('best', 'random', 'cores', 'noise'))
  assert best > random + 0.025 and random > cores and noise < 0.125
