"""Whose label a row of a table is: the column of names, whatever it is called, in any spelling; and labels of some."""
import random
import unicodedata

import numpy as np
import pytest
from conftest import run

from elfs_jax import data, evaluate
from elfs_jax.data import labels, names

IDS = [f'{place}/im{i}.png' for i, place in enumerate('abcabcab')]
KINDS = [f'kind {i * i % 5}' for i in range(8)]
ROOT = '/home/me/photos'


def write(path, header, rows):
  path.write_text('\n'.join(','.join(row) for row in [header, *rows]) + '\n', encoding='utf-8')
  return path


@pytest.mark.parametrize('title', ['file_name', 'image', 'filepath', 'image_path', 'name', 'image_id', 'img', '', 'id'])
@pytest.mark.parametrize('spelled', [
  lambda name: name, lambda name: f'./{name}', lambda name: name.replace('/', '\\'), lambda name: f'{ROOT}/{name}',
  lambda name: f'photos/{name}', lambda name: f'D:\\old\\{name}', lambda name: f'../x/{name}',
  lambda name: name.removesuffix('.png'), lambda name: name.rpartition('/')[2], lambda name: f' {name} '])
def test_a_column_is_that_of_names_if_its_values_are_the_ids(tmp_path, title, spelled):
  rows = [(spelled(name), kind) for name, kind in zip(IDS, KINDS)]
  random.Random(0).shuffle(rows)
  found, column = labels.label_file(write(tmp_path / 'l.csv', (title, 'label'), rows), IDS, ROOT)
  assert (found, column) == (KINDS, title)
  rows = [(str(i), *row, 'train') for i, row in enumerate(rows)]  # As pandas writes it, with a column more.
  found, column = labels.label_file(write(tmp_path / 'l.csv', ('', title or 'x', 'label', 'split'), rows), IDS, ROOT)
  assert (found, column) == (KINDS, title or 'x')
  given = [spelled(name) for name in IDS]
  assert data.labelled_rows(given[::-1], IDS, ROOT)[0].tolist() == list(range(8))[::-1]


def test_numbers_are_names_where_all_are_ids(tmp_path):
  ids = [str(i) for i in range(8)]
  rows = [(ids[i], KINDS[i]) for i in (3, 1, 7, 0, 2, 6, 4, 5)]
  for title in ('', 'image_id', 'unnamed: 0'):
    assert labels.label_file(write(tmp_path / 'l.csv', (title, 'label'), rows), ids)[0] == KINDS
  # A column of other numbers says nothing of the order, and one that counts the rows neither.
  for numbers in ([5, 5, 1, 2, 2, 3, 1, 1], [11, 12, 13, 14, 15, 16, 17, 18]):
    path = write(tmp_path / 'l.csv', ('year', 'label'), [(str(n), kind) for n, kind in zip(numbers, KINDS)])
    assert labels.label_file(path, IDS) == (KINDS, None)
  path = write(tmp_path / 'l.csv', ('image', 'label'), [(str(n), 'x') for n in (914, 17, 400, 3, 65, 88, 21, 7)])
  with pytest.raises(ValueError, match="no example is called '914'.*'a/im0.png'.*coreset.csv"):
    labels.label_file(path, IDS)


def test_words_that_are_no_ids_are_refused_with_one_of_each(tmp_path):
  path = write(tmp_path / 'l.csv', ('photo', 'label'), [(f'p{i}.png', 'x') for i in range(8)])
  with pytest.raises(ValueError) as error:
    labels.label_file(path, IDS)
  message = str(error.value)
  assert all(word in message for word in ("'p0.png'", "'photo'", "'a/im0.png'"))
  assert '\n' not in message and 'order' not in message
  path = write(tmp_path / 'l.csv', ('label',), [(kind,) for kind in KINDS])
  assert labels.label_file(path, IDS) == (KINDS, None)  # One column keeps the order of the files.


