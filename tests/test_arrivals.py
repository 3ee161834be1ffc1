"""New pictures in a folder: they are embedded alone, and take clusters and scores from what is known."""
import csv

import numpy as np
import pytest
from conftest import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from elfs_jax import arrivals, data, embed, neighbors, pipeline, vectors
from elfs_jax import config as config_lib
from elfs_jax.encoders import self_supervised
from elfs_jax.rounds import next_round
from elfs_jax.runtime import base, mesh

pytestmark = pytest.mark.usefixtures('one_device')


# What came, changed and left


@given(st.dictionaries(st.sampled_from('abcdefgh'), st.integers(0, 2)),
       st.dictionaries(st.sampled_from('abcdefgh'), st.integers(0, 2)))
@settings(max_examples=100, deadline=None)
def test_what_came_changed_and_left(before, now):
  def content(values):
    return vectors.digests(np.array(list(values.values()), np.uint8).reshape(-1, 1))
  change = arrivals.compare(list(now), content(now), list(before), content(before))
  names = list(now)
  assert [names[i] for i in change.new] == [name for name in now if before.get(name) != now[name]]
  assert change.changed == [name for name in now if name in before and before[name] != now[name]]
  assert change.gone == [name for name in before if name not in now]
  assert all(list(before)[place] == name for name, place in zip(now, change.place, strict=True) if place >= 0)


@pytest.mark.parametrize('new,gone,taken,few', [
    (20, 0, 0, True), (26, 0, 0, False), (0, 20, 0, True), (0, 21, 0, False), (20, 20, 0, True), (21, 20, 0, False),
    (12, 0, 10, True), (13, 0, 10, False)])
def test_up_to_a_fifth_may_be_new_or_gone(new, gone, taken, few):
  """Of 100, the last `taken` of which were new in an earlier round."""
  place = np.append(np.arange(gone, 100), np.full(new, -1))
  whole = np.arange(100) < 100 - taken
  assert arrivals.few(arrivals.Change(place, [], []), whole) == few


def test_new_ones_go_by_their_nearest_known_neighbours():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(90, 5)).astype(np.float32)
  x[80:] = rng.normal(size=(10, 5)) * 0.01 + [9, 9, 0, 0, 0]  # A crowd of new ones, none of whose neighbours is known.
  new = np.r_[3, 40, 80:90]
  place = np.full(90, -1)
  known = np.setdiff1d(np.arange(90), new)
  place[known] = rng.permutation(len(known))
  labels, aum = rng.integers(0, 4, len(known)).astype(np.int32), rng.random(len(known)).astype(np.float32)
  graph = neighbors.graph(x, 9)
  found, scores = arrivals.taken_over(place, x, *graph[:2], labels, {'aum': aum})
  np.testing.assert_array_equal(found[known], labels[place[known]])
  np.testing.assert_array_equal(scores['aum'][known], aum[place[known]])
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  for row in new:
    near = known[np.argsort(-unit[known] @ unit[row], kind='stable')]
    assert scores['aum'][row] == aum[place[near[0]]]
    seen = [i for i in graph.indices[row] if place[i] >= 0] or near[:1]
    votes = np.bincount(labels[place[seen]], unit[seen] @ unit[row], 4)
    assert found[row] == votes.argmax()


# Embeddings of further images


def test_pca_embeds_further_images_as_those_it_learned_from(blobs):
  images = blobs[0][..., None]
  learned = embed.learn_pca(images[:100], components=6)
  np.testing.assert_array_equal(embed.more_pca(images[:100], learned), learned['embeddings'])
  pixels = images[100:].reshape(20, -1) / np.float32(255)
  np.testing.assert_allclose(embed.more_pca(images[100:], learned), (pixels - learned['mean']) @ learned['weights'],
                             atol=1e-5)


