"""The rows of a benchmark: their columns, and runs.csv."""
import csv
import pathlib

from elfs_jax.runtime import artifacts

COLUMNS = ('data', 'encoder', 'clustering', 'proxy', 'classifier', 'settings', 'rate', 'method', 'beta', 'seed', 'n',
           'accuracy', 'choose_seconds', 'train_seconds', 'judge', 'forecast', 'forecast_half')
NUMBERS = {'seed': int, 'n': int} | dict.fromkeys(
    ('rate', 'beta', 'accuracy', 'choose_seconds', 'train_seconds', 'judge', 'forecast', 'forecast_half'), float)


def read(path: str | pathlib.Path) -> list[dict]:
  """The rows of a runs.csv, numbers as numbers and empty cells as None; [] if there is none."""
  if not pathlib.Path(path).exists():
    return []
  with open(path, newline='') as file:
    return [{name: NUMBERS.get(name, str)(row[name]) if row.get(name) else None for name in COLUMNS}
            for row in csv.DictReader(file)]


def write(path: str | pathlib.Path, rows: list[dict]) -> None:
  """Write rows; None becomes an empty cell."""
  cells = [['' if row[name] is None else row[name] for name in COLUMNS] for row in rows]
  artifacts.write_rows(path, COLUMNS, cells)
