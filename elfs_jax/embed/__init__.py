"""Embeddings: of pixels, how features are scaled (`scaling`), and the best of several. Runs where JAX is not installed.

What makes embeddings of images with a network lies in `encoders`.
"""
from elfs_jax.embed.choice import best, consistencies
from elfs_jax.embed.pixels import FIT_ROWS, SIDE, fit, learn_pca, more_pca, pca, project, scale, shrink

__all__ = ['FIT_ROWS', 'SIDE', 'best', 'consistencies', 'fit', 'learn_pca', 'more_pca', 'pca', 'project', 'scale',
           'shrink']
