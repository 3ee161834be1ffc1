"""The target `label-studio`: tasks to import, and a labelling interface to start from.

Formats: https://labelstud.io/guide/tasks and https://labelstud.io/guide/storage (local files).
"""
import json
import os
import pathlib
import shlex
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from elfs_jax import export
from elfs_jax.runtime import artifacts

VIEW = """<View>
  <Image name="image" value="$image"/>
  <Choices name="label" toName="image" choice="single">
{}  </Choices>
</View>
"""


def write(chosen: export.Chosen, folder: pathlib.Path) -> export.Written:
  """label-studio.json, a task for each image in order, and label-studio-config.xml with the classes as choices.

  Images are named below the URL `chosen.served` or the data's own, else as files that Label Studio serves itself, from
  the folder `chosen.served`, by default the one above the data's folder. A task also has the `id` of coreset.csv.
  """
  start = storage = ''
  if chosen.served is not None and export.is_url(chosen.served):
    images = [f'{chosen.served.rstrip("/")}/{quote(name)}' for name in export.placed(chosen)[1]]
  elif chosen.served is None and chosen.links:
    images = chosen.links
  else:
    images, start, storage = _local(chosen)
  file, view = folder / chosen.named('label-studio.json'), folder / 'label-studio-config.xml'
  tasks = [{'data': {'image': image, 'id': name}} for image, name in zip(images, chosen.ids, strict=True)]
  artifacts.write_text(file, json.dumps(tasks, indent=1))
  choices = [f'    <Choice value={quoteattr(name)}/>\n' for name in chosen.classes or export.NO_CLASSES]
  artifacts.write_text(view, VIEW.format(''.join(choices)))
  own = '' if chosen.classes else ' (put your classes into it)'
  return export.Written(file, f'{start}create a project with {view.name} as its labelling interface{own} and import '
                        f'{file.name}{storage}')


def _local(chosen):
  """Paths by which Label Studio serves files, how to start it, and what to add, since it serves none unasked.

  It serves folders that lie below its document root, and that a project has as a storage.
  """
  data, names = export.placed(chosen)
  root = data.parent if chosen.served is None else pathlib.Path(os.path.normpath(os.path.abspath(chosen.served)))
  if root == data or root not in data.parents:
    raise ValueError(f'--root={root}: the images lie in {data}, and Label Studio serves only folders below its '
                     'document root; name one that is above them')
  below = data.relative_to(root).as_posix()
  images = [f'/data/local-files/?d={quote(f"{below}/{name}")}' for name in names]
  start = ('start it by LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT='
           f'{shlex.quote(str(root))} label-studio start; ')
  storage = f'; add to the project the source storage "Local files" with the path {data} (no sync is needed)'
  return images, start, storage
