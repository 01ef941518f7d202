"""What the tests of commands watch: whether anything of a command runs, and what was logged of it."""

import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from masterjob.election.clock import clock
from tests.jobs.stage import SOON


class Life:
    """A pipe that a command and all that it starts hold open: its end is the end of the last of them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "life"
        os.mkfifo(self._path)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self._read = b""

    def script(self, text: str) -> tuple[str, ...]:
        """Return a command that runs ``text`` in a shell, where ``>&9`` is heard here."""
        return ("sh", "-c", f"exec 9>'{self._path}'; {text}")

    def wait_for(self, word: str) -> None:
        while word.encode() not in self._read:
            assert self._more(), f"{word} never came: {self._read!r}"

    def wait_gone(self) -> float:
        """Return the local time at which nothing of the command ran any more."""
        while self._more():
            pass
        return clock()

    def _more(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        assert poll.poll(SOON * 1000), f"neither a word nor an end came after {self._read!r}"
        data = os.read(self._fd, 4096)
        self._read += data
        return bool(data)

    def close(self) -> None:
        os.close(self._fd)


class Log(logging.Handler):
    """What was logged, line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append((record.levelname, record.getMessage()))
            self._changed.notify_all()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(ready, SOON), self.lines[-20:]

    def wait_for(self, level: str, line: str) -> None:
        self.wait_until(lambda: (level, line) in self.lines)
