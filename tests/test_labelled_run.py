"""Examples that are labelled already, from the caller to the choice."""
import numpy as np
import pytest
from conftest import launch

import elfs_jax
from elfs_jax import data

pytestmark = pytest.mark.usefixtures('one_device')


def chosen(blobs, tiny, workdir, **more):
  return elfs_jax.select_coreset(blobs[0], num_classes=4, beta=0.1, config=tiny, workdir=workdir, **more)


def test_a_second_round_complements_the_first(tiny, blobs, tmp_path):
  """The cover of what is labelled and new is the greedy's continuation: the larger choice, less what was there."""
  whole = set(chosen(blobs, tiny, tmp_path / 'whole', budget=30).indices)
  first = chosen(blobs, tiny, tmp_path / 'first', budget=30)
  order = first.indices
  assert set(order) == whole
  for labelled in (order[:15], np.sort(order[:15]).tolist(), [first.ids[i] for i in order[:15]],
                   {first.ids[i]: 'a name' for i in order[:15]}):
    second = chosen(blobs, tiny, tmp_path / 'second', budget=15, labelled=labelled)
    assert set(second.indices) == set(order[15:])


def test_their_labels_decide_what_is_next_but_no_first_choice(tiny, blobs, tmp_path):
  """From 20 labels on what a classifier on them is unsure of counts more; other labels decide nothing."""
  rows, classes = list(range(0, 60, 2)), blobs[1][0:60:2]
  def next_of(workdir, **more):
    return chosen(blobs, tiny, tmp_path / workdir, budget=20, **more).indices.tolist()
  without = next_of('without', labelled=rows)
  assert not (tmp_path / 'without/stages/unsure.npz').exists()
  told = next_of('told', labelled=rows, labels=[f'kind {c}' for c in classes])
  assert (tmp_path / 'told/stages/unsure.npz').exists() and not set(told) & set(rows)
  shuffled = next_of('shuffled', labelled=rows, labels=np.random.default_rng(0).permutation(classes).tolist())
  assert told != without and shuffled != told
  assert next_of('few', labelled=rows, labels=[str(c) if i < 19 else None for i, c in enumerate(classes)]) == without
  assert next_of('first') == next_of('compared', labels=blobs[1])


@pytest.mark.parametrize('method', ['coverage', 'double_end', 'stratified', 'random', 'hardest', 'easiest'])
def test_what_is_labelled_is_never_chosen(tiny, blobs, tmp_path, method):
  tiny.update_from_flattened_dict({'select.method': method, 'proxy.network': 'mlp'})
  labelled = np.arange(0, 120, 2)
  coreset = chosen(blobs, tiny, tmp_path, budget=30, labelled=labelled, labels=['x'] * 60)
  assert len(coreset.indices) == 30 and not set(coreset.indices) & set(labelled.tolist())


def test_the_judge_and_the_forecast_work_with_labelled_rows(tiny, blobs, tmp_path):
  coreset = elfs_jax.select_coreset(blobs[0], budget=20, num_classes=4, config=tiny, labelled=range(50),
                                    workdir=tmp_path)
  assert coreset.indices.min() >= 50 and (tmp_path / 'stages/judge_70.npz').exists() and coreset.forecast


def test_labelled_rows_from_the_command_line(tmp_path, blobs):
  np.savez(tmp_path / 'images.npz', images=blobs[0])
  (tmp_path / 'done.csv').write_text('id,label\n' + ''.join(f'{i},a\n' for i in range(0, 120, 3)))
  process = launch('--config=arrays', f'--config.data.path={tmp_path}/images.npz', '--config.select.budget=20',
                   '--config.select.beta=0.1', f'--config.data.labelled={tmp_path}/done.csv',
                   f'--workdir={tmp_path}/out')
  assert process.returncode == 0, process.stderr
  assert all(index % 3 for index in np.load(tmp_path / 'out/coreset.npy').tolist())


@pytest.mark.parametrize('more, words', [
    ({'labelled': range(100), 'budget': 30}, 'at most 20'), ({'labelled': [500], 'budget': 30}, '500'),
    ({'labelled': [1, 1], 'budget': 30}, 'more than once'), ({'labelled': ['nobody'], 'budget': 30}, 'nobody'),
    ({'labelled': [1, 2], 'labels': ['a'], 'budget': 30}, '1 labels for 2 examples')])
def test_labelled_rows_that_cannot_be(tiny, blobs, tmp_path, more, words):
  with pytest.raises(ValueError, match=words) as error:
    chosen(blobs, tiny, tmp_path / 'out', **more)
  assert '\n' not in str(error.value) and not (tmp_path / 'out/coreset.csv').exists()


def test_labels_alone_are_compared_with_and_decide_nothing(tiny, blobs, tmp_path):
  plain = chosen(blobs, tiny, tmp_path / 'plain', budget=20)
  compared = chosen(blobs, tiny, tmp_path / 'compared', budget=20, labels=blobs[1])
  np.testing.assert_array_equal(plain.indices, compared.indices)
  assert 'accuracy' in (tmp_path / 'compared/metrics.json').read_text()
  assert data.with_labels(data.from_memory(images=blobs[0]), blobs[1]).labels.tolist() == blobs[1].tolist()
