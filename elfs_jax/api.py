"""The Python way: the whole pipeline in one call."""
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from elfs_jax import config as config_lib
from elfs_jax import data, export
from elfs_jax.data import given
from elfs_jax.runtime import mesh, progress, store

if TYPE_CHECKING:
  import pandas


@dataclasses.dataclass(frozen=True, repr=False)
class Coreset:
  """The chosen examples and what led to them. In a notebook it shows its report."""
  indices: np.ndarray             # int64 [n], in the order in which to label
  scores: dict[str, np.ndarray]   # name -> float32 [N]: those of `elfs_jax.scores.SCORES`
  pseudo_labels: np.ndarray       # int32 [N]
  beta: float | None              # the fraction left out at the hard end; None for methods without
  workdir: pathlib.Path           # with coreset.csv, report.html and the rest
  ids: list[str]                  # [N]; of a folder the path of each image in it, without those that can't be read
  root: pathlib.Path | None = None  # the folder that the ids are paths in; None where they are not
  reserve: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))  # int64 [r], what comes next
  holdout: list[str] = dataclasses.field(default_factory=list)  # ids of those held out; none of the N
  forecast: str | None = None     # what a run without labels expects against a random choice, where it was asked

  @property
  def paths(self) -> list[pathlib.Path]:
    """The files of the chosen images, in the order in which to label. Raises: ValueError where they have none."""
    chosen = [self.ids[i] for i in self.indices]
    root = self.root
    return export.paths_of(export.Chosen(chosen, None if root is None else [root / name for name in chosen]))

  def to_frame(self) -> 'pandas.DataFrame':
    """A row for each chosen example, in the order in which to label.

    Its columns are `index`, `id`, `pseudo_label` and one for each score.
    """
    try:
      import pandas
    except ImportError:
      raise ImportError('to_frame() needs pandas: pip install pandas') from None
    columns = {'index': self.indices, 'id': [self.ids[i] for i in self.indices],
               'pseudo_label': self.pseudo_labels[self.indices]}
    return pandas.DataFrame(columns | {name: self.scores[name][self.indices] for name in sorted(self.scores)})

  def export(self, target: str, *, root: str | None = None) -> pathlib.Path:
    """Hand the choice over, and what is held out: see `elfs_jax.export.EXPORTS`.

    Args: root: of label-studio, the folder that it serves files from, or a URL in place of the images' folder.
    Returns: the file or folder of the choice.
    """
    return export.write(self.workdir, target, served=root)

  def __repr__(self) -> str:
    beta = '' if self.beta is None else f', beta={self.beta:g}'
    return f"Coreset({len(self.indices):,} of {len(self.ids):,} examples{beta}, workdir='{self.workdir}')"

  def _repr_html_(self) -> str:
    import html
    page = html.escape((self.workdir / 'report.html').read_text('utf-8'))
    said = '' if self.forecast is None else f'<p>Forecast without labels: {html.escape(self.forecast)}</p>'
    style = 'width:100%;height:40rem;border:1px solid #8884'
    return f'{said}<iframe srcdoc="{page}" style="{style}" title="report"></iframe>'


