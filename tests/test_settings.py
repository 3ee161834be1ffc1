"""The settings files, and what they leave open."""
import numpy as np
import pytest
from absl import flags
from conftest import ROOT, launch
from ml_collections import config_flags

from elfs_jax import checks, pipeline
from elfs_jax import config as config_lib
from elfs_jax.training import networks
from elfs_jax.training import recipe as recipes


def test_every_settings_file_can_be_read():
  for path in sorted((ROOT / 'configs').glob('*.py')):
    config = config_lib.read(path)
    name = {'benchmark': 'digits', 'icons': 'folder', 'cinic10': 'folder'}.get(path.stem, path.stem)
    assert config.is_locked and config.data.name == name, path


@pytest.mark.filterwarnings('ignore:the load_module')
@pytest.mark.parametrize('base, changes', [
    ('folder', {'data.path': "/my pictures/it's", 'select.budget': 300, 'judge.betas': (0.0, 0.2), 'data.size': None}),
    ('folder', {'data.path': '2024', 'select.budget': '10%', 'cluster.num_classes': 7, 'evaluate.enabled': False}),
    ('cifar100', {'select.budget': 0.1, 'proxy.network': 'resnet18', 'select.beta': 0.3}),
    ('digits', {}), ('icons', {}), ('embeddings', {'data.path': 'x.npz'}),
    ('digits', {'data.name': 'hf:some/name', 'select.beta': 'auto'})])
def test_what_is_typed_gives_the_same_settings(base, changes, monkeypatch):
  config = config_lib.read(base)
  with config.ignore_type():
    config.update_from_flattened_dict(changes)
  name, *rest = config_lib.typed(config)
  assert len(rest) <= len(changes) and name == f'--config={base}'
  argv = ['elfs-jax', '--config=' + config_lib.find(name.removeprefix('--config=')), *rest]
  monkeypatch.setattr('sys.argv', argv)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values)
  values(argv)
  config_lib.read_paths(values.config)
  assert config_lib.listed(values.config) == config_lib.listed(config)
  assert values.config.to_dict() == config.to_dict()


SMALL_IMAGES = {'network': 'resnet18', 'batch': 256, 'learning_rate': 0.1, 'final_rate': 1e-4, 'momentum': 0.9,
                'nesterov': True, 'weight_decay': 5e-4, 'crop': 4, 'flip': True, 'resized_crop': False, 'init': 'he'}
BARE = SMALL_IMAGES | {'crop': 0, 'flip': False}
IMAGENET = SMALL_IMAGES | {'network': 'resnet34', 'nesterov': False, 'weight_decay': 1e-4, 'resized_crop': True}


@pytest.mark.parametrize('name, training, epochs, steps', [
    ('cifar10', SMALL_IMAGES, 200, 40_000), ('cifar100', SMALL_IMAGES, 200, 40_000),
    ('stl10', SMALL_IMAGES, 200, 40_000), ('cinic10', SMALL_IMAGES, 200, 40_000), ('svhn', BARE, 200, 40_000),
    ('imagenet', IMAGENET, 60, 300_000)])
def test_the_published_settings(name, training, epochs, steps):
  """The tables of DESIGN section 5: TEMI's, and ELFS's training."""
  config = config_lib.read(ROOT / f'configs/{name}.py')
  for section in (config.proxy, config.evaluate):
    for field, value in training.items():
      if field != 'crop' or not training['resized_crop']:
        assert section[field] == value, field
  assert (config.proxy.epochs, config.evaluate.steps, config.select.method) == (epochs, steps, 'double_end')
  temi = config.cluster
  assert (temi.method, temi.heads, temi.hidden, temi.epochs, temi.batch) == ('temi', 50, (512, 256), 200, 1024)
  assert (temi.warmup_epochs, temi.teacher_momentum, temi.init) == (20, 0.996, 'random')
  assert temi.learning_rate == pytest.approx(1e-4 * 1024 / 256)
  assert config.neighbors.k is None and pipeline.learn.NEIGHBORS == 50
  assert temi.num_classes == {'cifar100': 100, 'imagenet': 1000}.get(name, 10)


PAPER = {'cifar10': ('torch', 1, 0.4, None), 'cifar100': ('torch', 1, 'auto', None),
         'stl10': ('torch', 1, 'auto', None), 'svhn': ('torch', 1, 'auto', None), 'cinic10': ('torch', 1, 'auto', 32),
         'imagenet': ('torchvision', 2, 0.3, 224)}


@pytest.mark.parametrize('name', PAPER)
def test_the_variant_paper_differs_in_what_is_documented(name):
  plain, paper = (dict(config_lib._leaves(config_lib.read(f'{name}{colon}'))) for colon in ('', ':paper'))
  init, shards, beta, size = PAPER[name]
  expected = plain | {
      'embed.method': 'dino_vitb16', 'embed.scaling': 'raw', 'mesh.shards': shards, 'proxy.init': init,
      'evaluate.init': init, 'select.beta': beta, 'data.size': size,
      'judge.betas': (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)}
  assert paper == expected
  assert dict(config_lib._leaves(config_lib.read(f'benchmark:{name}:paper'))) == expected | dict(
      config_lib._leaves(config_lib.benchmark(), 'benchmark.'))


