"""What `make run` starts: three controllers on the manifests of examples/, each replaced when it dies."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import masterjob
from masterjob.election.timing import duration

HERE = Path(__file__).parent
ROOT = HERE.parent
RUN = ROOT / ".run"
CONFIG = "examples/config.yaml"
URL = f"sqlite:///{RUN}/demo.sqlite3"
LOCK = "TICKER"
PORTS = (3000, 3001, 3002)
REPLACED_AFTER = 5.0

GUIDE = f"""
Three controllers compete for the lock {LOCK} of examples/manifests/ticker.yaml. One is master; the others wait.

  kill -9 PID     kill the master: another takes over when its lease of 3 s has passed
  kill PID        end it properly: another takes over within milliseconds

Or edit the manifest: enabled: false stops the job. Or, in another terminal:

  .venv/bin/masterjob disable {LOCK} --reason 'trying it out' --config {CONFIG}
  .venv/bin/masterjob enable {LOCK} --config {CONFIG}
  .venv/bin/masterjob status {LOCK} --config {CONFIG}
  .venv/bin/masterjob history {LOCK} --config {CONFIG}

Or over HTTP, at any of the three (ports {", ".join(map(str, PORTS))}):

  curl -d 'lockName={LOCK}&reason=trying it out' http://localhost:{PORTS[0]}/api/MasterControls/disable
  curl -d 'lockName={LOCK}' http://localhost:{PORTS[1]}/api/MasterControls/enable
  http://localhost:{PORTS[0]}/explorer     all calls, to be tried in a browser; /metrics, /healthz, /readyz

Ctrl-C ends all.
"""


def spawn(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "masterjob", "run", "examples/manifests", "--config", CONFIG, "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "MASTERJOB_DATABASE_URL": URL},
    )


class Masters:
    """Says who became master, at every election."""

    def __init__(self) -> None:
        self._told = 0

    def tell(self) -> None:
        try:
            events = masterjob.history(LOCK, database=URL)
        except masterjob.StoreUnavailable:
            return  # next time
        for event in reversed(events):
            if event.kind == "elected" and event.term and event.instance and event.term > self._told:
                self._told = event.term
                pid = event.instance.rsplit("-", 2)[-2]
                print(f"master of {LOCK}: {event.instance} (pid {pid})", flush=True)


def watch(instances: list[subprocess.Popen[bytes]], until: float) -> None:
    """Replace who dies, as a deployment would."""
    died_at: dict[int, float] = {}
    masters = Masters()
    while time.monotonic() < until:
        for number, instance in enumerate(instances):
            if instance.poll() is None:
                continue
            if number not in died_at:
                died_at[number] = time.monotonic()
                print(f"   pid {instance.pid} has ended; another starts in {REPLACED_AFTER:.0f} s", flush=True)
            elif time.monotonic() > died_at[number] + REPLACED_AFTER:
                del died_at[number]
                instances[number] = spawn(PORTS[number])
        masters.tell()
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
    instances = [spawn(port) for port in PORTS]
    try:
        watch(instances, time.monotonic() + seconds if seconds else float("inf"))
    except KeyboardInterrupt:
        print()
    finally:
        end(instances)
        shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    main()
