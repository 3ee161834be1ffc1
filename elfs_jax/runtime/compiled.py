"""Compiled programs are kept between runs, in the user's cache folder; JAX itself keeps and finds them."""
import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import MutableMapping

MOST_BYTES = 1 << 30
LEAST_SECONDS = 0.2  # Of a compilation that is kept.


def keep(environment: MutableMapping[str, str] = os.environ) -> None:
  """Tell JAX, before it is imported, where to keep compiled programs. What the user has set stays: '' keeps none.

  The folder is that of this JAX and this kind of processor: a program that was compiled for another may not run.
  """
  if 'JAX_COMPILATION_CACHE_DIR' in environment:
    return
  home = pathlib.Path(environment.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
  made_by = f'jax {importlib.metadata.version("jaxlib")} {platform.platform()} {_processor()}'
  folder = home / 'elfs_jax' / 'compiled' / hashlib.sha256(made_by.encode()).hexdigest()[:16]
  environment['JAX_COMPILATION_CACHE_DIR'] = str(folder)
  environment.setdefault('JAX_COMPILATION_CACHE_MAX_SIZE', str(MOST_BYTES))
  environment.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', str(LEAST_SECONDS))


def _processor():
  """What the processor can do, where the system tells it."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text('utf-8', 'replace').splitlines()
  except OSError:
    return platform.processor()
  return '\n'.join(sorted({line for line in lines if line.startswith(('model name', 'flags', 'Features'))}))
