"""The target `fiftyone`: a data set that FiftyOne loads.

Format: what `fiftyone.Dataset.from_json` takes, https://docs.voxel51.com/api/fiftyone.core.dataset.html
"""
import json
import os
import pathlib

from elfs_jax import export
from elfs_jax.runtime import artifacts

FIELDS = 'fiftyone.core.fields'


def write(chosen: export.Chosen, folder: pathlib.Path) -> export.Written:
  """fiftyone.json: a sample for each image in order, with the tag `coreset` or `holdout`, its id and its numbers."""
  paths = [os.path.abspath(path) for path in export.paths_of(chosen)]
  whole = {name: all(isinstance(value, int) for value in column) for name, column in chosen.numbers.items()}
  columns = {'item': chosen.ids} | {name: column if whole[name] else list(map(float, column))
                                    for name, column in chosen.numbers.items()}
  fields = {'item': f'{FIELDS}.StringField'} | {
      name: f'{FIELDS}.IntField' if integer else f'{FIELDS}.FloatField' for name, integer in whole.items()}
  samples = [{'filepath': path, 'tags': [chosen.part]} | dict(zip(columns, row, strict=True))
             for path, *row in zip(paths, *columns.values(), strict=True)]
  file = folder / chosen.named('fiftyone.json')
  artifacts.write_text(file, json.dumps({
      'name': f'elfs_jax {chosen.part}', 'media_type': 'image', 'sample_fields': fields, 'info': {},
      'default_classes': chosen.classes or [], 'samples': samples}, indent=1))
  return export.Written(file, f'fiftyone.Dataset.from_json({str(file)!r}) loads it')
