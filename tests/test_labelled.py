"""Which examples are labelled already: files and Python's values, ids and indices."""
import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elfs_jax import data

IDS = ['a/0.png', 'a/1.png', 'b/2.png', 'b/3.png']


def rows_of(labelled, ids=IDS):
  rows, labels = data.labelled_rows(labelled, ids)
  assert rows.dtype == np.int64 and rows.ndim == 1
  return rows.tolist(), labels


@pytest.mark.parametrize('labelled, rows, labels', [
  (None, [], None), ([], [], None), ({}, [], []),
  (['b/2.png', 'a/0.png'], [2, 0], None), ([3, 1], [3, 1], None), (np.array([2, 0]), [2, 0], None),
  (range(3), [0, 1, 2], None), (('3', '0'), [3, 0], None), (np.array(['b/3.png']), [3], None),
  ({'b/3.png': 'cat', 'a/1.png': 'dog'}, [3, 1], ['cat', 'dog']), ({2: 7, 0: 1}, [2, 0], [7, 1])])
def test_values_of_python(labelled, rows, labels):
  assert rows_of(labelled) == (rows, labels)


def test_ids_that_are_numbers_are_ids_where_all_are():
  ids = ['3', '2', '1', '10']
  assert rows_of([3, '10'], ids) == ([0, 3], None)
  assert rows_of([3, 0], ids) == ([3, 0], None)  # 0 is no id, so these are indices.


@pytest.mark.parametrize('labelled, words', [
  (['a/0.png', 'x.png'], ["'x.png'", "'a/0.png'", '0 to 3']), ([0, 4], ["'4'"]), ([-1], ["'-1'"]), ([1.5], ["'1.5'"]),
  (['a/0.png', 2], ["'2' is an index", "'a/0.png' an id"]), ([1, 2, 1], ["'1'", 'more than once']),
  (['1', '01'], ["'01'", 'more than once']), ([True, False], ['np.flatnonzero']),
  (np.ones(4, bool), ['np.flatnonzero']),
  (5, ['5', 'sequence']), ([None], ["'None'"]), (np.eye(2), ['no example']), (['9' * 30], ['9' * 30])])
def test_values_that_cannot_be(labelled, words):
  with pytest.raises(ValueError) as error:
    data.labelled_rows(labelled, IDS)
  assert '\n' not in str(error.value) and all(word in str(error.value) for word in ['labelled', *words]), error.value


@pytest.mark.parametrize('name, content, rows, labels', [
  ('l.txt', 'b/2.png\n a/0.png \n\n', [2, 0], None), ('l.txt', '\ufeff3\r\n0\r\n', [3, 0], None),
  ('l.txt', '', [], None),
  ('l.csv', 'id,label\nb/2.png,cat\na/0.png,dog\n', [2, 0], ['cat', 'dog']),
  ('l.csv', 'rank,index,id,pseudo_label\n0,1,b/2.png,5\n1,2,a/0.png,5\n', [2, 0], None),
  ('l.csv', 'rank,index\n0,1\n1,3\n', [1, 3], None), ('l.csv', 'Path;Label\nb/2.png; 7 \n', [2], ['7']),
  ('l.csv', 'id,file\nq,a/1.png\nr,b/3.png\n', [1, 3], None), ('l.csv', 'index\n', [], None),
  ('l.csv', 'id\n2\n0\n', [2, 0], None), ('l.csv', 'file_name,label\n./a/1.png,x\nb\\2,y\n', [1, 2], ['x', 'y']),
  ('l.csv', 'id,label\na/0.png,cat\na/1.png,\nb/2.png, \n', [0], ['cat']),
  ('l.csv', ',image,split\n0,b/3.png,a\n1,a/0.png,a\n', [3, 0], None),
  ('l.txt', '/photos/b/2.png\n/photos/a/0.png\n', [2, 0], None)])
def test_files(tmp_path, name, content, rows, labels):
  (tmp_path / name).write_bytes(content.encode())
  assert rows_of(tmp_path / name) == (rows, labels)
  assert rows_of(str(tmp_path / name)) == (rows, labels)


def test_files_of_numpy(tmp_path):
  np.save(tmp_path / 'l.npy', np.array([2, 1]))
  assert rows_of(tmp_path / 'l.npy') == ([2, 1], None)
  np.save(tmp_path / 'l.npy', np.array(['b/2.png']))
  assert rows_of(tmp_path / 'l.npy') == ([2], None)


