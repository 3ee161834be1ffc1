"""The choice handed over: what each target writes, and from the command."""
import csv
import json
import pathlib
import shlex
import xml.etree.ElementTree as ElementTree
import zipfile
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from conftest import launch
from PIL import Image

from elfs_jax import cli, export
from elfs_jax.runtime import lists, store


@pytest.fixture
def workdir(tmp_path):
  """A workdir that chose three of five pictures, one of them in a subfolder, as a run leaves it."""
  pictures, ids = tmp_path / 'pictures', ['a b.png', 'sub/a b.png', 'c.png', 'd,e.png', 'ü.png']
  for i, name in enumerate(ids):
    (pictures / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (4, 4), (i, 0, 0)).save(pictures / name)
  out = tmp_path / 'out'
  chosen, labels, scores = np.array([4, 1, 3]), np.zeros(5, np.int32), {'aum': np.zeros(5)}
  text = lists.coreset(ids=ids, indices=chosen, reserve=np.array([2]), nearest=np.full(4, -1), duplicates=np.zeros(5),
                       pseudo_labels=labels, scores=scores, root=pictures, root_url=None)
  store.write(out, store.source_of('folder', str(pictures), None, None), {}, choice={}, indices=chosen,
              embeddings=np.eye(5), pseudo_labels=labels, scores=scores, skipped=[], root=pictures,
              lists=lambda: (text, ''))
  return out


def test_a_list_of_paths_in_the_order_of_the_choice(workdir):
  file = export.write(workdir, 'list')
  assert file == workdir / 'export/coreset.txt'
  paths = [pathlib.Path(line) for line in file.read_text('utf-8').splitlines()]
  assert [path.name for path in paths] == ['ü.png', 'a b.png', 'd,e.png'] and all(path.is_file() for path in paths)


def test_a_folder_of_copies_takes_the_place_of_an_earlier_one(workdir):
  old = workdir / 'export/folder/of_before.png'
  old.parent.mkdir(parents=True)
  old.write_bytes(b'')
  folder = export.write(workdir, 'folder')
  found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))
  assert found == ['d,e.png', 'sub/a b.png', 'ü.png']
  assert Image.open(folder / 'ü.png').getpixel((0, 0)) == (4, 0, 0)
  assert [path.name for path in (workdir / 'export').iterdir()] == ['folder']


def test_a_copy_that_fails_leaves_what_was_there(workdir):
  folder = export.write(workdir, 'folder')
  (workdir.parent / 'pictures/c.png').unlink()
  (workdir.parent / 'pictures/d,e.png').unlink()
  with pytest.raises(FileNotFoundError):
    export.write(workdir, 'folder')
  assert len(list(folder.rglob('*.png'))) == 3 and [p.name for p in (workdir / 'export').iterdir()] == ['folder']


IDS = ['ü.png', 'sub/a b.png', 'd,e.png']


def lines_of(workdir, target, **how):
  """What is printed for a target."""
  said = []
  export.write(workdir, target, say=said.append, **how)
  return '\n'.join(said).splitlines()


def test_tasks_for_label_studio_name_files_below_a_document_root(workdir, tmp_path):
  said = lines_of(workdir, 'label-studio')
  tasks = json.loads((workdir / 'export/label-studio.json').read_text('utf-8'))
  assert [task['data']['id'] for task in tasks] == IDS and set(tasks[0]) == {'data'}
  for task in tasks:
    parts = urlsplit(task['data']['image'])
    below = parse_qs(parts.query)['d'][0]
    assert parts.path == '/data/local-files/' and below == f'pictures/{task["data"]["id"]}'
    assert (tmp_path / below).is_file()
  assert said[0] == f'exported to {workdir}/export/label-studio.json' and len(said) == 2
  assert 'LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true' in said[1]
  assert f'LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(tmp_path))} ' in said[1]
  assert f'path {tmp_path}/pictures ' in said[1]
  export.write(workdir, 'label-studio', served=str(tmp_path.parent))
  tasks = json.loads((workdir / 'export/label-studio.json').read_text('utf-8'))
  assert all((tmp_path.parent / unquote(task['data']['image'].partition('?d=')[2])).is_file() for task in tasks)
  export.write(workdir, 'label-studio', served='https://example.org/a/')
  tasks = json.loads((workdir / 'export/label-studio.json').read_text('utf-8'))
  assert tasks[1]['data']['image'] == 'https://example.org/a/sub/a%20b.png'
  with pytest.raises(ValueError, match='only folders below its document root; name one that is above'):
    export.write(workdir, 'label-studio', served=str(tmp_path / 'pictures'))
  with pytest.raises(ValueError, match='no such folder'):
    export.write(workdir, 'label-studio', served=str(tmp_path / 'nowhere'))


