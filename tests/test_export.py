"""The choice handed over: what each target writes, and from the command."""
import pathlib

import numpy as np
import pytest
from conftest import launch
from PIL import Image

from elfs_jax import cli, export
from elfs_jax.runtime import lists, store


@pytest.fixture
def workdir(tmp_path):
  """A workdir that chose three of five pictures, one of them in a subfolder, as a run leaves it."""
  pictures, ids = tmp_path / 'pictures', ['a b.png', 'sub/a b.png', 'c.png', 'd,e.png', 'ü.png']
  for i, name in enumerate(ids):
    (pictures / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (4, 4), (i, 0, 0)).save(pictures / name)
  out = tmp_path / 'out'
  chosen, labels, scores = np.array([4, 1, 3]), np.zeros(5, np.int32), {'aum': np.zeros(5)}
  text = lists.coreset(ids=ids, indices=chosen, reserve=np.array([2]), nearest=np.full(4, -1), duplicates=np.zeros(5),
                       pseudo_labels=labels, scores=scores, root=pictures, root_url=None)
  store.write(out, store.source_of('folder', str(pictures), None, None), {}, choice={}, indices=chosen,
              embeddings=np.eye(5), pseudo_labels=labels, scores=scores, skipped=[], root=pictures,
              lists=lambda: (text, ''))
  return out


def test_a_list_of_paths_in_the_order_of_the_choice(workdir):
  file = export.write(workdir, 'list')
  assert file == workdir / 'export/coreset.txt'
  paths = [pathlib.Path(line) for line in file.read_text('utf-8').splitlines()]
  assert [path.name for path in paths] == ['ü.png', 'a b.png', 'd,e.png'] and all(path.is_file() for path in paths)


def test_a_folder_of_copies_takes_the_place_of_an_earlier_one(workdir):
  old = workdir / 'export/folder/of_before.png'
  old.parent.mkdir(parents=True)
  old.write_bytes(b'')
  folder = export.write(workdir, 'folder')
  found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))
  assert found == ['d,e.png', 'sub/a b.png', 'ü.png']
  assert Image.open(folder / 'ü.png').getpixel((0, 0)) == (4, 0, 0)
  assert [path.name for path in (workdir / 'export').iterdir()] == ['folder']


def test_a_copy_that_fails_leaves_what_was_there(workdir):
  folder = export.write(workdir, 'folder')
  (workdir.parent / 'pictures/c.png').unlink()
  (workdir.parent / 'pictures/d,e.png').unlink()
  with pytest.raises(FileNotFoundError):
    export.write(workdir, 'folder')
  assert len(list(folder.rglob('*.png'))) == 3 and [p.name for p in (workdir / 'export').iterdir()] == ['folder']


def test_what_cannot_be_exported(workdir, tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file; give the workdir of a run'):
    export.write(tmp_path / 'nowhere', 'list')
  with pytest.raises(ValueError, match="export='lst' is unknown: did you mean 'list'"):
    export.write(workdir, 'lst')
  with pytest.raises(ValueError, match='rows of an array, without files'):
    export.paths_of(export.Chosen(['0'], None))
  with pytest.raises(ValueError, match='line break'):
    from elfs_jax.export import text
    text.write(export.Chosen(['a\nb'], [pathlib.Path('a\nb')]), tmp_path)


def test_the_command_exports_later_and_at_once(workdir, tmp_path, capsys):
  cli._export([str(workdir), 'list', 'folder'])
  assert capsys.readouterr().out.splitlines() == [f'exported to {workdir}/export/coreset.txt',
                                                  f'exported to {workdir}/export/folder']
  with pytest.raises(SystemExit) as stop:
    cli._export([str(workdir)])
  assert stop.value.code == 2 and 'WORKDIR TARGET' in capsys.readouterr().out
  pictures = f'--config.data.path={tmp_path}/pictures'
  process = launch('--config=folder', pictures, '--export=lst', f'--workdir={tmp_path}/x')
  assert process.returncode == 2 and "did you mean 'list'" in process.stderr and not (tmp_path / 'x').exists()
