"""The Python way, `elfs_jax.select_coreset`."""
import dataclasses
import json

import numpy as np
import pytest
from conftest import run
from PIL import Image

import elfs_jax
from elfs_jax import data, pipeline
from elfs_jax.embed import scaling

pytestmark = pytest.mark.usefixtures('one_device')


def test_the_python_way_gives_the_same_coreset(tiny, blobs, tmp_path):
  images, labels = blobs
  chosen, _ = run(tiny, images, tmp_path / 'a', labels)
  coreset = elfs_jax.select_coreset(images, budget='10%', num_classes=4, config=tiny)
  np.testing.assert_array_equal(coreset.indices, chosen.indices)
  assert coreset.indices.dtype == np.int64 and coreset.pseudo_labels.dtype == np.int32 and coreset.beta == chosen.beta
  assert (coreset.workdir / 'report.html').exists() and set(coreset.scores) == set(chosen.scores)
  rows = [line.split(',') for line in (coreset.workdir / 'coreset.csv').read_text().splitlines()[1:]]
  assert [row[2] for row in rows] == [coreset.ids[i] for i in [*coreset.indices, *coreset.reserve]]


def test_the_python_way_takes_numpy_numbers_and_refuses_what_it_would_ignore(tiny, blobs, tmp_path):
  x = blobs[0].reshape(120, -1).astype(np.float32)
  tiny.embed.method = 'auto'
  coreset = elfs_jax.select_coreset(embeddings=x, budget=np.int64(20), num_classes=np.int32(4), beta=np.float32(0.25),
                                    seed=np.int64(0), config=tiny)
  assert len(coreset.indices) == 20 and coreset.beta == 0.25
  for images in (str(tmp_path), data.from_memory(images=blobs[0])):
    with pytest.raises(ValueError, match='embeddings= go with an array'):
      elfs_jax.select_coreset(images, embeddings=x, budget=20, num_classes=4)
  with pytest.raises(ValueError, match='one example or all'):
    elfs_jax.select_coreset(embeddings=x, budget='1', num_classes=4)
  with pytest.raises(ValueError, match='config= is a str'):
    elfs_jax.select_coreset(embeddings=x, budget=20, num_classes=4, config='configs/digits.py')
  tiny.data.labels = 'labels.npy'
  with pytest.raises(ValueError, match='data.labels=.labels.npy. goes with a folder'):
    elfs_jax.select_coreset(embeddings=x, budget=20, num_classes=4, config=tiny)


def test_a_folder_from_python_is_compared_by_its_labels(tiny, blobs, tmp_path):
  for i, image in enumerate(blobs[0][:60]):
    (tmp_path / 'in' / str(i % 4)).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(tmp_path / 'in' / str(i % 4) / f'{i}.png')
  tiny.data.labels, tiny.data.size = 'folders', 8
  coreset = elfs_jax.select_coreset(tmp_path / 'in', budget=12, num_classes=4, config=tiny)
  assert len(coreset.indices) == 12 and coreset.ids[0] == '0/0.png'
  assert len(json.loads((coreset.workdir / 'metrics.json').read_text())['accuracy']['coreset']) == 2


def test_the_arguments_of_the_python_way_override_the_config(tiny, blobs):
  tiny.update_from_flattened_dict({'seed': 5, 'cluster.num_classes': 9, 'select.beta': 0.3, 'proxy.network': 'mlp'})
  before = tiny.to_dict()
  coreset = elfs_jax.select_coreset(blobs[0], budget=20, num_classes=3, beta=0.1, seed=2, config=tiny)
  kept = json.loads((coreset.workdir / 'config.json').read_text())
  assert (kept['seed'], kept['cluster']['num_classes'], kept['select']['beta']) == (2, 3, 0.1)
  assert set(coreset.pseudo_labels) == {0, 1, 2} and tiny.to_dict() == before


def test_pictures_of_a_folder_are_mirrored_by_default_and_an_array_is_not(blobs, tmp_path, monkeypatch):
  for i, image in enumerate(blobs[0][:12]):
    Image.fromarray(image).save(tmp_path / f'{i:02}.png')
  seen = []
  def stop(dataset, config, *_, **__):
    seen.append((config.embed.flip, config.proxy.flip, config.evaluate.flip))
    raise InterruptedError
  monkeypatch.setattr(pipeline, 'run', stop)
  for images in (tmp_path, blobs[0]):
    with pytest.raises(InterruptedError):
      elfs_jax.select_coreset(images, budget=5, num_classes=2)
  assert seen == [(True,) * 3, (False,) * 3]


def test_embeddings_that_are_given_are_used_as_they_are_or_scaled(tiny, blobs, tmp_path):
  x = blobs[0].reshape(120, -1)[:, :6].astype(np.float32)
  for method, expected in (('given', x), ('auto', scaling.fit(x, 'distances')(x))):
    tiny.embed.method = method
    coreset = elfs_jax.select_coreset(embeddings=x, budget=20, num_classes=4, beta=0.1, config=tiny,
                                      workdir=tmp_path / method)
    np.testing.assert_array_equal(np.load(coreset.workdir / 'embeddings.npy'), expected)


def test_a_coreset_shows_what_it_is(tiny, blobs, tmp_path, capsys):
  for i, image in enumerate(blobs[0][:60]):
    (tmp_path / 'in').mkdir(exist_ok=True)
    Image.fromarray(image).save(tmp_path / 'in' / f'{i:02}.png')
  tiny.data.size = 8
  out = tmp_path / 'out'
  coreset = elfs_jax.select_coreset(tmp_path / 'in', budget=12, beta=0.1, config=tiny, workdir=out)
  assert capsys.readouterr().out == ''  # Quiet unless asked.
  assert repr(coreset) == f"Coreset(12 of 60 examples, beta=0.1, workdir='{out}')"
  assert [path.relative_to(tmp_path / 'in').as_posix() for path in coreset.paths] == [coreset.ids[i]
                                                                                     for i in coreset.indices]
  assert all(path.is_file() for path in coreset.paths) and coreset.forecast is None
  frame = coreset.to_frame()
  names = ['aum', 'aum_logits', 'correctness', 'el2n', 'forgetting']
  assert list(frame.columns) == ['index', 'id', 'pseudo_label', *names]
  rows = [line.split(',') for line in (out / 'coreset.csv').read_text().splitlines()[1:]]
  rows = [row for row in rows if row[5] == 'chosen']
  assert frame['id'].tolist() == [row[2] for row in rows]
  assert frame['aum'].tolist() == [float(row[8]) for row in rows]
  html = coreset._repr_html_()
  assert html.startswith('<iframe srcdoc="') and '<html' not in html and '&lt;html' in html
  told = dataclasses.replace(coreset, forecast='more <b> than')._repr_html_()
  assert told == '<p>Forecast without labels: more &lt;b&gt; than</p>' + html
  elfs_jax.select_coreset(tmp_path / 'in', budget=12, beta=0.1, config=tiny, workdir=out, verbose=True)
  assert '[proxy] reused' in capsys.readouterr().out


def test_examples_without_files_have_no_paths(tiny, blobs, tmp_path):
  coreset = elfs_jax.select_coreset(blobs[0], budget=12, num_classes=4, beta=0.1, config=tiny, workdir=tmp_path)
  with pytest.raises(ValueError, match='without files: coreset.csv'):
    coreset.paths
