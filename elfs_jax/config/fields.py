"""The table of settings: each field with its default, what it means and what it may be."""
from typing import Any, NamedTuple

from elfs_jax import cluster, data, encoders, select
from elfs_jax.bounds import Bound, flag, level_or_path, number, one_of, path, typed, whole, words
from elfs_jax.data import decode
from elfs_jax.data.sources import FOLDERS
from elfs_jax.embed import scaling
from elfs_jax.report import plane
from elfs_jax.scores import SCORES
from elfs_jax.training.initial import INITS
from elfs_jax.training.networks import NETWORKS

MAX_WIDTH = 4096
MAX_SEED = 2 ** 31  # scikit-learn's end at 2 ** 32, and some stages count up from it.


class Field(NamedTuple):
  """One setting."""
  default: Any
  help: str
  bound: Bound               # What it may be; it also says how what is typed is read.


def _training(network: str) -> dict[str, Field]:
  """The fields that the sections `proxy` and `evaluate` share; `network`: what None means there."""
  return {
      'network': Field(None, f'what is trained; None: {network}', one_of(NETWORKS, none=True)),
      'width': Field(16, 'channels of the network small, and a 16th of the hidden units of mlp',
                     whole(1, MAX_WIDTH)),
      'batch': Field(None, 'examples a step; None: 256, or 64 below 10,000 examples', whole(1, none=True)),
      'learning_rate': Field(0.1, 'at the start, falling by a cosine', number(above=0)),
      'final_rate': Field(1e-4, 'the learning rate at the end', number(least=0)),
      'momentum': Field(0.9, 'of the gradient', number(least=0, below=1)),
      'nesterov': Field(True, "Nesterov's momentum, which looks ahead", flag()),
      'weight_decay': Field(5e-4, 'of all weights', number(least=0)),
      'crop': Field(None, 'pixels of reflect padding before a random crop; None: an eighth of the side',
                    whole(0, none=True)),
      'flip': Field(False, 'a mirror image shows the same thing: some views are mirrored', flag()),
      'resized_crop': Field(False, 'crops of random size, as on ImageNet, in place of padding', flag()),
      'init': Field('he', 'what the weights start from', one_of(INITS)),
  }


