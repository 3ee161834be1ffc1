"""Progress bars."""
from collections.abc import Iterable, Iterator


def bar(iterable: Iterable, *, desc: str, total: int) -> Iterator:
  """A progress bar with an estimate, for what takes over two seconds.

  The estimate leaves the first step out, in which programs are compiled; the time passed has it.
  """
  from tqdm import tqdm
  shown = tqdm(desc=f'  {desc}', total=total, delay=2, leave=False, dynamic_ncols=True)
  with shown:
    for i, item in enumerate(iterable):
      yield item
      if i or shown.disable:
        shown.update()
      else:
        shown.n = shown.initial = shown.last_print_n = 1
        shown.last_print_t += shown.format_dict['elapsed']
        if shown.last_print_t - shown.start_t >= shown.delay:
          shown.refresh()
