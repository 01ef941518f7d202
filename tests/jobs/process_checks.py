"""What the tests of commands observe: whether any process of a command runs, and what was logged."""

import logging
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from masterjob.concurrency.clock import clock
from tests.timeouts import WAIT_TIMEOUT


class ProcessPipe:
    """A pipe that a command and all its processes hold open: it ends when the last of them ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "life"
        os.mkfifo(self._path)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self._received = b""

    def shell_argv(self, script: str) -> tuple[str, ...]:
        """Return a command that runs ``script`` in a shell, where ``>&9`` writes to this pipe."""
        return ("sh", "-c", f"exec 9>'{self._path}'; {script}")

    def wait_for(self, word: str) -> None:
        while word.encode() not in self._received:
            assert self._read_more(), f"no {word}, only {self._received!r}"

    def wait_until_gone(self) -> float:
        """Return the local time at which no process of the command ran any more."""
        while self._read_more():
            pass
        return clock()

    def is_gone(self) -> bool:
        """Return whether no process of the command runs at this moment."""
        while select.select([self._fd], [], [], 0)[0]:
            if not self._read_more():
                return True
        return False

    def _read_more(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        assert poll.poll(WAIT_TIMEOUT * 1000), f"neither data nor an end after {self._received!r}"
        data = os.read(self._fd, 4096)
        self._received += data
        return bool(data)

    def close(self) -> None:
        os.close(self._fd)


class LogCapture(logging.Handler):
    """The lines that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.lines.append((record.levelname, record.getMessage()))
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_TIMEOUT), self.lines[-20:]

    def wait_for(self, level: str, line: str) -> None:
        self.wait_until(lambda: (level, line) in self.lines)
