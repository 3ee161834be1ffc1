"""Views of images against windows and mirrors cut by NumPy."""
import jax
import numpy as np
import pytest
from scipy import stats

from elfs_jax.training import augment as views
from elfs_jax.training.augment import augment

OFF = dict(crop=0, flip=False, resized_crop=False)


def pictures(count=200, height=6, width=7):
  return np.random.default_rng(0).integers(0, 256, (count, height, width, 2), np.uint8)


def test_a_crop_is_a_window_of_the_image_in_its_reflection_and_each_image_has_its_own():
  images, pad = pictures(), 2
  found = np.asarray(augment(jax.random.key(0), images, **OFF | {'crop': pad}))
  assert found.dtype == np.float32 and found.shape == images.shape
  corners = []
  for image, view in zip(images, found):
    reflected = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode='reflect')
    fits = [(y, x) for y in range(2 * pad + 1) for x in range(2 * pad + 1)
            if np.array_equal(reflected[y:y + 6, x:x + 7], view)]
    assert len(fits) == 1
    corners += fits
  assert len(set(corners)) == 25  # Every window, the outermost too.


def test_half_of_the_views_are_mirrored_left_to_right_and_none_unless_asked():
  images = pictures()
  found = np.asarray(augment(jax.random.key(1), images, **OFF | {'flip': True}))
  mirrored = [np.array_equal(view, image[:, ::-1]) for image, view in zip(images, found)]
  assert all(turned or np.array_equal(view, image) for turned, image, view in zip(mirrored, images, found))
  assert 0.35 < np.mean(mirrored) < 0.65
  np.testing.assert_array_equal(augment(jax.random.key(1), images, **OFF), images)


def test_a_resized_crop_shows_a_box_within_the_image():
  """A ramp along each axis is stretched by 1 / box, so that its slope and its middle tell the box."""
  side, count = 32, 400
  ramp = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing='ij'), -1)[None].repeat(count, 0)
  found = np.asarray(augment(jax.random.key(2), ramp.astype(np.uint8), **OFF | {'resized_crop': True, 'crop': 4}))
  line = np.stack([found[:, :, 5, 0], found[:, 5, :, 1]], 1)[:, :, 4:-4]  # At the edges nothing is left to blend with.
  box = np.diff(line).mean(-1)
  area, aspect = box.prod(1), box[:, 1] / box[:, 0]
  assert np.ptp(np.diff(line), -1).max() < 1e-3 and 0.07 < area.min() < 0.12 and 0.85 < area.max() <= 1.001
  assert 0.7 < aspect.min() < 0.8 and 1.25 < aspect.max() < 1.43  # 3/4 to 4/3 but for whole pixels.
  np.testing.assert_allclose(box * side, np.round(box * side), atol=2e-3)
  start = (line.mean(-1) + 0.5) / side - box / 2
  assert start.min() > -1e-3 and (start + box).max() < 1.001
  place = (start / np.maximum(1 - box, 1e-9))[(box < 0.9).all(1)]
  assert place.min() < 0.05 and place.max() > 0.95


@pytest.mark.parametrize('height, width, last', [(40, 40, (40, 40)), (30, 90, (30, 40)), (90, 20, (27, 20))])
def test_a_box_that_does_not_fit_is_drawn_anew_and_in_the_end_is_the_largest_in_the_middle(height, width, last):
  """The rule of torchvision's RandomResizedCrop, one box at a time."""
  def one(rng):
    for _ in range(10):
      area, aspect = height * width * rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
      tall, wide = round(np.sqrt(area / aspect)), round(np.sqrt(area * aspect))
      if 0 < wide <= width and 0 < tall <= height:
        return tall, wide, rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    return *last, (height - last[0]) // 2, (width - last[1]) // 2
  rng, count = np.random.default_rng(0), 4000
  expected = np.array([one(rng) for _ in range(count)])
  found = np.concatenate(views._boxes(jax.random.key(0), count, height, width), 1)
  assert (found == np.round(found)).all() and (found >= 0).all()
  assert (found[:, :2] > 0).all() and (found[:, :2] + found[:, 2:] <= [height, width]).all()
  for column in range(4):
    assert stats.ks_2samp(found[:, column], expected[:, column], method='asymp').pvalue > 1e-3
  assert abs((found[:, :2] == last).all(1).mean() - (expected[:, :2] == last).all(1).mean()) < 0.02
