"""Augmentations inside the jitted step: uint8 images in, normalised float images out."""
import jax
import jax.numpy as jnp

TRIES = 10  # At a box that fits, as torchvision's RandomResizedCrop has them.
NARROWEST, WIDEST = 3 / 4, 4 / 3


def augment(key, images, *, crop, flip, resized_crop):
  """Random views of a batch.

  Args:
    key: PRNG key.
    images: uint8 or float [B,H,W,Ch].
    crop: pixels of reflect padding before a random crop back to HxW; 0 for none.
    flip: mirror each image with probability one half.
    resized_crop: a random box of 8 to 100 % of the area and aspect 3/4 to 4/3, resized to HxW (Szegedy et al., arXiv
      1409.4842), in place of `crop`. A box that does not fit is drawn anew, ten times at most; then it is the largest
      of such an aspect in the middle.
  Returns: float32 [B,H,W,Ch] in 0..255.
  """
  key_crop, key_flip = jax.random.split(key)
  images = images.astype(jnp.float32)
  if resized_crop:
    images = _resized_crop(key_crop, images)
  elif crop:
    images = _padded_crop(key_crop, images, crop)
  if flip:
    mirrored = jax.random.bernoulli(key_flip, shape=(len(images), 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
  return images


def _padded_crop(key, images, pad):
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode='reflect')
  corners = jax.random.randint(key, (len(images), 2), 0, 2 * pad + 1)
  def crop(image, corner):
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])
  return jax.vmap(crop)(padded, corners)


def _resized_crop(key, images):
  size, corner = _boxes(key, len(images), *images.shape[1:3])
  whole = jnp.array(images.shape[1:3])
  def resize(image, size, corner):
    return jax.image.scale_and_translate(image, image.shape, (0, 1), whole / size, -corner * whole / size, 'linear')
  return jax.vmap(resize)(images, size, corner)


def _boxes(key, count, height, width):
  """Random boxes of whole pixels: sizes and corners float32 [count, 2], height first."""
  key_area, key_aspect, key_place = jax.random.split(key, 3)
  area = height * width * jax.random.uniform(key_area, (count, TRIES), minval=0.08, maxval=1.0)
  aspect = jnp.exp(jax.random.uniform(key_aspect, (count, TRIES), minval=jnp.log(NARROWEST), maxval=jnp.log(WIDEST)))
  tried = jnp.round(jnp.stack([jnp.sqrt(area / aspect), jnp.sqrt(area * aspect)], -1))
  whole = jnp.array([height, width], jnp.float32)
  fits = ((tried > 0) & (tried <= whole)).all(-1)
  first = jnp.take_along_axis(tried, fits.argmax(1)[:, None, None], 1)[:, 0]
  last = jnp.array([min(height, round(width / NARROWEST)), min(width, round(height * WIDEST))], jnp.float32)
  found = fits.any(1)[:, None]
  size = jnp.where(found, first, last)
  place = jnp.floor(jax.random.uniform(key_place, size.shape) * (whole - size + 1))
  return size, jnp.where(found, jnp.minimum(place, whole - size), jnp.floor((whole - size) / 2))
