"""What `make run` starts: three processes of examples/ticker.py on one SQLite file, each replaced when it dies."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from masterjob.election.timing import duration

HERE = Path(__file__).parent
RUN = HERE.parent / ".run"
INSTANCES = 3
REPLACED_AFTER = 5.0

GUIDE = """
Three instances compete for the lock TICKER. One of them is master; the others wait.

  kill -9 PID     kill the master: another takes over when its lease of 3 s has passed
  kill PID        end it properly: another takes over within milliseconds
  make disable    in another terminal: nobody is master (REASON='…' says why)
  make enable     and somebody is again
  make status     who is master, or why nobody is, and the history

Ctrl-C ends all.
"""


def spawn() -> subprocess.Popen[bytes]:
    url = f"sqlite:///{RUN}/demo.sqlite3"
    return subprocess.Popen(
        [sys.executable, str(HERE / "ticker.py")], env={**os.environ, "MASTERJOB_DATABASE_URL": url}
    )


def watch(instances: list[subprocess.Popen[bytes]], until: float) -> None:
    """Replace who dies, as a deployment would."""
    died_at: dict[int, float] = {}
    while time.monotonic() < until:
        for number, instance in enumerate(instances):
            if instance.poll() is None:
                continue
            if number not in died_at:
                died_at[number] = time.monotonic()
                print(f"   pid {instance.pid} has ended; another starts in {REPLACED_AFTER:.0f} s", flush=True)
            elif time.monotonic() > died_at[number] + REPLACED_AFTER:
                del died_at[number]
                instances[number] = spawn()
        time.sleep(0.1)


def end(instances: list[subprocess.Popen[bytes]]) -> None:
    for instance in instances:
        instance.terminate()
    for instance in instances:
        try:
            instance.wait(10)
        except subprocess.TimeoutExpired:
            instance.kill()
            instance.wait()


def on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="seconds", type=duration, default=0.0, help="end by itself, like 20s")
    seconds: float = parser.parse_args().seconds
    signal.signal(signal.SIGTERM, on_sigterm)
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    print(GUIDE, flush=True)
    instances = [spawn() for _ in range(INSTANCES)]
    try:
        watch(instances, time.monotonic() + seconds if seconds else float("inf"))
    except KeyboardInterrupt:
        print()
    finally:
        end(instances)
        shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    main()
