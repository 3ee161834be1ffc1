"""Embeddings: principal components against NumPy, the encoder's bits on every layout and after a resume."""
import inspect
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from elfs_jax import embed, encoders, table
from elfs_jax.encoders import self_network, self_supervised
from elfs_jax.runtime import mesh

SMALL = dict(shards=2, epochs=3, batch=64, width=4, features=32, projection=8, refresh=1, seed=3)


@pytest.fixture(scope='module')
def digits():
  from sklearn.datasets import load_digits
  data = load_digits()
  return np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None], data.target


def nearest(embeddings, k):
  unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
  similarity = unit @ unit.T
  np.fill_diagonal(similarity, -2)
  return np.argsort(-similarity, axis=1, kind='stable')[:, :k]


def purity(embeddings, labels, k=50):
  return (labels[nearest(embeddings, k)] == labels[:, None]).mean()


def test_scale_matches_numpy():
  x = np.random.default_rng(0).normal(size=(300, 6)) * [5, 3, 2, 1, .5, .1] + 7
  x = x @ np.random.default_rng(1).normal(size=(6, 6))
  centred = x - x.mean(0)
  _, _, axes = np.linalg.svd(centred, full_matrices=False)
  rotated = centred @ axes.T
  want = rotated / np.sqrt(rotated.std(0, ddof=1))
  got = embed.scale(x.astype(np.float32))
  assert got.dtype == np.float32 and got.shape == (300, 6)
  np.testing.assert_allclose(np.abs(got), np.abs(want), atol=2e-3)
  np.testing.assert_array_equal(got, embed.scale(x.astype(np.float32)))
  assert embed.scale(x, components=2).shape == (300, 2)
  assert embed.scale(x[:4]).shape == (4, 3)


def test_scale_of_a_large_array_fits_a_sample(monkeypatch):
  x = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32) * [8, 4, 2, 1]
  whole = embed.scale(x)
  monkeypatch.setattr(embed.pixels, 'BLOCK', 999)
  part = embed.scale(x, seed=5, fit_rows=2500)
  assert part.shape == whole.shape and not np.array_equal(part, whole)
  np.testing.assert_allclose(np.abs(np.corrcoef(part.T, whole.T)[:4, 4:]).diagonal(), 1, atol=5e-3)


def test_constant_pixels_stay_finite():
  images = np.full((20, 8, 8, 1), 7, np.uint8)
  images[:10, 0, 0] = 200
  got = embed.pca(images)
  assert np.isfinite(got).all() and got.shape == (20, 19)
  assert np.abs(got[:, 0]).min() > 0 and np.abs(got[:, 1:]).max() == 0


def test_pca_purity_on_digits(digits):
  images, labels = digits
  got = embed.pca(images)
  assert got.shape == (1797, 64) and got.dtype == np.float32
  assert purity(got, labels) > 0.82


def test_shrink_is_the_area_mean():
  images = np.random.default_rng(0).integers(0, 256, (3, 70, 45, 3), np.uint8)
  got = embed.shrink(images, 32)  # By 3: 70 is padded to 72 with its last row.
  assert got.shape == (3, 24, 15, 3) and got.dtype == np.uint8
  np.testing.assert_array_equal(got[1, 2, 4], np.rint(images[1, 6:9, 12:15].mean((0, 1))))
  np.testing.assert_array_equal(got[2, 23, 0], np.rint(images[2, 69:70, :3].mean((0, 1))))
  assert embed.shrink(images, 70) is images
  assert embed.pca(images).shape == (3, 2)


def test_the_best_embedding_is_what_follows_the_classes(digits):
  images, labels = digits
  pixels = embed.pca(images)
  noise = np.random.default_rng(0).normal(size=pixels.shape).astype(np.float32)
  candidates = {'noise': pixels + noise, 'pca': pixels, 'few': pixels[:, :3], 'drowned': pixels + 0.3 * noise}
  best, scores = embed.best(candidates)
  assert best == 'pca' and set(scores) == set(candidates)
  purities = {name: purity(x, labels) for name, x in candidates.items()}
  assert sorted(scores, key=scores.get) == sorted(purities, key=purities.get)
  assert embed.best(candidates)[1] == scores
  assert all(np.isfinite(score) for score in embed.best({'tiny': pixels[:12], 'noise': noise[:12]})[1].values())


def test_contrastive_loss_matches_numpy():
  z = np.random.default_rng(0).normal(size=(2, 5, 3))
  z /= np.linalg.norm(z, axis=-1, keepdims=True)
  want = []
  for view in range(2):
    for b in range(5):
      positive = np.exp(z[view, b] @ z[1 - view, b] / 0.3)
      others = sum(np.exp(z[view, b] @ z[v, c] / 0.3) for v in range(2) for c in range(5) if (v, c) != (view, b))
      want.append(-np.log(positive / others))
  got = self_network.contrastive_loss(np.float32(z), temperature=0.3)
  np.testing.assert_allclose(got, np.mean(want), rtol=1e-5)