def test_the_trained_encoder_embeds_further_images_without_training(blobs):
  how = {'width': 2, 'features': 16, 'projection': 8, 'grid': 8}
  def near(x, k):
    return neighbors.knn(x, k)[0]
  over, images = mesh.data_mesh(2), blobs[0][..., None]
  learned = self_supervised.learn(images[:100], mesh=over, neighbors=near, shards=2, epochs=1, batch=32, **how)
  again = self_supervised.more(images, learned, mesh=over, **how)
  np.testing.assert_allclose(again[:100], learned['embeddings'], atol=1e-5)
  assert np.abs(again[100:]).max() > 0.01 and not np.array_equal(again[100], again[101])


# In a workdir


def picture(folder, name, kind, rng):
  patterns = np.random.default_rng(7).integers(0, 200, (3, 8, 8, 3))
  folder.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.clip(patterns[kind] + rng.normal(0, 25, (8, 8, 3)), 0, 255).astype(np.uint8)).save(folder / name)


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  for i in range(60):
    picture(tmp_path / 'pictures', f'{i:03}.png', i % 3, rng)
  return tmp_path / 'pictures'


def choose(folder, out, **more):
  """What a run says, and what it chose."""
  config = config_lib.pictures()
  config.update_from_flattened_dict(TINY | {'data.name': 'folder', 'data.path': str(folder), 'data.size': 8,
                                            'cluster.num_classes': 3, 'select.budget': 12} | more)
  said = []
  dataset = pipeline.read_data(config, out)
  chosen, _ = pipeline.run(dataset, config, out, say=said.append)
  return said, chosen, dataset


def computed(said):
  return [line[1:].partition(']')[0] for line in said if line.startswith('[') and 'done in' in line]


@pytest.mark.parametrize('method', ['pca', 'self_supervised'])
def test_new_pictures_are_embedded_alone_and_the_choice_goes_on(method, folder, tmp_path):
  out, rng = tmp_path / 'out', np.random.default_rng(1)
  how = {'embed.method': method, 'embed.epochs': 1, 'embed.width': 2}
  _, first, before = choose(folder, out, **how)
  for i in range(8):
    picture(folder, f'new{i}.png', i % 3, rng)
  (folder / '000.png').unlink()
  picture(folder, '001.png', 2, rng)
  said, chosen, dataset = choose(folder, out, **how | {'select.budget': 18})
  line, = [line for line in said if line.startswith('since the last run')]
  assert line.startswith("since the last run, of 67: 8 new, 1 changed (such as '001.png'), 1 gone (such as '000.png'); "
                         'what is new is embedded alone')
  assert computed(said) == ['embed_added', 'neighbors', 'copies']
  handed = [before.ids[i] for i in first.indices if before.ids[i] != '000.png']
  assert [dataset.ids[i] for i in chosen.indices][:len(handed)] == handed and len(chosen.indices) == 18
  assert chosen.beta == first.beta and chosen.judged is None
  old = [before.ids.index(name) for name in dataset.ids if name in before.ids and name != '001.png']
  same = [i for i, name in enumerate(dataset.ids) if name in before.ids and name != '001.png']
  np.testing.assert_array_equal(chosen.embeddings[same], first.embeddings[old])
  np.testing.assert_array_equal(chosen.pseudo_labels[same], first.pseudo_labels[old])
  new = [i for i, name in enumerate(dataset.ids) if name.startswith('new')]
  kinds = first.pseudo_labels[[before.ids.index(f'{i:03}.png') for i in (3, 4, 5)]]
  if method == 'pca':  # Each kind is a cluster, and a new picture is of its kind's.
    np.testing.assert_array_equal(chosen.pseudo_labels[new], kinds[np.arange(8) % 3])
  said, again, _ = choose(folder, out, **how | {'select.budget': 18})
  assert not computed(said) and any(line.startswith('9 of 67 came since all was computed') for line in said)
  np.testing.assert_array_equal(again.indices, chosen.indices)


