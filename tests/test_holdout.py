"""The held-out test set: drawn at random, whole groups, the same again, and out of everything that follows."""
import csv

import numpy as np
import pytest
from conftest import launch
from PIL import Image

from elfs_jax import copies, data, pipeline, select_coreset


def dataset(n=200, **more):
  """Images of which no two are equal, and their row as each label."""
  images = np.random.default_rng(0).integers(0, 256, (n, 2, 2), dtype=np.uint8)
  images[:, 0, 0], images[:, 0, 1] = np.arange(n) // 16, np.arange(n) % 16
  return data.from_memory(images=images, labels=np.arange(n), ids=[f'{i:03d}.png' for i in range(n)], **more)


@pytest.fixture
def pictures(tmp_path, blobs):
  """60 pictures as files, of which the last 6 are copies of the first 6."""
  folder = tmp_path / 'pictures'
  folder.mkdir()
  for i, image in enumerate(np.concatenate([blobs[0][:54], blobs[0][:6]])):
    Image.fromarray(image).save(folder / f'{i:02d}.png')
  return folder


def test_each_example_is_equally_likely_to_be_held_out():
  source, counts = dataset(50), np.zeros(50)
  for seed in range(2000):
    counts[[int(name[:3]) for name in data.hold_out(source, 10, seed=seed).holdout]] += 1
  expected, spread = 2000 * 0.2, np.sqrt(2000 * 0.2 * 0.8)
  assert counts.sum() == 20000 and np.abs(counts - expected).max() < 4 * spread
  assert 0.5 < (((counts - expected) / spread) ** 2).sum() / 49 < 1.6


def test_what_is_held_out_leaves_the_data_and_the_rest_stays_as_it_was():
  source = dataset(embeddings=np.random.default_rng(1).normal(size=(200, 3)))
  made = data.hold_out(source, 30)
  assert len(made.holdout) == 30 and set(made.holdout).isdisjoint(made.ids)
  assert sorted(made.holdout + made.ids) == source.ids and made.ids == sorted(made.ids)
  rows = [int(name[:3]) for name in made.ids]
  np.testing.assert_array_equal(made.labels, rows)
  np.testing.assert_array_equal(made.images, source.images[rows])
  np.testing.assert_array_equal(made.embeddings, source.embeddings[rows])
  assert made.identity != source.identity and '30 of 200 are held out' in made.notes[-1]


def test_more_hold_the_fewer_and_other_data_or_labels_change_nothing():
  few, many = (data.hold_out(dataset(), count).holdout for count in (20, 50))
  assert many[:20] == few
  assert data.hold_out(dataset(150), 20).holdout[:5] == [name for name in few if name < '150.png'][:5]
  assert data.hold_out(data.with_labels(dataset(), np.zeros(200, int)), 20).holdout == few
  assert data.hold_out(dataset(), 20, seed=1).holdout != few


def test_groups_stay_together_and_the_number_is_exact_where_they_allow_it():
  groups = np.arange(200) // 2 * 2
  made = data.hold_out(dataset(), 30, groups=groups)
  held = {int(name[:3]) for name in made.holdout}
  assert len(held) == 30 and held == {row ^ 1 for row in held}
  odd = data.hold_out(dataset(), 31, groups=groups)
  assert len(odd.holdout) == 30 and '31 were asked for; copies stay together' in odd.notes[-1]
  groups[100:] = np.arange(100, 200)
  assert len(data.hold_out(dataset(), 31, groups=groups).holdout) == 31


def test_what_is_labelled_already_stays_with_its_copies():
  first = data.hold_out(dataset(), 20)
  labelled = [name for name in first.holdout[:3]]
  groups = np.arange(200)
  groups[(int(labelled[0][:3]) + 1) % 200] = groups[int(labelled[0][:3])]
  made = data.hold_out(dataset(labelled={name: 'a' for name in labelled}), 20, groups=groups)
  assert set(labelled).isdisjoint(made.holdout) and len(made.holdout) == 20
  assert f'{(int(labelled[0][:3]) + 1) % 200:03d}.png' not in made.holdout
  assert [made.ids[row] for row in made.labelled] == labelled and made.labelled_labels == ['a'] * 3
  # The next choice labels others: the set is the same again.
  others = first.ids[:15]
  assert data.hold_out(dataset(labelled=others), 20).holdout == first.holdout


def test_a_standing_test_set_stays_and_takes_new_copies_with_it():
  standing = ['007.png', '003.png', 'gone.png']
  kept = data.hold_out(dataset(), None, standing=standing)
  assert kept.holdout == standing[:2]
  fewer = data.hold_out(dataset(), 1, standing=standing)
  assert fewer.holdout == standing[:2] and '1 were asked for; those of before stay' in fewer.notes[-1]
  more = data.hold_out(dataset(), 10, standing=standing)
  assert more.holdout[:2] == standing[:2] and len(more.holdout) == 10 and 'those of before' in more.notes[-1]
  groups = np.arange(200)
  groups[150] = 7
  copied = data.hold_out(dataset(), None, groups=groups, standing=standing)
  assert sorted(copied.holdout) == ['003.png', '007.png', '150.png'] and '2 were asked for' in copied.notes[-1]
  tested = data.hold_out(dataset(labelled={'003.png': 'a', '004.png': 'b'}), None, standing=standing)
  assert '003.png' in tested.holdout and tested.labelled_labels == ['b'] and '1 of them have labels' in tested.notes[-1]
  assert [tested.ids[row] for row in tested.labelled] == ['004.png']


