"""The target `cvat`: an archive of images and a file of labels, as `cvat-cli task create` takes them.

Format: https://docs.cvat.ai/docs/api_sdk/cli/
"""
import json
import pathlib
import shlex
import zipfile

from elfs_jax import export
from elfs_jax.runtime import artifacts


def write(chosen: export.Chosen, folder: pathlib.Path) -> export.Written:
  """cvat.zip, each image in a folder named by its place in the order, and cvat-labels.json with the classes as tags.

  Frames are sorted by name, so that the folders keep the order, and also names that two images share apart. What
  follows the folder is the image's path below the data's folder.
  """
  paths, (_, names) = export.paths_of(chosen), export.placed(chosen)
  digits = max(6, len(str(len(paths))))
  file, labels = folder / chosen.named('cvat.zip'), folder / 'cvat-labels.json'
  def save(opened):
    with zipfile.ZipFile(opened, 'w', strict_timestamps=False) as archive:
      for place, (path, name) in enumerate(zip(paths, names, strict=True), 1):
        archive.write(path, f'{place:0{digits}d}/{name}')
  artifacts.write(file, save)
  classes = [{'name': name, 'type': 'tag', 'attributes': []} for name in chosen.classes or export.NO_CLASSES]
  artifacts.write_text(labels, json.dumps(classes, indent=1))
  own = '' if chosen.classes else f' (put your classes into {labels.name} first)'
  return export.Written(file, f'cvat-cli task create {chosen.part} local {shlex.quote(str(file))} --labels '
                        f'{shlex.quote(str(labels))}{own}')
