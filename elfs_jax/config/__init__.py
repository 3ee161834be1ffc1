"""The settings of a run: each field with its default, what it means and what it may be.

`configs/*.py` start from `get_config()`; `elfs_jax.select_coreset` uses it as it is: the fast recipe, for two CPU
cores. `None` means: chosen from the data, as the field's text says.
"""
import difflib
import inspect
import pathlib
import re
import runpy
from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict, config_dict

from elfs_jax.bounds import described
from elfs_jax.config.fields import BENCHMARK, COMMON, FIELDS

PACKAGE = pathlib.Path(__file__).parent.parent
CONFIGS = next(folder for folder in (PACKAGE / 'configs', PACKAGE.parent / 'configs') if folder.is_dir())


def get_config() -> ConfigDict:
  """The default settings, locked: an unknown field is an error."""
  return _config(FIELDS).lock()


def pictures() -> ConfigDict:
  """`get_config()` for photographs and drawings, of which a mirror image shows the same thing."""
  config = get_config()
  config.embed.flip = config.proxy.flip = config.evaluate.flip = True
  return config


def benchmark() -> ConfigDict:
  """The section `benchmark`, which configs/benchmark.py adds."""
  return _config(BENCHMARK).benchmark


def _config(fields):
  config = ConfigDict()
  for name, field in fields.items():
    *sections, last = name.split('.')
    part = config
    for section in sections:
      if section not in part:
        part[section] = ConfigDict()
      part = part[section]
    part[last] = _holder(field)
  return config


def _holder(field):
  """What ml_collections keeps a default in: it decides how what is typed is read.

  A plain value keeps its type. An open field takes what people type: '500' is a count, '0.1' a fraction, '10%' and
  'auto' stay words. A path is a string, so that 2024 and 1e5 are names.
  """
  if field.bound.kind == 'plain' and field.default is not None:
    return field.default
  holder = config_dict.placeholder(str if field.bound.kind == 'path' else object)
  holder.set(field.default)
  return holder


def check(config: ConfigDict) -> None:
  """Refuse a value that its field can't have. Raises: ValueError in one line."""
  fields = FIELDS | BENCHMARK
  for name, value in _leaves(config):
    if name in fields and not fields[name].bound.holds(value):
      raise ValueError(f'{name}={" ".join(repr(value).split())} {fields[name].bound.words}')


def read_paths(config: ConfigDict) -> None:
  """Paths typed as None become None."""
  for name, value in list(_leaves(config)):
    if value == 'None' and name in FIELDS and FIELDS[name].bound.kind == 'path':
      config.update_from_flattened_dict({name: None})


def find(given: str) -> str:
  """The path of a settings file, by its path or by the name of a shipped one ('folder'); what follows a colon is kept.

  Raises: FileNotFoundError that lists the shipped ones.
  """
  name, colon, argument = str(given).partition(':')
  if pathlib.Path(name).is_file():
    return given
  shipped = CONFIGS / f'{name}.py'
  if re.fullmatch(r'\w+', name) and shipped.is_file():
    return f'{shipped}{colon}{argument}'
  names = sorted(file.stem for file in CONFIGS.glob('*.py'))
  raise FileNotFoundError(f'{given or "--config="}: no such settings file; give a path, or one of {", ".join(names)}')


def read(path: str | pathlib.Path) -> ConfigDict:
  """The config of a settings file: what its `get_config()` returns.

  Args: path: a path or a name as in `find`; `FILE:NAME` calls `get_config(NAME)`, as ml_collections does.
  Raises: FileNotFoundError, ValueError.
  """
  file, _, argument = find(str(path)).partition(':')
  try:
    module = runpy.run_path(file)
    if 'get_config' not in module:
      raise ValueError('it defines no get_config(): see configs/digits.py')
    if argument and not inspect.signature(module['get_config']).parameters:
      raise ValueError('it takes no name after a colon')
    return module['get_config'](*[argument] * bool(argument))
  except FileNotFoundError:
    raise
  except Exception as error:  # Whatever the code of a settings file may raise.
    raise ValueError(f'--config={path}: {error or type(error).__name__}') from None


def listing(config: ConfigDict, common: bool = False) -> str:
  """Every field, or of `FIELDS` those of `COMMON`, its value as it is typed, and what it means."""
  fields, values, lines = FIELDS | BENCHMARK, dict(_leaves(config)), []
  for name in [*(name for name in fields if name in values), *(name for name in values if name not in fields)]:
    if not common or name in COMMON or name not in FIELDS:
      lines.append(f'  --config.{name}={values[name]}')
      lines += described(fields[name].help, fields[name].bound) if name in fields else []
  return '\n'.join(lines)


def typed(config: ConfigDict) -> list[str]:
  """What to type for these settings: the shipped settings file that needs the fewest changes, and the changes."""
  def flags(shipped):
    there = dict(_leaves(shipped))
    return [f'--config.{name}={value}' for name, value in _leaves(config) if name in FIELDS and there[name] != value]
  bases = {}
  for file in sorted(CONFIGS.glob('*.py'), key=lambda file: (file.stem != config.data.name, file.stem)):
    shipped = read(file)
    if shipped.data.name == config.data.name and 'benchmark' not in shipped:
      bases[file.stem] = flags(shipped)
  if not bases:
    bases['digits'] = flags(read('digits'))
  name = min(bases, key=lambda name: len(bases[name]))
  return [f'--config={name}', *bases[name]]


def listed(config: ConfigDict) -> list[tuple[str, str]]:
  """Every setting as (name, value as it is typed)."""
  return [(name, str(value)) for name, value in _leaves(config) if name in FIELDS]


def check_names(config: ConfigDict, argv: Sequence[str]) -> None:
  """Refuse --config.NAME=... of a field that does not exist. Raises: ValueError that names the nearest that does."""
  names = [name for name, _ in _leaves(config)]
  for argument in argv:
    found = re.match(r'--?config\.([^=]+)', argument)
    inside = [name for name in names if found and name.startswith(f'{found[1]}.')]
    if inside:
      raise ValueError(f'--config.{found[1]} is a section: set its fields, such as --config.{inside[0]}')
    if found and found[1] not in names:
      raise ValueError(f'--config.{found[1]}: there is no such field; the nearest is --config.'
                       + max(names, key=lambda name: _likeness(found[1], name)))


def _likeness(typed_name, name):
  """The last part of a name says most: a field may be looked for in another section."""
  def ratio(a, b):
    return difflib.SequenceMatcher(None, a, b).ratio()
  return max(ratio(typed_name, name), 0.95 * ratio(typed_name.split('.')[-1], name.split('.')[-1]))


def _leaves(config, prefix='') -> Iterator[tuple[str, Any]]:
  for key, value in config.items():
    if isinstance(value, ConfigDict) and f'{prefix}{key}' not in FIELDS:
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value