def test_with_more_than_a_fifth_new_all_is_computed_anew(folder, tmp_path):
  out, rng = tmp_path / 'out', np.random.default_rng(1)
  choose(folder, out)
  for i in range(14):
    picture(folder, f'new{i}.png', i % 3, rng)
  assert 'neighbors' in computed(choose(folder, out)[0])  # 14 of 74.
  for i in range(14, 17):
    picture(folder, f'new{i}.png', i % 3, rng)
  said, chosen, dataset = choose(folder, out)
  assert any('all is computed anew' in line and '3 new' in line for line in said)
  fresh = choose(folder, tmp_path / 'other')[1]
  np.testing.assert_array_equal(chosen.scores['aum'], fresh.scores['aum'])
  assert not any(line.startswith('since') for line in choose(folder, out)[0])


@pytest.mark.parametrize('harm', ['changed', 'settings', 'killed'])
def test_what_was_known_under_other_settings_or_is_damaged_is_not_added_to(harm, folder, tmp_path, monkeypatch):
  out, rng, more = tmp_path / 'out', np.random.default_rng(1), {}
  choose(folder, out)
  picture(folder, 'new.png', 0, rng)
  if harm == 'changed':
    np.save(out / 'embeddings.npy', np.zeros((60, 3), np.float32))
  elif harm == 'settings':
    more = {'cluster.num_classes': 4}
  else:  # After the artifacts of another choice, before what was learned is kept.
    with monkeypatch.context() as patch:
      patch.setattr(base, 'write', lambda *_: 1 / 0)
      with pytest.raises(ZeroDivisionError):
        choose(folder, out, **{'embed.components': 5})
  said, chosen, _ = choose(folder, out, **more)
  assert 'proxy' in computed(said) and len(chosen.scores['aum']) == 61


def test_rows_added_to_given_embeddings(tmp_path, blobs):
  x, out = blobs[0].reshape(120, 64).astype(np.float32), tmp_path / 'out'
  config = config_lib.get_config()
  config.update_from_flattened_dict(TINY | {'data.name': 'embeddings', 'data.path': str(tmp_path / 'x.npy'),
                                            'embed.method': 'auto', 'select.budget': 12})
  results = []
  for count in (110, 120):
    np.save(tmp_path / 'x.npy', x[:count])
    said = []
    chosen, _ = pipeline.run(pipeline.read_data(config, out), config, out, say=said.append)
    results.append(chosen)
  assert computed(said) == ['neighbors', 'copies']
  np.testing.assert_array_equal(results[1].embeddings[:110], results[0].embeddings)
  np.testing.assert_allclose(results[1].embeddings[110:], results[0].scale(x[110:]), atol=1e-4)


def test_the_next_round_is_chosen_over_old_and_new(folder, tmp_path):
  out, rng = tmp_path / 'out', np.random.default_rng(1)
  _, first, before = choose(folder, out)
  named = [before.ids[i] for i in first.indices]
  (tmp_path / 'labels.csv').write_text('id,label\n' + ''.join(f'{name},a\n' for name in named))
  for i in range(10):
    picture(folder, f'new{i}.png', i % 3, rng)
  said = []
  next_round.run(out, tmp_path / 'labels.csv', 20, say=said.append)
  assert computed(said)[0] == 'embed_added' and 'proxy' not in computed(said)
  with open(out / 'coreset.csv', newline='') as text:
    chosen = [row['id'] for row in csv.DictReader(text) if row['kind'] == 'chosen']
  assert len(chosen) == 20 and not set(chosen) & set(named) and any(name.startswith('new') for name in chosen)


def test_a_data_set_of_some_rows(folder, tmp_path):
  """What embeds new rows alone reads just those."""
  dataset = data.load('folder', folder, size=8)
  part = data.take(dataset, np.array([5, 59]))
  np.testing.assert_array_equal(part.pixels([1, 0], 16), dataset.pixels([59, 5], 16))
