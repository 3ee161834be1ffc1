"""The settings of a run and their defaults: the fast recipe, for two CPU cores.

`configs/*.py` start from here; `elfs_jax.select_coreset` uses this as it is. `None` means: chosen from the data, as the
comment says. A field whose default is a plain value keeps its type; `Any` fields take what people type.
"""
import difflib
import inspect
import pathlib
import re
import runpy
import textwrap

from ml_collections import ConfigDict, config_dict

from elfs_jax import select


def _any(default=None):
  """A field without a type: '500' is a count, '0.1' a fraction, '10%' and 'auto' stay words."""
  field = config_dict.placeholder(object)
  field.set(default)
  return field


def _path():
  """A field for a path, a string: 2024 and 1e5 are names. None, where it is typed, is the word: `read_paths`."""
  return config_dict.placeholder(str)


def read_paths(config):
  """Paths typed as None become None."""
  for name in ('path', 'images', 'labels'):
    if config.data[name] == 'None':
      config.data[name] = None


def get_config():
  """The default settings, locked: an unknown field is an error."""
  config = ConfigDict()
  config.seed = 0                    # of everything random

  config.data = ConfigDict()
  config.data.name = 'digits'        # digits, fashion_mnist, fashion_mnist_long_tail, fashion_mnist_dirty, clipart,
                                     # glyphs, emoji, synthetic, arrays, folder, embeddings, cifar10, cifar100 ...
  config.data.path = _path()         # a file or folder, for the sources that need one
  config.data.images = _path()       # for embeddings: the images that they came from
  config.data.labels = _path()       # a file of labels, or 'folders'; used by the evaluation alone
  config.data.size = _any()          # side in pixels that a folder's images are resized to; None: 64

  config.embed = ConfigDict()
  config.embed.method = 'auto'       # pca, self_supervised, given (bring your own), auto: the better, without labels
  config.embed.components = 100      # of PCA
  config.embed.epochs = _any()       # of the encoder; None: 20, down to 11 above 15,000
  config.embed.batch = _any()        # of the encoder; None: 512, or 256 below 10,000 examples
  config.embed.width = 24            # of the encoder: channels after its first layer
  config.embed.refresh = 1           # of the encoder: times that neighbours are found anew from its own features
  config.embed.learning_rate = 2e-3  # of the encoder, per 256 pairs
  config.embed.flip = False          # a mirror image is the same thing: some views are mirrored

  config.neighbors = ConfigDict()
  config.neighbors.k = _any()        # in the graph that TEMI, the smoothing and coverage use; None: 50, or as many as
                                     # there are

  config.cluster = ConfigDict()
  config.cluster.method = 'kmeans'   # kmeans (on smoothed embeddings), merged (the same from merged clusters), temi,
                                     # auto: the most informative of them, without labels
  config.cluster.num_classes = _any()  # None: estimated from the embedding
  config.cluster.heads = 8           # of TEMI
  config.cluster.hidden = (128, 64)  # of TEMI: widths of a head
  config.cluster.epochs = 40         # of TEMI
  config.cluster.batch = 256         # of TEMI
  config.cluster.learning_rate = 3e-3  # of TEMI, at the peak
  config.cluster.warmup_epochs = 4   # of TEMI
  config.cluster.teacher_momentum = 0.9  # of TEMI
  config.cluster.init = 'kmeans'     # of TEMI: random (as published) or kmeans

  config.proxy = _training()
  config.proxy.network = None        # small, resnet18, resnet34, mlp; None: mlp, a thousandth of the cost of small and
                                     # better scores; with double_end and stratified, which were published with a
                                     # network on images, small
  config.proxy.epochs = _any()       # None: about 2,400 steps, at least 10 and at most 40 epochs

  config.select = ConfigDict()
  config.select.budget = _any('10%')   # 500 is a count; 0.1 and 10% are fractions of N
  config.select.score = 'aum'        # aum, forgetting, el2n, correctness
  config.select.method = 'coverage'  # coverage (ours), double_end (as published), stratified, random, hardest, easiest
  config.select.beta = _any('auto')  # fraction dropped from the hard end; auto: searched without labels
  config.select.balance = select.BALANCE  # of coverage: from 0, each image counts alike, to 1, each cluster does, for
                                     # when rare classes matter as much as common ones

  config.judge = ConfigDict()
  config.judge.betas = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # the grid of beta=auto
  config.judge.clusterings = 6       # that the difficulty did not use
  config.judge.folds = 3             # tenths set aside, each with its own candidates
  config.judge.steps = 200           # of each training of its MLP
  config.judge.randoms = 5           # random subsets graded beside the candidates

  config.evaluate = _training()      # the classifier trained on the coreset, where there are labels
  config.evaluate.enabled = True     # compare with random subsets, where there are labels
  config.evaluate.seeds = 5          # trainings of each, on other random subsets
  config.evaluate.steps = 500        # of each training

  config.mesh = ConfigDict()
  config.mesh.shards = 16            # logical shards, a power of two, each with four examples or more of every batch;
                                     # the number of devices gives the same bits, this does not
  return config.lock()


