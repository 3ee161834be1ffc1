"""Augmentations inside the jitted step: uint8 images in, normalised float images out."""
import jax
import jax.numpy as jnp


def augment(key, images, *, crop, flip, resized_crop):
  """Random views of a batch.

  Args:
    key: PRNG key.
    images: uint8 or float [B,H,W,Ch].
    crop: pixels of reflect padding before a random crop back to HxW; 0 for none.
    flip: mirror each image with probability one half.
    resized_crop: a random box of 8 to 100 % of the area and aspect 3/4 to 4/3, resized to HxW (Szegedy et al., arXiv
      1409.4842), in place of `crop`.
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
  height, width = images.shape[1:3]
  key_area, key_aspect, key_place = jax.random.split(key, 3)
  area = jax.random.uniform(key_area, (len(images),), minval=0.08, maxval=1.0)
  aspect = jnp.exp(jax.random.uniform(key_aspect, (len(images),), minval=jnp.log(3 / 4), maxval=jnp.log(4 / 3)))
  box = jnp.minimum(jnp.stack([jnp.sqrt(area / aspect), jnp.sqrt(area * aspect)], -1), 1.0)
  corner = jax.random.uniform(key_place, box.shape) * (1 - box)
  def resize(image, box, corner):
    scale = 1 / box
    shift = -corner * scale * jnp.array([height, width])
    return jax.image.scale_and_translate(image, image.shape, (0, 1), scale, shift, 'linear')
  return jax.vmap(resize)(images, box, corner)
