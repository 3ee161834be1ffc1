"""The target `coco`: a list of the images as COCO has it (https://cocodataset.org/#format-data)."""
import json
import pathlib

from elfs_jax import export
from elfs_jax.runtime import artifacts

ORIENTATION = 0x0112  # The tag of EXIF; from 5 on the sides change places.


def write(chosen: export.Chosen, folder: pathlib.Path) -> export.Written:
  """coco.json: `images` in order, with names below the data's folder, `categories` where known, no `annotations`."""
  data, names = export.placed(chosen)
  images = []
  for number, (path, name) in enumerate(zip(export.paths_of(chosen), names, strict=True), 1):
    width, height = size_of(path)
    images.append({'id': number, 'file_name': name, 'width': width, 'height': height})
  categories = [{'id': number, 'name': name, 'supercategory': ''}
                for number, name in enumerate(chosen.classes or (), 1)]
  file = folder / chosen.named('coco.json')
  artifacts.write_text(file, json.dumps({
      'info': {'description': f'{chosen.part} chosen by elfs_jax'}, 'licenses': [], 'images': images, 'annotations': [],
      'categories': categories}, indent=1))
  return export.Written(file, f'the file names in it start at {data}')


def size_of(path: pathlib.Path) -> tuple[int, int]:
  """Width and height in pixels of an image as it is shown, upright. Raises: ValueError where it can't be read."""
  from PIL import Image
  try:
    with Image.open(path) as image:
      width, height = image.size
      return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
  except Exception as error:  # Pillow's plugins raise nearly anything on a broken file.
    raise ValueError(f'{path}: cannot be read as it was when it was chosen ({error or type(error).__name__}); bring it '
                     'back, or run again') from None