def test_files_are_still_read_as_they_were(pictures, tmp_path):
  source = data.load('folder', pictures, size=8)
  groups = copies.equal_rows(source.images)
  assert (groups[54:] == np.arange(6)).all()
  made = data.hold_out(source, 10, groups=groups)
  assert isinstance(made.images, np.memmap) and not made.images.flags.writeable
  for row, name in enumerate(made.ids):
    own = source.ids.index(name)
    np.testing.assert_array_equal(made.images[row], source.images[own])
    np.testing.assert_array_equal(made.pixels([row], 5), source.pixels([own], 5))
  again = data.hold_out(data.load('folder', pictures, size=8), 10, groups=groups)
  assert again.identity == made.identity != data.hold_out(source, 11, groups=groups).identity
  held = {int(name[:2]) for name in made.holdout}
  assert all((row in held) == (row + 54 in held) for row in range(6))


def test_a_run_keeps_its_test_set_whatever_the_budget(tiny, pictures, tmp_path, one_device):
  tiny.data.name, tiny.data.path, tiny.data.size = 'folder', str(pictures), 8
  out, said = tmp_path / 'out', []
  def held_and_chosen(holdout, budget):
    tiny.select.holdout, tiny.select.budget, tiny.select.beta = holdout, budget, 0.1
    tiny.evaluate.enabled = False
    chosen = pipeline.select_from(pipeline.read_data(tiny, out), tiny, out, say=said.append)
    with open(out / 'holdout.csv', newline='') as text:
      rows = list(csv.DictReader(text))
    with open(out / 'coreset.csv', newline='') as text:
      names = [row['id'] for row in csv.DictReader(text) if row['kind'] == 'chosen']
    assert len(names) == budget and set(names).isdisjoint(row['id'] for row in rows)
    assert all(row['path'] == str(pictures / row['id']) for row in rows)
    assert len(chosen.pseudo_labels) == 60 - len(rows)
    return [row['id'] for row in rows], names
  first, names = held_and_chosen(12, 10)
  assert len(first) == 12 and any('12 of 60 are held out' in line for line in said)
  assert held_and_chosen(12, 20)[0] == first
  tiny.seed = 1
  assert held_and_chosen(None, 10)[0] == first  # It may have been labelled: it stands until the file goes.
  assert held_and_chosen(15, 10)[0][:12] == first


def test_from_python_a_folder_takes_the_setting_and_an_array_the_function(tiny, pictures, tmp_path, blobs, one_device):
  tiny.select.holdout, tiny.data.size, tiny.evaluate.enabled = 10, 8, False
  made = select_coreset(str(pictures), budget=8, beta=0.1, num_classes=4, config=tiny, workdir=tmp_path / 'a')
  assert len(made.holdout) == 10 and len(made.ids) == 50 and set(made.holdout).isdisjoint(made.ids)
  assert (tmp_path / 'a/holdout.csv').is_file()
  with pytest.raises(ValueError, match='elfs_jax.data.hold_out'):
    select_coreset(blobs[0], budget=8, config=tiny)
  tiny.select.holdout = None
  pool = data.hold_out(data.from_memory(images=blobs[0]), 20)
  made = select_coreset(pool, budget=8, beta=0.1, num_classes=4, config=tiny, workdir=tmp_path / 'b')
  assert made.holdout == pool.holdout and len(made.ids) == 100
  np.testing.assert_array_equal(pool.images[made.indices, :, :, 0], blobs[0][[int(made.ids[i]) for i in made.indices]])


def test_the_command_holds_out_and_exports_both(pictures, tmp_path):
  out = tmp_path / 'out'
  process = launch('--config=folder', f'--config.data.path={pictures}', '--config.data.size=8', '--holdout=12',
                   '--config.select.budget=10', '--config.select.beta=0.1', '--export=list',
                   '--export=coco,label-studio', f'--workdir={out}')
  assert process.returncode == 0, process.stderr
  assert len((out / 'export/coreset.txt').read_text().splitlines()) == 10
  assert len((out / 'export/holdout-list.txt').read_text().splitlines()) == 12
  assert (out / 'export/holdout-label-studio.json').is_file() and 'DOCUMENT_ROOT' in process.stdout
  assert process.stdout.count('exported to') == 6


@pytest.mark.parametrize('arguments, words', [
    (['--config=folder', '--holdout=56'], 'select.holdout=56 of 60 examples: hold out at most 55'),
    (['--config=folder', '--holdout=0'], 'select.holdout=0 must be a whole number'),
    (['--config=folder', '--holdout=ten'], 'holdout'),
    (['--config=folder', '--export=label-studio', '--root=nowhere'], '--root=nowhere: no such folder'),
    (['--config=digits', '--export=coco'], 'rows of an array, without files'),
    (['--config=benchmark:digits', '--holdout=5'], 'not with a benchmark')])
def test_what_cannot_be_held_out_or_exported_is_refused_before_long_work(arguments, words, pictures, tmp_path):
  if arguments[0] == '--config=folder':
    arguments = [*arguments, f'--config.data.path={pictures}', '--config.data.size=8']
  process = launch(*arguments, f'--workdir={tmp_path}/out')
  assert process.returncode == 2 and words in process.stderr and len(process.stderr.strip().splitlines()) == 1
  assert '[embed' not in process.stdout
