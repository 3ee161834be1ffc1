import itertools

import jax
import numpy as np
import pytest

from elfs_jax import evaluate
from elfs_jax.runtime import mesh
from elfs_jax.training import recipe as recipes


def test_cluster_accuracy_is_the_best_of_all_matchings():
  rng = np.random.default_rng(0)
  for clusters, classes in ((4, 4), (3, 5), (5, 3)):
    predicted, truth = rng.integers(0, clusters, 40), rng.integers(0, classes, 40)
    size = max(clusters, classes)
    best = max((np.array(p)[predicted] == truth).mean() for p in itertools.permutations(range(size)))
    assert abs(evaluate.cluster_accuracy(predicted, truth) - best) < 1e-12


def test_scores_ignore_the_names_of_clusters():
  truth = np.random.default_rng(0).integers(0, 5, 60)
  for score in (evaluate.cluster_accuracy, evaluate.nmi, evaluate.ari):
    assert abs(score((truth * 7 + 3) % 11, truth) - 1) < 1e-9
    assert score(np.random.default_rng(1).integers(0, 5, 60), truth) < 0.6


def test_purity_counts_neighbours_of_the_same_class():
  assert evaluate.purity(np.array([[1, 2], [0, 2], [0, 1]]), [0, 0, 1]) == 2 / 6


def test_without_a_test_set_each_seed_sets_another_fifth_aside():
  found = evaluate.splits(50, 3, has_test_set=False)
  for split in found:
    assert sorted([*split.pool, *split.test]) == list(range(50)) and len(split.test) == 10
  assert set(found[0].test) != set(found[1].test)
  assert evaluate.splits(50, 2, has_test_set=True)[1].test is None


@pytest.mark.parametrize('batch, examples', [(4, 120), (8, 120), (100, 120), (64, 12)])
def test_no_device_is_left_with_too_few_rows_for_batch_norm(tiny, blobs, batch, examples):
  images, labels = blobs
  tiny.evaluate.batch, inputs = batch, images.reshape(len(images), -1).astype(np.float32)
  def accuracy(devices):
    return evaluate.downstream_accuracy(inputs, labels, np.arange(examples), inputs, labels, 4,
                                        recipes.recipe_of(tiny.evaluate, inputs), steps=40,
                                        mesh=mesh.data_mesh(8, jax.devices()[:devices]))
  assert accuracy(8) > 0.9 and abs(accuracy(8) - accuracy(1)) < 0.1


def test_the_verdict_needs_intervals_that_do_not_overlap():
  assert evaluate.verdict([0.9, 0.91, 0.92], [0.9, 0.9, 0.91]) == 'no measurable difference'
  assert evaluate.verdict([0.9, 0.901, 0.902], [0.8, 0.801, 0.802]) == 'better'
  assert evaluate.verdict([0.8, 0.801, 0.802], [0.9, 0.901, 0.902]) == 'worse'
  assert evaluate.verdict([0.9], [0.1]) == 'no measurable difference'


def test_an_interval_is_students_at_95_percent():
  mean, spread, half = evaluate.interval([1.0, 2.0, 4.0, 5.0])
  np.testing.assert_allclose((mean, spread, half), (3, np.sqrt(10 / 3), 3.182446 * np.sqrt(10 / 3) / 2), rtol=1e-6)


def test_each_seed_trains_on_its_own_subset_and_is_tested_on_its_own_part(tiny, blobs):
  labels = np.random.default_rng(1).integers(0, 4, 120)  # Nothing to learn, so that every run ends elsewhere.
  inputs = blobs[0].reshape(len(labels), -1).astype(np.float32)
  recipe = recipes.recipe_of(tiny.evaluate, inputs)
  rng = np.random.default_rng(0)
  subsets = [rng.permutation(120)[:20] for _ in range(2)]
  asides = [rng.permutation(120)[:30] for _ in range(2)]
  one_device = mesh.data_mesh(1, jax.devices()[:1])
  seen = []
  def progress(runs, desc, total):
    seen.append(total)
    return runs
  found = evaluate.accuracies(inputs, labels, subsets, asides, 4, recipe, steps=4, mesh=one_device, progress=progress)
  for seed in range(2):
    test = inputs[asides[seed]], labels[asides[seed]]
    assert found[seed] == evaluate.downstream_accuracy(inputs, labels, subsets[seed], *test, 4, recipe, steps=4,
                                                       mesh=one_device, seed=seed)
  assert seen == [2] and found.shape == (2,)
  own = [(inputs[rows], labels[rows]) for rows in asides]
  again = evaluate.accuracies(inputs, labels, subsets, own, 4, recipe, steps=4, mesh=one_device)
  np.testing.assert_array_equal(again, found)
  with pytest.raises(ValueError):
    evaluate.accuracies(inputs, labels, subsets, asides[:1], 4, recipe, steps=4, mesh=one_device)
