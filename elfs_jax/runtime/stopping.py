"""Stopping the command on a signal: Ctrl-C at once, SIGTERM once a training that is under way has kept its state.

Python runs the handler of a signal between two steps of the main thread, which may be minutes away in a long
computation, and an exception from there would be lost where it meets a callback of JAX's. So a thread is woken by the
signal itself, and ends the process from outside.
"""
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

GRACE = 7  # Seconds after SIGTERM: who sends it may kill after ten.

_training = threading.Event()  # Whether a stage is at work that can keep its state.
_asked = threading.Event()     # Whether SIGTERM has come.


def listen() -> None:
  """Stop this process with status 130 on SIGINT and 143 on SIGTERM, after one line. Call in the main thread."""
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)  # Else the signal's own effect, and no byte in the pipe.
  threading.Thread(target=_wait, args=(reader,), daemon=True).start()


def _wait(reader):
  while True:
    number = os.read(reader, 1)[0]
    if number == signal.SIGINT:
      _leave(130)
    if number == signal.SIGTERM and not _asked.is_set():
      if not _training.is_set():
        _leave(143)
      _asked.set()
      late = threading.Timer(GRACE, _leave, [143])
      late.daemon = True
      late.start()


@contextlib.contextmanager
def training() -> Iterator[None]:
  """While this is open, SIGTERM waits for `asked` to be seen and `leave` to be called, for at most `GRACE` seconds."""
  _training.set()
  try:
    yield
  finally:
    _training.clear()
    if _asked.is_set():
      leave()


def asked() -> bool:
  """Whether SIGTERM has come: keep the state, then `leave`."""
  return _asked.is_set()


def leave() -> None:
  """End the process as SIGTERM asked for."""
  _leave(143)


def _leave(status):
  flush = threading.Thread(target=sys.stdout.flush, daemon=True)  # Whoever reads our output may have stopped reading.
  flush.start()
  flush.join(1)
  os.write(2, b'\nstopped; the same command goes on from here\n')
  os._exit(status)
