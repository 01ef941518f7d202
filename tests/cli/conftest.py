"""The command line: in this process to check its output, in processes of its own to check how it ends."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from masterjob.cli.app import app
from masterjob.election.values import Identity, NewSession
from masterjob.store.database import Database
from tests.library.conftest import wait_until
from tests.timeouts import WAIT_TIMEOUT

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("MASTER", "INIT_", "CHECK_"))
} | {"MASTERJOB_LISTEN_PORT": "0"}
TIMING = "  heartbeatInterval: 1s\n  leaseDuration: 60s\n  stopTimeout: 10s\n"
"""No stall of the machine ends such a lease."""
CONFIG = """\
masterJobExecutor:
  database: {url}
  initDelay: 0s
jobs:
  beep:
    exec:
      command: [sh, -c, 'echo begins with $MASTERJOB_TERM; while true; do sleep 1; done']
      startSeconds: 0.1
"""


def manifest(name: str = "beep", more: str = "", lock_name: str = "BEEP") -> str:
    return (
        "apiVersion: masterjob.io/v1alpha1\nkind: MasterJob\n"
        f"metadata: {{name: {name}}}\nspec:\n  lockName: {lock_name}\n  job: beep\n{TIMING}{more}"
    )


@dataclass
class Terminal:
    """A directory with a config file and manifests, and the command ``masterjob`` in it."""

    folder: Path
    url: str

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    def write(self, name: str, text: str) -> Path:
        """Put a file in place in one step, as editors do."""
        new, path = self.folder / "new", self.manifests / name
        new.write_text(text)
        return new.rename(path)

    def run(self, *arguments: str, url: str | None = None) -> Result:
        """Run a command in this process, with this database or ``url`` in its environment."""
        environment = {"MASTERJOB_DATABASE_URL": self.url if url is None else url, "MASTERJOB_CONFIG": ""}
        return CliRunner().invoke(app, list(arguments), env=environment, prog_name="masterjob")

    def run_json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--output", "json")
        assert result.exit_code in (0, 1), result.output
        return json.loads(result.stdout)

    def election_history(self, lock_name: str) -> list[str]:
        """Return the kinds of a lock's history, newest first, without the life of its job."""
        kinds = [each["kind"] for each in self.run_json("history", lock_name)]
        return [kind for kind in kinds if kind not in ("running", "stopped")]

    def run_subprocess(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "masterjob", *arguments],
            env=ENVIRONMENT | {"MASTERJOB_DATABASE_URL": self.url},
            capture_output=True,
            text=True,
            timeout=WAIT_TIMEOUT,
            check=False,
        )

    def state(self, lock_name: str = "BEEP") -> str:
        found = [each for each in self.run_json("list") if each["lockName"] == lock_name]
        return str(found[0]["state"]) if found else ""

    def wait_for(self, state: str, lock_name: str = "BEEP") -> None:
        wait_until(lambda: self.state(lock_name) == state)


def elect_instance(terminal: Terminal, lock_name: str = "BEEP", session: str = "session") -> None:
    """Make an instance the master."""
    database = Database(terminal.url)
    database.prepare()
    store = database.connect(10)
    store.ensure_locks([lock_name])
    store.open_session(NewSession(session, Identity("a-host-1234-5678abcd", address="a-host"), 60_000))
    store.claim(session, [lock_name])
    store.close()


class RunProcess:
    """A process of ``masterjob run``."""

    def __init__(self, terminal: Terminal, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "masterjob", "run", str(terminal.manifests), *arguments],
            cwd=terminal.folder,
            env=ENVIRONMENT | {"MASTERJOB_CONFIG": str(terminal.folder / "config.yaml")},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.lines.extend(self._process.stderr)

    def wait_for_line(self, text: str, count: int = 1) -> str:
        """Wait until ``count`` lines with this text were logged, and return the last one."""

        def matching_lines() -> list[str]:
            return [line for line in self.lines if text in line]

        try:
            wait_until(lambda: len(matching_lines()) >= count)
        except AssertionError:
            raise AssertionError("".join([f"{text!r} was not logged:\n", *self.lines])) from None
        return matching_lines()[-1]

    def send_signal(self, signal_number: int) -> None:
        """Send a signal, if the process still runs."""
        self._process.send_signal(signal_number)

    def exits_soon(self) -> bool:
        """Return whether the process ends within 0.1 s."""
        try:
            self._process.wait(0.1)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal_and_wait(self, signal_number: int) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        code = self._process.wait(WAIT_TIMEOUT)
        self._reader.join(WAIT_TIMEOUT)
        return code

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(WAIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join(WAIT_TIMEOUT)
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    url = f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=url))
    (tmp_path / "manifests").mkdir()
    return Terminal(tmp_path, url)


@pytest.fixture
def run(terminal: Terminal) -> Iterator[Callable[..., RunProcess]]:
    started: list[RunProcess] = []

    def start(*arguments: str) -> RunProcess:
        started.append(RunProcess(terminal, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.clean_up()
