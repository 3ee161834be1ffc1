"""The loop: choose, label, choose again around the labels."""
import csv
import json

import numpy as np
import pytest
from conftest import TINY, launch
from PIL import Image

import elfs_jax
from elfs_jax import cli, pipeline
from elfs_jax import config as config_lib
from elfs_jax.rounds import next_round

pytestmark = pytest.mark.usefixtures('one_device')
COUNT = 60


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """60 pictures of three kinds in two folders, some of which share a name."""
  rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp('data') / 'my pictures'
  patterns = rng.integers(0, 200, (3, 8, 8, 3))
  for i in range(COUNT):
    path = folder / ('a b', 'ü')[i % 2] / f'{i // 2}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(patterns[i % 3] + rng.normal(0, 25, (8, 8, 3)), 0, 255).astype(np.uint8)).save(path)
  return folder


def kind_of(name):
  """The true kind of a picture."""
  part, _, number = name.removesuffix('.png').partition('/')
  return f'kind {(2 * int(number) + (part != "a b")) % 3}'


def first_round(folder, out, **more):
  config = config_lib.pictures()
  config.update_from_flattened_dict(TINY | {'data.name': 'folder', 'data.path': str(folder), 'data.size': 8,
                                            'cluster.num_classes': 3, 'select.beta': 0.1, 'select.budget': 12} | more)
  pipeline.run(pipeline.read_data(config, out), config, out, say=lambda line: None)
  return out


def names_in(out, name='coreset.csv', kind='chosen'):
  with open(out / name, newline='', encoding='utf-8') as text:
    return [row['id'] for row in csv.DictReader(text) if row.get('kind', 'chosen') == kind]


def status_in(out):
  with open(out / 'items.csv', newline='', encoding='utf-8') as text:
    return {row['id']: row['status'] for row in csv.DictReader(text)}


def studio(folder, names, skipped=()):
  """What Label Studio exports: the names labelled, and more tasks that were skipped."""
  def task(number, name, cancelled):
    part = {'from_name': 'label', 'to_name': 'image', 'type': 'choices', 'value': {'choices': [kind_of(name)]}}
    return {'id': number, 'data': {'image': f'/data/local-files/?d={folder.name}/{name}', 'id': name},
            'annotations': [{'was_cancelled': cancelled, 'result': [part]}]}
  return json.dumps([task(i, name, name in skipped) for i, name in enumerate([*names, *skipped])])


def test_two_rounds_after_the_first(folder, tmp_path):
  out, said = first_round(folder, tmp_path / 'out'), []
  first = names_in(out)
  assert len(first) == 12
  (tmp_path / 'studio.json').write_text(studio(folder, first[:8], first[8:10]))
  next_round.run(out, tmp_path / 'studio.json', '6', say=said.append)
  text, second = '\n'.join(said), names_in(out)
  assert len(second) == 6 and not set(second) & set(first[:8])
  assert '[proxy] reused' in text and '8 labels from' in text and '2 images in it have none' in text
  assert f'4 that were chosen before have no label, such as {first[8]!r}' in text
  (old,) = out.glob('coreset-*.csv')
  assert names_in(out, old.name) == first and old.name in text
  assert {name for name, status in status_in(out).items() if status == 'labelled'} == set(first[:8])
  assert (out / 'labels.csv').read_text('utf-8').startswith('id,label\n')

  (tmp_path / 'new.csv').write_text('id,label\n' + ''.join(f'{name},{kind_of(name)}\n' for name in second[:5])
                                    + f'{second[5]},\n{first[0]},another\n')
  next_round.run(out, tmp_path / 'new.csv', 10, say=said.append)
  third, known = names_in(out), {*first[:8], *second[:5]}
  assert len(third) == 10 and not set(third) & known
  assert {name for name, status in status_in(out).items() if status == 'labelled'} == known
  with open(out / 'labels.csv', newline='', encoding='utf-8') as text:
    labels = {row['id']: row['label'] for row in csv.DictReader(text)}
  assert labels == {name: kind_of(name) for name in known} | {first[0]: 'another'}
  assert '13 labels in' in '\n'.join(said) and '5 of them new, 1 changed' in '\n'.join(said)
  assert len([*out.glob('coreset-*.csv')]) == 2


def test_the_next_ones_are_what_python_chooses_around_the_same_labels(folder, tmp_path):
  """And the names of a few labels decide nothing."""
  out = first_round(folder, tmp_path / 'out')
  first = names_in(out)
  (tmp_path / 'labels.json').write_text(studio(folder, first[:8]))
  next_round.run(out, tmp_path / 'labels.json', 6, say=lambda line: None)
  config = config_lib.pictures()
  config.update_from_flattened_dict(TINY | {'data.size': 8})
  for labelled in (tmp_path / 'labels.json', {name: 'abcdefgh'[i] for i, name in enumerate(first[:8])}):
    coreset = elfs_jax.select_coreset(str(folder), budget=6, beta=0.1, num_classes=3, config=config, labelled=labelled)
    assert [coreset.ids[i] for i in coreset.indices] == names_in(out)


def test_what_was_labelled_at_the_beginning_stays_so_and_how_many_are_enough(folder, tmp_path):
  begun = [f'a b/{i}.png' for i in range(20, 30)]
  (tmp_path / 'begun.txt').write_text('\n'.join(begun))
  out = first_round(folder, tmp_path / 'out', **{'data.labelled': str(tmp_path / 'begun.txt'), 'select.budget': 30,
                                                 'select.holdout': 6})
  held = names_in(out, 'holdout.csv')
  first, said = names_in(out), []
  (tmp_path / 'labels.json').write_text(studio(folder, [*first, *held]))
  next_round.run(out, tmp_path / 'labels.json', 4, say=said.append)
  assert not set(names_in(out)) & {*begun, *first, *held} and names_in(out, 'holdout.csv') == held
  status = status_in(out)
  assert all(status[name] == 'labelled' for name in [*begun, *first]) and not set(held) & set(status)
  found = json.loads((out / 'metrics.json').read_text())['enough']
  assert found['labels'] == 30 and found['counts'] == [30, 34, 54] and found['accuracy'][0] > 0.9
  assert 'on the 30 labels is unsure count more' in '\n'.join(said)
  assert 'with these 30 labels a classifier on the embeddings is right in about' in '\n'.join(said)
  assert 'how many are enough' in (out / 'report.html').read_text('utf-8')


