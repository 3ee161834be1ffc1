"""The target `hf`: a folder that Hugging Face's `datasets` loads as `imagefolder`.

Format: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""
import csv
import pathlib
import shutil

from elfs_jax import export
from elfs_jax.export.folder import replaced


def write(chosen: export.Chosen, folder: pathlib.Path) -> export.Written:
  """hf/, copies of the images, and metadata.csv with their `id` and numbers.

  Files are named by their place in the order: they are loaded sorted by name, and a name with `test` or `train` in it
  would count as a part of the data.
  """
  target, paths = folder / chosen.named('hf'), export.paths_of(chosen)
  digits = max(6, len(str(len(paths))))
  names = [f'{place:0{digits}d}{path.suffix.lower()}' for place, path in enumerate(paths, 1)]
  with replaced(target) as new:
    for name, path in zip(names, paths, strict=True):
      shutil.copyfile(path, new / name)
    with open(new / 'metadata.csv', 'x', newline='', encoding='utf-8') as text:
      table = csv.writer(text, lineterminator='\n')
      table.writerow(['file_name', 'id', *chosen.numbers])
      table.writerows(zip(names, chosen.ids, *chosen.numbers.values(), strict=True))
  return export.Written(target, f"datasets.load_dataset('imagefolder', data_dir={str(target)!r}) loads it")
