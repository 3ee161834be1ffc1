"""What a run says of itself in a terminal. Numbers come in; nothing is computed here. The page has `texts` too."""
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = ('trained on', 'examples', 'mean', 'spread', '95 % interval')
BASIS = ('the 95 % range, on clusterings that the choice did not use: for images like these and a classifier on their '
         'embeddings')
ANEW = 'another --workdir computes all anew'
ROWS = (('coreset', '{} coreset'), ('random', 'random subset'), ('everything', 'everything'))


def encoders(names: Sequence[str], why: str) -> str:
  """Which encoders are tried, and why these."""
  if len(names) == 1:
    return f'encoder: {names[0]}, {why}'
  return f'encoders: {" and ".join(names)} ({why}); the better one is taken, found without labels'


def embedding(name: str, width: int, scores: Mapping[str, float]) -> str:
  """One line on the embedding that was taken, with the scores of all where there were several."""
  return f'  {width} dimensions, method {name}{_listing(scores)}'


def scaling(name: str, what: str, agreements: Mapping[str, float]) -> str:
  """One line on how features were scaled, with how well neighbours agree under each way, where that was asked."""
  graded = {other: value for other, value in agreements.items() if value == value}  # Not NaN.
  return f'  features {what}, scaling {name}{_listing(graded)}'


def approximate(recall: float, exact_below: int) -> str:
  """That not all neighbours were found."""
  return (f'  {recall:.1%} of the nearest neighbours found, by a sample (exact with fewer examples than '
          f'neighbors.exact_below={exact_below})')


def clustering(name: str, clusters: int, scores: Mapping[str, float]) -> str:
  """One line on the clustering that was taken."""
  return f'  {clusters} clusters, method {name}{_listing(scores)}'


def sample(rows: int, count: int) -> str:
  """That the judge sees a part."""
  return f'  the judge sees {rows:,} of {count:,} examples, drawn at random'


def _listing(scores):
  return f' ({", ".join(f"{name} {value:.3f}" for name, value in scores.items())})' if scores else ''


def proxy(recipe: Any, epochs: int, scores: Mapping[str, Any]) -> str:
  """One line on what the proxy was."""
  return f'  {recipe.network}, {epochs} epochs of batch {recipe.batch}; mean AUM {scores["aum"].mean():.3f}'


def choice(count: int, n: int, how: Any, beta: float | None, judged: Mapping[str, Any] | None) -> str:
  """What was chosen and how; where the judge found the beta, its table."""
  line = f'[select] {count} of {n} by {how.method} of {how.score}' + (f', beta {beta:g}' if beta is not None else '')
  return line if judged is None else f'{line}\n{judgement(judged)}'


def change(n: int, new: int, changed: Sequence[str], gone: Sequence[str], few: bool) -> str:
  """What came, changed or left since an earlier run in the workdir, and what follows.

  Args: new: how many of the n are new or changed; changed, gone: ids; few: whether what is known is added to.
  """
  said = [f'{count:,} {what}' + (f' (such as {names[0]!r})' if names else '') for count, what, names in
          ((new - len(changed), 'new', ()), (len(changed), 'changed', changed), (len(gone), 'gone', gone)) if count]
  line = f'since the last run, of {n:,}: {", ".join(said)}'
  if not few:
    return f'{line}; with more than a fifth new or gone since all was computed, all is computed anew'
  what = '; what is new is embedded alone, and takes clusters and scores from its neighbours' * (new > 0)
  return f'{line}{what}; {ANEW}'


def came(n: int, count: int) -> str:
  """That some came in earlier runs since all was computed."""
  return f'{count:,} of {n:,} came since all was computed, and have clusters and scores from their neighbours; {ANEW}'


def begun(rows: int, count: int) -> str:
  """One line on the `rows` that were handed out before, with which a choice of `count` begins."""
  return f'  they are the first of the {rows} handed out before' if count < rows else (
      f'  they begin with the {rows} handed out before')


def copies(n: int, count: int, chosen: int, copies_chosen: int, duplicates: str) -> str:
  """One line on exact copies, where there are some: how many, and how many of them are chosen and why."""
  line = f'  {count} of {n} are exact copies of others'
  if not copies_chosen:
    return f'{line}; none of them is chosen'
  if duplicates == 'keep':
    return f'{line}; {copies_chosen} of the {chosen} chosen are, as select.duplicates=keep allows'
  return f'{line}; {copies_chosen} of the {chosen} chosen are, since no more than {n - count} are distinct'


