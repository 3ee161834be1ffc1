"""Data: where images, embeddings and labels come from, checked once, here."""
from elfs_jax.data.dataset import Dataset, from_memory, load, with_embeddings, with_labelled, with_labels
from elfs_jax.data.groups import numbered, with_groups
from elfs_jax.data.holdout import hold_out, take
from elfs_jax.data.labelled import labelled_rows
from elfs_jax.data.labels import MAX_CLASSES
from elfs_jax.data.sources import NAMES, SOURCES, Source, reading

__all__ = ['Dataset', 'load', 'from_memory', 'hold_out', 'labelled_rows', 'numbered', 'with_embeddings', 'with_groups',
           'with_labelled', 'with_labels', 'SOURCES', 'Source', 'NAMES', 'MAX_CLASSES', 'reading', 'take']