def _fields() -> dict[str, Field]:
  """Every field, in the order in which the data flows; the choices are read from their tables."""
  return {
      'seed': Field(0, 'of everything random', whole(0, MAX_SEED - 1)),

      'data.name': Field('digits', 'where the data comes from', words(data.SOURCES)),
      'data.path': Field(None, 'the file or folder, for the sources that need one', path()),
      'data.images': Field(None, 'with embeddings: the images that they came from, a folder or a file', path()),
      'data.labels': Field(None, "a file of labels, or 'folders' (a folder for each class); used by the comparison "
                           'alone', path()),
      'data.labelled': Field(None, 'a file that names the examples that are labelled already, or the export of a '
                             'labelling tool: they count as covered and are not chosen', path()),
      'data.root_url': Field(None, 'what stands for the folder in the column path of coreset.csv, such as '
                             'https://host/pictures/; None: absolute paths', path()),
      'data.size': Field(None, 'side in pixels at which the images of a folder are seen; None: 64', typed()),
      'data.range': Field(None, 'of images of a folder of more than 8 bits (float, 16-bit, 32-bit): the values that '
                          'become black and white, such as 0,4095; None: found from the files', FOLDERS['range']),
      'data.max_pixels': Field(None, 'larger images of a folder are skipped; None: 179 million',
                               FOLDERS['max_pixels']),
      'data.fit': Field('crop', 'how an image of another shape becomes a square', one_of(decode.FITS)),

      'data.test': Field('auto', 'of data in parts, such as a folder with train/ and test/: auto: the test set is not '
                         'chosen from, and with data.labels=folders compared on; none: all is chosen from',
                         one_of(['auto', 'none'])),

      'embed.method': Field('auto', 'how images become vectors; given: your own embeddings as they are; auto: the best '
                            'one, found without labels; your own embeddings, scaled by embed.scaling',
                            one_of({**encoders.ENCODERS, 'given': None, 'auto': None})),
      'embed.weights': Field(None, 'of a pretrained encoder: a file; None: an installed package, else a download',
                             path()),
      'embed.scaling': Field('auto', 'how the features of a pretrained encoder, and your own, are scaled; auto: as '
                             'suits them, found without labels', one_of({**scaling.SCALINGS, 'auto': None})),
      'embed.components': Field(None, 'principal components kept at most; None: 100 of pca, of other features as '
                                'embed.scaling has it', whole(1, none=True)),
      'embed.wide': Field('refuse', 'a few rows or columns of your own embeddings that outweigh all others: refuse, or '
                          'drop (columns are left out, rows scaled down)', one_of(['refuse', 'drop'])),
      'embed.epochs': Field(None, 'of self_supervised; None: 20, down to 11 above 15,000 images', whole(1, none=True)),
      'embed.batch': Field(None, 'of self_supervised; None: 512, or 256 below 10,000 images', whole(1, none=True)),
      'embed.width': Field(24, 'of self_supervised: channels after its first layer', whole(1, MAX_WIDTH)),
      'embed.refresh': Field(1, 'of self_supervised: how often neighbours are found anew from its own features',
                             whole(0)),
      'embed.learning_rate': Field(2e-3, 'of self_supervised, for 256 pairs', number(above=0)),
      'embed.flip': Field(False, 'a mirror image shows the same thing: some views are mirrored', flag()),

      'neighbors.k': Field(None, 'neighbours of each example in the graph; None: 50, or as many as there are',
                           whole(1, none=True)),
      'neighbors.exact_below': Field(100_000, 'of so many examples or more nearly all neighbours are found in place of '
                                     'all, which is faster', whole(1)),

      'cluster.method': Field('kmeans', 'how pseudo-labels are made; auto: the most informative of all, without labels',
                              one_of({**cluster.CLUSTERINGS, 'auto': None})),
      'cluster.num_classes': Field(None, 'the number of clusters; None: estimated from the embeddings', typed()),
      'cluster.heads': Field(8, 'of temi', whole(1)),
      'cluster.hidden': Field((128, 64), 'of temi: widths of the hidden layers of a head', whole(1, many=True)),
      'cluster.epochs': Field(40, 'of temi', whole(1)),
      'cluster.batch': Field(256, 'of temi', whole(1)),
      'cluster.learning_rate': Field(3e-3, 'of temi, at the peak', number(above=0)),
      'cluster.warmup_epochs': Field(4, 'of temi', whole(0)),
      'cluster.teacher_momentum': Field(0.9, 'of temi', number(least=0, below=1)),
      'cluster.init': Field('kmeans', 'of temi: what its heads start from', one_of(['random', 'kmeans'])),

      **{f'proxy.{name}': field for name, field in _training(
          'mlp, in seconds; for methods that were published with a network on the images, small').items()},
      'proxy.epochs': Field(None, 'None: about 2,400 steps, at least 10 and at most 40 epochs', whole(1, none=True)),

      'select.budget': Field('10%', 'how many to choose: 500 is a count, 0.1 and 10% are fractions', typed()),
      'select.reserve': Field('10%', 'how many more to list as a reserve, for images that turn out to be of no use: a '
                              'count, or a share of the budget; 0: none', typed()),
      'select.method': Field('coverage', 'how to choose', one_of(select.METHODS)),
      'select.score': Field('aum', 'what tells how hard an example is', one_of(SCORES)),
      'select.beta': Field('auto', 'the fraction left out at the hard end; auto: searched without labels', typed()),
      'select.balance': Field(select.BALANCE, 'of coverage: from 0, each image counts alike, to 1, each cluster does, '
                              'for when rare kinds matter as much as common ones', number(least=0, most=1)),
      'select.duplicates': Field('one', 'of exact copies: one may be chosen, or keep: all of them',
                                 one_of(['one', 'keep'])),
      'select.group_by': Field(None, 'what is of one video, patient or the like: a folder level (1: the first folder '
                               'of an image, 2: the first two, -1: the folder that it lies in), or a .csv with a '
                               'column of ids and a column group', level_or_path()),
      'select.group_share': Field(None, 'with group_by: no group gets more than this share of all that is labelled or '
                                  'chosen, as long as others have some left; None: 0.1, or twice an even share if that '
                                  'is more', number(above=0, most=1, none=True)),
      'select.holdout': Field(None, 'so many images are held out first, at random, as a fair test set: they are never '
                              'chosen, and holdout.csv lists them', whole(1, none=True)),

      'judge.betas': Field((0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5), 'the betas that auto tries',
                           number(least=0, below=1, many=True)),
      'judge.clusterings': Field(6, 'how many it grades by; the difficulty did not use them', whole(2)),
      'judge.folds': Field(3, 'tenths set aside, each with candidates of its own', whole(1)),
      'judge.steps': Field(200, 'of each training of its MLP', whole(1)),
      'judge.randoms': Field(5, 'random subsets graded beside the candidates', whole(2)),

      **{f'evaluate.{name}': field for name, field in _training('small on images, mlp on embeddings').items()},
      'evaluate.batch': Field(None, 'examples a step; None: 256, or 64 below 10,000 examples', whole(4, none=True)),
      'evaluate.enabled': Field(True, 'compare with random subsets, where there are labels', flag()),
      'evaluate.seeds': Field(5, 'trainings of each, on other random subsets', whole(1)),
      'evaluate.steps': Field(500, 'of each training', whole(1)),

      'report.map': Field('pca', 'how report.html lays out its map', one_of(plane.PLANES)),

      'mesh.shards': Field(16, 'logical shards, a power of two; each sees four examples or more of every batch. The '
                           'number of devices gives the same bits, this does not. Below twice as many examples it is '
                           'less', whole(1)),
  }


FIELDS = _fields()
COMMON = (  # What people set, which `--help` shows.
    'seed', 'data.name', 'data.path', 'data.labels', 'data.labelled', 'data.size', 'data.fit', 'data.test',
    'embed.method', 'embed.weights', 'cluster.method', 'cluster.num_classes', 'proxy.network',
    'select.budget', 'select.method', 'select.beta', 'select.balance', 'select.duplicates', 'select.group_by',
    'evaluate.enabled')
BENCHMARK: dict[str, Field] = {
    'benchmark.rates': Field((0.9, 0.8, 0.7), 'shares pruned', number(above=0, below=1, many=True)),
    'benchmark.methods': Field('all', 'or names, with commas between; a wrong one is answered with the list', words()),
    'benchmark.seeds': Field(5, 'of the whole pipeline, the split and the classifier', whole(1)),
    'benchmark.randoms': Field(4, 'random subsets for each seed; all methods are compared with the mean of them',
                               whole(1)),
    'benchmark.classifier': Field('head', "head: an MLP on the embeddings, seconds; network: evaluate's, on the images",
                                  one_of(['head', 'network'])),
    'benchmark.steps': Field(1000, 'of the classifier, the same for every method and rate', whole(1)),
}