def groups(found: Mapping[str, Any]) -> str:
  """How much of all that is labelled or chosen is of one group, and whether its bound gave way."""
  name = repr(found['fullest']) if found['fullest'] else 'one that is alone'
  line = (f'of {found["count"]:,} groups {name} has the most, {found["has"]:,} of {found["of"]:,} that are labelled or '
          f'chosen ({found["has"] / found["of"]:.0%})')
  if found['has'] > found['bound']:
    line += (f'; the bound of {found["bound"]:,}, a share of {found["share"]:g}, gave way: too little is left of other '
             'groups, or so many were labelled')
  return line


def written(workdir: Any, skipped: Sequence, before: str | None) -> str:
  """Where the coreset is, what an earlier one is kept as, and the list of files that could not be read."""
  lines = [f'coreset in {workdir / "coreset.csv"}' + (f'; the one before is kept as {before}' if before else '')]
  if skipped:
    lines.insert(0, f'{len(skipped)} file{"s" * (len(skipped) > 1)} could not be read: {workdir / "skipped.csv"}')
  return '\n'.join(lines)


def judgement(judged: Mapping[str, Any]) -> str:
  """The judge's table as text: its score for each beta, and for random subsets beside them."""
  lines = []
  if judged.get('noisy'):
    lines.append(f'  with nothing left out, {judged["outlier_share"]:.0%} of the choice would be of the hardest tenth: '
                 f'isolated and likely noise, so beta is {min(judged["betas"]):g} or more')
  lines.append('  label-free judge     beta   score')
  for beta, scores in zip(judged['betas'], judged['scores'], strict=True):
    arrow = '-> ' if beta == judged['beta'] else '   '
    lines.append(f'  {arrow:>20}{beta:5.2f}   {100 * scores.mean():5.1f}')
  lines.append(f'  {"":>20}random  {judged["random_scores"].mean() * 100:5.1f}')
  return '\n'.join([*lines, '  ' + rule(judged), f'  forecast without labels: {forecast(judged)}',
                    f'  ({BASIS})'])


def rule(judged):
  """What the judge's score is and which beta it takes (`judge.best_beta`)."""
  if judged.get('kept'):
    return 'score: % right on clusterings that made no choice; beta stays that of the choice that was handed out before'
  taken = 'the least' if 'outlier_share' in judged else 'the published or nearest'
  return (f'score: % right on clusterings that made no choice; {taken} beta within two standard errors of the best is '
          'taken')


def side(judged: Mapping[str, Any]) -> str:
  """Where the range of the forecast lies: 'better', 'probably better', 'alike', 'probably worse', 'worse', 'unknown'.

  It is better or worse where all of the range is, and probably so where three fifths of it are.
  """
  gap, half = float(judged['gap']), float(judged['half'])
  if not math.isfinite(half):
    return 'unknown'
  if abs(gap) > half:
    return 'better' if gap > 0 else 'worse'
  if abs(gap) < 0.2 * half or half == 0:
    return 'alike'
  return 'probably better' if gap > 0 else 'probably worse'


def forecast(judged: Mapping[str, Any]) -> str:
  """What the judge expects of the coreset: against a random choice, with the 95 % range, and in labels."""
  more = worth(judged)
  return _gain(judged) + (f'; they are {more}' if more else '')


def worth(judged: Mapping[str, Any]) -> str:
  """How many random ones the coreset is as good as, with the 95 % range; '' where the judge could not tell."""
  if 'worth' not in judged:
    return ''
  fewest, _, most = judged['sizes']
  def number(times):
    about = f'{float(format(times * judged["budget"], ".2g")):,.0f}'
    return f'more than {about}' if times >= most else f'fewer than {about}' if times <= fewest else about
  mean, low, high = map(number, judged['worth'])
  inside = fewest < judged['worth'][0] < most
  return f'as good as about {mean} random ones ({low} to {high})' if inside else f'as good as {mean} random ones'


