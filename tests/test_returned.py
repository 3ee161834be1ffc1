"""Labels as labelling tools export them, and what of them counts."""
import json
import zipfile

import numpy as np
import pytest

from elfs_jax import data
from elfs_jax.data import labelled

IDS = ['a b.png', 'sub/a b.png', 'c.png', 'd,e.png', 'sub/f.jpg']


def choices(*names, question='label'):
  return [{'from_name': question, 'to_name': 'image', 'type': 'choices', 'value': {'choices': list(names)}}]


def task(name, *annotations, **more):
  """A task of Label Studio as our own export makes it, and what annotators made of it."""
  return {'id': 7, 'data': {'image': f'/data/local-files/?d=pictures/{name.replace(" ", "%20")}', 'id': name},
          'annotations': [{'id': 1, 'was_cancelled': False, 'result': one} for one in annotations], **more}


STUDIO = [task('c.png', choices('cat')), task('a b.png', choices('dog'), choices('dog'), choices('cat')),
          task('sub/a b.png', choices('dog'), choices('cat')), task('d,e.png'), task('sub/f.jpg', []),
          task('elsewhere.png', choices('cat'))]
MINIMAL = [{'image': '/data/local-files/?d=pictures/sub/a%20b.png', 'id': 2, 'label': 'dog', 'annotator': 1,
            'annotation_id': 4, 'created_at': 'x', 'updated_at': 'x', 'lead_time': 1.5},
           {'image': '/data/local-files/?d=pictures/c.png', 'id': 1, 'label': 'cat', 'annotator': 1, 'annotation_id': 5,
            'created_at': 'x', 'updated_at': 'x', 'lead_time': 1.5}]
TABLE = ('annotation_id,annotator,created_at,id,image,label,lead_time,updated_at\n'
         '4,1,x,2,/data/local-files/?d=pictures/sub/a%20b.png,dog,1.5,x\n'
         '5,1,x,1,"/data/local-files/?d=pictures/d%2Ce.png",cat,1.5,x\n'
         '6,1,x,3,https://host/pictures/c.png,,1.5,x\n')
CVAT = ('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>'
        '<image id="0" name="000001/sub/a b.png" width="4" height="4"><tag label="dog" source="manual"></tag></image>'
        '<image id="1" name="000002/c.png" width="4" height="4"></image>'
        '<image id="2" name="000003/a b.png" width="4" height="4"><tag label="cat"/></image></annotations>')
COCO = {'images': [{'id': 5, 'file_name': 'sub/f.jpg'}, {'id': 6, 'file_name': 'c.png'},
                   {'id': 7, 'file_name': 'd,e.png'}],
        'annotations': [{'id': 1, 'image_id': 6, 'category_id': 2}, {'id': 2, 'image_id': 5, 'category_id': 9},
                        {'id': 3, 'image_id': 5, 'category_id': 9}, {'id': 4, 'image_id': 5, 'category_id': 2}],
        'categories': [{'id': 2, 'name': 'cat'}, {'id': 9, 'name': 'dog'}]}


def read(path):
  rows, labels, notes = labelled.read(path, IDS, '/somewhere/pictures')
  assert rows.dtype == np.int64
  return dict(zip([IDS[row] for row in rows], labels, strict=True)), notes


def text(content):
  return content if isinstance(content, str) else json.dumps(content)


@pytest.mark.parametrize('name', ['export', 'export.json', 'export.csv', 'export.txt'])
@pytest.mark.parametrize('content, labels', [
  (STUDIO, {'c.png': 'cat', 'a b.png': 'dog'}), (MINIMAL, {'sub/a b.png': 'dog', 'c.png': 'cat'}),
  (CVAT, {'sub/a b.png': 'dog', 'a b.png': 'cat'}), (COCO, {'c.png': 'cat', 'sub/f.jpg': 'dog'})])
def test_the_content_decides_the_format(tmp_path, name, content, labels):
  (tmp_path / name).write_text(text(content))
  assert read(tmp_path / name)[0] == labels


def test_the_csv_of_label_studio(tmp_path):
  (tmp_path / 'export.csv').write_text(TABLE)
  assert read(tmp_path / 'export.csv')[0] == {'sub/a b.png': 'dog', 'd,e.png': 'cat'}


def test_archives(tmp_path):
  with zipfile.ZipFile(tmp_path / 'a.bin', 'w') as archive:
    archive.writestr('annotations.xml', CVAT)
    archive.writestr('images/000001/sub/a b.png', b'')
  assert read(tmp_path / 'a.bin')[0] == {'sub/a b.png': 'dog', 'a b.png': 'cat'}
  with zipfile.ZipFile(tmp_path / 'b.zip', 'w') as archive:
    archive.writestr('annotations/instances_default.json', json.dumps(COCO))
  assert read(tmp_path / 'b.zip')[0] == {'c.png': 'cat', 'sub/f.jpg': 'dog'}


