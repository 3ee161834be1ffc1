"""Emoji of nine kinds (faces, people, food, flags ...) in two designs, 32x32, in colour.

Every emoji of Unicode 16 as Google and Twitter draw it. People come in six skin tones, so half of the pictures are near
copies of others, and one kind is larger than all the rest together. A seeded fifth of the emoji is the test set, in
both designs, without the tones. These settings were fixed before the set was ever looked at.

  npm install --prefix emoji emoji-datasource-google@16 emoji-datasource-twitter@16
  elfs-jax --config=emoji   # or --config.data.path=FOLDER/node_modules
"""
from elfs_jax import config as base


def get_config():
  config = base.pictures()
  config.data.name = 'emoji'
  config.data.path = 'emoji/node_modules'
  config.cluster.num_classes = 9
  config.select.budget = '10%'
  return config