def test_what_fits_two_images_is_refused(tmp_path):
  ids = ['a/x.jpg', 'a/x.png', 'b/y.png', 'c/y.png']
  assert names.find(['a/x.png', 'b/y'], ids) == [1, 2]
  assert names.find(['a/x'], ids) == [names.AMBIGUOUS] and names.find(['y.png'], ids) == [names.AMBIGUOUS]
  with pytest.raises(ValueError, match="l.csv: 'a/x' fits several images.*ending"):
    labels.label_file(write(tmp_path / 'l.csv', ('file', 'label'), [('a/x', '1'), ('b/y', '2')]), ids)
  with pytest.raises(ValueError, match="labelled: 'a/x' fits several"):
    data.labelled_rows(['a/x'], ids)
  path = write(tmp_path / 'l.csv', ('one', 'two', 'label'), [('a/x.jpg', 'b/y.png', '1')])
  with pytest.raises(ValueError, match="'one' and 'two' both hold ids"):
    labels.label_file(path, ids)
  assert names.find(['p/a/x.png', 'q/b/y.png'], ids) == [names.UNKNOWN] * 2  # Not below one folder.
  assert names.find(['p/a/x.png', 'p/z.png'], ids) == [1, names.UNKNOWN]


def test_composed_and_decomposed_letters_are_the_same_and_ids_keep_the_disks_spelling():
  on_disk, typed = (unicodedata.normalize(form, 'Zoë/été.png') for form in ('NFD', 'NFC'))
  assert on_disk != typed and names.find([typed, on_disk], [on_disk, 'x.png']) == [0, 0]
  assert names.find([typed, on_disk], [on_disk, typed]) == [1, 0]  # Two files: each has its own spelling.
  dataset = data.from_memory(embeddings=np.eye(2), ids=[on_disk, 'x'], labelled=[typed])
  assert dataset.labelled.tolist() == [0] and dataset.ids[0] == on_disk


def test_labels_of_some_are_compared_by_those_alone(tiny, blobs, tmp_path, monkeypatch, one_device):
  images, classes = blobs
  known = np.sort(np.random.default_rng(1).permutation(120)[:60])
  some = [int(c) if i in set(known.tolist()) else None for i, c in enumerate(classes)]
  seen, said = [], []
  def watched(inputs, labels, subset, test_inputs, test_labels, *_, **__):
    seen.append(subset)
    assert (labels[subset] >= 0).all() and (test_labels >= 0).all() and len(test_labels) == 12
    return 0.5
  monkeypatch.setattr(evaluate, 'downstream_accuracy', watched)
  tiny.select.budget = 0.25
  chosen, metrics = run(tiny, images, tmp_path / 'some', some, say=said.append)
  assert 'labels for 60 of 120; the comparison uses those' in said
  assert metrics['accuracy']['examples'] == {'coreset': 12, 'random': 12, 'everything': 48}
  assert 'of the 60 that have labels' in metrics['accuracy']['test']
  assert all(set(rows.tolist()) <= set(known.tolist()) for rows in seen)
  pairs = [(classes[i], classes[j]) for i in known for j in chosen.graph.indices[i] if j in set(known.tolist())]
  assert metrics['quality']['neighbor_purity'] == pytest.approx(np.mean([a == b for a, b in pairs]))
  assert metrics['quality']['nmi'] == pytest.approx(evaluate.nmi(chosen.pseudo_labels[known], classes[known]))
  few = [label if i in known[:4] else None for i, label in enumerate(some)]
  again, metrics = run(tiny, images, tmp_path / 'some', few, say=said.append)
  assert '4 labels are too few to compare by; give 10 or more' in said and 'accuracy' not in metrics
  assert (again.indices == chosen.indices).all()  # Labels decide nothing.


def test_labels_of_some_are_not_enough_for_a_benchmark(tiny, blobs, tmp_path):
  from elfs_jax import benchmark
  from elfs_jax import config as config_lib
  config = config_lib.read('benchmark:digits')
  dataset = data.from_memory(blobs[0], labels=[0, None] * 60)
  with pytest.raises(ValueError, match='labels of all'):
    benchmark.run(dataset, config, tmp_path, say=lambda _: None)