def test_a_line_says_what_does_not_count(tmp_path):
  (tmp_path / 'export.json').write_text(text(STUDIO))
  (line,) = read(tmp_path / 'export.json')[1]
  for words in ('2 labels from', '(Label Studio JSON)', '2 images in it have none', "1 have as many", "'sub/a b.png'",
                '1 labels are of images that are not here'):
    assert words in line
  dataset = data.from_memory(embeddings=np.eye(5), ids=IDS, labelled=tmp_path / 'export.json')
  assert dataset.notes == [line] and dataset.labelled_labels == ['cat', 'dog']


def test_what_is_cancelled_does_not_count_and_predictions_are_no_labels(tmp_path):
  skipped = task('c.png', choices('cat'), predictions=[{'result': choices('dog')}])
  skipped['annotations'][0]['was_cancelled'] = True
  (tmp_path / 'export.json').write_text(text([skipped, task('a b.png', choices('dog'))]))
  assert read(tmp_path / 'export.json')[0] == {'a b.png': 'dog'}


def test_the_question_called_label_is_the_one_that_counts(tmp_path):
  both = [task('c.png', choices('blurred', question='quality') + choices('cat'))]
  (tmp_path / 'export.json').write_text(text(both))
  assert read(tmp_path / 'export.json')[0] == {'c.png': 'cat'}
  both[0]['annotations'][0]['result'][1]['from_name'] = 'kind'
  (tmp_path / 'export.json').write_text(text(both))
  with pytest.raises(ValueError, match='several questions .kind, quality.*'):
    read(tmp_path / 'export.json')


def test_the_number_of_a_task_is_no_name(tmp_path):
  """JSON-MIN has the task's own `id`, and pictures may be called by numbers."""
  (tmp_path / 'export.json').write_text(text([MINIMAL[0] | {'image': '/data/upload/3/0a1b2c3d-1.png', 'id': 2}]))
  rows, labels = data.labelled_rows(tmp_path / 'export.json', ['2.png', '1.png'])
  assert rows.tolist() == [1] and labels == ['dog']


def test_frames_of_cvat_are_told_apart_by_their_folders_though_these_be_numbers(tmp_path):
  frame = '<image id="0" name="{}"><tag label="{}"/></image>'
  (tmp_path / 'a.xml').write_text('<annotations>' + frame.format('000001/x.png', 'cat')
                                  + frame.format('000002/x.png', 'dog') + '</annotations>')
  rows, labels = data.labelled_rows(tmp_path / 'a.xml', ['000002/x.png', '000001/x.png'])
  assert dict(zip(rows.tolist(), labels)) == {0: 'dog', 1: 'cat'}


@pytest.mark.parametrize('content, words', [
  ([task('c.png'), task('a b.png', [])], ['no labels in it', 'Label Studio JSON']),
  ([{'data': {'image': 'c.png'}}], ['no labels in it']),
  ([task('x.png', choices('cat'))], ["no example is called 'x.png'", "'a b.png'"]),
  ([task('c.png', choices('cat'), choices('dog'))], ['as many answers']),
  ({'images': []}, ['Label Studio JSON', 'CVAT', 'COCO']), ('[{"data"', ['cannot be read']), ('', ['neither JSON']),
  ('<a><b></a>', ['cannot be read']), ('<a/>', ['not an export']),
  (CVAT.replace('tag', 'box'), ['shapes and no tags']),
  ({**COCO, 'categories': []}, ['looks like an export of COCO', 'export it again']),
  (COCO | {'images': [{'id': 5}]}, ['looks like an export of COCO'])])
def test_exports_that_cannot_be(tmp_path, content, words):
  path = tmp_path / ('l.xml' if str(content)[:1] == '<' else 'l.json')
  path.write_text(text(content))
  with pytest.raises(ValueError) as error:
    read(path)
  assert '\n' not in str(error.value) and all(word in str(error.value) for word in [path.name, *words]), error.value


def test_archives_that_cannot_be(tmp_path):
  with zipfile.ZipFile(tmp_path / 'l.zip', 'w') as archive:
    archive.writestr('images/x.png', b'')
  with pytest.raises(ValueError, match='0 files of labels'):
    read(tmp_path / 'l.zip')
  (tmp_path / 'l.zip').write_bytes((tmp_path / 'l.zip').read_bytes()[:20])
  with pytest.raises(ValueError, match='not a sound .zip'):
    read(tmp_path / 'l.zip')
