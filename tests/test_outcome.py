"""What is measured once the coreset is decided: on what it is trained and tested, and when it is measured again."""
import numpy as np
import pytest

from elfs_jax import data, evaluate, pipeline
from elfs_jax.runtime import mesh
from elfs_jax.training import loop as train

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.mark.parametrize('test_set', [False, True])
def test_a_comparison_trains_on_nothing_that_it_tests_on(tiny, blobs, tmp_path, monkeypatch, test_set):
  images, labels = blobs
  seen = []
  def watched(inputs, labels, subset, test_inputs, test_labels, num_classes, recipe, *, steps, seed, **more):
    seen.append((subset, test_inputs, test_labels, steps, seed))
    return 0.5
  monkeypatch.setattr(evaluate, 'downstream_accuracy', watched)
  tiny.update_from_flattened_dict({'evaluate.seeds': 3, 'select.budget': 0.3, 'evaluate.network': 'mlp'})
  images = images + np.arange(120, dtype=np.uint8)[:, None, None] % 7  # All different, so that a picture says which.
  if test_set:
    tiny.evaluate.network = 'small'
  tiny.data.name = 'memory'
  dataset = data.dataset._dataset(images=images[:100], labels=labels[:100],
                          **({'test_images': images[100:], 'test_labels': labels[100:]} if test_set else {}))
  chosen, _ = pipeline.run(dataset, tiny, tmp_path, say=lambda _: None)
  inputs = dataset.images if test_set else chosen.embeddings
  by_name = [seen[i:i + 3] for i in (0, 3, 6)]
  assert len(seen) == 9 and all([call[4] for call in calls] == [0, 1, 2] for calls in by_name)
  for calls, count in zip(by_name, (30, 30, 100) if test_set else (24, 24, 80)):
    for subset, test_inputs, test_labels, steps, _ in calls:
      assert len(set(subset.tolist())) == count and steps == 10
      if test_set:
        assert (test_inputs == dataset.test_images).all() and (test_labels == dataset.test_labels).all()
      else:
        place = [int(np.flatnonzero((inputs == row).all(1))[0]) for row in test_inputs]
        assert len(set(place)) == 20 and not set(place) & set(subset.tolist())
        assert (test_labels == dataset.labels[place]).all()
  assert len({tuple(call[0]) for call in by_name[1]}) == 3  # Another random subset for each seed.
  if test_set:
    assert all((call[0] == chosen.indices).all() for call in by_name[0])


def test_accuracy_is_that_of_training_on_the_subset_alone(monkeypatch):
  """All others have the label of another class."""
  rng = np.random.default_rng(0)
  truth = np.arange(300) % 3
  x, subset, fit = (4 * np.eye(3, 6)[truth] + rng.normal(size=(300, 6))).astype(np.float32), np.arange(60), train.fit
  labels = np.where(np.arange(300) < 60, truth, (truth + 1) % 3).astype(np.int32)
  monkeypatch.setattr(train, 'fit', lambda *args, epochs, **more: seen.append((epochs, more['seed'])) or fit(
      *args, epochs=epochs, **more))
  seen, recipe = [], train.Recipe('mlp', 2, batch=16)
  accuracy = evaluate.downstream_accuracy(x, labels, subset, x[60:], truth[60:], 3, recipe, steps=40,
                                          mesh=mesh.data_mesh(2), seed=5)
  assert accuracy > 0.9 and seen == [(10, 5)]  # Four steps an epoch: 60 examples in batches of 16.


@pytest.mark.parametrize('change', ['labels', 'test_labels', 'learning_rate', 'seeds', 'beta'])
def test_an_accuracy_is_measured_again_when_what_it_rests_on_changes(tiny, blobs, tmp_path, monkeypatch, change):
  images, labels = blobs
  calls, tiny.data.name = [], 'memory'
  monkeypatch.setattr(evaluate, 'downstream_accuracy', lambda *_, **__: calls.append(1) or 0.5)
  tiny.update_from_flattened_dict({'select.beta': 0.1, 'select.method': 'double_end', 'proxy.network': 'mlp',
                                   'evaluate.network': 'small'})
  parts = {'images': images[:100], 'labels': labels[:100], 'test_images': images[100:], 'test_labels': labels[100:]}
  def measured():
    calls.clear()
    pipeline.run(data.dataset._dataset(**parts), tiny, tmp_path, say=lambda _: None)
    return len(calls)
  assert (measured(), measured()) == (6, 0)
  if change in parts:
    parts[change] = (parts[change] + 1) % 4
  elif change == 'beta':
    tiny.select.beta = 0.2
  else:
    tiny.evaluate[change] = {'learning_rate': 0.05, 'seeds': 3}[change]
  assert measured() == {'seeds': 9, 'beta': 2}.get(change, 6)
