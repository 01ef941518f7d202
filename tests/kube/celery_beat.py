"""A real Celery, installed once per machine into an environment of its own, apart from what the tests import."""

import fcntl
import functools
import subprocess
import sys
from pathlib import Path

from tests.envtest.programs import cache_dir
from tests.servers import Unavailable

VERSION = "5.6.2"
APPLICATION = """
from celery import Celery

app = Celery("beat_app", broker="memory://")
"""


@functools.cache
def install_celery() -> Path:
    """Return the path of the program ``celery``.

    Raises:
        Unavailable: it is not installed, and cannot be.
    """
    folder = cache_dir().parent / f"celery-{VERSION}"
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(folder / "bin" / "pip"), "install", "--quiet", f"celery=={VERSION}")
            (folder / "installed").touch()
    return folder / "bin" / "celery"


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Unavailable(f"Celery {VERSION} cannot be installed: {result.stderr.strip()[-500:]}")
