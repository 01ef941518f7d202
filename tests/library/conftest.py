"""Instances in processes of their own, and their messages in the order of the clock."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from masterjob.concurrency.clock import clock
from masterjob.store import database
from tests.conftest import Servers
from tests.servers import OTHER_RELEASES
from tests.timeouts import WAIT_TIMEOUT


@dataclass(frozen=True)
class Message:
    process: "InstanceProcess"
    event: str
    at: float
    details: dict[str, Any]


class InstanceProcess:
    """One process of tests/library/instance_process.py."""

    def __init__(self, messages: "queue.Queue[Message]", *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.library.instance_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.stderr_lines: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_messages, args=(messages,), daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_messages(self, messages: "queue.Queue[Message]") -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fields = json.loads(line)
            messages.put(Message(self, fields.pop("event"), fields.pop("at"), fields))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self.stderr_lines.extend(self._process.stderr)

    def send_line(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        code = self._process.wait(WAIT_TIMEOUT)
        for reader in self._readers:
            reader.join(WAIT_TIMEOUT)
        return code

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class LibraryHarness:
    """All instances of a test, and their messages."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.processes: list[InstanceProcess] = []
        self.messages: list[Message] = []
        self._queue: queue.Queue[Message] = queue.Queue()

    def start_instance(self, *arguments: str) -> InstanceProcess:
        process = InstanceProcess(self._queue, "--database", self.url, *arguments)
        self.processes.append(process)
        return process

    def wait_for(self, event: str, *, process: InstanceProcess | None = None) -> Message:
        """Wait for a message of this event; other messages are kept in ``messages``."""
        while True:
            message = self._queue.get(timeout=WAIT_TIMEOUT)
            self.messages.append(message)
            if message.event == event and (process is None or message.process is process):
                return message

    def received(self, event: str) -> list[Message]:
        """Return the messages of this event that have arrived."""
        while not self._queue.empty():
            self.messages.append(self._queue.get())
        return [message for message in self.messages if message.event == event]

    def check_one_at_a_time(self) -> None:
        """Check that no job starts before the one before it has stopped, or its process has ended."""
        self.received("")
        running: InstanceProcess | None = None
        for message in sorted(self.messages, key=lambda message: message.at):
            if message.event == "start":
                assert running is None, f"{message.process.pid} starts while {running.pid} runs"
                running = message.process
            elif message.event in ("stop", "killed") and message.process is running:
                running = None

    def record_kill(self, process: InstanceProcess) -> None:
        """Record that this process was killed, and its job with it."""
        self.messages.append(Message(process, "killed", clock(), {}))


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "mysql"])
def url(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    return servers.require(request.param).create_database()


@pytest.fixture
def harness(url: str) -> Iterator[LibraryHarness]:
    yield from running_harness(url)


@pytest.fixture(params=OTHER_RELEASES)
def other_release_harness(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LibraryHarness]:
    """Instances on a release of a server on which not every test runs."""
    yield from running_harness(servers.require(request.param).create_database())


@pytest.fixture
def sqlite_harness(tmp_path: Path) -> Iterator[LibraryHarness]:
    yield from running_harness(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")


def running_harness(url: str) -> Iterator[LibraryHarness]:
    harness = LibraryHarness(url)
    yield harness
    for process in harness.processes:
        process.clean_up()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. The bound only ends a test that fails."""
    ticker = threading.Event()
    for _ in range(int(WAIT_TIMEOUT / 0.02)):
        if condition():
            return
        ticker.wait(0.02)
    raise AssertionError("the condition did not become true")


class SilentNotifier:
    """The notifier of a database that never notifies."""

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def silent_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make instances of this process learn of a change from the process itself, or with their next heartbeat."""
    monkeypatch.setattr(database, "Notifier", SilentNotifier)