def test_views():
  images = np.zeros((64, 9, 9, 1), np.uint8)
  images[:, :, 6:] = 200
  random = np.random.default_rng(0).random((17, 64), np.float32)
  plain = np.asarray(self_supervised.views(random[:9], images, 0.5, False))[..., 0]
  assert (plain[:, :, -1] >= plain[:, :, 0]).all()  # Without flips bright stays right of dark.
  assert len(np.unique(plain.mean((1, 2)))) > 60
  flipped = np.asarray(self_supervised.views(random[:9], images, 0.5, True))[..., 0]
  mirrored = flipped[:, :, -1] < flipped[:, :, 0]
  assert 0.2 < mirrored.mean() < 0.8
  colour = np.asarray(self_supervised.views(random, np.repeat(images, 3, 3), 0.5, False))
  assert np.isfinite(colour).all() and not np.allclose(colour[..., 0], colour[..., 1])
  middle = np.zeros((9, 64), np.float32)
  middle[[0, 1, 5, 6]] = np.array([[1], [.5], [.5], [.5]])  # The whole area, no change of shape or tone.
  np.testing.assert_allclose(self_supervised.views(middle, images, 0.5, False), images / 255, atol=1e-6)


def test_features_see_every_position():
  images = np.random.default_rng(0).random((3, 20, 32, 1), np.float32)
  params, stats = self_network.init(0, (20, 32, 1), 4, 16, 8)
  last_BHWC = np.asarray(self_network._convolve(params['conv'], images, stats)[0])
  assert last_BHWC.shape == (3, 3, 4, 32)
  kernel = params['features']['kernel'].reshape(3, 4, 32, 16)
  want = sum(last_BHWC[:, i, j] @ kernel[i, j] for i in range(3) for j in range(4))
  features, _ = self_network.encode(params, images, stats)
  np.testing.assert_allclose(features, want / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)  # Fresh running statistics.


@pytest.mark.parametrize('counts', [(1, 8), pytest.param((1, 2, 4), marks=pytest.mark.slow)])
def test_same_bits_on_any_number_of_devices(digits, tmp_path, counts):
  np.save(tmp_path / 'images.npy', digits[0][:200])
  env = os.environ | {'XLA_FLAGS': '--xla_force_host_platform_device_count=8', 'JAX_PLATFORMS': 'cpu'}
  subprocess.run([sys.executable, __file__, str(tmp_path), *map(str, counts)], env=env, check=True, timeout=400)
  one, *others = [np.load(tmp_path / f'{count}.npy') for count in counts]
  assert one.shape == (200, 32) and np.isfinite(one).all()
  for other in others:
    np.testing.assert_array_equal(other, one)


def embed_by_learning(images, **settings):
  return self_supervised.learn(images, **settings)['embeddings']


def test_resume_gives_the_same_bits(digits):
  images = np.repeat(digits[0][:150], 3, 3)  # Colour.
  states = []
  def keep(epoch, state):
    states.append((epoch, jax.tree.map(np.array, state)))
  whole = embed_by_learning(images, mesh=mesh.data_mesh(2), neighbors=nearest, on_epoch=keep, **SMALL)
  assert [epoch for epoch, _ in states] == [1, 2, 3]
  for _, state in states[1:]:
    again = embed_by_learning(images, mesh=mesh.data_mesh(2), neighbors=nearest, state=jax.tree.leaves(state),
                                  **SMALL)
    np.testing.assert_array_equal(again, whole)
  other = embed_by_learning(images, mesh=mesh.data_mesh(2), neighbors=nearest, **SMALL | {'seed': 4})
  assert not np.array_equal(other, whole)


def test_fewer_images_than_shards(digits):
  got = embed_by_learning(digits[0][:5], mesh=mesh.data_mesh(8), neighbors=nearest, **SMALL | {'shards': 8})
  assert got.shape == (5, 4) and np.isfinite(got).all()


@pytest.mark.slow
def test_encoder_beats_pixels_on_digits(digits):
  images, labels = digits
  seen = []
  def progress(steps, desc, total):
    seen.append(total)
    return steps
  got = embed_by_learning(images, mesh=mesh.data_mesh(4), neighbors=nearest, shards=4, epochs=12, batch=128,
                              width=8, refresh=1, progress=progress)
  assert seen == [12 * 14]
  assert purity(got, labels) > purity(embed.pca(images), labels) + 0.03