def test_an_unknown_variant_ends_in_one_line():
  for given in ('cifar10:papre', 'benchmark:cifar10:papre'):
    with pytest.raises(ValueError, match=f"--config={given}: .*'papre' is no variant") as error:
      config_lib.read(given)
    assert '\n' not in str(error.value)


def test_what_is_left_open_follows_the_data(tiny):
  settings = config_lib.get_config().proxy
  for count, side, batch, crop, epochs in ((500, 8, 64, 1, 40), (9_999, 28, 64, 3, 15), (10_000, 32, 256, 4, 40),
                                           (60_000, 28, 256, 3, 10)):
    images = np.broadcast_to(np.uint8(0), (count, side, side + 2, 1))
    recipe = recipes.recipe_of(settings, images)
    assert (recipe.network, recipe.batch, recipe.crop) == ('small', batch, crop)
    assert recipes.epochs(settings, count) == epochs  # About 2,400 steps, from 10 to 40 epochs.
  assert recipes.recipe_of(settings, np.zeros((500, 3), np.float32)).network == 'mlp'


def test_settings_of_a_training_are_any_mapping():
  settings = dict(config_lib.get_config().proxy)
  images, embeddings = np.zeros((500, 8, 8, 1), np.uint8), np.zeros((500, 3), np.float32)
  assert recipes.takes_images(settings, True) and not recipes.takes_images(settings, False)
  settings = recipes.with_network(settings, 'mlp')
  assert not recipes.takes_images(settings, True)
  assert recipes.recipe_of(settings, embeddings).network == 'mlp'
  settings = recipes.with_network(settings | {'network': 'small', 'batch': 32}, 'mlp')
  assert recipes.takes_images(settings, True) and recipes.recipe_of(settings, images).batch == 32


def test_a_network_is_added_by_one_entry(monkeypatch):
  def toy(num_classes, width, dtype):
    return (num_classes, width, dtype)
  monkeypatch.setitem(networks.NETWORKS, 'toy', networks.Network(toy, 'nothing', images=True))
  assert networks.build('toy', 3, width=2, dtype='float32') == (3, 2, 'float32')
  assert recipes.takes_images({'network': 'toy'}, True)
  with pytest.raises(ValueError, match="network='toyy' is unknown: did you mean 'toy'"):
    networks.build('toyy', 3)


def refusal(config, **more):
  """The one line by which settings are refused for 300 images of 8 pixels; None where they are not."""
  try:
    checks.check(config, 300, has_images=True, has_embeddings=False, side=8, **more)
  except ValueError as error:
    assert type(error) is ValueError and '\n' not in str(error) and len(str(error)) < 700, error
    return str(error)


HOSTILE = [True, False, None, -1, 0, 1, 3, 10 ** 30, 1.5, 1e-300, 1e300, float('nan'), float('inf'), '', ' ', '()',
           'None', 'x', '-1', '1e9', '200%', '\0', (), [], (1, 'a'), (True,), ((1, 2),), (1, 2), {}, b'x',
           np.float32(2), np.array([1, 2])]


def test_whatever_a_setting_is_given_ends_in_one_line():
  """Each field with each value: it is taken, or refused by the field's name."""
  refused = 0
  for name, field in config_lib.FIELDS.items():
    for value in HOSTILE:
      config = config_lib.get_config()
      with config.ignore_type():
        *sections, last = name.split('.')
        part = config
        for section in sections:
          part = part[section]
        part[last] = value
      line = refusal(config)
      assert line is None or last in line or name.split('.')[0] in line, (name, value, line)
      refused += line is not None
      if part[last] is True and not isinstance(field.default, bool):  # ml_collections makes 1.0 of it in some.
        assert line or name == 'data.size', (name, value)  # Which reading checks.
  assert refused > 20 * len(config_lib.FIELDS)


@pytest.mark.parametrize('name, value, words', [
  ('embed.batch', True, 'whole number'), ('judge.betas', '()', 'must be numbers'),
  ('judge.betas', (), 'must be numbers'), ('evaluate.crop', 9999, 'below the shorter side of the images, 8'),
  ('proxy.crop', 8, 'of the images, 8: lower it'), ('embed.width', 10 ** 9, 'at most 4,096'),
  ('cluster.heads', 10 ** 12, 'at most 1,000,000')])
def test_settings_that_cannot_be(name, value, words):
  config = config_lib.get_config()
  with config.ignore_type():
    config.update_from_flattened_dict({name: value})
  assert f'{name}=' in refusal(config) and words in refusal(config)
  done = launch(f'--config.{name}={value}', tiny=False)
  assert done.returncode == 2 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr
