"""The benchmark: every way to choose, compared on one data set."""
from elfs_jax.benchmark.harness import read, report, run  # noqa: F401
