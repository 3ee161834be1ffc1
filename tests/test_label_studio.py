"""The export for Label Studio, in a real one: label-studio 1.23, which may have an environment of its own on PATH."""
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from xml.sax.saxutils import quoteattr

import pytest
from test_export import workdir  # noqa: F401 (a fixture)

from elfs_jax import export
from elfs_jax.data import labelled

TOKEN = '0123456789abcdef0123456789abcdef01234567'


def call(server, path, data=None, method=None):
  """Status and content of an answer; JSON where it is."""
  request = urllib.request.Request(server + path, None if data is None else json.dumps(data).encode(),
                                   {'Authorization': f'Token {TOKEN}', 'Content-Type': 'application/json'},
                                   method=method)
  with urllib.request.urlopen(request, timeout=60) as answer:
    content = answer.read()
    return answer.status, json.loads(content) if 'json' in answer.headers['Content-Type'] else content


@pytest.fixture
def server(tmp_path):
  """A Label Studio that serves files below `tmp_path`, started as the export says."""
  command = shutil.which('label-studio')
  if command is None:
    pytest.skip('needs the command label-studio on PATH')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  environment = os.environ | {
      'LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED': 'true', 'LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT': str(tmp_path),
      'LABEL_STUDIO_BASE_DATA_DIR': str(tmp_path / 'studio'), 'COLLECT_ANALYTICS': 'false', 'SENTRY_DSN': '',
      'FRONTEND_SENTRY_DSN': '', 'LATEST_VERSION_CHECK': 'false'}
  environment.pop('PYTHONPATH', None)
  address = f'http://127.0.0.1:{port}'
  with open(tmp_path / 'studio.log', 'w') as log:
    process = subprocess.Popen(
        [command, 'start', '--no-browser', '--port', str(port), '--internal-host', '127.0.0.1', '--username',
         'a@example.com', '--password', 'a-long-password', '--user-token', TOKEN, '--enable-legacy-api-token'],
        env=environment, stdout=log, stderr=log, cwd=tmp_path)
  try:
    for _ in range(300):
      try:
        call(address, '/api/version')
        break
      except (urllib.error.URLError, ConnectionError):
        assert process.poll() is None, (tmp_path / 'studio.log').read_text()[-2000:]
        time.sleep(1)
    yield address
  finally:
    process.terminate()
    process.wait()


@pytest.mark.slow
def test_a_real_label_studio_imports_the_tasks_and_serves_each_image(workdir, tmp_path, server):  # noqa: F811
  file = export.write(workdir, 'label-studio')
  view = (workdir / 'export/label-studio-config.xml').read_text('utf-8')
  _, project = call(server, '/api/projects', {'title': 'coreset', 'label_config': view})
  number = project['id']
  call(server, '/api/storages/localfiles', {'project': number, 'path': str(tmp_path / 'pictures')})
  status, done = call(server, f'/api/projects/{number}/import', json.loads(file.read_text('utf-8')))
  assert status == 201 and done['task_count'] == 3
  _, found = call(server, f'/api/tasks?project={number}&fields=all')
  tasks = sorted(found['tasks'], key=lambda task: task['id'])
  assert [task['data']['id'] for task in tasks] == ['ü.png', 'sub/a b.png', 'd,e.png']
  for task in tasks:
    status, content = call(server, task['data']['image'])
    assert status == 200 and content == (tmp_path / 'pictures' / task['data']['id']).read_bytes()

  # And back: what is labelled there is read as it was labelled, from each format that it exports.
  kinds = {'ü.png': 'cat', 'd,e.png': 'a, "b"'}
  view = view.replace('<Choices', '<Choices allowNested="false"').replace(
      '</Choices>', ''.join(f'<Choice value={quoteattr(kind)}/>' for kind in kinds.values()) + '</Choices>')
  call(server, f'/api/projects/{number}', {'label_config': view}, 'PATCH')
  for task in tasks:
    if task['data']['id'] in kinds:
      choice = {'from_name': 'label', 'to_name': 'image', 'type': 'choices',
                'value': {'choices': [kinds[task['data']['id']]]}}
      call(server, f'/api/tasks/{task["id"]}/annotations', {'result': [choice]})
  ids = ['ü.png', 'sub/a b.png', 'd,e.png']
  for kind in ('JSON', 'JSON_MIN', 'CSV'):
    _, content = call(server, f'/api/projects/{number}/export?exportType={kind}')
    exported = tmp_path / f'labels.{kind}'
    exported.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    found = labelled.read(exported, ids, str(tmp_path / 'pictures'))
    assert {ids[row]: label for row, label in zip(found.rows, found.labels, strict=True)} == kinds, kind