def select_coreset(images: Any = None, *, embeddings: Any = None, budget: int | float | str,
                   num_classes: int | None = None, beta: float | str = 'auto', labelled: Any = None, labels: Any = None,
                   encoder: str | Callable | None = None, group_by: Any = None,
                   workdir: str | os.PathLike | None = None, seed: int = 0, verbose: bool = False,
                   config: ConfigDict | None = None) -> Coreset:
  """Choose the `budget` examples worth labelling, without any label.

  On several hosts (after `jax.distributed.initialize()`) each calls it alike and gets the same.

  Args:
    images: uint8 [N,H,W] or [N,H,W,Ch], or a folder's path, or a `data.Dataset`; or a list or a table's column of paths
      of image files, which are then the ids, or of Pillow's pictures.
    embeddings: float [N,D], alone or of the same examples as `images`, which are then no folder. An array, a tensor, a
      table, or a list or a column of vectors.
    budget: a count (500), a fraction (0.1) or words ('10%').
    num_classes: clusters to look for; None estimates it.
    beta: the fraction of N left out at the hard end, or 'auto' to search it without labels; in place of the config's.
    labelled: examples that are labelled already, as indices or ids, or ids -> labels as a dict, or a file that names
      them, such as the export of a labelling tool. They count as covered and are not chosen; `budget` counts new ones.
    labels: with `labelled`, their labels, one each; from 20 on what a classifier on them is unsure of counts more.
      Without, N labels that the choice is compared with random ones by, once it is made. These decide nothing.
    encoder: what makes the embeddings of the images: a name of `elfs_jax.encoders.ENCODERS`, such as timm:NAME, in
      place of the config's `embed.method`, or a function from a batch of images, uint8 [B,H,W,Ch], to its embeddings
      [B,D].
    group_by: what is of one video, patient or the like, of which no more than a share is chosen (the config's
      `select.group_share`): a folder level or a .csv, as `select.group_by` has them, or but for a folder N names, None
      for an example that is alone.
    workdir: folder for results (on the first host), reused where nothing changed; default a new temporary folder.
    seed: of everything random; in place of the config's.
    verbose: print what the command prints. Else there is a progress bar alone.
    config: from `elfs_jax.config.get_config()`, for other settings; the arguments above override it. Default: the
      fast recipe, for files with mirrored views, as the command uses it.
  Returns: `Coreset`.
  Raises: ValueError or FileNotFoundError, in one line that names the input and the mend.
  """
  mesh.pin_threads()
  from elfs_jax import pipeline
  config = _settings(config, isinstance(images, (str, os.PathLike)) or given.paths_in(images) is not None)
  with config.ignore_type():  # A copy holds each field to the type of its last value.
    config.select.budget, config.select.beta = _plain(budget), _plain(beta)
    config.cluster.num_classes, config.seed = _plain(num_classes), _plain(seed)
  folder = store.temporary() if workdir is None else pathlib.Path(workdir).expanduser()
  if isinstance(encoder, str):
    config.embed.method = encoder
  named = group_by is not None and np.ndim(group_by) > 0
  if named and isinstance(images, (str, os.PathLike)):
    raise ValueError('group_by= of a folder is a folder level such as 1, or a .csv with the columns id and group')
  if group_by is not None and not named:
    with config.ignore_type():
      config.select.group_by = os.fspath(group_by) if isinstance(group_by, os.PathLike) else _plain(group_by)
  dataset = _dataset(images, embeddings, config, folder)
  if named:
    dataset = data.with_groups(dataset, group_by)
  if callable(encoder):
    dataset = _embedded(dataset, encoder)
  if labelled is not None:
    dataset = data.with_labelled(dataset, labelled, labels)
  elif labels is not None:
    dataset = data.with_labels(dataset, labels)
  say: Callable[[str], Any] = print if verbose else _silent
  chosen, metrics = pipeline.run(dataset, config, folder, say=say, progress=progress.bar)
  return Coreset(chosen.indices, chosen.scores, chosen.pseudo_labels, chosen.beta, folder, dataset.ids,
                 None if dataset.root is None else pathlib.Path(dataset.root), chosen.reserve, dataset.holdout,
                 metrics.get('forecast'))


def _settings(config, in_files):
  if config is None:
    config = config_lib.pictures() if in_files else config_lib.get_config()
  if not isinstance(config, ConfigDict):
    raise ValueError(f'config= is a {type(config).__name__}: give what elfs_jax.config.get_config() or read(FILE) '
                     'returns')
  return config.copy_and_resolve_references()


def _dataset(images, embeddings, config, workdir):
  """The data set that the arguments are, and its name in the config."""
  from elfs_jax import pipeline
  in_folder = isinstance(images, (str, os.PathLike))
  if embeddings is not None and (in_folder or isinstance(images, data.Dataset)):
    raise ValueError('embeddings= go with an array of images or stand alone, not with a folder or a Dataset: read the '
                     "images into an array, or use elfs_jax.data.load('embeddings', FILE, images=FOLDER)")
  if in_folder:
    config.data.name, config.data.path = 'folder', str(images)
    return pipeline.read_data(config, workdir, progress.bar)
  if config.select.holdout is not None:
    raise ValueError(f'config.select.holdout={config.select.holdout} goes with a folder: of other data make a Dataset, '
                     'and give what elfs_jax.data.hold_out(dataset, count) returns as images, since rows change')
  if config.data.labels is not None:
    raise ValueError(f'data.labels={config.data.labels!r} goes with a folder: give elfs_jax.data.from_memory(images, '
                     'labels=...) as images')
  config.data.name = 'memory'
  if not isinstance(images, data.Dataset):
    images = data.from_memory(images=images, embeddings=embeddings, size=config.data.size, fit=config.data.fit,
                              progress=progress.bar)
  return data.with_groups(images, config.select.group_by)


def _embedded(dataset, encoder, batch=256):
  """The data with the embeddings that a function makes of its images, `batch` at a time."""
  if dataset.images is None or dataset.embeddings is not None:
    raise ValueError('encoder= makes embeddings of images: give images, and no embeddings')
  rows = np.arange(len(dataset.ids))
  parts = [given.array(encoder(dataset.pixels(rows[start:start + batch])), 'embeddings')
           for start in range(0, len(rows), batch)]
  return data.with_embeddings(dataset, np.concatenate(parts))


def _silent(line: str) -> None:
  pass


def _plain(value):
  """A NumPy scalar as Python's own, which a config can keep."""
  return value.item() if isinstance(value, np.generic) else value