def test_the_command(folder, tmp_path):
  out = first_round(folder, tmp_path / 'out')
  first = names_in(out)
  (tmp_path / 'labels.json').write_text(studio(folder, first))
  process = launch('next', str(out), f'--labels={tmp_path}/labels.json', '--budget=6', tiny=False)
  assert process.returncode == 0, process.stderr
  assert len(names_in(out)) == 6 and not set(names_in(out)) & set(first) and 'coreset in' in process.stdout
  assert 'Choose more around what is labelled' in (out / 'report.html').read_text('utf-8')


def test_files_are_found_where_the_run_was_started(folder, tmp_path, monkeypatch):
  (tmp_path / 'begun.txt').write_text('a b/20.png\na b/21.png')
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir(tmp_path)
  out = first_round(folder, tmp_path / 'out', **{'data.labelled': 'begun.txt'})
  (tmp_path / 'labels.csv').write_text(f'id,label\n{names_in(out)[0]},a\n')
  monkeypatch.chdir(tmp_path / 'elsewhere')
  next_round.run(out, tmp_path / 'labels.csv', 5, say=lambda line: None)
  assert status_in(out)['a b/20.png'] == status_in(out)['a b/21.png'] == 'labelled'


def test_help(capsys, monkeypatch):
  monkeypatch.setattr('sys.argv', ['elfs-jax', 'next', '--help'])
  with pytest.raises(SystemExit) as error:
    cli.main()
  assert error.value.code == 0 and '--labels' in capsys.readouterr().out


@pytest.fixture(scope='module')
def ended(folder, tmp_path_factory):
  return first_round(folder, tmp_path_factory.mktemp('ended'))


@pytest.mark.parametrize('content, budget, words', [
  ('id,label\na b/0.png,\n', '6', ['l.csv', 'no row has a label']),
  ('id,label\nnobody.png,x\n', '6', ['l.csv', 'nobody.png']), ('id\na b/0.png\n', '6', ['l.csv', 'no labels in it']),
  ('id,label\na b/0.png,x\n', '60', ['--budget=60', '59 of 60', 'at most 59']),
  ('id,label\na b/0.png,x\n', 'many', ["'many'"]), ('id,label\na b/0.png,x\n', '0', ['budget=0']),
  (None, '6', ['no such file', '--labels'])])
def test_what_cannot_be_is_told_in_one_line_and_nothing_is_kept(ended, tmp_path, monkeypatch, capsys, content, budget,
                                                                 words):
  before = (ended / 'coreset.csv').read_bytes()
  if content is not None:
    (tmp_path / 'l.csv').write_text(content)
  monkeypatch.setattr('sys.argv', ['elfs-jax', 'next', str(ended), f'--labels={tmp_path}/l.csv', f'--budget={budget}'])
  with pytest.raises(SystemExit) as error:
    cli.main()
  said = capsys.readouterr().err
  assert error.value.code == 2 and said.startswith('error:') and said.count('\n') == 1
  assert all(word in said for word in words), said
  assert (ended / 'coreset.csv').read_bytes() == before and not (ended / 'labels.csv').exists()


def test_workdirs_that_cannot_be(folder, ended, tmp_path, monkeypatch, capsys, blobs, tiny):
  (tmp_path / 'l.csv').write_text('id,label\na b/0.png,x\n')
  elfs_jax.select_coreset(blobs[0], budget=10, beta=0.1, config=tiny, num_classes=4, workdir=tmp_path / 'memory')
  tiny.embed.method = 'auto'
  elfs_jax.select_coreset(str(folder), budget=10, beta=0.1, config=tiny, num_classes=3, workdir=tmp_path / 'encoder',
                          encoder=lambda images: images.reshape(len(images), -1)[:, ::100].astype(np.float32))
  for arguments, words in (([str(tmp_path / 'encoder'), f'--labels={tmp_path}/l.csv', '--budget=6'], 'by a function'),
                           ([str(tmp_path), f'--labels={tmp_path}/l.csv', '--budget=6'], 'holds no choice'),
                           ([str(tmp_path / 'memory'), f'--labels={tmp_path}/l.csv', '--budget=6'], 'in memory'),
                           ([str(ended), '--budget=6'], '--labels'), ([], 'WORKDIR'),
                           ([str(ended), '--labels=x', '--bugdet=6'], '--budget')):
    monkeypatch.setattr('sys.argv', ['elfs-jax', 'next', *arguments])
    with pytest.raises(SystemExit) as error:
      cli.main()
    said = capsys.readouterr().err
    assert error.value.code == 2 and words in said and said.count('\n') == 1, said


def test_a_labels_csv_of_the_users_own_is_refused(folder, tmp_path):
  out = first_round(folder, tmp_path / 'out')
  (out / 'labels.csv').write_text('picture,kind,by\na,b,c\n')
  (tmp_path / 'l.csv').write_text('id,label\na b/0.png,x\n')
  with pytest.raises(ValueError, match='labels.csv.*move it elsewhere'):
    next_round.run(out, tmp_path / 'l.csv', 6)
  assert (out / 'labels.csv').read_text() == 'picture,kind,by\na,b,c\n'
