"""The shape of the code: who imports whom, also inside functions."""
import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / 'elfs_jax'
FILES = {'.'.join(('elfs_jax', *file.relative_to(PACKAGE).with_suffix('').parts)).removesuffix('.__init__'): file
         for file in PACKAGE.rglob('*.py')}
# A stage may import foundations, and what stands in its own room; `encoders` are a room of `embed`.
STAGES = {'data': ['data'], 'embed': ['embed', 'encoders'], 'encoders': ['embed', 'encoders'],
          'neighbors': ['neighbors'], 'cluster': ['cluster'], 'proxy': ['proxy'], 'select': ['select'],
          'copies': ['copies'], 'arrivals': ['arrivals'], 'judge': ['judge'], 'evaluate': ['evaluate'],
          'report': ['report'], 'export': ['export'], 'rounds.enough': ['rounds.enough', 'rounds.classifier'],
          'rounds.unsure': ['rounds.unsure', 'rounds.classifier'], 'rounds.classifier': ['rounds.classifier']}
FOUNDATIONS = ['budget', 'bounds', 'connection', 'dynamics', 'learning_curve', 'scores', 'table', 'training', 'vectors',
               'runtime.mesh']
WRITES = {'export': ['runtime.artifacts']}  # What a stage may use beside them.
WITHOUT_JAX = ['budget', 'cluster', 'cluster.centroids', 'cluster.merging', 'cluster.quality', 'config',
               'config.fields', 'copies', 'data', 'embed', 'embed.choice', 'embed.pixels', 'embed.scaling', 'encoders',
               'export', 'neighbors.cells', 'scores', 'select', 'select.band', 'select.cover', 'select.greedy',
               'select.rivals', 'table', 'training', 'vectors', 'cli', 'report.words', 'report.texts', 'report.page',
               'report.charts', 'report.plane', 'report.suspects', 'report.thumbnails', 'select.curve']


def imports(file):
  """Names of the modules that a file imports anywhere in it, with `from a import b` as a.b where that is a module."""
  found = set()
  for node in ast.walk(ast.parse(file.read_text('utf-8'))):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      inner = {f'{node.module}.{alias.name}' for alias in node.names}
      found |= {name if name in FILES else node.module for name in inner}
  return found


def ours(name):
  return sorted(imported.removeprefix('elfs_jax.') for imported in imports(FILES[name])
                if imported.startswith('elfs_jax.'))


def within(name, rooms):
  return any(name == room or name.startswith(f'{room}.') for room in rooms)


@pytest.mark.parametrize('stage', STAGES)
def test_no_stage_imports_another_one_nor_what_stands_above(stage):
  allowed = [*STAGES[stage], *FOUNDATIONS, *WRITES.get(stage, [])]
  mine = [name for name in FILES if within(name.removeprefix('elfs_jax.'), [stage])]
  assert mine
  for name in mine:
    assert not [imported for imported in ours(name) if not within(imported, allowed)], name


def test_foundations_import_no_stage():
  for name in FILES:
    if within(name.removeprefix('elfs_jax.'), [*FOUNDATIONS, 'runtime']):
      assert not [imported for imported in ours(name) if within(imported, STAGES)], name


def test_no_import_goes_in_a_circle():
  graph = {name: [f'elfs_jax.{imported}' for imported in ours(name)] for name in FILES}
  # A room's own `__init__` offers what its files hold, and they may use what it defines.
  graph = {name: [other for other in others if not name.startswith(f'{other}.')] for name, others in graph.items()}
  graphlib.TopologicalSorter(graph).prepare()


def test_hosts_appear_in_runtime_alone():
  users = [name for name in FILES if 'runtime.hosts' in ours(name) and not name.startswith('elfs_jax.runtime')]
  assert users == ['elfs_jax.cli']  # Which joins them.


def test_the_pipeline_alone_knows_the_order():
  """Nothing but the benchmark, the plan, the Python way and the commands import it."""
  users = {name for name in FILES if 'pipeline' in ours(name)}
  assert users == {'elfs_jax.api', 'elfs_jax.cli', 'elfs_jax.benchmark.harness', 'elfs_jax.plan',
                   'elfs_jax.rounds.next_round'}


def test_what_a_selection_needs_imports_no_jax():
  for name in WITHOUT_JAX:
    roots = {imported.split('.')[0] for imported in imports(FILES[f'elfs_jax.{name}'])}
    assert not {'jax', 'flax', 'optax'} & roots, name


def test_at_most_twenty_modules_lie_flat_and_files_are_short():
  assert len(list(PACKAGE.glob('*.py'))) <= 20
  assert not [file for file in FILES.values() if len(file.read_text('utf-8').splitlines()) > 300]


def test_nothing_private_of_jax_is_used():
  root = PACKAGE.parent
  for file in [*FILES.values(), *(root / 'benchmarks').glob('*.py')]:
    assert '_src' not in file.read_text('utf-8').split('#')[0] or 'jax._src' not in file.read_text('utf-8'), file
