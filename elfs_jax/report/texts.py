"""What the page says, in plain words first. Numbers come in; nothing is computed here."""
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from elfs_jax.report import words

FITS = {'crop': 'seen without their ends, which are cut off; data.fit=pad or stretch shows all of them',
        'pad': 'seen whole, with grey beside them', 'stretch': 'seen whole, out of proportion'}
ANSWERS = {'better': 'Yes', 'probably better': 'Probably', 'alike': 'Hard to say', 'probably worse': 'Probably not',
           'worse': 'No', 'unknown': 'Not known'}
HARDEST = ('How hard one is comes from how a small network learned it. The hardest are often unusual, cluttered or '
           'unlike anything else, and their labels teach a classifier least when few are bought. That need not mean '
           'that they are bad pictures: look through them, and add by hand what matters to you.')
PACKAGES = 'elfs_jax', 'jax', 'flax', 'numpy', 'scikit-learn', 'pillow'


def title(metrics: Mapping[str, Any], what: str) -> str:
  """The page's heading."""
  return f'{metrics["budget"]:,} of {metrics["n"]:,} {what} worth labelling'


def verdict(metrics: Mapping[str, Any]) -> tuple[str, str, str]:
  """Is it worth it: the answer in a word or two, the sentence behind it, and a note; '' where nothing is known."""
  if 'accuracy' in metrics:
    found = metrics['accuracy']['summary']
    gap, said = 100 * (found['coreset']['mean'] - found['random']['mean']), found['coreset']['verdict']
    answer = 'Hard to say' if said.startswith('no') else 'Yes' if said == 'better' else 'No'
    return answer, (f'measured with your labels, a classifier trained on these is {abs(gap):.1f} points '
                    f'{"more" if gap >= 0 else "less"} accurate than one trained on as many random ones.'), (
                    f'{words.seeds_of(metrics).capitalize()} of each; their 95 % intervals '
                    f'{"do not tell the two apart" if said.startswith("no") else "lie apart"}.')
  if 'judge' in metrics:
    return ANSWERS[words.side(metrics['judge'])], (
        f'{words.forecast(metrics["judge"])}.'), f'A forecast made without labels: {words.BASIS}.'
  return '', '', ''


def next_steps(workdir: Any, *, files: bool, nests: bool, repeat: bool) -> list[tuple[str, str]]:
  """What to do next: (a sentence, a command or ''). Args: files: whether the examples are files; nests: whether the
  beginning of the choice is a good choice; repeat: whether commands bring the data again."""
  folder, early = shlex.quote(str(workdir)), ' Every beginning of the list is a good choice too, so you can stop early.'
  steps = [(f'Label them in the order below; it is the order of coreset.csv.{early if nests else ""}', '')]
  if files:
    steps.append(('Hand them to a labelling tool. This writes what Label Studio imports; elfs-jax export --help lists '
                  'the other tools.', f'elfs-jax export {folder} label-studio'))
  else:
    steps.append(('Their row numbers are in coreset.npy, and their names in coreset.csv.', ''))
  if repeat:
    steps.append(("Choose more around what is labelled: name the tool's export, and how many to add.",
                  f'elfs-jax next {folder} --labels=EXPORT --budget=NUMBER'))
  return steps


def command(repeat: Sequence[str], workdir: Any) -> str:
  """A command line. Args: repeat: what follows elfs-jax."""
  return shlex.join(['elfs-jax', *repeat, f'--workdir={workdir}'])


def curve(covered: Sequence[float], at_random: Sequence[float], enough: int, what: str) -> str:
  """What the curve of coverage says. Args: enough: how many of the first cover nine tenths of what all do."""
  count = len(covered) - 1
  early = f'The first {enough:,} of {count:,} cover 90 % as well as all {count:,} do. ' if 0 < enough < count else ''
  return (f'{early}All {count:,} cover {100 * covered[-1]:.0f} % of what labelling everything would; as many random '
          f'{what} cover {100 * at_random[-1]:.0f} %. To cover means to be alike enough to stand for the rest; where '
          'the curve flattens, further labels add little that is new.')


def facts(config: Any, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
  """The page's facts as (name, value)."""
  guessed = ', guessed' if config.cluster.num_classes is None else ''
  found = [('data', f'{config.data.name} {config.data.path or ""}'.strip()),
           ('examples', f'{metrics["n"]:,}'), ('chosen', f'{metrics["budget"]:,}'),
           ('labelled already', f'{metrics["labelled"]:,}'), ('embedding', metrics['embedding']),
           ('clusters', f'{metrics["num_classes"]}{guessed}'), ('method', metrics['method']),
           ('score', config.select.score), ('beta', 'none' if metrics['beta'] is None else f'{metrics["beta"]:g}'),
           ('seed', str(config.seed)), ('device', f'{metrics["devices"]} x {metrics["device"]}'),
           ('skipped files', str(metrics['skipped'])),
           ('exact copies', f'{metrics["copies"]:,}, {metrics["copies_chosen"]:,} of them chosen')]
  if metrics.get('groups'):
    found.append(('groups', words.groups(metrics['groups'])))
  if metrics.get('fit'):
    found.append(('images that are not square', FITS[metrics['fit']]))
  if 'enough' in metrics:
    found.append(('how many are enough', words.enough(metrics['enough'])))
  return found + [(name.replace('_', ' '), f'{value:.3f}') for name, value in metrics.get('quality', {}).items()]


def tables(judged: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> list[dict]:
  """The page's tables: the comparison, the judge's grades, the time."""
  found = []
  if 'accuracy' in metrics:
    found.append({'title': 'Test accuracy', 'rows': [list(row) for row in words.rows_of(metrics)],
                  'columns': [*words.COLUMNS, ''],
                  'note': f'On {metrics["accuracy"]["test"]}; {words.seeds_of(metrics)} each.'})
  if judged:
    rows = [[f'{beta:g}', f'{scores.mean() * 100:.1f}', 'taken' if beta == judged['beta'] else '']
            for beta, scores in zip(judged['betas'], judged['scores'], strict=True)]
    found.append({'title': 'The judge: each beta graded without labels', 'columns': ['beta', 'score', ''],
                  'rows': [*rows, ['random', f'{judged["random_scores"].mean() * 100:.1f}', '']],
                  'note': f'The {words.rule(judged)}. Forecast: {words.forecast(judged)}.'})
  reused = {name: seconds for name, seconds in metrics['seconds_before'].items() if seconds is not None}
  rows = [[name, f'{seconds:.1f}', 'kept'] for name, seconds in reused.items()]
  rows += [[name, f'{seconds:.1f}', ''] for name, seconds in metrics['seconds'].items()]
  found.append({'title': 'Time', 'columns': ['stage', 'seconds', ''], 'rows': rows,
                'note': 'Of a stage whose result is kept: what it took the run that computed it.'})
  return found


def versions() -> list[tuple[str, str]]:
  """What it was made with: (package, version)."""
  found = [('Python', platform.python_version())]
  for name in PACKAGES:
    try:
      found.append((name, metadata.version(name)))
    except metadata.PackageNotFoundError:  # A clone that is not installed.
      pass
  return found
