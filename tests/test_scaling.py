"""How features are scaled: each way against its definition, the choice among them, and what outweighs all else."""
import numpy as np
import pytest
from scipy.spatial import distance
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from elfs_jax import data, neighbors, pipeline
from elfs_jax.embed import scaling
from elfs_jax.evaluate import purity

RANDOM = np.random.default_rng(0)
X = (RANDOM.normal(size=(60, 24)) @ RANDOM.normal(size=(24, 24)) + 3).astype(np.float32)


def scaled(name, x=X, **keywords):
  return scaling.fit(x, name, **keywords)(x)


def test_each_scaling_is_what_it_says():
  np.testing.assert_array_equal(scaled('raw'), X)
  np.testing.assert_allclose(scaled('centred'), X - X.mean(0), atol=1e-5)
  expected = PCA(24).fit_transform(X)
  np.testing.assert_allclose(np.abs(scaled('pca256')), np.abs(expected), atol=1e-2)
  np.testing.assert_allclose(np.abs(scaled('whitened')), np.abs(expected) / np.sqrt(expected.std(0, ddof=1)), atol=1e-2)
  for name in scaling.SCALINGS:
    assert scaled(name, components=5).shape == (60, 5 + scaling.SCALINGS[name].sphere)
  np.testing.assert_allclose(np.abs(scaled('centred', components=5)), np.abs(expected[:, :5]), atol=1e-2)


def test_further_rows_are_scaled_as_those_of_the_fit():
  for name in scaling.SCALINGS:
    transform = scaling.fit(X, name)
    np.testing.assert_allclose(transform(X[7:9]), transform(X)[7:9], atol=1e-6)


def test_on_the_sphere_directions_rank_as_distances_do():
  x = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32) + 50
  by_distance = np.argsort(distance.cdist(x, x), 1)[:, 1:6]
  by_direction = neighbors.knn(scaled('distances', x), 5)[0]
  assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(by_distance, by_direction, strict=True)]) > 0.97
  assert np.allclose(np.linalg.norm(scaled('distances', x), axis=1), 1, atol=1e-5)


def test_few_features_are_compared_by_distance():
  """Six blobs on three rays: directions alone show three."""
  angles, kind = np.deg2rad([20, 140, 260]), np.repeat(np.arange(6), 50)
  centres = np.concatenate([radius * np.c_[np.cos(angles), np.sin(angles)] for radius in (3, 9)])
  x = centres[kind] + np.random.default_rng(0).normal(0, 0.3, (300, 2))
  assert purity(neighbors.knn(x, 20)[0], kind) < 0.75
  made = scaling.scaled(x)
  assert made['scaling'] == 'distances' and np.isnan(made['agreements']).all()
  assert purity(neighbors.knn(made['embeddings'], 20)[0], kind) > 0.99


def test_the_choice_needs_no_label_and_finds_what_labels_would():
  """Features far from the origin are best centred; where noise spreads as far as the signal, never whitened."""
  random = np.random.default_rng(3)
  kind = np.repeat(np.arange(8), 40)
  signal = random.normal(0, 0.8, (8, 32))[kind] + random.normal(0, 1, (320, 32))
  noise = random.normal(0, 0.1, (320, 200))
  x = np.concatenate([signal, noise], 1)[:, random.permutation(232)] + 5
  made = scaling.scaled(x)
  scores = dict(zip(scaling.SCALINGS, made['agreements'], strict=True))
  share = {name: purity(neighbors.knn(scaled(name, x), 20)[0], kind) for name in scaling.SCALINGS}
  assert share['raw'] < share['centred'] and share['whitened'] < share['centred']  # Else it would show nothing.
  assert share[made['scaling']] > max(share.values()) - 0.01
  assert scores['raw'] < scores['centred'] > scores['whitened']


@pytest.mark.parametrize('factor', [30, 1e6])
@pytest.mark.parametrize('kind', ['column', 'row'])
def test_what_outweighs_all_else_is_named_and_left_out_if_told(kind, factor):
  digits = load_digits()
  plain = digits.data[:300].astype(np.float32) / 16
  spoiled = plain.copy()
  if kind == 'column':
    spoiled = np.column_stack([plain[:, :9], 60 * np.arange(300) * factor, plain[:, 9:]]).astype(np.float32)
  else:
    spoiled[7] *= factor * 10
  with pytest.raises(ValueError, match=rf'embeddings: {kind} {9 if kind == "column" else 7} .*embed.wide=drop'):
    scaling.tamed(spoiled)
  embeddings, kept, said = scaling.tamed(spoiled, 'drop')
  assert len(said) == 1 and len(kept) == 64
  if kind == 'column':
    np.testing.assert_array_equal(embeddings, plain)
  else:
    np.testing.assert_allclose(embeddings[7] / np.linalg.norm(embeddings[7]), plain[7] / np.linalg.norm(plain[7]),
                               rtol=1e-5)
    np.testing.assert_array_equal(np.delete(embeddings, 7, 0), np.delete(plain, 7, 0))
  same, kept, said = scaling.tamed(plain)
  assert same is plain and len(kept) == 64 and not said


def test_components_of_pixels_outweigh_nothing():
  pixels = load_digits().data.astype(np.float32)
  components = PCA(60).fit_transform(pixels).astype(np.float32)
  assert not scaling.tamed(components)[2]


def test_a_run_scales_own_embeddings_and_says_how(tiny, tmp_path):
  x = load_digits().data[:200].astype(np.float32)
  said, tiny.embed.method = [], 'auto'
  chosen = pipeline.select_from(data.from_memory(embeddings=x), tiny, tmp_path / 'auto', say=said.append)
  line = next(line for line in said if 'scaling' in line)
  name = line.split('scaling ')[1].split(' ')[0]
  np.testing.assert_array_equal(chosen.embeddings, scaled(name, x))
  np.testing.assert_array_equal(chosen.scale(x[3:5]), chosen.embeddings[3:5])
  tiny.embed.method = 'given'
  chosen = pipeline.select_from(data.from_memory(embeddings=x), tiny, tmp_path / 'given', say=said.append)
  np.testing.assert_array_equal(chosen.embeddings, x)
  np.testing.assert_array_equal(chosen.scale(x[3:5]), x[3:5])
