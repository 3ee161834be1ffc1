"""Data: where images, embeddings and labels come from, checked once, here."""
from elfs_jax.data.dataset import FASHION_MNIST, MAX_CLASSES, NAMES, Dataset, from_memory, load  # noqa: F401
