"""Data that come in parts: a folder's train/ and test/, a test set of embeddings, and data sets of Hugging Face."""
import io
import os
import shutil
import types

import numpy as np
import pytest
from PIL import Image

from elfs_jax import connection, data, evaluate, pipeline
from elfs_jax.data import decode, parts
from elfs_jax.embed import scaling
from elfs_jax.runtime import mesh
from elfs_jax.training import loop as train

pytestmark = pytest.mark.usefixtures('one_device')


def picture(kind, seed, size=(24, 20)):
  """A noisy picture whose colour is its kind's."""
  rng = np.random.default_rng(seed)
  colours = np.array([(180, 0, 0), (0, 180, 0), (0, 0, 180), (180, 180, 0)])
  return Image.fromarray((rng.integers(0, 75, (*size, 3)) + colours[kind]).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
  """Makes a folder: 10 pictures of each of four kinds in each part."""
  def make(*names):
    for part, name in enumerate(names):
      for i in range(40):
        file = tmp_path / 'in' / name / f'kind{i % 4}' / f'{i:02}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(i % 4, 100 * part + i).save(file)
    return tmp_path / 'in'
  return make


def one_line(error, *words):
  message = str(error.value)
  assert '\n' not in message and len(message) < 500, message
  for word in words:
    assert word in message, (word, message)


# Which part is what


@pytest.mark.parametrize('names, expected', [
    ('train test', ('train', 'test')), ('Test Train', ('Train', 'Test')), ('train val', ('train', 'val')),
    ('test validation train', ('train validation', 'test')), ('training testing valid', ('training valid', 'testing')),
    ('train', None), ('test val', None), ('train test cat', None), ('bus train', None), ('', None)])
def test_parts_are_known_by_all_their_names(names, expected):
  found = parts.of(names.split())
  assert found == (expected and parts.Parts(*(part.split() for part in expected)))


def test_a_folder_with_a_test_set_is_chosen_from_without_it(folder):
  root = folder('test', 'train')
  (root / 'train/kind1/broken.png').write_text('no image')
  (root / 'test/kind1/broken.png').write_text('no image')
  dataset = data.load('folder', root, labels='folders', size=8)
  assert dataset.ids == sorted(dataset.ids) and {name.split('/')[0] for name in dataset.ids} == {'train'}
  assert len(dataset.ids) == 40 and dataset.images.shape == (40, 8, 8, 3) and isinstance(dataset.images, np.memmap)
  assert [f'kind{label}' for label in dataset.labels] == [name.split('/')[1] for name in dataset.ids]
  assert dataset.class_names == ['kind0', 'kind1', 'kind2', 'kind3'] and isinstance(dataset.test_images, np.memmap)
  assert sorted(name for name, _ in dataset.skipped) == ['test/kind1/broken.png', 'train/kind1/broken.png']
  files = sorted((root / 'test').rglob('[0-9]*.png'))
  np.testing.assert_array_equal(dataset.test_images, [decode.decode_file(file, 8) for file in files])
  assert [f'kind{label}' for label in dataset.test_labels] == [file.parent.name for file in files]
  np.testing.assert_array_equal(dataset.pixels([3], 11)[0], decode.decode_file(root / dataset.ids[3], 11))
  assert dataset.notes == ['train/ is chosen from, test/ is the test set; --config.data.test=none chooses from all']
  whole = data.load('folder', root, labels='folders', size=8, test='none')
  assert len(whole.ids) == 80 and whole.test_images is None and not whole.notes and whole.identity != dataset.identity
  # What is chosen from is the same whatever the test set is.
  shutil.rmtree(root / 'test/kind2')
  assert data.load('folder', root, labels='folders', size=8).identity == dataset.identity


def test_validation_images_are_chosen_from_where_there_is_a_test_set(folder):
  """As the paper has CINIC-10."""
  dataset = data.load('folder', folder('train', 'valid', 'test'), labels='folders', size=8)
  assert len(dataset.ids) == 80 and {name.split('/')[0] for name in dataset.ids} == {'train', 'valid'}
  assert len(dataset.test_labels) == 40
  assert dataset.notes[0].startswith('train/ and valid/ are chosen from, test/ is the')
  np.testing.assert_array_equal(dataset.images[50], decode.decode_file(
      os.path.join(dataset.root, dataset.ids[50]), 8))


def test_without_labels_a_test_set_is_left_out_and_not_even_read(folder, monkeypatch):
  root, opened = folder('train', 'val'), []
  read = decode.file_content
  monkeypatch.setattr(decode, 'file_content', lambda path: opened.append(path) or read(path))
  dataset = data.load('folder', root, size=8)
  assert len(dataset.ids) == len(opened) == 40 and dataset.test_images is None
  assert dataset.notes == ['train/ is chosen from, val/ is left out, as a test set without labels; '
                           '--config.data.test=none chooses from all']
  assert data.load('folder', root, size=8, test='none').notes == []


def test_parts_that_cannot_be(folder, tmp_path):
  root = folder('train', 'test')
  picture(0, 0).save(root / 'test/loose.png')
  with pytest.raises(ValueError) as error:
    data.load('folder', root, labels='folders')
  one_line(error, "'test/loose.png'", 'folder of its class')
  picture(0, 0).save(root / 'loose.png')  # Now not all lie in parts: nothing is guessed.
  assert len(data.load('folder', root, size=8).ids) == 82
  with pytest.raises(ValueError) as error:
    data.load('digits', test='none')
  one_line(error, 'data.test')
  with pytest.raises(ValueError) as error:
    data.load('folder', root, test='no')
  one_line(error, 'data.test', 'none')


def test_a_run_says_what_was_taken_as_what_and_compares_on_the_test_set(folder, tiny, tmp_path, monkeypatch):
  root, seen, said = folder('train', 'test'), [], []
  def watched(inputs, labels, subset, test_inputs, test_labels, *more, **keywords):
    seen.append((test_inputs, test_labels))
    return 0.5
  monkeypatch.setattr(evaluate, 'downstream_accuracy', watched)
  tiny.update_from_flattened_dict({'data.name': 'folder', 'data.path': str(root), 'data.labels': 'folders',
                                   'data.size': 8, 'evaluate.network': 'small'})
  dataset = pipeline.read_data(tiny, tmp_path / 'out')
  chosen, metrics = pipeline.run(dataset, tiny, tmp_path / 'out', say=said.append)
  assert said[0].startswith('train/ is chosen from, test/ is the test set')
  assert len(seen) == 6 and all(x is dataset.test_images and y is dataset.test_labels for x, y in seen)
  assert metrics['accuracy']['test'] == 'its own test set' and len(chosen.scores['aum']) == 40
  rows = (tmp_path / 'out/coreset.csv').read_text().splitlines()[1:]
  assert len(rows) == 4 + 1 and all(',train/kind' in row for row in rows)  # One in reserve.


# A test set of embeddings


def clouds(count, seed):
  """Embeddings of four classes, and their classes."""
  rng = np.random.default_rng(seed)
  labels = np.arange(count) % 4
  return (5 * np.eye(4, 6)[labels] + rng.normal(size=(count, 6)) * (1, 2, 3, 1, 2, 3)).astype(np.float32), labels


@pytest.mark.parametrize('method', ['auto', 'given'])
def test_a_comparison_on_embeddings_uses_their_own_test_set(tiny, tmp_path, monkeypatch, method):
  (x, labels), (tests, test_labels) = clouds(120, 0), clouds(50, 1)
  np.savez(tmp_path / 'e.npz', embeddings=x, labels=labels, test_embeddings=tests, test_labels=test_labels)
  seen, measure = [], evaluate.downstream_accuracy
  def watched(inputs, labels, subset, test_inputs, test_labels, *more, **keywords):
    seen.append((len(subset), test_inputs, test_labels))
    return measure(inputs, labels, subset, test_inputs, test_labels, *more, **keywords)
  monkeypatch.setattr(evaluate, 'downstream_accuracy', watched)
  tiny.update_from_flattened_dict({'embed.method': method, 'data.name': 'embeddings', 'evaluate.steps': 100,
                                   'data.path': str(tmp_path / 'e.npz')})
  dataset = pipeline.read_data(tiny)
  chosen, metrics = pipeline.run(dataset, tiny, tmp_path / 'out', say=lambda _: None)
  assert [count for count, *_ in seen] == [12] * 4 + [120] * 2
  expected = tests if method == 'given' else scaling.fit(x, 'distances')(tests)
  for _, test_inputs, their_labels in seen:
    np.testing.assert_array_equal(test_inputs, expected)
    np.testing.assert_array_equal(their_labels, test_labels)
  assert metrics['accuracy']['test'] == 'its own test set' and metrics['accuracy']['summary']['everything']['mean'] > .8
  # It decides nothing.
  alone = pipeline.select_from(data.from_memory(embeddings=x), tiny, tmp_path / 'alone', say=lambda _: None)
  np.testing.assert_array_equal(alone.indices, chosen.indices)


def test_a_benchmark_tests_on_the_embeddings_of_the_test_set(tiny, tmp_path):
  from elfs_jax import benchmark
  from elfs_jax import config as config_lib
  (x, labels), (tests, test_labels) = clouds(120, 0), clouds(50, 1)
  tiny.data.name, tiny.embed.method = 'memory', 'auto'
  with tiny.unlocked():
    tiny.benchmark = config_lib.benchmark()
  tiny.update_from_flattened_dict({'benchmark.rates': (0.8,), 'benchmark.methods': 'random', 'benchmark.seeds': 1,
                                   'benchmark.randoms': 2, 'benchmark.steps': 200})
  def accuracies(labels_of_tests, name):
    dataset = data.from_memory(embeddings=x, labels=labels, test_embeddings=tests, test_labels=labels_of_tests)
    rows = benchmark.run(dataset, tiny, tmp_path / name, say=lambda _: None)
    assert all(row['n'] == 24 for row in rows)  # A fifth of all 120: none is set aside.
    return [float(row['accuracy']) for row in rows]
  assert min(accuracies(test_labels, 'right')) > .7
  assert max(accuracies((test_labels + 1) % 4, 'wrong')) < .2


@pytest.mark.parametrize('fields, words', [
    ({'test_embeddings': np.ones((3, 2))}, ['test_labels', 'both']),
    ({'test_labels': [0, 1]}, ['test_embeddings', 'both']),
    ({'test_embeddings': np.eye(3, 5), 'test_labels': [0, 1, 0]}, ['test_embeddings are (5,), embeddings (2,)']),
    ({'test_embeddings': np.eye(3, 2), 'test_labels': [0, 1]}, ['test_labels have shape (2,) for 3']),
    ({'test_embeddings': [[0, np.nan]], 'test_labels': [0]}, ['test_embeddings hold NaN']),
    ({'test_images': np.zeros((1, 3, 3), np.uint8), 'test_labels': [0]}, ['test_images go with images']),
])
def test_a_test_set_of_embeddings_that_cannot_be(fields, words):
  with pytest.raises(ValueError) as error:
    data.from_memory(embeddings=np.eye(4, 2), **fields)
  one_line(error, *words)


def test_a_map_of_all_images_is_not_copied_to_train_on_them_all(tmp_path, monkeypatch):
  images = np.memmap(tmp_path / 'x', np.uint8, 'w+', shape=(40, 8, 8, 1))
  seen = []
  def fit(inputs, labels, *more, **keywords):
    seen.append((inputs, labels))
    return types.SimpleNamespace(predict=lambda inputs: np.zeros(len(inputs)))
  monkeypatch.setattr(train, 'fit', fit)
  labels = np.arange(40) % 2
  for subset in (np.arange(40), np.arange(20), np.arange(40)[::-1]):
    assert 0.5 == evaluate.downstream_accuracy(
        images, labels, subset, images, labels, 2, train.Recipe('small', 2, batch=16), steps=1, mesh=mesh.data_mesh(1))
  assert seen[0][0] is images and seen[0][1] is labels and len(seen[1][0]) == 20
  np.testing.assert_array_equal(seen[2][1], labels[::-1])


# Files of other libraries


@pytest.mark.parametrize('name, mend', [
    ('x.pt', "np.save('embeddings.npy', tensor.float().cpu().numpy())"), ('x.PTH', 'tensor.float().cpu().numpy()'),
    ('x.safetensors', 'tensor.float().cpu()'), ('x.pkl', 'np.asarray(loaded)'), ('x.h5', "file['NAME'][:]"),
    ('x.parquet', "np.stack(table['COLUMN'])")])
def test_files_of_other_libraries_are_refused_with_how_to_save_them(name, mend, tmp_path):
  with open(tmp_path / name, 'wb') as file:
    np.save(file, np.eye(3))
  with pytest.raises(ValueError) as error:
    data.load('embeddings', tmp_path / name)
  one_line(error, name, mend)
  with pytest.raises(ValueError) as error:
    data.load('arrays', tmp_path / name)
  one_line(error, "np.save('images.npy'", mend.split('embeddings.npy\', ')[-1].replace('.float()', '').rstrip(')'))


# Data sets of Hugging Face


@pytest.fixture
def hugging(tmp_path, monkeypatch):
  """Makes the splits of a data set: colour pictures of unequal size, their classes and a number."""
  datasets = pytest.importorskip('datasets')
  monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'cache')
  datasets.disable_progress_bars()
  features = datasets.Features({'weight': datasets.Value('int64'), 'photo': datasets.Image(),
                                'kind': datasets.ClassLabel(names=['red', 'green', 'blue', 'yellow'])})
  def make(labels=lambda i: i % 4, **counts):
    return datasets.DatasetDict({name: datasets.Dataset.from_dict({
        'weight': list(range(count)), 'kind': [labels(i) for i in range(count)],
        'photo': [picture(i % 4, 1000 * part + i, (30 + i, 40)) for i in range(count)]}, features=features)
        for part, (name, count) in enumerate(counts.items())})
  return make


