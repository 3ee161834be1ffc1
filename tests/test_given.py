"""What people hand over: taken where the meaning is plain, else refused with the call that mends it, by each reader."""
import os
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pandas
import pytest
from oracles import pictures
from PIL import Image

import elfs_jax
from elfs_jax import data, pipeline
from elfs_jax.data import decode

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(6, 4)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
BFLOAT = VECTORS.astype(ml_dtypes.bfloat16)
NAMES = ['ä', 'b0', 'c', 'd', 'e', 'f']
COLUMN = pandas.DataFrame({'v': list(VECTORS)})['v']


@pytest.fixture
def in_python(tiny, monkeypatch):
  """The data set that `select_coreset` makes of its arguments."""
  class Made(Exception):
    pass
  def stop(dataset, config, *_, **__):
    raise Made(dataset, config)
  monkeypatch.setattr(pipeline, 'run', stop)
  def made(**given):
    with pytest.raises(Made) as caught:
      elfs_jax.select_coreset(**{'budget': 2} | given)
    return caught.value.args[0]
  return made


def readers(in_python, tmp_path, **arrays):
  """name -> a function that reads these arrays: each way in which `images`, `embeddings` and `ids` can come."""
  found = {'from_memory': lambda: data.from_memory(**arrays)}
  if 'ids' not in arrays:
    found['select_coreset'] = lambda: in_python(**arrays)
  if all(isinstance(array, np.ndarray) for array in arrays.values()):
    np.savez(tmp_path / 'given.npz', **arrays)
    source = 'arrays' if 'images' in arrays else 'embeddings'
    found['.npz'] = lambda: data.load(source, tmp_path / 'given.npz')
    if len(arrays) == 1:
      np.save(tmp_path / 'given.npy', *arrays.values())
      found['.npy'] = lambda: data.load(source, tmp_path / 'given.npy')
    if 'images' in arrays:
      np.save(tmp_path / 'x.npy', np.eye(max(1, len(arrays['images']))))
      found['data.images'] = lambda: data.load('embeddings', tmp_path / 'x.npy', images=tmp_path / 'given.npz')
  return found


def refused(read, *words):
  with pytest.raises(ValueError) as error:
    read()
  assert '\n' not in str(error.value) and len(str(error.value)) < 350
  assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize('given, words', [
    ({'images': VECTORS}, ['(6, 4)', 'embeddings=']), ({'images': VECTORS.astype(np.float64)}, ['embeddings=']),
    ({'images': PIXELS.reshape(6, -1)}, ['(6, 192)', 'images.reshape(-1, height, width)']),
    ({'images': PIXELS.transpose(0, 3, 1, 2)}, ['transpose(0, 2, 3, 1)', 'images.permute(0, 2, 3, 1)']),
    ({'images': PIXELS / 255}, ['float64', '(images * 255).round().astype(np.uint8) if they lie in 0 to 1']),
    ({'images': PIXELS / 127.5 - 1}, ['((images + 1) * 127.5).round().astype(np.uint8) if they lie in -1 to 1']),
    ({'images': PIXELS.astype(np.float32)}, ['float32', 'images.round().astype(np.uint8) if they lie in 0 to 255']),
    ({'images': (PIXELS / 255 - .45) / .22}, ['undo the normalisation']),
    ({'images': np.where(PIXELS > 250, np.nan, PIXELS)}, ['images.round()']),
    ({'images': np.zeros((0, 8, 8))}, ['(0, 8, 8)', 'at least one image']),
    ({'images': PIXELS > 99}, ['bool', 'images.astype(np.uint8) * 255']),
    ({'images': [VECTORS[0], VECTORS[1]]}, ['(2, 4)', 'embeddings=']), ({'images': COLUMN}, ['embeddings=']),
    ({'images': [PIXELS[0], PIXELS[1, :5]]}, ['differ in shape', '(5, 8, 3) and (8, 8, 3)', 'np.stack']),
    ({'images': pandas.DataFrame({'path': ['a.png', 'b.png'], 'split': 'train'})}, ['one column of paths']),
    ({'images': ['a.png', None]}, ['one column of paths']),
    ({'embeddings': PIXELS}, ['uint8 (6, 8, 8, 3)', 'images=']),
    ({'embeddings': VECTORS[:, 0]}, ['embeddings.reshape(-1, 1)']),
    ({'embeddings': [VECTORS[0], VECTORS[1, :3]]}, ['embeddings differ in shape', '(3,) and (4,)', 'np.stack']),
    ({'embeddings': pandas.Series(['[1, 2]', '[3, 4]'])}, ['np.stack([json.loads(t) for t in column])']),
    ({'embeddings': pandas.DataFrame({'a': [1., 2.], 'b': ['x', 'y']})}, ['no numbers', '.to_numpy(np.float32)']),
    ({'embeddings': VECTORS, 'ids': np.array([b'\xff', *'bcdef'], object)}, ["b'\\xff'", 'UTF-8'])])