def test_the_encoder_follows_its_settings(monkeypatch):
  """Nothing is trained: what reaches the step, and what the neighbours are found among."""
  images = np.random.default_rng(0).integers(0, 256, (130, 8, 8, 1), np.uint8)
  made, orders, searched = [], [], []
  def make(mesh, optimizer, *settings):
    made.append(settings)
    return lambda state, pixels, order, key, i, t: (orders.append(np.asarray(order)) or state, np.float32(0))
  def near(x, k):
    searched.append((x.shape, k))
    return np.random.default_rng(len(searched)).integers(0, 130, (130, k))
  monkeypatch.setattr(self_supervised, '_make_step', make)
  states = []
  embed_by_learning(images, mesh=mesh.data_mesh(2, jax.devices()[:1]), neighbors=near, temperature=0.2, crop=0.4,
                        flip=True, positives=7, on_epoch=lambda _, state: states.append(np.array(state['neighbors'])),
                        **SMALL | {'epochs': 6, 'refresh': 2})
  assert made == [(2, 0.2, 0.4, True, 0.95)]
  assert searched == [((130, 64), 7), ((130, 32), 7), ((130, 32), 7)]  # PCA of the pixels, then its own features.
  same = [np.array_equal(a, b) for a, b in zip(states, states[1:])]
  assert same == [False, True, False, True, True]  # Found anew after two and after four of six epochs.
  assert len(orders) == 12 and {order.shape for order in orders} == {(2, 2, 32)}
  assert len({order.tobytes() for order in orders}) == 6 and all(len(set(order.ravel())) == 128 for order in orders)


def test_positives_are_neighbours_drawn_anew_for_every_shard_and_step(monkeypatch):
  """Each image is of one grey, which tells what a pair shows; views that change nothing keep it."""
  images = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None, None] * 3, (64, 8, 8, 1)).copy()
  near = (np.arange(64)[:, None] + np.arange(1, 6)) % 64
  seen = []
  def watched(random, pair, crop, flip):
    jax.debug.callback(lambda grey, bits: seen.append((np.asarray(grey) // 3, float(bits))), pair[:, 0, 0, 0],
                       random[0, 0])
    return pair.astype(np.float32) / 255
  monkeypatch.setattr(self_supervised, 'views', watched)
  embed_by_learning(images, mesh=mesh.data_mesh(2, jax.devices()[:1]), neighbors=lambda x, k: near[:, :k],
                        **SMALL | {'batch': 32, 'refresh': 0})
  jax.effects_barrier()
  assert len(seen) == 2 * 2 * 3 and len({bits for _, bits in seen}) == 12  # Shards, steps and epochs.
  away = np.concatenate([(grey[16:].astype(int) - grey[:16]) % 64 for grey, _ in seen])
  assert set(away) == {1, 2, 3, 4, 5} and np.bincount(away)[1:].min() > 20  # 192 pairs, five neighbours.

def test_what_decides_an_embedding_is_a_parameter(digits):
  images = digits[0][:150]
  plain = embed.pca(images)
  for changed in ({'components': 9}, {'side': 4}, {'fit_rows': 100}):
    other = embed.pca(images, **changed)
    assert other.shape != plain.shape or (other != plain).any(), changed
  candidates = {'pca': plain, 'few': plain[:, :3]}
  scores = embed.consistencies(candidates)
  assert embed.best(candidates) == (max(scores, key=scores.get), scores)
  for changed in ({'rows': 100}, {'numbers': (5,)}, {'graded_neighbors': 3}):
    assert embed.consistencies(candidates, **changed) != scores, changed


def test_epochs_and_batch_left_open_follow_the_number_of_images():
  by_size = self_supervised.BySize()
  assert [by_size.epochs_of(count) for count in (500, 15_000, 20_000, 60_000)] == [20, 20, 15, 11]
  assert [by_size.batch_of(count) for count in (9_999, 10_000)] == [256, 512]


def test_an_encoder_is_added_by_one_entry(monkeypatch, digits):
  def mean_grey(images, *, seed, components=1):
    return images.reshape(len(images), -1).mean(1, keepdims=True).astype(np.float32)[:, :components]
  monkeypatch.setitem(encoders.ENCODERS, 'mean_grey', encoders.Encoder(mean_grey, 'one number an image'))
  function = table.load(table.look_up(encoders.ENCODERS, 'embed.method', 'mean_grey').function)
  assert function(digits[0][:7], seed=0).shape == (7, 1)
  for entry in encoders.ENCODERS.values():
    assert 'seed' in inspect.signature(table.load(entry.function)).parameters and entry.help and entry.images

if __name__ == '__main__':
  # What `test_same_bits_on_any_number_of_devices` starts: one mesh after another over the first devices of eight.
  folder = pathlib.Path(sys.argv[1])
  assert len(jax.devices()) == 8
  for size in map(int, sys.argv[2:]):
    over = mesh.data_mesh(16, jax.devices()[:size])
    assert over.devices.size == size
    result = embed_by_learning(np.load(folder / 'images.npy'), mesh=over, neighbors=nearest,
                                   **SMALL | {'shards': 16})
    np.save(folder / f'{size}.npy', result)