def _png(i):
  content = io.BytesIO()
  picture(i % 4, i).save(content, 'png')
  return content.getvalue()


def pixels_of(split, size):
  return np.stack([decode.fit(image, size) for image in split['photo']])


@pytest.mark.parametrize('form', ['saved', 'parquet', 'file'])
def test_a_data_set_of_hugging_face_from_disk(form, hugging, tmp_path):
  made, place = hugging(train=12, test=5), tmp_path / 'set'
  if form == 'saved':
    made.save_to_disk(place)
  else:
    for name, split in made.items():
      split.to_parquet(place / f'data/{name}-00000-of-00001.parquet')
  name = f'hf:{place}' if form != 'file' else f'hf:{place / "data/train-00000-of-00001.parquet"}'
  dataset = data.load(name, size=16, cache=tmp_path / 'maps')
  np.testing.assert_array_equal(dataset.images, pixels_of(made['train'], 16))
  assert isinstance(dataset.images, np.memmap) and dataset.ids == [f'train/{i}' for i in range(12)]
  assert dataset.labels.tolist() == made['train']['kind'] and dataset.class_names == ['red', 'green', 'blue', 'yellow']
  np.testing.assert_array_equal(dataset.pixels([4], 21)[0], decode.fit(made['train'][4]['photo'], 21))
  if form == 'file':
    assert dataset.test_images is None and dataset.notes == ['train is chosen from; labels from the column kind']
  else:
    np.testing.assert_array_equal(dataset.test_images, pixels_of(made['test'], 16))
    assert dataset.test_labels.tolist() == made['test']['kind']
    assert dataset.notes[0].startswith('train is chosen from, test is the test set; labels from the column kind')
  assert data.load(name).images.shape == (12, 30, 30, 3)  # The first one's shorter side.
  assert data.load(name, test='none').images.shape[0] == (12 if form == 'file' else 17)
  before = os.stat(next((tmp_path / 'maps').glob('*.npy'))).st_mtime_ns
  again = data.load(name, size=16, cache=tmp_path / 'maps')
  assert again.identity == dataset.identity
  assert os.stat(next((tmp_path / 'maps').glob('*.npy'))).st_mtime_ns == before


