"""How a picture that is not square becomes a square; and reading without decoding."""
import numpy as np
import pytest
from PIL import Image

from elfs_jax import data
from elfs_jax.data import decode, files

WIDE = np.zeros((20, 60, 3), np.uint8)  # Red, green and blue thirds.
for third in range(3):
  WIDE[:, 20 * third:20 * third + 20, third] = 255


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'pictures'
  path.mkdir()
  for i in range(6):
    Image.fromarray(np.clip(WIDE.astype(int) + i, 0, 255).astype(np.uint8)).save(path / f'{i}.png')
  return path


def thirds(image):
  """The strongest colour at the left, in the middle and at the right: 0 red, 1 green, 2 blue."""
  return np.argmax(image[len(image) // 2, [2, len(image) // 2, -3]], axis=-1).tolist()


def test_crop_keeps_the_middle_pad_and_stretch_the_whole(folder):
  seen = {how: data.load('folder', folder, size=30, fit=how) for how in decode.FITS}
  assert thirds(seen['crop'].images[0]) == [1, 1, 1]
  for how in ('pad', 'stretch'):
    assert thirds(seen[how].images[0]) == [0, 1, 2]
  np.testing.assert_array_equal(seen['pad'].images[0, :9], np.full((9, 30, 3), 128))
  np.testing.assert_array_equal(seen['pad'].images[0, -9:], np.full((9, 30, 3), 128))
  assert (seen['stretch'].images[0, [0, -1], 5] == [255, 0, 0]).all()
  assert len({dataset.identity for dataset in seen.values()}) == 3
  assert data.load('folder', folder, size=30).identity == seen['crop'].identity


@pytest.mark.parametrize('how', decode.FITS)
def test_pixels_at_another_size_are_fitted_alike(folder, how):
  expected = [decode.fit(Image.open(folder / f'{i}.png'), 12, how) for i in range(6)]
  for dataset in (data.load('folder', folder, size=30, fit=how),
                  data.from_memory(images=[folder / f'{i}.png' for i in range(6)], fit=how),
                  data.from_memory(images=[Image.open(folder / f'{i}.png') for i in range(6)], fit=how),
                  data.from_memory(images=np.stack([np.asarray(Image.open(folder / f'{i}.png')) for i in range(6)]),
                                   fit=how)):
    np.testing.assert_array_equal(dataset.pixels(range(6), 12), expected)


def test_the_cache_keeps_a_map_for_each(folder, tmp_path):
  for how in (*decode.FITS, 'crop'):
    found = data.load('folder', folder, size=30, fit=how, cache=tmp_path / 'cache').images
    np.testing.assert_array_equal(found[3], decode.fit(Image.open(folder / '3.png'), 30, how))
  assert len(list((tmp_path / 'cache').glob('*.npy'))) == 3


def test_grey_arrays_are_fitted_too_and_an_unknown_word_is_refused(folder, blobs):
  wide = np.concatenate([blobs[0], blobs[0]], 2)
  for how in decode.FITS:
    found = data.from_memory(images=wide, fit=how).pixels([0], 8)
    np.testing.assert_array_equal(found[0, ..., 0], decode.fit(Image.fromarray(wide[0]), 8, how))
  with pytest.raises(ValueError, match="data.fit='fill' is unknown.*crop, pad, stretch"):
    data.load('folder', folder, fit='fill')


def test_a_dry_read_decodes_nothing_until_all_is_decoded(folder, tmp_path):
  (folder / 'broken.png').write_bytes(b'no image')
  cache = tmp_path / 'cache'
  with pytest.raises(files.Undecoded) as left:
    data.load('folder', folder, size=8, cache=cache, dry=True)
  assert (len(left.value.names), left.value.shape) == (7, (8, 8, 3)) and not cache.exists()
  assert left.value.size == sum(file.stat().st_size for file in folder.iterdir())
  whole = data.load('folder', folder, size=8, cache=cache)
  assert data.load('folder', folder, size=8, cache=cache, dry=True).identity == whole.identity
  Image.fromarray(WIDE).save(folder / 'new.png')
  with pytest.raises(files.Undecoded) as left:
    data.load('folder', folder, size=8, cache=cache, dry=True)
  assert left.value.size == (folder / 'new.png').stat().st_size and len(left.value.names) == 8
  assert left.value.left == ['new.png']
