"""Weights as they are published: fetched, loaded, compared. Run with `pytest -m network`."""
import numpy as np
import pytest
from oracles import pictures, timm

from elfs_jax import connection, encoders

pytestmark = pytest.mark.network


@pytest.fixture(autouse=True)
def connected():
  pytest.importorskip('huggingface_hub')
  if connection.offline() or not connection.answers('https://huggingface.co'):
    pytest.skip('no connection to huggingface.co')


def test_published_weights_give_the_embeddings_that_timm_gives():
  encoder, images = encoders.load('dino_vits16'), pictures(2, 224)
  found = encoder(images)
  assert found.shape == (2, 384) and np.isfinite(found).all()
  theirs = timm()
  import torch
  model = theirs.create_model('vit_small_patch16_224.dino', pretrained=True, num_classes=0).eval()
  config = theirs.data.resolve_model_data_config(model)
  mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ('mean', 'std'))
  with torch.inference_mode():
    expected = model((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
  assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
  again = encoders.load('timm:vit_small_patch16_224.dino')(images)
  assert np.abs(again - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_authors_file_of_swav_is_read():
  """As it is published, a checkpoint of 300 MB with more in it than the network."""
  if not connection.answers('https://dl.fbaipublicfiles.com'):
    pytest.skip('no connection to dl.fbaipublicfiles.com')
  found = encoders.load('swav_resnet50')(pictures(2, 224))
  assert found.shape == (2, 2048) and np.isfinite(found).all() and (found >= 0).all()  # After a ReLU and a mean.