def test_other_parts_and_hidden_labels_of_hugging_face(hugging, tmp_path):
  made = hugging(train=6, validation=4, test=3, extra=2)
  made.save_to_disk(tmp_path / 'a')
  dataset = data.load(f'hf:{tmp_path / "a"}')
  assert len(dataset.ids) == 10 and dataset.ids[6] == 'validation/0' and len(dataset.test_labels) == 3
  assert dataset.notes[0].startswith('train and validation are chosen from, test is the test set; extra left out')
  made['test'] = hugging(labels=lambda i: -1, test=3)['test']
  made.save_to_disk(tmp_path / 'b')
  dataset = data.load(f'hf:{tmp_path / "b"}')
  assert len(dataset.ids) == 10 and dataset.test_labels is None and len(dataset.labels) == 10
  assert 'test is left out, as a test set without labels' in dataset.notes[0]
  made = made['train'].remove_columns('kind')
  made.save_to_disk(tmp_path / 'c')
  dataset = data.load(f'hf:{tmp_path / "c"}')
  assert dataset.labels is None and len(dataset.ids) == 6


def test_shards_of_webdataset_are_read_by_the_same_library(hugging, tmp_path):
  import tarfile
  place = tmp_path / 'set/train-0000.tar'
  place.parent.mkdir()
  with tarfile.open(place, 'w') as shard:
    for i in range(5):
      member = tarfile.TarInfo(f'{i:04}.png')
      member.size = len(_png(i))
      shard.addfile(member, io.BytesIO(_png(i)))
  for name in (place, place.parent):
    dataset = data.load(f'hf:{name}', size=8)
    np.testing.assert_array_equal(dataset.images[3], decode.fit(picture(3, 3), 8))
    assert len(dataset.ids) == 5


