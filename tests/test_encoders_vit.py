"""The vision transformers of the zoo against timm's, with the same random weights."""
import functools
import subprocess
import sys

import jax
import numpy as np
import pytest
from oracles import timm

from elfs_jax.encoders import vit, vit_network, zoo

torch = pytest.importorskip('torch')
safetensors = pytest.importorskip('safetensors.numpy')
ROWS = {name: row for name, row in zoo.PRETRAINED.items() if row.family == 'elfs_jax.encoders.vit'}
RELATIVE = 1e-4  # Of the largest difference that counts as the same, in float32.
NARROW = {'width': 128, 'heads': 2, 'depth': 2}  # Heads of 64, as all have.
# One row of each kind: the others differ in numbers only.
KINDS = ('dino_vits16', 'dinov2_vits14', 'dinov2_vits14_reg', 'dinov3_vits16', 'clip_vitb32', 'siglip_vitb16')
TINY = {'patch': 8, 'width': 32, 'depth': 2, 'heads': 4, 'size': 32}


def theirs(row, options=None, **settings):
  """timm's network for a row of the zoo, with the sizes in `options`; CLIP with the activation of its training."""
  name = row.hub.removeprefix('timm/').replace('_clip_', '_clip_quickgelu_')
  names = {'width': 'embed_dim', 'heads': 'num_heads'}
  settings |= {names.get(key, key): value for key, value in (options or {}).items()}
  if row.options.get('output') != 'pooled':
    settings['global_pool'] = 'token'  # timm's default for DINOv3 is the mean over the patches.
  return timm().create_model(name, **settings).eval()


