"""Encoders of timm: its networks and its settings, our pictures."""
import builtins
import sys

import numpy as np
import pytest
from conftest import ROOT
from oracles import pictures, timm
from PIL import Image

import elfs_jax
from elfs_jax import connection, data, encoders, pipeline
from elfs_jax.encoders import from_timm, tensors
from elfs_jax.runtime import artifacts

torch = pytest.importorskip('torch')
safetensors = pytest.importorskip('safetensors.torch')
pytestmark = pytest.mark.usefixtures('one_device')
TINY = 'timm:test_vit'  # Of timm's own tests.


def error_of(*args, **kwargs):
  with pytest.raises(ValueError) as error:
    encoders.load(*args, **kwargs)
  assert '\n' not in str(error.value) and len(str(error.value)) < 500, error.value
  return str(error.value)


@pytest.mark.parametrize('name', ['test_vit', 'test_efficientnet', 'test_convnext2.r160_in1k'])
def test_a_network_is_timms_with_the_weights_of_a_file(name, tmp_path):
  torch.manual_seed(0)
  theirs = timm().create_model(name).eval()  # With its classifier, as it is published.
  safetensors.save_file(theirs.state_dict(), tmp_path / 'model.safetensors')
  encoder = encoders.load(f'timm:{name}', tmp_path / 'model.safetensors')
  config = timm().data.resolve_model_data_config(theirs)
  assert encoder.input_size == config['input_size'][1] and encoder.width == theirs.head_hidden_size
  images = pictures(encoder.batch + 3, encoder.input_size)
  mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ('mean', 'std'))
  with torch.inference_mode():
    x = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True).numpy()
  found = encoder(images)
  assert found.dtype == np.float32 and found.shape == expected.shape
  assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
  np.testing.assert_array_equal(found[-1], encoder(images[-1:])[0])  # A picture's is its own.
  torch.save(theirs.state_dict(), tmp_path / 'model.pth')
  np.testing.assert_array_equal(encoders.load(f'timm:{name}', tmp_path / 'model.pth')(images[:2]), found[:2])


@pytest.mark.parametrize('shape', [(200, 301), (160, 160), (47, 40), (161, 160)])
def test_pictures_of_any_size_are_resized_as_pillow_does(shape):
  timm()
  encoder, (image,) = encoders.load(TINY, 'random'), pictures(1, *shape)
  size = encoder.input_size
  seen, model = [], encoder.model
  encoder.model = lambda x: seen.append(x) or model(x)
  encoder(image[None])
  found = ((seen[0][0] * encoder._std[0] + encoder._mean[0]) * 255).permute(1, 2, 0).numpy()
  height, width = size * shape[0] // min(shape), size * shape[1] // min(shape)
  top, left = round((height - size) / 2), round((width - size) / 2)
  expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), np.float32)
  assert np.abs(found - expected[top:top + size, left:left + size]).max() < 1.01


def test_grey_is_colour_and_random_weights_follow_the_seed():
  timm()
  first, again, other = (encoders.load(TINY, 'random', seed=seed) for seed in (0, 0, 1))
  grey = pictures(2, 160)[..., :1]
  np.testing.assert_array_equal(first(grey), again(np.repeat(grey, 3, -1)))
  assert np.abs(first(grey) - other(grey)).max() > 1e-3
  before = torch.random.get_rng_state()
  encoders.load(TINY, 'random', seed=3)
  assert torch.equal(before, torch.random.get_rng_state())
  with pytest.raises(ValueError, match='uint8'):
    first(grey.astype(np.float32))


def test_chunks_and_a_stop_between_them_change_no_embedding():
  timm()
  images, asked, states = pictures(23, 160), [], []
  def pixels(rows, size):
    asked.append(len(rows))
    assert size == 160
    return images[rows]
  whole = from_timm.embed(pixels, 23, TINY, weights='random', seed=3)
  parts = from_timm.embed(pixels, 23, TINY, weights='random', seed=3, chunk=5, on_epoch=lambda chunks, state: (
      states.append([np.array(part) for part in state])))
  np.testing.assert_array_equal(parts, whole)
  asked.clear()
  resumed = from_timm.embed(pixels, 23, TINY, weights='random', seed=3, chunk=5, state=states[2])
  np.testing.assert_array_equal(resumed, whole)
  assert asked == [5, 3]


def test_a_run_takes_one_by_its_name_and_goes_on_after_a_stop(tiny, tmp_path, monkeypatch):
  timm()
  images = pictures(60, 20)
  tiny.embed.weights = 'random'
  keep = artifacts.keep
  def stop(path, *more):
    if 'embed' in path.name:
      raise OSError('the disk is full')
    return keep(path, *more)
  monkeypatch.setattr(artifacts, 'CHECKPOINT_SECONDS', 0)
  monkeypatch.setattr(artifacts, 'keep', stop)
  def choose(say):
    tiny.embed.method, tiny.data.name = TINY, 'memory'
    return pipeline.run(data.from_memory(images), tiny, tmp_path / 'out', say=say)
  with pytest.raises(OSError):
    choose(lambda _: None)
  monkeypatch.setattr(artifacts, 'keep', keep)
  said = []
  chosen, metrics = choose(said.append)
  assert '  going on from the checkpoint of a run that was stopped' in said and metrics['embedding'] == TINY
  expected = encoders.load(TINY, 'random')(data.from_memory(images).pixels(range(60), 160))
  np.testing.assert_array_equal(chosen.embeddings, expected)
  tiny.embed.method = 'pca'
  coreset = elfs_jax.select_coreset(images, budget=0.1, beta='auto', num_classes=4, encoder=TINY, config=tiny,
                                    workdir=tmp_path / 'api')
  np.testing.assert_array_equal(coreset.indices, chosen.indices)


