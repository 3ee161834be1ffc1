"""Progress bars."""


def bar(iterable, *, desc: str, total: int):
  """A progress bar with an estimate, for what takes over two seconds."""
  from tqdm import tqdm
  return tqdm(iterable, desc=f'  {desc}', total=total, delay=2, leave=False, dynamic_ncols=True)