def randomised(model, seed=0):
  """The same network with every parameter drawn, so that nothing is zero or one by default."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      drawn = torch.randn(parameter.shape, generator=generator)
      if 'gamma' in name or name.rpartition('.')[0].rpartition('.')[2].startswith('norm'):
        drawn = 0.3 * drawn + (0. if name.endswith('bias') else 1.)
      elif parameter.ndim > 1 and name.endswith('weight'):
        drawn *= (parameter[0].numel()) ** -0.5
      elif name.endswith('bias'):
        drawn *= 0.3
      parameter.copy_(drawn)
  return model


def embed(model, images):
  with torch.no_grad():
    return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


def ours(row, tensors, images, **changed):
  """(embeddings, what each block gives) of our network with these tensors."""
  options = {**row.options, **changed}
  network = vit.build(options)
  def run(params, images):
    return network.apply({'params': params}, images, mutable='intermediates',
                         capture_intermediates=lambda module, _: isinstance(module, vit_network.Block))
  embeddings, kept = jax.jit(run)(vit.convert(tensors, options), images)
  blocks = [kept['intermediates'][f'block_{i}']['__call__'][0] for i in range(options['depth'])]
  return np.asarray(embeddings), list(map(np.asarray, blocks))


def difference(a, b):
  """The largest, relative to the largest number."""
  assert a.shape == b.shape
  return np.abs(a - b).max() / np.abs(b).max()


def pictures(count=2, size=224, seed=0):
  """Normalised, with edges and areas."""
  rng = np.random.default_rng(seed)
  coarse = rng.normal(0, 1.5, (count, size // 8, size // 8, 3)).repeat(8, 1).repeat(8, 2)
  return (coarse + rng.normal(0, 0.5, coarse.shape)).astype(np.float32)


def compare(name, tmp_path, **changed):
  """Both embed the same pictures with the weights that timm wrote: returns the relative differences."""
  row = ROWS[name]
  model = randomised(theirs(row, changed))
  path = tmp_path / 'model.safetensors'
  safetensors.save_file({key: value.numpy() for key, value in model.state_dict().items()}, path)
  if model.default_cfg['input_size'][1] != 224:  # As timm loads it for another size.
    small = theirs(row, changed, img_size=224)
    from timm.models import eva, vision_transformer
    adapt = eva.checkpoint_filter_fn if isinstance(model, eva.Eva) else vision_transformer.checkpoint_filter_fn
    small.load_state_dict(adapt(model.state_dict(), small))
    model = small
  images, seen = pictures(), []
  for block in model.blocks:
    block.register_forward_hook(lambda *arguments: seen.append(arguments[-1].detach().numpy()))
  expected = embed(model, images)
  embeddings, blocks = ours(row, safetensors.load_file(path), images, **changed)
  assert embeddings.dtype == np.float32
  return difference(embeddings, expected), [difference(a, b) for a, b in zip(blocks, seen, strict=True)]


@pytest.mark.parametrize('name', KINDS)
def test_two_narrow_blocks_as_timm(name, tmp_path):
  end, blocks = compare(name, tmp_path, **NARROW)
  assert max(blocks) < RELATIVE and end < RELATIVE


@pytest.mark.slow
@pytest.mark.parametrize('name', ROWS)
def test_full_depth_as_timm(name, tmp_path):
  end, blocks = compare(name, tmp_path)
  print(f'{name}: {end:.1e} at the end, blocks up to {max(blocks):.1e}')
  assert max(blocks) < RELATIVE and end < RELATIVE


@pytest.mark.parametrize('name', ROWS)
def test_rows_say_what_timm_says(name):
  row = ROWS[name]
  model = theirs(row, device='meta')
  says = model.pretrained_cfg
  assert row.hub == says['hf_hub_id'] and row.file == 'model.safetensors'
  assert (row.mean, row.std) == (says['mean'], says['std'])
  assert row.width == (says['num_classes'] or model.num_features)
  assert row.commercial == (says['license'] == 'apache-2.0')
  assert row.options['depth'] == len(model.blocks)
  assert row.options['heads'] == model.blocks[0].attn.num_heads
  assert row.options.get('eps', 1e-6) == model.norm.eps
  assert row.options.get('activation', 'gelu') == {'GELU': 'gelu', 'QuickGELU': 'quick_gelu'}[
      type(model.blocks[0].mlp.act).__name__]
  # Every tensor is used, and fits; all blocks are the same, so one will do.
  tensors = {name: np.broadcast_to(np.float32(0), value.shape) for name, value in model.state_dict().items()
             if not name.startswith('blocks.') or name.startswith('blocks.0.')}
  params = vit.convert(tensors, {**row.options, 'depth': 1})
  assert len(jax.tree.leaves(params)) == len(tensors)


@pytest.mark.parametrize('name', KINDS)
def test_random_variables_have_the_shape_of_converted_ones(name):
  options = {**ROWS[name].options, **TINY, 'projection': 16}
  network = vit.build(options)
  drawn = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))['params']
  converted = vit.convert(published(options), options)
  assert jax.tree.map(lambda a: a.shape, drawn) == jax.tree.map(np.shape, converted)


def published(options, seed=0):
  """Tensors as a file of this network would have them."""
  network, rng = vit.build(options), np.random.default_rng(seed)
  shapes = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))['params']
  tensors = {}
  for name, path, _ in vit.table(network):
    shape = functools.reduce(lambda tree, key: tree[key], path.split('/'), shapes).shape
    if name == 'patch_embed.proj.weight':
      shape = (network.width, 3, network.patch, network.patch)
    elif len(shape) == 2:
      shape = shape[::-1]
    tensors[name] = rng.normal(size=shape).astype(np.float32)
  return tensors


def test_all_that_does_not_fit_is_listed_at_once():
  tensors = published(TINY)
  del tensors['norm.bias'], tensors['blocks.1.mlp.fc2.weight']
  tensors['blocks.7.attn.qkv.bias'] = np.zeros(3)
  tensors['fc_norm.weight'] = np.zeros(32)
  tensors['cls_token'] = np.zeros((1, 1, 31))
  tensors['patch_embed.proj.weight'] = np.zeros((32, 3, 8))
  tensors['pos_embed'] = np.zeros((1, 8, 32))
  with pytest.raises(ValueError) as caught:
    vit.convert(tensors, TINY)
  message = str(caught.value)
  assert '\n' not in message and message.count(';') == 6
  for part in ('norm.bias is missing', 'blocks.1.mlp.fc2.weight is missing', 'blocks.7.attn.qkv.bias (3,) has no place',
               'fc_norm.weight (32,) has no place', 'cls_token (1, 1, 31) does not fit: class_token is (1, 1, 32)',
               'patch_embed.proj.weight (32, 3, 8) does not fit: patch/kernel is (192, 32)',
               'pos_embed (1, 8, 32) does not fit: positions is (1, 17, 32)'):
    assert part in message


def test_left_out_is_the_familys_list():
  tensors = published(TINY) | {name: np.zeros(1) for name in vit.LEFT_OUT}
  vit.convert(tensors, TINY)
  assert vit.LEFT_OUT == ('mask_token', 'head.weight', 'head.bias')
  # A projection is no classifier: it is used.
  clip = {**TINY, 'output': 'projected', 'projection': 16, 'pre_norm': True}
  with pytest.raises(ValueError, match='head.weight is missing; head.bias is missing'):
    vit.convert({name: a for name, a in published(clip).items() if not name.startswith('head')}, clip)


def test_half_precision_files():
  tensors = {name: a.astype(np.float16) for name, a in published(TINY).items()}
  assert {leaf.dtype for leaf in jax.tree.leaves(vit.convert(tensors, TINY))} == {np.dtype(np.float32)}


@pytest.mark.parametrize('old, new, prefix', [(37, 16, 1), (37, 16, 0), (37, 14, 5), (14, 16, 1), (7, 24, 0),
                                              (16, 16, 1)])
def test_positions_are_resampled_as_timm_does(old, new, prefix):
  timm()
  from timm.layers import resample_abs_pos_embed
  positions = np.random.default_rng(old).normal(size=(1, prefix + old * old, 24)).astype(np.float32)
  expected = resample_abs_pos_embed(torch.from_numpy(positions), [new, new], num_prefix_tokens=prefix).numpy()
  np.testing.assert_allclose(vit.resample(positions, new, prefix), expected, atol=3e-6)


@pytest.mark.parametrize('name', ['dino_vits16', 'dinov2_vits14', 'dinov2_vits14_reg'])
def test_the_authors_files(name):
  """The authors' names, as timm reads them: a mask token, registers, positions with one for the class token."""
  timm()
  from timm.models.vision_transformer import checkpoint_filter_fn
  row = ROWS[name]
  model = randomised(theirs(row, NARROW, img_size=224))
  tensors = {key: value.clone() for key, value in model.state_dict().items()}
  if 'dinov2' in name:
    tensors['mask_token'] = torch.zeros(1, 128)
    tensors['pos_embed'] = torch.randn(1, 1 + 37 * 37, 128, generator=torch.Generator().manual_seed(1))
  if 'reg' in name:
    tensors['register_tokens'] = tensors.pop('reg_token')
  arrays = {key: value.numpy().copy() for key, value in tensors.items()}
  model.load_state_dict(checkpoint_filter_fn(tensors, model))
  assert difference(ours(row, arrays, pictures(), **NARROW)[0], embed(model, pictures())) < RELATIVE


def test_bfloat16_products_stay_near():
  options = {**ROWS['dinov3_vits16'].options, **TINY}
  params, images = vit.convert(published(options), options), pictures(size=32)
  exact = jax.jit(vit.build(options).apply)({'params': params}, images)
  rounded = jax.jit(vit.build(options, jax.numpy.bfloat16).apply)({'params': params}, images)
  assert rounded.dtype == np.float32
  assert 0 < difference(np.asarray(rounded), np.asarray(exact)) < 0.05


def test_pictures_of_another_size_are_refused():
  with pytest.raises(ValueError, match=r'\(32, 24, 3\) do not fit: this encoder takes \(32, 32, 3\)'):
    jax.eval_shape(vit.build(TINY).init, jax.random.key(0), np.zeros((1, 32, 24, 3), np.float32))


def test_torch_is_not_needed():
  script = ('import sys, elfs_jax.encoders.zoo; assert "jax" not in sys.modules; '
            'import elfs_jax.encoders.vit; assert not {"torch", "timm", "safetensors"} & sys.modules.keys()')
  subprocess.run([sys.executable, '-c', script], check=True)
