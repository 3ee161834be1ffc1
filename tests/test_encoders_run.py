"""A pretrained encoder in a run: by its name, chunk by chunk, and as one candidate of `auto`."""
import numpy as np
import pytest
from conftest import run
from PIL import Image

import elfs_jax
from elfs_jax import data, encoders, pipeline
from elfs_jax.embed import scaling
from elfs_jax.encoders import pretrained, zoo
from elfs_jax.runtime import rows

pytestmark = pytest.mark.usefixtures('one_device')
TOY = zoo.PRETRAINED['dino_vits16']._replace(input_size=32, width=12, options={
    'size': 32, 'patch': 16, 'width': 12, 'depth': 1, 'heads': 2})


@pytest.fixture
def toy(monkeypatch):
  """A tiny transformer with random weights, under the name of DINO's."""
  monkeypatch.setitem(zoo.PRETRAINED, 'dino_vits16', TOY)
  monkeypatch.setattr(pretrained, 'find', lambda *_: pytest.fail('no weights are fetched here'))


@pytest.fixture
def pictures(tmp_path):
  """A folder of 60 colour pictures of four kinds, 40x50."""
  rng = np.random.default_rng(0)
  for i in range(60):
    pixels = rng.integers(0, 60, (40, 50, 3)) + np.array([(160, 0, 0), (0, 160, 0), (0, 0, 160), (160, 160, 0)][i % 4])
    (tmp_path / 'in' / f'{i % 4}').mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'in' / f'{i % 4}' / f'{i:02}.png')
  return tmp_path / 'in'


def test_chunks_and_a_stop_between_them_change_no_embedding(toy, tmp_path):
  images = np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3), np.uint8)
  asked, most = [], []
  def pixels(rows, size):
    if len(asked) in most:
      raise KeyboardInterrupt
    asked.append(len(rows))
    assert size == 32
    return images[rows]
  common = {'weights': 'random', 'seed': 3}
  whole = pretrained.embed(pixels, 23, 'dino_vits16', **common)
  assert asked == [23] and whole.shape == (23, 12)
  def on_disk():
    return rows.Rows(tmp_path / 'kept.npy', tmp_path / 'part', 'key')
  asked.clear()
  most.append(3)
  with pytest.raises(KeyboardInterrupt):
    pretrained.embed(pixels, 23, 'dino_vits16', chunk=5, on_disk=on_disk(), **common)
  assert asked == [5, 5, 5] and on_disk().begun() and on_disk().kept() is None
  most.clear()
  last = on_disk()
  parts = pretrained.embed(pixels, 23, 'dino_vits16', chunk=5, on_disk=last, **common)
  assert asked[3:] == [5, 3] and isinstance(parts, np.memmap)
  last.keep()
  np.testing.assert_array_equal(on_disk().kept()['result'], whole)
  np.testing.assert_array_equal(whole, encoders.load('dino_vits16', 'random', seed=3)(images))


def test_a_run_embeds_a_folder_at_the_encoders_size(tiny, toy, pictures, tmp_path):
  dataset = data.load('folder', pictures, size=8)
  tiny.update_from_flattened_dict({'embed.method': 'dino_vits16', 'embed.weights': 'random', 'data.name': 'folder',
                                   'data.path': str(pictures)})
  said = []
  chosen, metrics = pipeline.run(dataset, tiny, tmp_path / 'out', say=said.append)
  expected = encoders.load('dino_vits16', 'random')(dataset.pixels(np.arange(60), 32))
  np.testing.assert_array_equal(chosen.embeddings, scaling.fit(expected, 'distances')(expected))  # They are few.
  assert metrics['embedding'] == 'dino_vits16' and '  13 dimensions, method dino_vits16' in said
  said.clear()
  pipeline.run(dataset, tiny, tmp_path / 'out', say=said.append)
  assert '[embed_dino_vits16] reused' in said


def test_auto_takes_one_for_colour_pictures_of_a_folder_where_it_is_installed(monkeypatch):
  colour = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)
  grey = np.repeat(colour[..., :1], 3, -1)
  installed = ('pca', 'efficientnet_lite2')
  monkeypatch.setattr(encoders.importlib.util, 'find_spec', lambda name: name)
  assert encoders.candidates(colour, '/pictures')[0] == installed
  for images, folder in ((grey, '/pictures'), (colour[..., :1], '/pictures'), (colour, None)):
    assert encoders.candidates(images, folder)[0] == ('pca', 'self_supervised')
  monkeypatch.setattr(encoders.importlib.util, 'find_spec', lambda name: None)
  names, why = encoders.candidates(colour, '/pictures')
  assert names == ('pca', 'self_supervised') and "pip install 'elfs_jax[photos]'" in why


def test_a_function_from_python_embeds_the_images_a_batch_at_a_time(tiny, blobs, tmp_path):
  sizes = []
  def encoder(images):
    sizes.append(len(images))
    return images.reshape(len(images), -1)[:, :7].astype(np.float64)
  tiny.embed.method = 'given'
  images = np.concatenate([blobs[0]] * 3)[:300]
  coreset = elfs_jax.select_coreset(images, budget=20, num_classes=4, beta=0.1, encoder=encoder, config=tiny,
                                    workdir=tmp_path)
  assert sizes == [256, 44]
  np.testing.assert_array_equal(np.load(tmp_path / 'embeddings.npy'), images.reshape(300, -1)[:, :7])
  assert len(coreset.indices) == 20
  with pytest.raises(ValueError, match='give images, and no embeddings'):
    elfs_jax.select_coreset(embeddings=images.reshape(300, -1), budget=20, encoder=encoder, config=tiny)
  with pytest.raises(ValueError, match='3 embeddings for 300 images'):
    elfs_jax.select_coreset(images, budget=20, encoder=lambda batch: np.eye(3)[:2 if len(batch) > 99 else 1],
                            config=tiny, workdir=tmp_path / 'bad')


def test_a_licence_with_conditions_is_said_when_the_encoder_is_named():
  assert 'DINOv3 licence' in encoders.licence_of('dinov3_vits16') and 'CC BY-NC' in encoders.licence_of('swav_resnet50')
  assert encoders.licence_of('efficientnet_lite2') is encoders.licence_of('pca') is None


def test_every_encoder_of_the_table_can_be_named(tiny, blobs, tmp_path):
  tiny.embed.method = 'dino_vits17'
  with pytest.raises(ValueError, match="embed.method='dino_vits17' is unknown.*dino_vits16.*clip_vitb32"):
    run(tiny, blobs[0], tmp_path)
  assert set(zoo.PRETRAINED) < set(encoders.ENCODERS)
