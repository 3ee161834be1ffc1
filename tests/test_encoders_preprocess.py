"""Pictures come out as Pillow resizes and crops them."""
import jax
import numpy as np
import pytest
from oracles import pictures
from PIL import Image

from elfs_jax.encoders import preprocess

MEAN, STD = (.485, .456, .406), (.229, .224, .225)


def by_pillow(picture, size):
  """The shorter side to `size` (the longer rounded down), then the middle."""
  height, width = picture.shape[:2]
  short = min(height, width)
  wide, high = int(size * width / short), int(size * height / short)
  left, top = int(round((wide - size) / 2)), int(round((high - size) / 2))
  resized = Image.fromarray(picture).resize((wide, high), Image.BICUBIC)
  return np.asarray(resized.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize('height, width, size', [
    (32, 32, 224), (500, 333, 260), (224, 300, 224), (300, 224, 224), (100, 223, 224), (225, 225, 224),
    (700, 600, 64), (8, 8, 260), (7, 90, 32), (1, 1, 16)])
def test_within_one_level_of_pillow(height, width, size):
  images = pictures(2, height, width)
  ours = np.asarray(preprocess.resize(images, size))
  theirs = np.stack([by_pillow(image, size) for image in images]).astype(float)
  assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 1e-3
  normal = np.asarray(preprocess.prepare(images, size, MEAN, STD))
  back = (normal * np.float32(STD) + np.float32(MEAN)) * 255
  assert normal.dtype == np.float32 and np.abs(back - theirs).max() < 1.01


def test_as_torchvision_does():
  pytest.importorskip('torch')
  from oracles import timm
  timm()
  transforms = pytest.importorskip('torchvision.transforms')
  image = pictures(1, 301, 417)
  their = transforms.Compose([transforms.Resize(224, Image.BICUBIC), transforms.CenterCrop(224), transforms.ToTensor(),
                              transforms.Normalize(MEAN, STD)])(Image.fromarray(image[0])).numpy().transpose(1, 2, 0)
  assert np.abs(np.asarray(preprocess.prepare(image, 224, MEAN, STD)[0]) - their).max() < 1.01 / 255 / min(STD)


def test_just_that_size_is_only_normalised():
  images = pictures(1, 20)
  expected = (images / 255 - np.array(MEAN)) / np.array(STD)
  np.testing.assert_allclose(preprocess.prepare(images, 20, MEAN, STD), expected, atol=1e-6)


def test_grey_becomes_colour():
  images = pictures(2, 30)[..., :1]
  np.testing.assert_allclose(preprocess.prepare(images, 24, MEAN, STD),
                             preprocess.prepare(np.repeat(images, 3, 3), 24, MEAN, STD), atol=1e-6)


def test_long_strips_need_little_memory():
  strip = jax.ShapeDtypeStruct((1, 2, 200_000, 3), np.uint8)
  assert jax.eval_shape(lambda x: preprocess.resize(x, 8), strip).shape == (1, 8, 8, 3)
  assert preprocess.weights(200_000, 800_000, 399_996, 8).shape == (8, 200_000)


@pytest.mark.parametrize('images', [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8),
                                    np.zeros((2, 4, 4, 4), np.uint8), np.zeros((2, 0, 4, 3), np.uint8), [1, 2]])
def test_other_arrays_are_refused(images):
  with pytest.raises(ValueError, match=r'uint8 \[B, height, width, 3\]'):
    preprocess.prepare(images, 8, MEAN, STD)