def test_classes_are_choices_and_no_image_gets_one(workdir):
  def choices():
    export.write(workdir, 'label-studio')
    view = ElementTree.parse(workdir / 'export/label-studio-config.xml')
    assert view.find('Image').get('value') == '$image' and view.find('Choices').get('toName') == 'image'
    return [choice.get('value') for choice in view.iter('Choice')]
  assert choices() == ['class 1', 'class 2']
  (workdir / 'metrics.json').write_text(json.dumps({'class_names': ['ants & "bees"', '<i>']}))
  assert choices() == ['ants & "bees"', '<i>']
  for target in export.EXPORTS:
    export.write(workdir, target)
  assert 'bees' not in (workdir / 'export/label-studio.json').read_text()
  labels = json.loads((workdir / 'export/cvat-labels.json').read_text())
  assert [label['name'] for label in labels] == ['ants & "bees"', '<i>'] and labels[0]['type'] == 'tag'
  coco = json.loads((workdir / 'export/coco.json').read_text())
  assert [(one['id'], one['name']) for one in coco['categories']] == [(1, 'ants & "bees"'), (2, '<i>')]
  assert coco['annotations'] == []


def test_later_columns_of_the_csv_are_read_by_name(workdir, tmp_path):
  other = tmp_path / 'other.png'
  Image.new('RGB', (2, 3)).save(other)
  with open(workdir / 'coreset.csv', 'w', newline='', encoding='utf-8') as text:
    csv.writer(text).writerows([
        ['rank', 'index', 'id', 'pseudo_label', 'path', 'kind', 'nearest', 'duplicates', 'aum'],
        [0, 7, 'x', 4, other, 'chosen', '', 2, -0.5], [1, 8, 'gone.png', 4, '/gone.png', 'reserve', '', 1, 0.5]])
  chosen = export.read(workdir)
  assert chosen.ids == ['x'] and chosen.paths == [other]
  assert chosen.numbers == {'rank': [0], 'pseudo_label': [4], 'duplicates': [2], 'aum': [-0.5]}
  export.write(workdir, 'coco')
  assert json.loads((workdir / 'export/coco.json').read_text())['images'] == [
      {'id': 1, 'file_name': 'other.png', 'width': 2, 'height': 3}]


def test_paths_that_are_urls_are_handed_on_as_such(workdir):
  with open(workdir / 'coreset.csv', 'w', newline='', encoding='utf-8') as text:
    csv.writer(text).writerows([['id', 'path'], ['c.png', 'https://example.org/c.png']])
  assert export.write(workdir, 'list').read_text() == 'https://example.org/c.png\n'
  export.write(workdir, 'label-studio')
  assert json.loads((workdir / 'export/label-studio.json').read_text())[0]['data']['image'] == 'https://example.org/c.png'
  assert len(list(export.write(workdir, 'folder').iterdir())) == 1  # The file itself lies in the folder of the data.


def test_an_image_list_of_coco_has_sizes_as_shown(workdir, tmp_path):
  turned = Image.Exif()
  turned[0x0112] = 6
  Image.new('RGB', (5, 3)).save(tmp_path / 'pictures/d,e.png', exif=turned)
  said = lines_of(workdir, 'coco')
  found = json.loads((workdir / 'export/coco.json').read_text('utf-8'))
  assert [(one['id'], one['file_name'], one['width'], one['height']) for one in found['images']] == [
      (1, 'ü.png', 4, 4), (2, 'sub/a b.png', 4, 4), (3, 'd,e.png', 3, 5)]
  assert {'info', 'licenses', 'images', 'annotations', 'categories'} == set(found)
  assert str(tmp_path / 'pictures') in said[1]
  (tmp_path / 'pictures/d,e.png').write_bytes(b'no image')
  with pytest.raises(ValueError, match='d,e.png: cannot be read'):
    export.write(workdir, 'coco')


