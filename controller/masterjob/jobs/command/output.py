"""What a command writes, line by line in our log."""

import logging
import os
import selectors
import threading
from collections.abc import Iterator
from typing import IO

from masterjob.election.clock import clock

_log = logging.getLogger("masterjob.jobs.exec")

LINE_LIMIT = 8192
"""Bytes of a line; a longer one is logged in pieces."""

WINDOW, LINES_A_WINDOW = 5.0, 5000
"""At most so many lines of a command are logged in so many seconds; of the others only the number."""

PAUSE = 0.01
"""Seconds between two reads of what is left out: without, a flood would take a core and the interpreter's lock."""

LINGER = 1.0
"""Seconds that are still listened after the command's end, should something of it hold the pipes open."""

_SHOWN = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class Output:
    """Reads both outputs of one command until their end, on a thread that `run` is called in.

    A flood is read as fast as it comes, so that the command is never held up for long; what is too much is left
    out. Nothing is kept but the line that has not ended yet.
    """

    def __init__(self, lock_name: str, outputs: tuple[IO[bytes], IO[bytes]]) -> None:
        self._lock_name = lock_name
        self._outputs = outputs
        self._over = threading.Event()
        self.drained = threading.Event()
        """Set when all was read that there will be."""
        self._complaint = b""
        self._window_ends = 0.0
        self._lines_left = LINES_A_WINDOW
        self._left_out = 0

    @property
    def last_complaint(self) -> str:
        """The last line of the standard error that is not empty."""
        return _text(self._complaint)

    def end(self) -> None:
        """Say that the command is gone: what is still in the pipes is read, and no more waited for."""
        self._over.set()

    def run(self) -> None:
        """Read until both outputs are closed, or nothing more is worth waiting for."""
        stdout, stderr = self._outputs
        with stdout, stderr, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, _Lines(self, logging.INFO))
            selector.register(stderr, selectors.EVENT_READ, _Lines(self, logging.WARNING))
            try:
                self._read(selector)
            finally:
                self._count_left_out()
                self.drained.set()

    def _read(self, selector: selectors.BaseSelector) -> None:
        give_up = float("inf")
        while selector.get_map() and clock() < give_up:
            for key, _ in selector.select(LINGER):
                data = os.read(key.fd, 65536)
                key.data.take(data)
                if not data:
                    selector.unregister(key.fileobj)
            if not self._lines_left:
                self._over.wait(PAUSE)
            if self._over.is_set():
                give_up = min(give_up, clock() + LINGER)

    def log(self, level: int, lines: list[bytes]) -> None:
        """Log these lines, as far as there were not too many."""
        if level == logging.WARNING:
            self._complaint = next((line for line in reversed(lines) if line.strip()), self._complaint)
        if clock() >= self._window_ends:
            self._count_left_out()
            self._window_ends, self._lines_left = clock() + WINDOW, LINES_A_WINDOW
        logged, self._lines_left = self._lines_left, max(0, self._lines_left - len(lines))
        self._left_out += max(0, len(lines) - logged)
        for line in lines[:logged]:
            _log.log(level, "%s: %s", self._lock_name, _text(line))

    def _count_left_out(self) -> None:
        if self._left_out:
            _log.warning("%s: %d lines of its output were left out", self._lock_name, self._left_out)
            self._left_out = 0


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").translate(_SHOWN)


class _Lines:
    """Cuts one of the outputs into lines."""

    def __init__(self, output: Output, level: int) -> None:
        self._output = output
        self._level = level
        self._rest = b""

    def take(self, data: bytes) -> None:
        """Log the lines that are complete; with no data, the last one too."""
        if lines := list(self._cut(data)):
            self._output.log(self._level, lines)

    def _cut(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT or not data:
            lines, self._rest = [*lines, *([self._rest] if self._rest else [])], b""
        for line in lines:
            yield from (line[at : at + LINE_LIMIT] for at in range(0, max(1, len(line)), LINE_LIMIT))
