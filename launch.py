"""The command `elfs-jax` from a clone: `python launch.py --help` says what it can do."""
from elfs_jax import cli

if __name__ == '__main__':
  cli.main()
