"""The loop of docs/labelling.md from end to end, by its commands, with 200 small pictures."""
import csv
import json

import numpy as np
from conftest import launch
from PIL import Image

KINDS = 'cat', 'dog', 'owl', 'fox'


def add(folder, names):
  """Pictures of four kinds, which the names end in."""
  patterns = np.random.default_rng(0).integers(0, 200, (4, 8, 8, 3))
  for number, name in enumerate(names):
    noise = np.random.default_rng([1, number, len(names)]).normal(0, 25, (8, 8, 3))
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(patterns[number % 4] + noise, 0, 255).astype(np.uint8)).save(file)


def command(*words, tiny=False):
  process = launch(*map(str, words), tiny=tiny)
  assert process.returncode == 0, process.stderr
  return process.stdout


def rows(file):
  with open(file, newline='', encoding='utf-8') as text:
    return list(csv.DictReader(text))


def labelled_by_hand(tasks, count):
  """What Label Studio exports as JSON when the first tasks are labelled."""
  for number, task in enumerate(tasks):
    task['id'] = number
    kind = task['data']['id'].removesuffix('.png').rpartition('-')[2]
    choice = {'from_name': 'label', 'to_name': 'image', 'type': 'choices', 'value': {'choices': [kind]}}
    task['annotations'] = [{'was_cancelled': False, 'result': [choice]}] if number < count else []
  return json.dumps(tasks)


def test_choose_hand_over_label_choose_again_and_add_pictures(tmp_path):
  folder, out = tmp_path / 'my pictures', tmp_path / 'out'
  add(folder, [f'day {i // 100}/{i:03}-{KINDS[i % 4]}.png' for i in range(200)])
  command('--config=folder', f'--config.data.path={folder}', '--config.data.size=8', '--config.select.budget=30',
          '--holdout=20', f'--workdir={out}', tiny=True)
  first, held = rows(out / 'coreset.csv'), {row['id'] for row in rows(out / 'holdout.csv')}
  assert [row['kind'] for row in first] == ['chosen'] * 30 + ['reserve'] * 3 and len(held) == 20

  said = command('export', out, 'label-studio')
  assert 'label-studio.json' in said and str(tmp_path) in said  # The document root.
  tasks = json.loads((out / 'export/label-studio.json').read_text('utf-8'))
  assert [task['data']['id'] for task in tasks] == [row['id'] for row in first[:30]]
  (tmp_path / 'labels.json').write_text(labelled_by_hand(tasks, 24))

  said = command('next', out, f'--labels={tmp_path}/labels.json', '--budget=20')
  labelled = {row['id'] for row in first[:24]}
  second = [row['id'] for row in rows(out / 'coreset.csv') if row['kind'] == 'chosen']
  assert len(second) == 20 and not {*second} & (labelled | held)
  assert 'with these 24 labels a classifier' in said and '[proxy] reused' in said
  assert {row['id'] for row in rows(out / 'items.csv') if row['status'] == 'labelled'} == labelled

  add(folder, [f'day 2/{i:03}-{KINDS[i % 4]}.png' for i in range(20)])
  (folder / second[0]).unlink()
  said = command('next', out, f'--labels={tmp_path}/labels.json', '--budget=10')
  assert 'since the last run, of 199: 20 new, 1 gone' in said and '[proxy]' not in said
  third = [row['id'] for row in rows(out / 'coreset.csv') if row['kind'] == 'chosen']
  assert len(third) == 10 and not {*third} & (labelled | held | {second[0]})
  assert third != second[1:11]  # Over old and new, though no label is new.
  status = {row['id']: row['status'] for row in rows(out / 'items.csv')}
  assert len(status) == 199 and sum(name.startswith('day 2') for name in status) == 20
  assert {row['id'] for row in rows(out / 'holdout.csv')} == held
  assert len([*out.glob('coreset-*.csv')]) == 2
