"""Neighbours against one big product in NumPy, with duplicates, several block sizes and several devices."""
import numpy as np
import pytest
from conftest import on_devices

from elfs_jax import neighbors


def brute_force(x_ND, k):
  """Exact neighbours from one float64 product; ties to the lower index."""
  x_ND = x_ND.astype(np.float64)
  norm_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
  x_ND = x_ND / np.where(norm_N > 0, norm_N, 1)
  cosine_NN = x_ND @ x_ND.T
  np.fill_diagonal(cosine_NN, -np.inf)
  order_NN = np.argsort(-cosine_NN, axis=1, kind='stable')[:, :k]
  return order_NN, np.take_along_axis(cosine_NN, order_NN, axis=1)


def signs(count, width, seed):
  """Rows of +-1, width a power of 4: every cosine is exact in float32, and many are equal."""
  return np.random.default_rng(seed).choice([-1., 1.], (count, width)).astype(np.float32)


@pytest.mark.parametrize('rows', [8, 37, 100, 512])
def test_blocks_equal_one_product(monkeypatch, rows):
  monkeypatch.setattr(neighbors, 'BLOCK_ROWS', rows)
  x_ND = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
  index, similarity = neighbors.knn(x_ND, 7)
  expected_index, expected = brute_force(x_ND, 7)
  assert index.dtype == np.int32 and similarity.dtype == np.float32 and index.shape == similarity.shape == (300, 7)
  np.testing.assert_array_equal(index, expected_index)
  np.testing.assert_allclose(similarity, expected, atol=1e-6)


@pytest.mark.parametrize('rows', [16, 64])
def test_ties_go_to_the_lower_index_and_only_the_row_itself_is_excluded(monkeypatch, rows):
  monkeypatch.setattr(neighbors, 'BLOCK_ROWS', rows)
  x_ND = signs(90, 16, 1)
  x_ND[[40, 89]] = x_ND[3]
  index, similarity = neighbors.knn(x_ND, 12)
  expected_index, expected = brute_force(x_ND, 12)
  np.testing.assert_array_equal(index, expected_index)
  np.testing.assert_array_equal(similarity, expected.astype(np.float32))
  assert not (index == np.arange(90)[:, None]).any()
  assert list(index[3, :2]) == [40, 89] and list(index[40, :2]) == [3, 89] and list(index[89, :2]) == [3, 40]


def test_scale_and_rows_of_zeros():
  x_ND = np.random.default_rng(2).normal(size=(50, 6)).astype(np.float32)
  scaled = x_ND * np.geomspace(1e-6, 1e6, 50).astype(np.float32)[:, None]
  np.testing.assert_array_equal(neighbors.knn(scaled, 5)[0], brute_force(x_ND, 5)[0])
  x_ND[[4, 9]] = 0
  index, similarity = neighbors.knn(x_ND, 5)
  assert np.isfinite(similarity).all() and (similarity[[4, 9]] == 0).all()
  np.testing.assert_array_equal(index[4], [0, 1, 2, 3, 5])


def test_all_others_are_neighbours_at_most():
  x_ND = np.random.default_rng(3).normal(size=(9, 4))
  index, _ = neighbors.knn(x_ND, 8)
  for row, found in enumerate(index):
    assert sorted(found) == [i for i in range(9) if i != row]
  with pytest.raises(ValueError, match=r'9 neighbours need at least 10 examples, got N=9; lower neighbors.k'):
    neighbors.knn(x_ND, 9)
  with pytest.raises(ValueError, match='neighbors.k=0'):
    neighbors.knn(x_ND, 0)


def test_progress_counts_every_block(monkeypatch):
  monkeypatch.setattr(neighbors, 'BLOCK_ROWS', 16)
  seen = []
  def progress(items, desc, total):
    for item in items:
      seen.append((desc, total))
      yield item
  neighbors.knn(np.random.default_rng(4).normal(size=(50, 4)), 3, progress=progress)
  assert seen == [('neighbours', 4)] * 4


def test_the_graph_is_knn_of_shuffled_rows():
  x_ND = signs(90, 16, 1)
  x_ND[[40, 89]] = x_ND[3]
  found = neighbors.graph(x_ND, 12, order_seed=5)
  assert found.indices.dtype == np.int32 and found.similarity.dtype == np.float32
  order = np.random.default_rng(5).permutation(90)
  indices, similarity = neighbors.knn(x_ND[order], 12)
  for row, i in enumerate(order):
    np.testing.assert_array_equal(found.indices[i], order[indices[row]])
    np.testing.assert_array_equal(found.similarity[i], similarity[row])
  np.testing.assert_array_equal(found.similarity, neighbors.knn(x_ND, 12)[1])
  assert (found.indices != neighbors.knn(x_ND, 12)[0]).any()  # Ties go another way.
  assert (found.indices != neighbors.graph(x_ND, 12, order_seed=6).indices).any()


DIGEST = """
import hashlib, jax, numpy as np
from elfs_jax import neighbors
assert jax.local_device_count() == {devices}
neighbors.BLOCK_ROWS = 128
found = neighbors.knn(np.random.default_rng(5).normal(size=(2000, 48)), 20)
print(hashlib.sha256(b''.join(a.tobytes() for a in found)).hexdigest())
"""


def test_eight_devices_give_the_same_bits():
  one, eight = on_devices(DIGEST)
  assert one == eight and len(one) == 64
