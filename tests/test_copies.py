"""Exact copies: of each example one is a candidate."""
import functools

import numpy as np
import pytest
from conftest import run
from PIL import Image

from elfs_jax import copies, data, pipeline, select, vectors

pytestmark = pytest.mark.usefixtures('one_device')


def graph(x, k):
  """The k nearest others by cosine similarity."""
  unit = x / np.linalg.norm(x, axis=1, keepdims=True)
  cosine = unit @ unit.T
  np.fill_diagonal(cosine, -2)
  near = np.argsort(-cosine, axis=1, kind='stable')[:, :k]
  return near, np.take_along_axis(cosine, near, 1)


def first_equal(rows):
  """For each row the first that is equal, one by one."""
  return [next(j for j in range(i + 1) if np.array_equal(rows[i], rows[j])) for i in range(len(rows))]


def crowd(copied, others, seed=0, width=6):
  """Points of which the first `copied` are one, and difficulties without ties."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(copied + others, width)) + 2
  x[:copied] = x[0]
  return x.astype(np.float32), rng.permutation(copied + others).astype(float)


def candidates_of(x, difficulty, k=10, **more):
  labels = np.arange(len(x)) % 3
  return select.Candidates(*graph(x, k), labels, difficulty, groups=copies.groups(x), **more)


@pytest.mark.parametrize('block', [1, 1 << 26])
def test_equal_rows_are_a_group_and_go_by_their_first(monkeypatch, tmp_path, block):
  monkeypatch.setattr(vectors, 'BLOCK', block)
  rng = np.random.default_rng(0)
  x = rng.integers(0, 2, (60, 5)).astype(np.float32) * rng.choice([1, -1], (60, 1))  # Zeros of both signs.
  found = copies.groups(x)
  assert found.dtype == np.int32 and found.tolist() == first_equal(x) and len(set(found.tolist())) < 60
  images = rng.integers(0, 2, (60, 2, 2, 1), np.uint8)
  np.save(tmp_path / 'images.npy', images)
  mapped = np.load(tmp_path / 'images.npy', mmap_mode='r')
  same = np.zeros((60, 3), np.float32) + 1
  assert copies.groups(same, mapped).tolist() == first_equal(images)


def test_equal_images_are_copies_if_their_embeddings_agree_but_for_rounding():
  rng = np.random.default_rng(0)
  source = rng.integers(0, 40, 200)
  seen = np.array([rng.integers(0, 256, (4, 4, 1), np.uint8) for _ in range(20)])[source // 2]  # Two look alike.
  x = rng.normal(size=(40, 30))[source] + rng.normal(size=(200, 30)) * 1e-5
  assert copies.groups(x.astype(np.float32), seen).tolist() == first_equal(source)
  assert copies.groups(x.astype(np.float32)).tolist() == list(range(200))  # Alone, embeddings are copies to the bit.
  one_picture = np.zeros((3000, 2, 2, 1), np.uint8)  # Placeholders beside embeddings: as many groups as there are rows.
  assert len(set(copies.groups(rng.normal(size=(3000, 30)), one_picture))) == 3000


@pytest.mark.parametrize('method', select.METHODS)
def test_of_copies_one_is_chosen_by_every_method(method):
  x, difficulty = crowd(50, 10)
  choose = functools.partial(select.choose, method, candidates_of(x, difficulty), beta=0.0, seed=0)
  assert sorted(choose(budget=11)) == [0, *range(50, 60)]
  for budget in (20, '20%', 0.5, 60):
    chosen = choose(budget=budget)
    assert len(set(chosen.tolist())) == select.budget_count(budget, 60)  # A share is of all that there are.
    if len(chosen) > 11:
      assert sorted(chosen[:11]) == [0, *range(50, 60)]  # The copies come last.
  few = choose(budget=5)
  assert len(set(few.tolist())) == 5 and (few < 50).sum() <= 1


def test_a_cover_of_a_crowd_begins_with_it():
  x, difficulty = crowd(601, 399, width=20)
  chosen = select.choose('coverage', candidates_of(x, difficulty, k=50), 300, 0.0, seed=0)
  assert (chosen < 601).sum() == 1 and 0 in chosen


@pytest.mark.parametrize('method', [name for name, entry in select.METHODS.items() if entry.drops_hardest])
def test_beta_gives_way_before_a_copy_is_chosen(method):
  x, difficulty = crowd(50, 10)
  candidates = candidates_of(x, difficulty)
  order = select.hardness_order(difficulty)
  distinct = np.isin(order, [0, *range(50, 60)])
  for budget in (4, 11):
    beta = select.with_room(candidates, budget, 0.9)
    cut = round(beta * 60)
    assert beta < 0.9 and distinct[cut:].sum() == budget and distinct[cut]  # Just room enough.
    assert sorted(select.choose(method, candidates, budget, 0.9, seed=0)) == sorted(order[cut:][distinct[cut:]])
  with pytest.raises(ValueError, match='leave no room'):
    select.choose(method, candidates._replace(groups=()), 11, 0.9, seed=0)


@pytest.mark.parametrize('method', select.METHODS)
def test_without_copies_nothing_changes(method):
  x, difficulty = crowd(1, 59)
  candidates = candidates_of(x, difficulty, labelled=[5, 9])
  for rows in (None, np.arange(3, 50)):
    both = [select.choose(method, c, 12, 0.1, seed=3, rows=rows) for c in (candidates, candidates._replace(groups=()))]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize('method', select.METHODS)
def test_copies_of_what_is_labelled_are_no_candidates(method):
  x, difficulty = crowd(50, 10)
  candidates = candidates_of(x, difficulty, labelled=[7, 55])
  choose = functools.partial(select.choose, method, candidates, beta=0.0, seed=0)
  assert sorted(choose(budget=9)) == [i for i in range(50, 60) if i != 55]
  more = choose(budget=12)
  assert len(set(more.tolist())) == 12 and not {7, 55} & set(more.tolist()) and (more < 50).sum() == 3
  with pytest.raises(ValueError, match='only 58 of 60 are not labelled'):
    choose(budget=59)


@pytest.mark.parametrize('method', select.METHODS)
def test_among_some_rows_the_first_of_them_stands_for_its_group(method):
  x, difficulty = crowd(50, 10)
  rows = np.arange(20, 60)
  chosen = select.choose(method, candidates_of(x, difficulty), 11, 0.0, seed=0, rows=rows)
  assert sorted(chosen) == [20, *range(50, 60)]


def pictures(copied, others):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (copied + others, 8, 8, 3), np.uint8)
  images[:copied] = images[0]
  return images


def test_a_run_on_copied_images_says_how_many_it_chose(tiny, tmp_path):
  tiny.select.beta, said = 0.0, []
  for budget, own, words in (
      (11, 10, '  49 of 60 are exact copies of others; none of them is chosen'),
      (20, 10, '  49 of 60 are exact copies of others; 9 of the 20 chosen are, since no more than 11 are distinct')):
    tiny.select.budget, said = budget, []
    chosen, metrics = run(tiny, pictures(50, 10), tmp_path, say=said.append)
    assert (chosen.indices >= 50).sum() == own and words in said
    assert (metrics['copies'], metrics['copies_chosen']) == (49, budget - 11)
  tiny.select.duplicates, tiny.select.budget, said = 'keep', 30, []
  chosen, metrics = run(tiny, pictures(50, 10), tmp_path, say=said.append)
  taken = (chosen.indices < 50).sum() - 1
  assert taken == metrics['copies_chosen'] > 0
  assert (f'  49 of 60 are exact copies of others; {taken} of the 30 chosen are, as select.duplicates=keep allows'
          in said)
  assert f'<dd>49, {taken} of them chosen</dd>' in (tmp_path / 'report.html').read_text()


def test_a_run_on_a_crowd_of_equal_embeddings_labels_one_of_them(tiny, tmp_path):
  x, _ = crowd(601, 399, width=20)
  tiny.data.name, tiny.embed.method, tiny.select.budget, tiny.neighbors.k = 'memory', 'auto', 300, None
  chosen = pipeline.select_from(data.from_memory(embeddings=x), tiny, tmp_path, say=lambda _: None)
  assert chosen.judged is not None and len(chosen.indices) == 300 and (chosen.indices < 601).sum() == 1


def test_the_same_copies_are_found_by_every_reader(tiny, tmp_path):
  """By content, whatever the names and formats."""
  images = pictures(3, 4)
  (tmp_path / 'in').mkdir()
  for i, image in enumerate(images):
    Image.fromarray(image).save(tmp_path / 'in' / f'{i}.{"bmp" if i == 1 else "png"}')
  np.save(tmp_path / 'images.npy', images)
  x = images.reshape(7, -1).astype(np.float32)
  np.save(tmp_path / 'x.npy', x)
  tiny.embed.method = 'auto'
  for dataset in (data.load('folder', tmp_path / 'in', size=8), data.load('arrays', tmp_path / 'images.npy'),
                  data.load('embeddings', tmp_path / 'x.npy'), data.from_memory(images), data.from_memory(embeddings=x),
                  data.load('embeddings', tmp_path / 'x.npy', images=tmp_path / 'in', size=8)):
    embeddings = x if dataset.embeddings is None else dataset.embeddings
    assert copies.groups(embeddings, dataset.images).tolist() == [0, 0, 0, 3, 4, 5, 6]