def test_an_archive_for_cvat_keeps_the_order_and_equal_names_apart(workdir, tmp_path):
  said = lines_of(workdir, 'cvat')
  with zipfile.ZipFile(workdir / 'export/cvat.zip') as archive:
    names = archive.namelist()
    assert sorted(names) == names == ['000001/ü.png', '000002/sub/a b.png', '000003/d,e.png']
    assert archive.read(names[1]) == (tmp_path / 'pictures/sub/a b.png').read_bytes()
  assert 'cvat-cli task create' in said[1] and 'put your classes' in said[1]


def test_cvat_cli_takes_the_printed_command(workdir, capsys):
  commands = pytest.importorskip('cvat_cli._internal.commands_all')
  argparse = pytest.importorskip('argparse')
  (workdir / 'metrics.json').write_text(json.dumps({'class_names': ['ant', 'bee']}))
  words = shlex.split(lines_of(workdir, 'cvat')[1])
  parser = argparse.ArgumentParser()
  commands.COMMANDS.configure_parser(parser)
  given = parser.parse_args(words[1:])
  assert [one['name'] for one in given.labels] == ['ant', 'bee'] and given.resource_type.name == 'LOCAL'
  assert given.resources == [f'{workdir}/export/cvat.zip']
  from cvat_sdk import models
  assert len(models.TaskWriteRequest(name=given.name, labels=given.labels).labels) == 2


def test_pycocotools_reads_the_list(workdir):
  coco = pytest.importorskip('pycocotools.coco')
  found = coco.COCO(str(export.write(workdir, 'coco')))
  assert [found.loadImgs(number)[0]['file_name'] for number in sorted(found.getImgIds())] == IDS


def test_a_data_set_for_fiftyone_has_tags_and_scores(workdir, tmp_path):
  export.write(workdir, 'fiftyone')
  found = json.loads((workdir / 'export/fiftyone.json').read_text('utf-8'))
  assert [sample['filepath'] for sample in found['samples']] == [str(tmp_path / 'pictures' / name) for name in IDS]
  assert [sample['item'] for sample in found['samples']] == IDS
  assert all(sample['tags'] == ['coreset'] for sample in found['samples'])
  fields = {name: text.rpartition('.')[2] for name, text in found['sample_fields'].items()}
  assert fields == {'item': 'StringField', 'rank': 'IntField', 'pseudo_label': 'IntField',
                    'duplicates': 'IntField', 'aum': 'FloatField'}
  assert [sample['rank'] for sample in found['samples']] == [0, 1, 2]


@pytest.mark.filterwarnings('ignore')  # Of its many packages.
def test_fiftyone_reads_each_sample_and_field(workdir, tmp_path, monkeypatch):
  monkeypatch.setenv('FIFTYONE_DO_NOT_TRACK', 'true')
  fiftyone = pytest.importorskip('fiftyone')  # Without its MongoDB: what `from_json` calls for each of them.
  from fiftyone.core import odm
  found = json.loads(export.write(workdir, 'fiftyone').read_text('utf-8'))
  kinds = {name: odm.get_field_kwargs(text)['ftype'] for name, text in found['sample_fields'].items()}
  samples = [fiftyone.Sample.from_dict(sample) for sample in found['samples']]
  assert kinds['item'] is fiftyone.StringField and kinds['rank'] is fiftyone.IntField
  assert kinds['aum'] is fiftyone.FloatField
  assert [(sample['item'], sample['rank'], sample.tags) for sample in samples] == [
      (name, rank, ['coreset']) for rank, name in enumerate(IDS)]
  assert samples[0].filepath == str(tmp_path / 'pictures/ü.png') and samples[0].media_type == 'image'


