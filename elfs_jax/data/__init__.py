"""Data: where images, embeddings and labels come from, checked once, here."""
from elfs_jax.data.dataset import Dataset, from_memory, load
from elfs_jax.data.labelled import labelled_rows
from elfs_jax.data.labels import MAX_CLASSES
from elfs_jax.data.sources import NAMES, SOURCES, Source

__all__ = ['Dataset', 'load', 'from_memory', 'labelled_rows', 'SOURCES', 'Source', 'NAMES', 'MAX_CLASSES']
