"""Room: the memory and disk that there are, asked before anything is made whose size the input sets."""
import os
import pathlib
import resource
import shutil

UNKNOWN = 1 << 62


class NoRoom(ValueError):
  """Something would take more than there is."""


def memory() -> int:
  """Bytes that this process can have now: what the machine, a container's bound and `ulimit -v` leave."""
  return max(0, min(_available(), _in_container(), _below_limit()))


def need_memory(amount: int, what: str, mend: str) -> None:
  """Raises: NoRoom where `what` would take more bytes of memory than there are; mend: what to do."""
  _refuse(amount, memory(), 'memory', what, mend)


def need_disk(place: str | os.PathLike, amount: int, what: str, mend: str) -> None:
  """Raises: NoRoom where `what` would take more bytes than are free on the disk of `place`, which may not exist."""
  folder = pathlib.Path(place).absolute()
  while not folder.exists() and folder != folder.parent:
    folder = folder.parent
  _refuse(amount, shutil.disk_usage(folder).free, f'disk in {place}', what, mend)


def _refuse(amount, free, where, what, mend):
  if amount > free:
    raise NoRoom(f'{what} would take {_words(amount)} of {where}, and {_words(free)} are free; {mend}')


def _words(amount):
  for unit, size in (('TB', 1e12), ('GB', 1e9)):
    if amount >= size:
      return f'{amount / size:,.1f} {unit}'
  return f'{amount / 1e6:,.0f} MB'


def _available():
  try:
    for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
      if line.startswith('MemAvailable:'):
        return int(line.split()[1]) << 10
  except OSError:
    pass
  return UNKNOWN


def _in_container():
  root = pathlib.Path('/sys/fs/cgroup')
  for most, used, told in (('memory.max', 'memory.current', 'memory.stat'), (
      'memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat')):
    try:
      shares = dict(line.split() for line in (root / told).read_text().splitlines())
      cached = int(shares.get('active_file', 0)) + int(shares.get('inactive_file', 0))  # Files, dropped when needed.
      return int((root / most).read_text()) - int((root / used).read_text()) + cached
    except (OSError, ValueError):  # Another version of it, or 'max', no bound.
      continue
  return UNKNOWN


def _below_limit():
  limit = resource.getrlimit(resource.RLIMIT_AS)[0]
  if limit == resource.RLIM_INFINITY:
    return UNKNOWN
  try:
    return limit - int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
  except OSError:
    return limit
