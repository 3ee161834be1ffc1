"""What a run says at its end: the table with random choice beside it, the forecast, and the report page."""
import numpy as np

from elfs_jax import evaluate
from elfs_jax.report import page as report
from elfs_jax.scores import SCORES

ROWS = (('coreset', '{} coreset'), ('random', 'random subset'), ('everything', 'everything'))


def judgement(judged):
  """The judge's table as text: its score for each beta, and for random subsets beside them."""
  mean = judged['scores'].mean((1, 2)) * 100
  lines = ['  label-free judge     beta   score']
  if judged.get('noisy'):
    lines.insert(0, f'  uncut, {judged["outlier_share"]:.0%} of the choice would be of the hardest tenth, isolated and likely '
                    f'noise: beta is {min(judged["betas"]):g} or more')
  lines += [f'  {"-> " if b == judged["beta"] else "   ":>20}{b:5.2f}   {m:5.1f}' for b, m in zip(judged['betas'], mean)]
  lines.append(f'  {"":>20}random  {judged["random_scores"].mean() * 100:5.1f}')
  return '\n'.join(lines + ['  ' + _rule(judged), '  forecast without labels: ' + forecast_words(judged)])


def _rule(judged):
  """What the judge's score is and which beta it takes (`judge.best_beta`)."""
  taken = 'the least' if 'outlier_share' in judged else 'the published or nearest'
  return (f'score: % right on clusterings that made no choice; {taken} beta within two standard errors of the best is '
          'taken')


def forecast_words(judged):
  """What the judge expects of the coreset against a random choice, in words."""
  gap, half = float(judged['gap']) * 100, float(judged['half']) * 100
  figures = f'({gap:+.1f} +- {half:.1f} points on clusterings that the choice did not use)'
  if abs(gap) <= half:
    return f'no measurable difference from a random choice {figures}'
  side = 'better' if gap > 0 else 'worse'
  return f'likely {side} than a random choice, for images like these and a classifier on their embeddings {figures}'


def text(metrics):
  """What a run says at its end, for a terminal: the table, where there are labels, and what the judge has not said."""
  lines = []
  if 'quality' in metrics:
    q = metrics['quality']
    lines.append(f'neighbours share the true class {q["neighbor_purity"]:.1%}, clusters match the classes '
                 f'{q["cluster_accuracy"]:.1%} (NMI {q["nmi"]:.2f})')
  if 'accuracy' in metrics:
    lines.append(f'test accuracy on {metrics["accuracy"]["test"]}, {_seeds(metrics)}:')
    widths = (16, 9, 8, 8, 16)
    for row in [('trained on', 'examples', 'mean', 'spread', '95 % interval', ''), *_rows(metrics)]:
      lines.append('  ' + '  '.join(cell.ljust(w) if i == 0 else cell.rjust(w)
                                    for i, (cell, w) in enumerate(zip(row, widths))) + '  ' + row[-1])
  if 'accuracy' in metrics or 'judge' not in metrics:
    lines.append(headline(metrics))
  return '\n'.join(lines)


def headline(metrics):
  """One line: how the coreset compares with a random choice, measured where there are labels, forecast where not."""
  if 'accuracy' in metrics:
    accuracy = metrics['accuracy']
    words = evaluate.verdict(accuracy['coreset'], accuracy['random'])
    gap = 100 * (np.mean(accuracy['coreset']) - np.mean(accuracy['random']))
    return f'{_name(metrics)} against random: {words} ({gap:+.1f} points, {_seeds(metrics)} each)'
  if 'judge' in metrics:
    return 'Forecast without labels: ' + forecast_words(metrics['judge'])
  return f'{metrics["budget"]} of {metrics["n"]} examples chosen'


def page(dataset, config, chosen, metrics):
  """report.html as a string."""
  facts = [('data', f'{config.data.name} {config.data.path or ""}'.strip()),
           ('examples', f'{metrics["n"]:,}'), ('chosen', f'{metrics["budget"]:,}'),
           ('embedding', metrics['embedding']),
           ('clusters', f'{metrics["num_classes"]}' + (', guessed' if config.cluster.num_classes is None else '')),
           ('method', metrics['method']), ('score', config.select.score),
           ('beta', 'none' if chosen.beta is None else f'{chosen.beta:g}'),
           ('seed', str(config.seed)), ('device', f'{metrics["devices"]} x {metrics["device"]}'),
           ('skipped files', str(metrics['skipped']))]
  facts += [(name.replace('_', ' '), f'{value:.3f}') for name, value in metrics.get('quality', {}).items()]
  tables = []
  if 'accuracy' in metrics:
    tables.append({'title': 'Test accuracy', 'columns': ['trained on', 'examples', 'mean', 'spread', '95 % interval', ''],
                   'rows': [list(row) for row in _rows(metrics)],
                   'note': f'On {metrics["accuracy"]["test"]}; {_seeds(metrics)} each.'})
  if chosen.judged:
    tables.append({'title': 'The judge: each beta graded without labels', 'columns': ['beta', 'score', ''],
                   'rows': [[f'{b:g}', f'{s.mean() * 100:.1f}', 'taken' if b == chosen.beta else ''] for b, s in zip(
                       chosen.judged['betas'], chosen.judged['scores'])]
                   + [['random', f'{chosen.judged["random_scores"].mean() * 100:.1f}', '']],
                   'note': f'The {_rule(chosen.judged)}. Forecast: {forecast_words(chosen.judged)}.'})
  tables.append({'title': 'Time', 'columns': ['stage', 'seconds'],
                 'rows': [[name, f'{seconds:.1f}'] for name, seconds in metrics['seconds'].items()],
                 'note': 'A stage whose inputs and settings did not change is reused.'})
  sign = SCORES[config.select.score].harder
  what = 'examples' if dataset.images is None else 'images'
  return report.render(
      title=f'{metrics["budget"]:,} of {metrics["n"]:,} {what} worth labelling', result=headline(metrics), facts=facts,
      tables=tables, difficulty=chosen.difficulty, kept=chosen.indices, beta=chosen.beta or 0.0,
      score_name=('\u2212' if sign < 0 else '') + config.select.score.upper(), images=dataset.images, ids=dataset.ids,
      pseudo_labels=chosen.pseudo_labels)


def _name(metrics):
  """The choice in words: ours and the published one are ELFS."""
  return 'ELFS' if metrics['method'] in ('coverage', 'double_end') else metrics['method']


def _seeds(metrics):
  count = len(metrics['accuracy']['random'])
  return f'{count} seed' + 's' * (count > 1)


def _rows(metrics):
  for key, name in ROWS:
    values = metrics['accuracy'][key]
    mean, spread, half = (100 * v for v in evaluate.interval(values))
    words = evaluate.verdict(values, metrics['accuracy']['random']) + ' from random'
    words = '' if key == 'random' else words if words.startswith('no') else words.replace(' from', ' than')
    count = metrics['accuracy']['examples'][key]
    spread, between = ('-', '-') if len(values) < 2 else (f'{spread:.1f}', f'{mean - half:.1f} to {mean + half:.1f}')
    yield name.format(_name(metrics)), f'{count:,}', f'{mean:.1f} %', spread, between, words
