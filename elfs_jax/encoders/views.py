"""Random views of images for contrastive learning, inside the jitted step."""
import jax.numpy as jnp


def views(random, images, crop, flip):
  """Random resized crops (bilinear) with changed contrast, brightness and colours.

  Args: random: uniform in [0, 1), [8 + Ch^2, B]; images: uint8 [B, H, W, Ch]; crop: the least share of the image's area
    that is kept; flip: also mirror half of them.
  Returns: float32 [B, H, W, Ch], about 0 to 1.
  """
  count, height, width, channels = images.shape
  area, ratio, top, left, side, contrast, brightness, pale, *mix = random
  area, ratio = crop + (1 - crop) * area, jnp.exp(0.6 * (ratio - 0.5))
  rows = _resample(top, jnp.sqrt(area * ratio), height)
  columns = _resample(left, jnp.sqrt(area / ratio), width)
  if flip:
    columns = jnp.where(side[:, None, None] < 0.5, columns[:, ::-1], columns)
  x = images.astype(jnp.float32) / 255
  x = jnp.einsum('bih,bhwc->biwc', rows, x)
  x = jnp.einsum('bjw,biwc->bijc', columns, x)
  contrast, brightness = (0.8 * (u[:, None, None, None] - 0.5) for u in (contrast, brightness))
  x = x * (1 + contrast) + 0.5 * brightness * x.mean((1, 2, 3), keepdims=True)
  if channels == 1:
    return x
  # Colour: a random mix of the channels near the identity; half the images paler, down to grey.
  noise = 0.5 * (jnp.stack(mix, -1).reshape(count, channels, channels) - 0.5)
  pale = jnp.maximum(2 * pale - 1, 0)[:, None, None]
  mix = (jnp.eye(channels) + noise) * (1 - pale) + pale / channels
  return jnp.einsum('bijc,bcd->bijd', x, mix)


def _resample(offset_B, extent_B, size):
  """Linear interpolation matrices [B, size, size] that stretch a window of `extent` (share of the side) to the side."""
  extent = jnp.minimum(extent_B, 1)[:, None]
  start = offset_B[:, None] * (1 - extent)
  centers = (start + (jnp.arange(size) + 0.5) / size * extent) * size - 0.5
  return jnp.maximum(1 - jnp.abs(jnp.clip(centers, 0, size - 1)[..., None] - jnp.arange(size)), 0)
