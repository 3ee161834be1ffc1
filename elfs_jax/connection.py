"""Whether something can be fetched: asked before a download, so that without a connection a run says so at once."""
import os
import threading
import urllib.error
import urllib.request

SECONDS = 4  # That a server has to answer before it counts as out of reach.


def offline() -> bool:
  """Whether the user forbids downloads, by the setting of Hugging Face's programs."""
  return os.environ.get('HF_HUB_OFFLINE', '').upper() in ('1', 'ON', 'YES', 'TRUE')


def answers(url: str) -> bool:
  """Whether a server answers within `SECONDS`. Looking up its name has no time limit of its own, hence the thread."""
  reached = threading.Event()
  def ask():
    try:
      urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=SECONDS).close()
      reached.set()
    except urllib.error.HTTPError:  # It refused, but it is there; the download will say why.
      reached.set()
    except (OSError, ValueError):
      pass
  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(SECONDS)
  return reached.is_set()
