"""Every way to choose on one data set: accuracy against prune rate, over seeds.

  elfs-jax --config=benchmark                                   digits
  elfs-jax --config=benchmark:fashion_mnist_dirty               any other settings file, by its name
  ... --config.benchmark.methods=random,elfs --config.benchmark.rates='(0.9,)'     a part of it

Writes runs.csv (a row a run, kept as they come: a run that was stopped goes on), benchmark.md and benchmark.png.
"""
from elfs_jax import config as base


def get_config(name='digits'):
  config = base.read(name)
  with config.unlocked():
    config.benchmark = base.benchmark()
  return config