def pictures():
  """`get_config()` for photographs and drawings, of which a mirror image shows the same thing."""
  config = get_config()
  config.embed.flip = config.proxy.flip = config.evaluate.flip = True
  return config


def _training():
  training = ConfigDict()
  training.network = _any()          # small, resnet18, resnet34, mlp; None: small on images, mlp on embeddings
  training.width = 16                # of small and mlp
  training.batch = _any()            # None: 256, or 64 below 10,000 examples
  training.learning_rate = 0.1       # at the start, falling by a cosine
  training.final_rate = 1e-4         # at the end
  training.momentum = 0.9            # of the gradient
  training.nesterov = True           # momentum that looks ahead
  training.weight_decay = 5e-4       # of all weights
  training.crop = _any()             # pixels of reflect padding before a random crop; None: an eighth of the side
  training.flip = False              # a mirror image is the same thing: some views are mirrored
  training.resized_crop = False      # crops of random size, as on ImageNet, in place of padding
  return training


def benchmark():
  """The section `benchmark`, which configs/benchmark.py adds."""
  section = ConfigDict()
  section.rates = (0.9, 0.8, 0.7)    # shares pruned
  section.methods = 'all'            # or names, with commas between; a wrong one is answered with the list
  section.seeds = 5                  # of the whole pipeline, the split and the classifier
  section.randoms = 4                # random subsets a seed; all methods are compared with the mean of them
  section.classifier = 'head'        # head: an MLP on the embeddings, seconds; network: `evaluate`'s, on the images
  section.steps = 1000               # of the classifier, the same for every method and rate
  return section


def read(path):
  """The config of a settings file: what its `get_config()` returns. Raises: FileNotFoundError, ValueError.

  `FILE:NAME` calls `get_config(NAME)`, as ml_collections does.
  """
  given = str(path)
  path, _, argument = given.partition(':')
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(f'{path or "--config="}: no such settings file; choose one of configs/*.py')
  try:
    module = runpy.run_path(path)
    if 'get_config' not in module:
      raise ValueError('it defines no get_config(): see configs/digits.py')
    if argument and not inspect.signature(module['get_config']).parameters:
      raise ValueError('it takes no name after a colon')
    return module['get_config'](*[argument] * bool(argument))
  except FileNotFoundError:
    raise
  except Exception as error:  # Whatever the code of a settings file may raise.
    raise ValueError(f'--config={given}: {error or type(error).__name__}') from None


def path_in(argv):
  """The settings file that the command line names by --config=FILE or --config FILE, the last one, or None."""
  path = None
  for i, argument in enumerate(argv):
    name, equals, value = argument.partition('=')
    if name in ('--config', '-config'):
      path = value if equals else argv[i + 1] if i + 1 < len(argv) else ''
  return path


def without_path(argv):
  """The command line without --config=FILE or --config FILE."""
  bare = [argument in ('--config', '-config') for argument in argv]
  return [argument for i, argument in enumerate(argv)
          if not (bare[i] or i and bare[i - 1] or re.match('--?config=', argument))]


def listing(config):
  """Every field and its value as it is typed, with what this file's comments say of it."""
  words, lines = _comments(), []
  for name, value in _leaves(config):
    lines.append(f'  --config.{name}={value}')
    if name in words:
      lines.append(textwrap.fill(words[name], 100, initial_indent=' ' * 8, subsequent_indent=' ' * 8))
  return '\n'.join(lines)


def _comments():
  """The comment beside each field above, so that they stand once: field -> text."""
  sections = {'config': [''], 'training': ['proxy.', 'evaluate.'], 'section': ['benchmark.']}
  words, names = {}, []
  for line in pathlib.Path(__file__).read_text('utf-8').splitlines():
    field, more = re.match(r'  (\w+)\.(\S+) = .*?  # (.*)', line), re.match(r' {20,}# (.*)', line)
    if field and field[1] in sections:
      names = [section + field[2] for section in sections[field[1]] if section + field[2] not in words]
      words |= dict.fromkeys(names, field[3])
    elif more:
      words |= {name: f'{words[name]} {more[1]}' for name in names}
    else:
      names = []
  return words


def check_names(config, argv):
  """Refuse --config.NAME=... of a field that does not exist. Raises: ValueError that names the nearest that does."""
  names = [name for name, _ in _leaves(config)]
  for argument in argv:
    found = re.match(r'--?config\.([^=]+)', argument)
    inside = [name for name in names if found and name.startswith(f'{found[1]}.')]
    if inside:
      raise ValueError(f'--config.{found[1]} is a section: set its fields, such as --config.{inside[0]}')
    if found and found[1] not in names:
      # The last part of the name says most: a field may be looked for in another section.
      nearest = max(names, key=lambda name: max(
          difflib.SequenceMatcher(None, found[1], name).ratio(),
          0.95 * difflib.SequenceMatcher(None, found[1].split('.')[-1], name.split('.')[-1]).ratio()))
      raise ValueError(f'--config.{found[1]}: there is no such field; the nearest is --config.{nearest}')


def _leaves(config, prefix=''):
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value
