"""elfs_jax: which n of N unlabelled images are worth labelling (ELFS, arXiv 2406.04273) in JAX."""
