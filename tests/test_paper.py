"""The published experiment, `--config=NAME:paper`: from end to end on small made-up images, and what it is made of."""
import json

import jax
import numpy as np
import pytest
from conftest import launch

from elfs_jax import config as config_lib
from elfs_jax.training import initial, networks

N, CLASSES = 64, 4
SHRUNK = {'data.name': 'arrays', 'data.labels': None, 'data.size': None, 'embed.weights': 'random',
          'cluster.num_classes': CLASSES, 'cluster.heads': 2, 'cluster.hidden': (8, 4), 'cluster.epochs': 2,
          'cluster.warmup_epochs': 1, 'cluster.batch': 32, 'proxy.epochs': 2, 'proxy.batch': 32,
          'judge.steps': 10, 'judge.folds': 1,
          'evaluate.network': 'small', 'evaluate.width': 2, 'evaluate.seeds': 1, 'evaluate.steps': 2,
          'evaluate.batch': 32}
FAST = {'embed.method': 'pca', 'proxy.network': 'small', 'proxy.width': 2, 'evaluate.enabled': False}


def published(name, side, tmp_path, overrides, fresh=False):
  """A run of the variant on made-up images of that side, with a test set; what it chose is what it should."""
  rng = np.random.default_rng(0)
  labels, patterns = np.arange(N + 16) % CLASSES, rng.integers(0, 200, (CLASSES, side, side, 3))
  images = np.clip(patterns[labels] + rng.normal(0, 25, (N + 16, side, side, 3)), 0, 255).astype(np.uint8)
  path = tmp_path / 'images.npz'
  np.savez(path, images=images[:N], labels=labels[:N], test_images=images[N:], test_labels=labels[N:])
  settings = [f'--config.{field}={value}' for field, value in overrides.items()]
  process = launch(f'--config={name}:paper', f'--config.data.path={path}', f'--workdir={tmp_path}/out', *settings,
                   devices=2, tiny=False, fresh=fresh)
  assert process.returncode == 0, process.stderr
  metrics = json.loads((tmp_path / 'out/metrics.json').read_text())
  expected = config_lib.read(f'{name}:paper')
  assert (metrics['shards'], metrics['devices']) == (expected.mesh.shards,) * 2
  assert metrics['name'] == 'ELFS'
  beta = metrics['beta']
  assert beta in expected.judge.betas if expected.select.beta == 'auto' else beta == expected.select.beta
  scores, chosen = np.load(tmp_path / 'out/scores.npz'), np.load(tmp_path / 'out/coreset.npy')
  assert len(chosen) == N // 10
  cut = int(beta * N + 1e-9)
  np.testing.assert_array_equal(np.sort(scores['aum'][chosen]), np.sort(scores['aum'])[cut:cut + N // 10])
  return metrics


def test_a_run_of_the_published_experiment(tmp_path):
  published('cifar10', 32, tmp_path, SHRUNK | FAST)


@pytest.mark.slow
@pytest.mark.parametrize('name, side', [('cifar10', 32), ('cifar100', 32), ('svhn', 32), ('cinic10', 32), ('stl10', 96),
                                        ('imagenet', 96)])
def test_every_published_experiment_with_its_network(name, side, tmp_path):
  metrics = published(name, side, tmp_path, SHRUNK | {'embed.method': 'dino_vits16', 'proxy.epochs': 1}, fresh=True)
  assert metrics['embedding'] == 'dino_vits16' and metrics['accuracy']['test'] == 'its own test set'


@pytest.mark.parametrize('name', initial.INITS)
def test_networks_start_as_pytorch_and_torchvision_have_them(name):
  """The bounds and deviations of torch.nn.Conv2d, torch.nn.Linear and torchvision's ResNet."""
  network = networks.build('resnet18', 100)
  shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), np.zeros((1, 32, 32, 3)), train=False))
  drawn = initial.draw(shapes, name, np.random.default_rng(0))
  assert jax.tree.map(lambda leaf: leaf.shape, drawn) == jax.tree.map(lambda leaf: leaf.shape, shapes)
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(drawn))
  deepest = max((layer['kernel'] for layer in jax.tree.leaves(
      drawn['params'], is_leaf=lambda part: 'kernel' in part) if isinstance(layer, dict)), key=np.size)
  assert deepest.shape == (3, 3, 512, 512)
  fan, linear = 9 * 512, drawn['params']['Dense_0']
  if name == 'torch':
    assert 0.999 < np.abs(deepest).max() * fan ** 0.5 <= 1 + 1e-6
    assert deepest.std() == pytest.approx((3 * fan) ** -0.5, rel=0.01)
  else:
    assert deepest.std() == pytest.approx((2 / fan) ** 0.5, rel=0.01) and np.abs(deepest).max() > 4 * deepest.std()
  if name == 'he':
    assert linear['kernel'].std() == pytest.approx((2 / 512) ** 0.5, rel=0.02) and not linear['bias'].any()
  else:
    for part in linear.values():
      assert 0.9 < np.abs(part).max() * 512 ** 0.5 <= 1 + 1e-6
    assert linear['bias'].std() == pytest.approx((3 * 512) ** -0.5, rel=0.2)
  stem = drawn['params']['Conv_0']['kernel']  # 27 in, 576 out.
  assert stem.std() == pytest.approx({'he': 2 / 27, 'torch': 1 / 81, 'torchvision': 2 / 576}[name] ** 0.5, rel=0.05)
  norm = drawn['params']['BatchNorm_0']
  assert (norm['scale'] == 1).all() and not norm['bias'].any()
  assert (drawn['batch_stats']['BatchNorm_0']['var'] == 1).all()