def test_what_is_not_plain_is_refused_with_its_mend_by_every_reader(given, words, in_python, tmp_path):
  if 'ids' in given:
    return refused(lambda: data.from_memory(**given), *words)
  for read in readers(in_python, tmp_path, **given).values():
    refused(read, *words)


@pytest.mark.parametrize('given', [
    VECTORS, VECTORS.astype(np.float64), list(VECTORS), tuple(VECTORS), VECTORS.tolist(), COLUMN, COLUMN.to_numpy(),
    pandas.DataFrame(VECTORS), pandas.DataFrame(VECTORS).astype(object), [pandas.Series(v) for v in VECTORS]])
def test_vectors_are_taken_in_any_form_by_every_reader(given, in_python, tmp_path):
  if isinstance(given, np.ndarray) and given.dtype == object:
    found = {'from_memory': lambda: data.from_memory(embeddings=given)}  # A file holds none.
  else:
    found = readers(in_python, tmp_path, embeddings=given)
  for read in found.values():
    embeddings = read().embeddings
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, VECTORS)


def test_numbers_of_sixteen_bits(in_python, tmp_path):
  for read in readers(in_python, tmp_path, embeddings=VECTORS.astype(np.float16)).values():
    np.testing.assert_array_equal(read().embeddings, VECTORS.astype(np.float16).astype(np.float32))
  for given in (BFLOAT, list(BFLOAT), pandas.Series(list(BFLOAT))):
    for read in (lambda: data.from_memory(embeddings=given), lambda: in_python(embeddings=given)):
      np.testing.assert_array_equal(read().embeddings, BFLOAT.astype(np.float32))
  import jax.numpy as jnp
  np.testing.assert_array_equal(data.from_memory(embeddings=jnp.asarray(BFLOAT)).embeddings, BFLOAT.astype(np.float32))
  np.save(tmp_path / 'b.npy', BFLOAT)
  refused(lambda: data.load('embeddings', tmp_path / 'b.npy'), 'b.npy', 'bfloat16', 'float32')


def test_tensors_of_pytorch(in_python, tmp_path):
  torch = pytest.importorskip('torch')
  vectors, pixels = torch.tensor(VECTORS, requires_grad=True), torch.tensor(PIXELS)
  for given, expected in ((vectors, VECTORS), (vectors.bfloat16(), BFLOAT.astype(np.float32)), (list(vectors), VECTORS),
                          (vectors.half(), VECTORS.astype(np.float16).astype(np.float32)),
                          (pandas.Series(list(vectors.bfloat16())), BFLOAT.astype(np.float32))):
    for read in readers(in_python, tmp_path, embeddings=given).values():
      np.testing.assert_array_equal(read().embeddings, expected)
  for given in (pixels, list(pixels)):
    for read in readers(in_python, tmp_path, images=given).values():
      np.testing.assert_array_equal(read().images, PIXELS)
  refused(lambda: data.from_memory(pixels.permute(0, 3, 1, 2)), 'images.permute(0, 2, 3, 1)')
  refused(lambda: data.from_memory(pixels / 127.5 - 1), 'float32', '(images + 1) * 127.5')
  refused(lambda: data.from_memory(images=vectors), 'embeddings=')
  made = in_python(images=PIXELS, encoder=lambda x: torch.tensor(x.reshape(len(x), -1) / 1., requires_grad=True))
  np.testing.assert_array_equal(made.embeddings, PIXELS.reshape(6, -1))


@pytest.mark.parametrize('ids', [
    NAMES, [name.encode() for name in NAMES], np.array(NAMES), np.char.encode(NAMES, 'utf-8'), pandas.Series(NAMES),
    np.array(NAMES, object)])
def test_ids_are_text_in_any_form(ids, in_python, tmp_path):
  arrays = {'embeddings': VECTORS, 'ids': ids}
  if isinstance(ids, np.ndarray) and ids.dtype.kind == 'O':  # A file holds none.
    arrays['ids'] = list(ids)
  for read in readers(in_python, tmp_path, **arrays).values():
    assert read().ids == NAMES
  found = data.from_memory(embeddings=VECTORS, ids=ids, labelled=[b'b0', 'c'])
  assert found.labelled.tolist() == [1, 2]


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """Pictures of several sizes and modes in files, read as a folder; the working directory lies beside it."""
  (tmp_path / 'in' / 'sub').mkdir(parents=True)
  (tmp_path / 'work').mkdir()
  monkeypatch.chdir(tmp_path / 'work')
  for i in range(6):
    image = Image.fromarray(pictures(1, 20 + i, 30, seed=i)[0])
    (image.convert('L') if i == 2 else image).save(tmp_path / 'in' / ('sub' if i % 2 else '.') / f'{i}.png')
  return data.load('folder', tmp_path / 'in', size=16)


@pytest.mark.parametrize('form', [
    list, tuple, lambda p: [pathlib.Path(one) for one in p], np.array, lambda p: np.array(p, object), pandas.Series,
    lambda p: pandas.DataFrame({'path': p}), lambda p: pandas.DataFrame({'path': p, 'size': 3})['path'],
    lambda p: pandas.Series([pathlib.Path(one) for one in p])])
def test_paths_are_read_as_a_folder_is_in_the_order_given(form, photos, in_python, tmp_path, tiny):
  absolute = [str(tmp_path / 'in' / name) for name in photos.ids]
  relative = [f'../in/{name}' for name in photos.ids]
  tiny.data.size = 16
  for names in (absolute, relative, absolute[::-1]):
    expected = photos.images[::-1] if names == absolute[::-1] else photos.images
    for found in (data.from_memory(form(names), size=16), in_python(images=form(names), config=tiny)):
      assert found.ids == names and not found.skipped
      np.testing.assert_array_equal(found.images, expected)
      np.testing.assert_array_equal(found.pixels([1, 4], 24), photos.pixels([1, 4], 24)
                                    if expected is photos.images else photos.pixels([4, 1], 24))
  assert data.from_memory(form(absolute)).images.shape == (6, 64, 64, 3)  # The size of a folder's.


def test_the_paths_of_a_choice_among_paths(photos, tiny, tmp_path, monkeypatch):
  names = [f'../in/{name}' for name in photos.ids]
  tiny.neighbors.k, tiny.cluster.num_classes, tiny.data.size = None, 2, 16
  coreset = elfs_jax.select_coreset(pandas.DataFrame({'file': names})['file'], budget=3, num_classes=2, beta=0.0,
                                    config=tiny, workdir=tmp_path / 'out')
  assert coreset.ids == names
  monkeypatch.chdir(tmp_path)
  assert [os.path.realpath(path) for path in coreset.paths] == [
      os.path.realpath(tmp_path / 'in' / photos.ids[i]) for i in coreset.indices]
  copied = coreset.export('folder')
  assert sorted(path.name for path in copied.rglob('*.png')) == sorted(path.name for path in coreset.paths)
  assert all(copied in path.parents for path in copied.rglob('*.png'))
  again = elfs_jax.select_coreset([str(tmp_path / 'in' / name) for name in photos.ids], budget=3, num_classes=2,
                                  beta=0.0, config=tiny)
  np.testing.assert_array_equal(again.indices, coreset.indices)
  before = {path: path.read_bytes() for path in again.paths}
  shutil.rmtree(again.export('folder'))
  assert all(path.read_bytes() == content for path, content in before.items())  # A copy never falls on its image.


def test_paths_that_cannot_be_read_are_refused_so_that_rows_stay_rows(photos, in_python, tmp_path):
  names = [str(tmp_path / 'in' / name) for name in photos.ids]
  (tmp_path / 'bad.png').write_bytes(b'no image')
  for read in (lambda images: data.from_memory(images), lambda images: in_python(images=images)):
    with pytest.raises(FileNotFoundError, match='gone.png: no such file'):
      read([*names, 'gone.png'])
    refused(lambda: read([*names, str(tmp_path / 'bad.png')]), '1 of 7 files cannot be read', 'bad.png: not an image')
    refused(lambda: read([*names, names[0]]), 'stands more than once')


def test_pictures_of_several_sizes_are_fitted_as_files_are(photos, in_python, tmp_path, tiny):
  tiny.data.size = 16
  for form in (list, tuple, pandas.Series):
    opened = [Image.open(tmp_path / 'in' / name) for name in photos.ids]
    for found in (data.from_memory(form(opened), size=16), in_python(images=form(opened), config=tiny)):
      np.testing.assert_array_equal(found.images, photos.images)
      np.testing.assert_array_equal(found.pixels([0, 5], 24), photos.pixels([0, 5], 24))
      assert found.root is None and found.ids == list('012345')
    assert data.from_memory(form(opened)).images.shape == (6, 64, 64, 3)


def test_pictures_of_one_size_keep_it(in_python):
  for modes, shape in ((['RGB'] * 3, (3, 20, 30, 3)), (['L'] * 3, (3, 20, 30, 1)), (['RGB', 'L', 'P'], (3, 20, 30, 3))):
    given = [Image.fromarray(x).convert(mode) for x, mode in zip(pictures(3, 20, 30), modes)]
    for found in (data.from_memory(given), in_python(images=given)):
      assert found.images.shape == shape
      np.testing.assert_array_equal(found.images[0], np.atleast_3d(np.asarray(given[0])))
  turned = Image.fromarray(pictures(1, 30, 20)[0])
  turned.getexif()[decode.ORIENTATION] = 6  # A quarter to the right.
  found = data.from_memory([turned, *map(Image.fromarray, pictures(2, 20, 30))])
  np.testing.assert_array_equal(found.images[0], np.rot90(pictures(1, 30, 20)[0], -1))