def _gain(judged):
  gap, half = 100 * float(judged['gap']), 100 * float(judged['half'])
  of = side(judged)
  what = {'better': 'more', 'probably better': 'probably more', 'alike': 'about as',
          'probably worse': 'probably less', 'worse': 'less', 'unknown': ''}[of]
  than = f'accurate {"as" if of == "alike" else "than"} one trained on as many random ones'
  if of == 'unknown':
    return f'{gap:+.1f} points against as many random ones; there are too few gradings for a range'
  if of in ('better', 'worse'):
    low, high = sorted((abs(gap - half), abs(gap + half)))
    return f'a classifier on the embeddings, trained on these, should be {low:.1f} to {high:.1f} points {what} {than}'
  return (f'a classifier on the embeddings, trained on these, is {what} {than}: between {half - gap:.1f} points less '
          f'and {half + gap:.1f} points more, {gap:+.1f} on average')


def unsure(count: int) -> str:
  """What the labels that have come back do."""
  return f'  images of which a classifier on the {count:,} labels is unsure count more in the cover'


def enough(found: Mapping[str, Any]) -> str:
  """What more labels would bring, by those there are."""
  now, more, every = [f'about {accuracy:.0%} [{100 * low:.0f}, {100 * high:.0f}]' for accuracy, low, high in
                      zip(found['accuracy'], found['low'], found['high'], strict=True)]
  return (f'with these {found["labels"]:,} labels a classifier on the embeddings is right in {now}; with '
          f'{found["budget"]:,} more in {more}, with all {found["counts"][2]:,} in {every} (an estimate: they are of a '
          'coreset, not of a random sample)')


def summary(metrics: Mapping[str, Any]) -> str:
  """What a run says at its end: the comparison, where there are labels, and what the judge has not said."""
  lines = []
  if 'quality' in metrics:
    q = metrics['quality']
    near = f'neighbours share the true class {q["neighbor_purity"]:.1%}, ' if 'neighbor_purity' in q else ''
    lines.append(f'{near}clusters match the classes {q["cluster_accuracy"]:.1%} (NMI {q["nmi"]:.2f})')
  if 'accuracy' in metrics:
    lines.append(f'test accuracy on {metrics["accuracy"]["test"]}, {seeds_of(metrics)}:')
    lines += [_line(row) for row in [(*COLUMNS, ''), *rows_of(metrics)]]
  if 'enough' in metrics:
    lines.append(enough(metrics['enough']))
  if 'accuracy' in metrics or 'judge' not in metrics:
    lines.append(headline(metrics))
  return '\n'.join(lines)


def _line(row):
  name, *figures, remark = row
  widths = (9, 8, 8, 16)
  return '  ' + '  '.join([name.ljust(16), *(cell.rjust(w) for cell, w in zip(figures, widths, strict=True)), remark])


def headline(metrics: Mapping[str, Any]) -> str:
  """One line: how the coreset compares with a random choice, measured where there are labels, forecast where not."""
  if 'accuracy' in metrics:
    found = metrics['accuracy']['summary']
    gap = 100 * (found['coreset']['mean'] - found['random']['mean'])
    verdict = found['coreset']['verdict']
    return f'{metrics["name"]} against random: {verdict} ({gap:+.1f} points, {seeds_of(metrics)} each)'
  if 'judge' in metrics:
    return f'Forecast without labels: {forecast(metrics["judge"])}'
  return f'{metrics["budget"]} of {metrics["n"]} examples chosen'


def seeds_of(metrics) -> str:
  """How many seeds a comparison has."""
  count = len(metrics['accuracy']['random'])
  return f'{count} seed' + 's' * (count > 1)


def rows_of(metrics) -> Iterator[tuple[str, ...]]:
  """The rows of the comparison under `COLUMNS`, each with a remark."""
  for key, name in ROWS:
    found, count = metrics['accuracy']['summary'][key], metrics['accuracy']['examples'][key]
    mean, spread, between = 100 * found['mean'], '-', '-'
    if found['half'] is not None:
      half = 100 * found['half']
      spread, between = f'{100 * found["spread"]:.1f}', f'{mean - half:.1f} to {mean + half:.1f}'
    if key == 'random':
      remark = ''
    elif found['verdict'].startswith('no'):
      remark = f'{found["verdict"]} from random'
    else:
      remark = f'{found["verdict"]} than random'
    yield name.format(metrics['name']), f'{count:,}', f'{mean:.1f} %', spread, between, remark
