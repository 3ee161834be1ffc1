import jax
import numpy as np

from elfs_jax import dynamics, scores


def reference(logits_TNC, labels):
  """The definitions, one example and one epoch at a time."""
  epochs, n, _ = logits_TNC.shape
  out = {name: np.zeros(n) for name in ('aum', 'forgetting', 'correctness', 'el2n', 'aum_logits')}
  for i in range(n):
    was_right = False
    for t in range(epochs):
      z = logits_TNC[t, i].astype(np.float64)
      p = np.exp(z - z.max())
      p /= p.sum()
      y = labels[i]
      out['aum'][i] += (p[y] - max(p[c] for c in range(len(p)) if c != y)) / epochs
      out['aum_logits'][i] += (z[y] - max(z[c] for c in range(len(z)) if c != y)) / epochs
      right = int(np.argmax(z)) == y
      out['correctness'][i] += right
      out['forgetting'][i] += was_right and not right
      if t < 10:
        onehot = np.eye(len(p))[y]
        out['el2n'][i] += np.sqrt(((p - onehot) ** 2).sum()) / min(epochs, 10)
      was_right = right
  return out


def record_all(logits_TNC, labels, batch, rng):
  epochs, n, _ = logits_TNC.shape
  state, record = dynamics.init(n), jax.jit(dynamics.record)
  for t in range(epochs):
    order = rng.permutation(n)
    filled = np.concatenate([order, order[:-n % batch]])
    for start in range(0, len(filled), batch):
      rows = filled[start:start + batch]
      mask = np.arange(start, start + batch) < n
      state = record(state, rows, logits_TNC[t, rows], labels[rows], t, mask)
  return {name: np.asarray(score) for name, score in dynamics.scores(state).items()}


def test_scores_agree_with_the_definitions():
  rng = np.random.default_rng(0)
  for epochs in (1, 4, 13):
    logits = rng.normal(size=(epochs, 23, 5)).astype(np.float32) * 2
    labels = rng.integers(0, 5, 23)
    got, expected = record_all(logits, labels, 6, rng), reference(logits, labels)
    for name in expected:
      assert got[name].dtype == np.float32
      np.testing.assert_allclose(got[name], expected[name], atol=2e-6, err_msg=name)


def test_the_scores_of_the_table_are_those_of_numpy_arrays_to_the_bit_and_a_new_one_is_among_them(monkeypatch):
  monkeypatch.setitem(scores.SCORES, 'doubt', scores.Score(1, lambda sums: 1 - sums.correct / sums.epochs, 'wrong'))
  rng, state = np.random.default_rng(0), dynamics.init(9)
  for epoch in range(13):
    state = dynamics.record(state, np.arange(8), rng.normal(size=(8, 3)), rng.integers(0, 3, 8), epoch)
    found = dynamics.scores(state)
    assert list(found) == ['aum', 'forgetting', 'correctness', 'el2n', 'aum_logits', 'doubt']
    sums = dynamics.Dynamics(*map(np.asarray, state))
    for name in ('aum', 'forgetting', 'correctness', 'el2n', 'aum_logits'):
      same = scores.SCORES[name].of(sums)
      assert same.dtype == found[name].dtype == np.float32
      np.testing.assert_array_equal(same, found[name], err_msg=name)
      assert found[name][8] == 0  # Never recorded.
  np.testing.assert_allclose(found['doubt'][:8], 1 - found['correctness'][:8] / 13, rtol=1e-6)


def test_a_large_logit_counts_in_full_where_its_probability_no_longer_grows():
  logits, first = np.array([[20., 0, 0], [80., 0, -5]]), np.array([0, 0])
  found = dynamics.scores(dynamics.record(dynamics.init(2), np.array([0, 1]), logits, first, 0))
  np.testing.assert_array_equal(found['aum'], [1, 1])
  np.testing.assert_array_equal(found['aum_logits'], [20, 80])


def test_masked_rows_leave_the_state_alone():
  state = dynamics.record(dynamics.init(4), np.array([1, 2]), np.eye(2, 3), np.array([0, 0]), 0)
  again = dynamics.record(state, np.array([1, 2]), np.zeros((2, 3)), np.array([2, 2]), 1, np.array([False, False]))
  assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(state, again))


def test_the_sums_never_mention_epochs_or_classes():
  assert all(leaf.shape == (7,) for leaf in dynamics.init(7))