def test_names_that_timm_does_not_know(tiny, tmp_path):
  timm()
  assert 'the nearest are vit_small_patch16_224.dino,' in error_of('timm:vit_small_patch16_224.dinoo', 'random')
  assert 'timm.list_pretrained()' in error_of('timm:qqqqq')
  assert 'no weights' in error_of('timm:vit_small_patch16_18x2_224')
  tiny.embed.method, tiny.data.name = 'timm:resnet19', 'memory'
  with pytest.raises(ValueError, match='timm:resnet19 is unknown to timm .*resnet18'):
    pipeline.run(data.from_memory(pictures(60, 20)), tiny, tmp_path, say=lambda _: None)
  tiny.embed.method = 'tim:resnet18'
  with pytest.raises(ValueError, match='embed.method=.tim:resnet18. is unknown.*timm:NAME'):
    pipeline.run(data.from_memory(pictures(60, 20)), tiny, tmp_path, say=lambda _: None)


def test_files_that_do_not_fit(tmp_path):
  timm()
  assert "'x.pth' is no file" in error_of(TINY, 'x.pth')
  safetensors.save_file({'x': torch.zeros(3)}, tmp_path / 'x.safetensors')
  message = error_of(TINY, tmp_path / 'x.safetensors')
  assert 'x.safetensors: the weights do not fit' in message
  (tmp_path / 'y.pth').write_text('no weights')
  assert 'y.pth' in error_of(TINY, tmp_path / 'y.pth')


@pytest.mark.parametrize('name, address', [
    ('vit_small_patch16_224.dino', 'https://huggingface.co/timm/vit_small_patch16_224.dino/resolve/main/model.safetensors'),
    ('tf_efficientnet_cc_b0_4e.in1k', 'tf_efficientnet_cc_b0_4e.in1k')])
def test_without_a_connection(name, address, monkeypatch, tmp_path):
  timm()
  pytest.importorskip('huggingface_hub')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
  monkeypatch.setattr(connection, 'answers', lambda url: False)
  message = error_of(f'timm:{name}')
  assert 'no connection' in message and address in message and 'embed.weights' in message


def test_what_is_downloaded_is_what_is_loaded(monkeypatch, tmp_path):
  theirs = timm().create_model('test_vit').eval()
  safetensors.save_file(theirs.state_dict(), tmp_path / 'model.safetensors')
  asked = []
  monkeypatch.setattr('huggingface_hub.hf_hub_download', lambda hub, file, **more: asked.append((hub, file)) or str(
      tmp_path / 'model.safetensors'))
  images = pictures(2, 160)
  found = encoders.load('timm:test_vit.r160_in1k')(images)
  assert asked == [('timm/test_vit.r160_in1k', 'model.safetensors')]
  np.testing.assert_array_equal(found, encoders.load(TINY, tmp_path / 'model.safetensors')(images))
  assert tensors.read(tmp_path / 'model.safetensors').keys() == theirs.state_dict().keys()


def test_licences_with_conditions_are_said():
  timm()
  assert encoders.licence_of('timm:vit_small_patch14_dinov2.lvd142m') is None
  assert 'cc-by-nc-4.0' in encoders.licence_of('timm:resnext101_32x8d.fb_swsl_ig1b_ft_in1k')
  for licence, commercial in (('apache-2.0', True), ('bsd-3-clause', True), ('dinov3-license', False),
                              ('cc-by-4.0', True), ('cc-by-nc-4.0', False), ('apple-amlr', False), (None, False)):
    assert from_timm._licence(licence)[1] == commercial, licence


@pytest.mark.parametrize('raised, words', [
    (ImportError("No module named 'timm'"), "pip install 'elfs_jax[timm]'"),
    (RuntimeError('operator torchvision::nms does not exist'), 'torch and torchvision may not fit together')])
def test_where_timm_cannot_be_imported(raised, words, monkeypatch):
  load = builtins.__import__
  def refuse(name, *more):
    if name == 'timm':
      raise raised
    return load(name, *more)
  monkeypatch.setattr(builtins, '__import__', refuse)
  message = error_of(TINY)
  assert words in message and str(raised) in message


def test_the_help_names_it_and_nothing_imports_it():
  import subprocess
  code = ("import sys; from elfs_jax import config; print('timm:NAME' in config.listing(config.get_config()), "
          "*({'torch', 'timm', 'jax'} & set(sys.modules)))")
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
  assert done.stdout.strip() == 'True', done.stderr
