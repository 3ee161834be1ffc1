"""Nearly all neighbours by cells, against exact ones: what is found, ties, bits, and what a run says of it."""
import numpy as np
import pytest
from conftest import on_devices
from test_neighbors import signs

from elfs_jax import data, neighbors, pipeline
from elfs_jax.neighbors import cells


def clustered(count, width=24, clusters=40, seed=0):
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(clusters, width))
  return (centres[rng.integers(clusters, size=count)] + 0.5 * rng.normal(size=(count, width))).astype(np.float32)


def share_found(found, exact):
  return np.mean([len(np.intersect1d(*rows)) / len(rows[0]) for rows in zip(found, exact)])


@pytest.mark.parametrize('recall', [0.9, 0.98])
def test_as_many_are_found_as_asked_for_and_as_it_says(recall):
  x_ND = clustered(6000)
  exact, cosine = neighbors.knn(x_ND, 20)
  found = neighbors.graph(x_ND, 20, exact_below=6000, recall=recall)
  assert found.indices.dtype == np.int32 and found.similarity.dtype == np.float32
  share = share_found(found.indices, exact)
  assert share > recall - 0.01 and abs(share - found.recall) < 0.01
  assert (np.diff(found.similarity) <= 0).all() and not (found.indices == np.arange(6000)[:, None]).any()
  assert all(len(set(row)) == 20 for row in found.indices.tolist())
  unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
  expected = np.einsum('nd,nkd->nk', unit, unit[found.indices])
  np.testing.assert_allclose(found.similarity, expected, atol=1e-5)
  same = (found.indices == neighbors.graph(x_ND, 20).indices).all(1)
  assert same.mean() > 0.5
  np.testing.assert_allclose(found.similarity[same], cosine[same], atol=1e-6)


def test_few_cells_are_searched_where_that_will_do(monkeypatch):
  products, x_ND = [], clustered(6000)
  largest = cells.largest
  monkeypatch.setattr(cells, 'largest', lambda value, k: products.append(value.size) or largest(value, k))
  cells.knn(x_ND, 20, np.arange(6000), queries=1)
  assert sum(products) < 6000 ** 2 / 4


def test_all_cells_together_give_the_exact_graph_and_ties_by_the_order():
  x_ND = signs(400, 16, 1)  # Every cosine is exact, and many are equal.
  x_ND[[40, 89, 300]] = x_ND[3]
  exact = neighbors.graph(x_ND, 12, order_seed=5)
  found = neighbors.graph(x_ND, 12, order_seed=5, exact_below=1, recall=1.0)
  np.testing.assert_array_equal(found.similarity, exact.similarity)
  np.testing.assert_array_equal(found.indices, exact.indices)
  assert found.recall == 1


def test_rows_of_zeros_copies_and_nearly_as_many_neighbours_as_rows():
  x_ND = clustered(300)
  x_ND[[4, 9]] = 0
  x_ND[50:150] = x_ND[50]  # More than a cell holds on average, all in one.
  found = neighbors.graph(x_ND, 30, exact_below=2)
  assert np.isfinite(found.similarity).all() and (found.similarity[[4, 9]] == 0).all()
  assert (found.similarity[50:150] > 1 - 1e-5).all() and (found.indices[50:150] // 50).min() == 1
  assert len(np.unique(found.indices[50:150])) == 31  # All list the same ones, those that are first in the order.
  everyone = cells.knn(x_ND[:12], 11, np.arange(12), most_probes=1)[0]
  for row, near in enumerate(everyone):
    assert sorted(near) == [i for i in range(12) if i != row]
  with pytest.raises(ValueError, match='12 neighbours need at least 13 examples'):
    neighbors.graph(x_ND[:12], 12, exact_below=1)


def test_largest_takes_the_first_of_equal_ones():
  value = np.array([[1, 3, 2, 3, 3, 0], [5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5]], np.float32)
  best, column = cells.largest(value, 2)
  assert column.tolist() == [[1, 3], [0, 1], [5, 4]] and best.tolist() == [[3, 3], [5, 5], [5, 4]]


def test_a_memory_map_gives_the_same(tmp_path):
  np.save(tmp_path / 'rows.npy', clustered(2000))
  mapped = np.load(tmp_path / 'rows.npy', mmap_mode='r')
  for one, other in zip(neighbors.graph(mapped, 9, exact_below=1), neighbors.graph(np.array(mapped), 9, exact_below=1)):
    np.testing.assert_array_equal(one, other)


DIGEST = """
import hashlib, jax, numpy as np
from elfs_jax import neighbors
from elfs_jax.neighbors import cells
assert jax.local_device_count() == {devices}
cells.THREADS = {devices}
found = neighbors.graph(np.random.default_rng(5).normal(size=(3000, 48)), 20, exact_below=3000)
print(hashlib.sha256(b''.join(a.tobytes() for a in found[:2])).hexdigest(), found.recall)
"""


def test_eight_devices_and_threads_give_the_same_bits():
  one, eight = on_devices(DIGEST)
  assert one == eight and len(one) > 64


def test_a_run_says_what_was_not_found_and_the_setting(tiny, tmp_path):
  tiny.update_from_flattened_dict({'data.name': 'memory', 'embed.method': 'given', 'neighbors.exact_below': 400})
  said = []
  chosen = pipeline.select_from(data.from_memory(embeddings=clustered(400)), tiny, tmp_path, say=said.append)
  share = f'  {chosen.graph.recall:.1%} of the nearest neighbours found'
  assert chosen.graph.recall >= 0.97
  assert [line for line in said if line.startswith(share) and 'neighbors.exact_below=400' in line]