def test_a_number_is_an_index_before_it_is_a_name_without_its_ending(tmp_path):
  ids = ['0.png', '1.png', '10.png', '2.png']
  assert rows_of([2, 3], ids) == ([2, 3], None) and rows_of(['2.png'], ids) == ([3], None)
  (tmp_path / 'l.csv').write_text('id\n2\n1\n')
  assert rows_of(tmp_path / 'l.csv', ids) == ([2, 1], None)
  (tmp_path / 'l.csv').write_text('image,label\n2,x\n1,y\n')
  with pytest.raises(ValueError, match="no example is called '2', as column 'image' has it.*'0.png'"):
    data.labelled_rows(tmp_path / 'l.csv', ids)


def test_an_index_column_holds_no_ids(tmp_path):
  (tmp_path / 'l.csv').write_text('index\n0\n1\n')
  assert rows_of(tmp_path / 'l.csv', ['1', '0', '5']) == ([0, 1], None)


@pytest.mark.parametrize('name, content, words', [
  ('l.txt', 'a/0.png\nx\n', ["'x'"]), ('l.csv', 'name,label\na,b\n', ["'a'", "'name'", "'a/0.png'"]),
  ('l.csv', 'score\n0.5\n', ['no column id', 'index']),
  ('l.csv', '', ['no column']), ('l.csv', 'id,label\na/0.png,\na/1.png, \n', ['no row has a label']),
  ('l.csv', 'label,id\ncat\n', ['row 2']), ('l.csv', 'index\na/0.png\n', ["'a/0.png'"]),
  ('l.csv', 'id\na/0.png\na/0.png\n', ['more than once']), ('l.dat', '1', ['.csv, .txt or .npy'])])
def test_files_that_cannot_be(tmp_path, name, content, words):
  (tmp_path / name).write_text(content)
  with pytest.raises(ValueError) as error:
    data.labelled_rows(tmp_path / name, IDS)
  assert '\n' not in str(error.value) and all(word in str(error.value) for word in [name, *words]), error.value


def test_other_files_that_cannot_be(tmp_path):
  with pytest.raises(FileNotFoundError, match='none.csv.*no such file'):
    data.labelled_rows(tmp_path / 'none.csv', IDS)
  for array, words in ((np.eye(2, dtype=int), 'shape'), (np.ones(2, bool), 'flatnonzero'), (np.array([0.5]), "'0.5'")):
    np.save(tmp_path / 'l.npy', array)
    with pytest.raises(ValueError, match=words):
      data.labelled_rows(tmp_path / 'l.npy', IDS)
  (tmp_path / 'l.txt').write_bytes(b'\xff\xfe')
  with pytest.raises(ValueError, match='UTF-8'):
    data.labelled_rows(tmp_path / 'l.txt', IDS)


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  return tmp_path_factory.mktemp('names') / 'l.csv'


NAME = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1)


@settings(deadline=None, max_examples=50)
@given(st.lists(NAME, min_size=1, unique=True), st.randoms())
def test_any_id_is_found_in_python_and_in_a_table(table, ids, random):
  order = random.sample(range(len(ids)), random.randint(0, len(ids)))
  names = [ids[i] for i in order]
  assert rows_of(names, ids) == (order, None)
  assert rows_of({name: i for i, name in enumerate(names)}, ids) == (order, list(range(len(order))))
  with open(table, 'w', newline='', encoding='utf-8') as text:
    csv.writer(text).writerows([('id', 'label'), *((name, 'x') for name in names)])
  assert rows_of(table, ids) == (order, ['x'] * len(order))


@settings(deadline=None, max_examples=50)
@given(st.lists(NAME, min_size=1, unique=True), st.data())
def test_indices_are_found_where_they_are_no_ids(ids, draw):
  order = draw.draw(st.lists(st.integers(0, len(ids) - 1), unique=True))
  if not all(str(i) in ids or str(i) in map(str.strip, ids) for i in order):
    assert rows_of(order, ids) == (order, None)


def test_a_data_set_keeps_them(tmp_path):
  (tmp_path / 'l.csv').write_text('index,label\n1700,3\n2,cat\n')
  dataset = data.load('digits', labelled=tmp_path / 'l.csv')
  assert dataset.labelled.tolist() == [1700, 2] and dataset.labelled_labels == ['3', 'cat']
  assert data.load('digits').labelled.shape == (0,) and data.load('digits').labelled_labels is None
  images = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
  dataset = data.from_memory(images, ids=list('xyz'), labelled=['z'], labels=[0, 1, 0], test_images=images[:2],
                             test_labels=[1, 0])
  assert dataset.labelled.tolist() == [2] and dataset.labelled.dtype == np.int64
  assert dataset.test_images.shape == (2, 4, 4, 1) and dataset.test_labels.tolist() == [1, 0]
  with pytest.raises(ValueError, match='test_images or test_embeddings go with test_labels'):
    data.from_memory(images, test_images=images)
  with pytest.raises(ValueError, match='no example .w.'):
    data.from_memory(images, ids=list('xyz'), labelled=['w'])
