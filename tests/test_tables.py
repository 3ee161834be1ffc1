"""Adding a choice is one file and one entry: a toy of each kind, used by its name as a user would."""
import sys
import types

import numpy as np
import pytest
from conftest import run

import elfs_jax
from elfs_jax import cluster, data, encoders, export, scores, select
from elfs_jax import config as config_lib

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.fixture
def toy(monkeypatch):
  """Makes a module `toy` of a function, as a file would, and an entry of a table that names it."""
  def add(table, name, entry, function):
    module = types.ModuleType('toy')
    module.function = function
    monkeypatch.setitem(sys.modules, 'toy', module)
    monkeypatch.setitem(table, name, entry('toy:function'))
    monkeypatch.setattr(config_lib, 'FIELDS', config_lib.fields._fields())
  return add


def listed(word):
  return word in config_lib.listing(config_lib.get_config())


def test_a_source(toy, blobs):
  def read(path, *, size):
    return {'images': np.full((4, size, size), 7, np.uint8) + np.arange(4, dtype=np.uint8)[:, None, None]}
  toy(data.SOURCES, 'sevens', lambda function: data.Source(function, 'pictures of 7', path='needed', sized=True), read)
  found = data.load('sevens', 'anywhere', size=3)
  assert found.images.shape == (4, 3, 3, 1) and listed('pictures of 7')
  with pytest.raises(ValueError, match="'sevens' needs data.path"):
    data.load('sevens')


def test_an_encoder(tiny, toy, blobs, tmp_path):
  def corners(images, *, seed, components):
    return images[:, :2, :2].reshape(len(images), -1)[:, :components].astype(np.float32)
  toy(encoders.ENCODERS, 'corners', lambda function: encoders.Encoder(function, 'four pixels', scaled=True), corners)
  tiny.update_from_flattened_dict({'embed.method': 'corners', 'embed.components': 3})
  chosen, metrics = run(tiny, blobs[0], tmp_path)
  assert chosen.embeddings.shape == (120, 3) and metrics['embedding'] == 'corners' and listed('four pixels')


def test_a_clustering(tiny, toy, blobs, tmp_path):
  def by_brightness(embeddings, num_classes, *, heads):
    assert heads == tiny.cluster.heads
    return (np.argsort(np.argsort(embeddings[:, 0])) * num_classes // len(embeddings)).astype(np.int32)
  toy(cluster.CLUSTERINGS, 'brightness', lambda function: cluster.Clustering(function, 'by the first component'),
      by_brightness)
  tiny.cluster.method = 'brightness'
  chosen, _ = run(tiny, blobs[0], tmp_path)
  assert np.bincount(chosen.pseudo_labels).tolist() == [30] * 4 and listed('by the first component')


def test_a_score(tiny, toy, blobs, tmp_path):
  toy(scores.SCORES, 'confusion', lambda function: scores.Score(1, lambda sums: 1 - sums.margin, 'less sure'), None)
  tiny.select.score = 'confusion'
  chosen, _ = run(tiny, blobs[0], tmp_path)
  assert 'confusion' in (tmp_path / 'coreset.csv').read_text().splitlines()[0] and listed('less sure')
  found = select.difficulty(chosen.scores, 'confusion', seed=0)
  np.testing.assert_allclose(found, chosen.scores['confusion'], atol=1e-6)


def test_a_selection_method(tiny, toy, blobs, tmp_path):
  def every(candidates, budget, beta, *, seed, balance):
    return np.linspace(0, len(candidates.difficulty) - 1, budget).astype(int)
  toy(select.METHODS, 'every', lambda function: select.Method(function, 'every k-th'), every)
  tiny.select.method = 'every'
  chosen, metrics = run(tiny, blobs[0], tmp_path, blobs[1])
  assert sorted(chosen.indices) == np.linspace(0, 119, 12).astype(int).tolist() and chosen.beta is None
  assert metrics['name'] == 'every' and listed('every k-th')


def test_an_export(tiny, toy, blobs, tmp_path):
  def write(chosen, folder):
    folder.mkdir(exist_ok=True)
    (folder / 'names.txt').write_text(' '.join(chosen.ids))
    return folder / 'names.txt'
  toy(export.EXPORTS, 'names', lambda function: export.Export(function, 'names in a line'), write)
  coreset = elfs_jax.select_coreset(blobs[0], budget=12, num_classes=4, beta=0.1, config=tiny, workdir=tmp_path)
  assert coreset.export('names').read_text().split() == [coreset.ids[i] for i in coreset.indices]
