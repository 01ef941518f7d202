"""Members in processes of their own, and their words in the order of the clock."""

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

from masterjob.election.clock import clock

PATIENCE = 30.0


@dataclass(frozen=True)
class Word:
    member: "Member"
    event: str
    at: float
    more: dict[str, Any]


class Member:
    """One process of tests/library/member.py."""

    def __init__(self, words: "queue.Queue[Word]", *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.library.member", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_words, args=(words,), daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_words(self, words: "queue.Queue[Word]") -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            words.put(Word(self, said.pop("event"), said.pop("at"), said))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(self._process.stderr)

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        code = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def clean_up(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class Stage:
    """All members of a test, and what they said."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.members: list[Member] = []
        self.said: list[Word] = []
        self._words: queue.Queue[Word] = queue.Queue()

    def enter(self, *arguments: str) -> Member:
        member = Member(self._words, "--database", self.url, *arguments)
        self.members.append(member)
        return member

    def hear(self, event: str, *, of: Member | None = None) -> Word:
        """Wait until a member says this; what it says meanwhile is kept in ``said``."""
        while True:
            word = self._words.get(timeout=PATIENCE)
            self.said.append(word)
            if word.event == event and (of is None or word.member is of):
                return word

    def heard(self, event: str) -> list[Word]:
        """All that was said of this, as far as it has arrived."""
        while not self._words.empty():
            self.said.append(self._words.get())
        return [word for word in self.said if word.event == event]

    def check_one_at_a_time(self) -> None:
        """No start between another start and the end of that one: its stop, or its process."""
        self.heard("")
        running: Member | None = None
        for word in sorted(self.said, key=lambda word: word.at):
            if word.event == "start":
                assert running is None, f"{word.member.pid} starts while {running.pid} runs"
                running = word.member
            elif word.event in ("stop", "killed") and word.member is running:
                running = None

    def ended(self, member: Member) -> None:
        """Note that this process is dead now, and its job with it."""
        self.said.append(Word(member, "killed", clock(), {}))


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'masterjob.sqlite3'}"
    return str(request.getfixturevalue(request.param).fresh())


@pytest.fixture
def stage(url: str) -> Iterator[Stage]:
    yield from staged(url)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Stage]:
    yield from staged(f"sqlite:///{tmp_path / 'masterjob.sqlite3'}")


def staged(url: str) -> Iterator[Stage]:
    stage = Stage(url)
    yield stage
    for member in stage.members:
        member.clean_up()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition; the bound is there only so that a failure ends."""
    pulse = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if true():
            return
        pulse.wait(0.02)
    raise AssertionError("it did not come true")