def test_a_folder_for_hugging_face_is_one_part_in_order(workdir, tmp_path):
  folder = export.write(workdir, 'hf')
  with open(folder / 'metadata.csv', newline='', encoding='utf-8') as text:
    rows = list(csv.reader(text))
  assert rows[0] == ['file_name', 'id', 'rank', 'pseudo_label', 'duplicates', 'aum']
  assert [row[0] for row in rows[1:]] == ['000001.png', '000002.png', '000003.png']
  assert [row[1] for row in rows[1:]] == IDS
  for row in rows[1:]:
    assert (folder / row[0]).read_bytes() == (tmp_path / 'pictures' / row[1]).read_bytes()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # It leaves files open.
def test_hugging_face_loads_the_folder(workdir, tmp_path):
  datasets = pytest.importorskip('datasets')
  for number, name in enumerate(['test/z.png', 'train/a.png']):  # Names that would make parts of the data.
    (tmp_path / 'pictures' / name).parent.mkdir()
    Image.new('RGB', (4, 4), (number, 0, 0)).save(tmp_path / 'pictures' / name)
  with open(workdir / 'coreset.csv', 'w', encoding='utf-8') as text:
    text.write('id,aum\nü.png,0.5\ntest/z.png,-1\ntrain/a.png,0\n')
  target = export.write(workdir, 'hf')
  found = datasets.load_dataset('imagefolder', data_dir=str(target), cache_dir=str(tmp_path / 'cache'))
  assert list(found) == ['train'] and found['train'].num_rows == 3
  assert list(found['train']['id']) == ['ü.png', 'test/z.png', 'train/a.png']
  assert found['train'][0]['image'].getpixel((0, 0)) == (4, 0, 0) and 'label' not in found['train'].features


def test_names_that_collide_are_kept_apart():
  from elfs_jax.export import folder
  assert folder.kept_apart(['a.png', 'b/A.png', 'A.png', 'a (2).png', 'e\u0301.png', '\u00e9.png']) == [
      'a.png', 'b/A.png', 'A (2).png', 'a (2) (2).png', 'e\u0301.png', '\u00e9 (2).png']


def test_what_is_held_out_has_exports_of_its_own(workdir):
  store.write_holdout(workdir, ['c.png', 'a b.png'], str(workdir.parent / 'pictures'))
  for target in export.EXPORTS:
    assert len([line for line in lines_of(workdir, target) if line.startswith('exported to')]) == 2
  names = {path.name for path in (workdir / 'export').iterdir()}
  assert {'holdout-list.txt', 'holdout-folder', 'holdout-label-studio.json', 'holdout-cvat.zip', 'holdout-coco.json',
          'holdout-fiftyone.json', 'holdout-hf'} < names and 'label-studio.json' in names
  tasks = json.loads((workdir / 'export/holdout-label-studio.json').read_text())
  assert [task['data']['id'] for task in tasks] == ['c.png', 'a b.png']
  samples = json.loads((workdir / 'export/holdout-fiftyone.json').read_text())['samples']
  assert [sample['tags'] for sample in samples] == [['holdout']] * 2
  assert len((workdir / 'export/coreset.txt').read_text().splitlines()) == 3


def test_what_cannot_be_exported(workdir, tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file; give the workdir of a run'):
    export.write(tmp_path / 'nowhere', 'list')
  with pytest.raises(ValueError, match="export='lst' is unknown: did you mean 'list'"):
    export.write(workdir, 'lst')
  with pytest.raises(ValueError, match='rows of an array, without files'):
    export.paths_of(export.Chosen(['0'], None))
  with pytest.raises(ValueError, match='line break'):
    from elfs_jax.export import text
    text.write(export.Chosen(['a\nb'], [pathlib.Path('a\nb')]), tmp_path)


def test_the_command_exports_later_and_at_once(workdir, tmp_path, capsys):
  cli._export([str(workdir), 'list', 'folder'])
  assert capsys.readouterr().out.splitlines() == [f'exported to {workdir}/export/coreset.txt',
                                                  f'exported to {workdir}/export/folder']
  with pytest.raises(SystemExit) as stop:
    cli._export([str(workdir)])
  assert stop.value.code == 2 and 'WORKDIR TARGET' in capsys.readouterr().out
  pictures = f'--config.data.path={tmp_path}/pictures'
  process = launch('--config=folder', pictures, '--export=list', '--export=coco,lst', f'--workdir={tmp_path}/x')
  assert process.returncode == 2 and "did you mean 'list'" in process.stderr and not (tmp_path / 'x').exists()
