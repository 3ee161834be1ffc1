"""A set made up so that the best choice is known: 6,080 images of 8x8 pixels in 8 classes, a minute or two.

60 % are easy and redundant, 25 % lie beside the border of two classes, on the right side, and 15 % have a label that
tells nothing; the ids in `coreset.csv` say which: `core:17`, `border:3`, `noise:5`. The test set has cores and borders.
At 90 % pruned an MLP of scikit-learn reaches 97.1 +- 0.5 % with the best known choice (80 % borders, 20 % cores),
92.7 +- 0.8 % with a random one (made with 5 seeds) and 96.2 % with all.

  elfs-jax --config=synthetic
"""
from elfs_jax import config as base


def get_config():
  config = base.get_config()
  config.data.name = 'synthetic'
  config.cluster.num_classes = 8
  config.select.budget = '10%'
  config.embed.method = 'pca'  # Its pixels are a linear map of what makes the classes.
  config.proxy.crop = 0
  config.evaluate.crop = 0
  return config