def test_a_broken_picture_of_hugging_face_is_skipped(hugging, tmp_path):
  datasets = pytest.importorskip('datasets')
  contents = [b'no image', *(_png(i) for i in range(3))]
  contents[2] = contents[2][:200]
  made = datasets.Dataset.from_dict({'image': [{'bytes': content, 'path': None} for content in contents]},
                                    features=datasets.Features({'image': datasets.Image()}))
  made.save_to_disk(tmp_path / 'a')
  dataset = data.load(f'hf:{tmp_path / "a"}', size=8)
  assert dataset.ids == ['train/1', 'train/3'] and [name for name, _ in dataset.skipped] == ['train/0', 'train/2']
  np.testing.assert_array_equal(dataset.pixels([1], 24)[0], decode.fit(picture(2, 2), 24))


def test_a_run_on_a_data_set_of_hugging_face(tiny, hugging, tmp_path):
  hugging(train=60, test=20).save_to_disk(tmp_path / 'set')
  tiny.update_from_flattened_dict({'data.name': f'hf:{tmp_path / "set"}', 'data.size': 8, 'evaluate.enabled': False})
  said = []
  chosen, metrics = pipeline.run(pipeline.read_data(tiny, tmp_path / 'out'), tiny, tmp_path / 'out', say=said.append)
  assert len(chosen.indices) == 6 and metrics['quality']['neighbor_purity'] > 0.9
  assert said[0].startswith('train is chosen from, test is the test set')


def test_a_data_set_of_hugging_face_that_cannot_be_had(tmp_path, monkeypatch):
  datasets = pytest.importorskip('datasets')
  datasets.disable_progress_bars()
  monkeypatch.setattr(connection, 'answers', lambda url: False)
  monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
  with pytest.raises(ValueError) as error:
    data.load('hf:no/such')
  one_line(error, "'hf:no/such'", 'no connection', 'HF_HUB_OFFLINE=1')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError) as error:
    data.load(f'hf:{tmp_path / "empty"}')
  one_line(error, 'empty', 'data files')
  datasets.Dataset.from_dict({'x': [1, 2]}).save_to_disk(tmp_path / 'numbers')
  with pytest.raises(ValueError) as error:
    data.load(f'hf:{tmp_path / "numbers"}')
  one_line(error, 'no column of images; it has x')


def test_without_the_package_datasets_the_error_says_what_to_install(monkeypatch):
  import sys
  monkeypatch.setitem(sys.modules, 'datasets', None)
  with pytest.raises(ValueError) as error:
    data.load('hf:beans')
  one_line(error, "pip install 'elfs_jax[hf]'")
  with pytest.raises(ValueError, match="data.name='hf' is unknown"):
    data.load('hf')
