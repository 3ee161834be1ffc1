"""Few examples: the logical shards and the batch follow their number."""
import jax
import numpy as np
import pytest
from conftest import on_devices, run
from PIL import Image

import elfs_jax
from elfs_jax import data, pipeline
from elfs_jax.training import recipe

OPEN = {'batch': None}


def examples(count, seed=0):
  """Grey 8x8 images of two patterns with noise."""
  rng = np.random.default_rng(seed)
  patterns = rng.integers(0, 200, (2, 8, 8))
  return np.clip(patterns[np.arange(count) % 2] + rng.normal(0, 25, (count, 8, 8)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize('count, shards, batch', [
    (5, 2, 8), (7, 2, 8), (8, 4, 16), (15, 4, 16), (16, 8, 32), (31, 8, 32), (32, 16, 64), (33, 16, 64), (9999, 16, 64),
    (10_000, 16, 256)])
def test_every_shard_has_two_examples_and_four_rows_of_a_batch(count, shards, batch):
  assert (recipe.shards(16, count), recipe.batch(OPEN, count)) == (shards, batch)
  assert 2 * shards <= count and batch >= 4 * shards
  assert recipe.shards(2, count) == 2 and recipe.batch({'batch': 24}, count) == 24


@pytest.mark.parametrize('count', [5, 23])
def test_a_choice_among_few(tiny, tmp_path, count, monkeypatch):
  tiny.mesh.shards, tiny.select.budget, tiny.neighbors.k = 16, 3, None
  tiny.cluster.num_classes = 2 if count % 2 else None
  used = []
  dynamics = pipeline.steps.proxy.dynamics_scores
  def seen(inputs, pseudo_labels, num_classes, recipe, *, epochs, mesh, shards=16, seed=0, progress=None, names=()):
    used.append((shards, recipe.batch, mesh.devices.size))
    return dynamics(inputs, pseudo_labels, num_classes, recipe, epochs=epochs, mesh=mesh, shards=shards, seed=seed)
  monkeypatch.setattr(pipeline.steps.proxy, 'dynamics_scores', seen)
  chosen, metrics = run(tiny, examples(count), tmp_path, np.arange(count) % 2)
  assert len(set(chosen.indices.tolist())) == 3 and 0 <= min(chosen.indices) and max(chosen.indices) < count
  shards = {5: 2, 23: 8}[count]
  assert used == [(shards, 4 * shards, min(shards, jax.device_count()))]
  assert metrics['shards'] == shards and 'accuracy' in metrics


@pytest.mark.parametrize('method', ['coverage', 'double_end', 'stratified', 'random', 'hardest', 'easiest'])
def test_every_method_chooses_among_five_and_all_of_them(tiny, tmp_path, method):
  x = examples(5).reshape(5, -1).astype(np.float32)
  tiny.data.name, tiny.mesh.shards, tiny.select.method, tiny.neighbors.k = 'memory', 16, method, None
  tiny.embed.method, tiny.cluster.num_classes, tiny.judge.clusterings = 'auto', 2, 2
  for budget in (2, 5):
    tiny.select.budget = budget
    chosen = pipeline.select_from(data.from_memory(embeddings=x), tiny, tmp_path, say=lambda _: None)
    assert len(set(chosen.indices.tolist())) == budget


@pytest.mark.parametrize('count, words', [(1, '1 example: a choice'), (4, '4 examples: a choice needs at least 5')])
def test_a_choice_among_fewer_than_five_is_refused_by_every_reader(tiny, tmp_path, count, words):
  images, x, folder = examples(count), np.arange(2. * count).reshape(count, 2), tmp_path / 'in'
  folder.mkdir()
  for i, image in enumerate(images):
    Image.fromarray(image).save(folder / f'{i}.png')
  np.save(tmp_path / 'images.npy', images)
  np.save(tmp_path / 'x.npy', x)
  for dataset in (data.from_memory(images), data.from_memory(embeddings=x), data.load('folder', folder),
                  data.load('arrays', tmp_path / 'images.npy'), data.load('embeddings', tmp_path / 'x.npy'),
                  data.load('embeddings', tmp_path / 'x.npy', images=folder)):
    with pytest.raises(ValueError, match=words) as error:
      pipeline.run(dataset, tiny, tmp_path / 'new')
    assert '\n' not in str(error.value) and not (tmp_path / 'new').exists()
  for given in ({'images': images}, {'embeddings': x}, {'images': folder}):
    with pytest.raises(ValueError, match=words):
      elfs_jax.select_coreset(**given, budget=2, workdir=tmp_path / 'new')


def test_few_examples_give_the_same_coreset_on_any_number_of_devices():
  script = '''
import hashlib
import jax, numpy as np
from elfs_jax import config as config_lib, select_coreset
config = config_lib.get_config()
config.embed.method, config.proxy.epochs = 'pca', 2
assert jax.device_count() == {devices}
for count in (5, 23):
  images = np.random.default_rng(0).integers(0, 256, (count, 8, 8), np.uint8)
  found = select_coreset(images, budget=3, num_classes=2, beta=0.1, config=config)
  parts = [found.indices, found.pseudo_labels, *(found.scores[name] for name in sorted(found.scores))]
  print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest(), end=' ')
'''
  one, eight = on_devices(script)
  assert len(one.split()) == 2 and one == eight
