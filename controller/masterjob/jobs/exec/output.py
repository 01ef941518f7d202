"""What a command writes, line by line in our log."""

import logging
import os
import selectors
import threading
from collections.abc import Iterator
from typing import IO

from masterjob.concurrency.clock import clock

_log = logging.getLogger("masterjob.jobs.exec")

LINE_LIMIT = 8192
"""Bytes of a line; a longer one is logged in pieces."""

RATE_WINDOW, LINES_PER_WINDOW = 5.0, 5000
"""At most so many lines of a command are logged in so many seconds; of the others only the number."""

THROTTLE_DELAY = 0.01
"""Seconds between two reads of what is left out: without, a flood would take a core and the interpreter's lock."""

DRAIN_TIMEOUT = 1.0
"""Seconds that are still listened after the command's end, should something of it hold the pipes open."""

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


class CommandOutput:
    """Reads both outputs of one command until their end, on a thread that `run` is called in.

    A flood is read as fast as it comes, so that the command is never held up for long; what is too much is left
    out. Nothing is kept but the line that has not ended yet.
    """

    def __init__(self, lock_name: str, outputs: tuple[IO[bytes], IO[bytes]]) -> None:
        self._lock_name = lock_name
        self._outputs = outputs
        self._command_gone = threading.Event()
        self.drained = threading.Event()
        """Set when all was read that there will be."""
        self._last_error_line = b""
        self._window_ends_at = 0.0
        self._lines_left = LINES_PER_WINDOW
        self._dropped_lines = 0

    @property
    def last_error_line(self) -> str:
        """The last line of the standard error that is not empty."""
        return _decode(self._last_error_line)

    def finish(self) -> None:
        """Say that the command is gone: what is still in the pipes is read, and no more waited for."""
        self._command_gone.set()

    def run(self) -> None:
        """Read until both outputs are closed, or nothing more is worth waiting for."""
        stdout, stderr = self._outputs
        with stdout, stderr, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, _LineSplitter(self, logging.INFO))
            selector.register(stderr, selectors.EVENT_READ, _LineSplitter(self, logging.WARNING))
            try:
                self._read(selector)
            finally:
                self._log_dropped_lines()
                self.drained.set()

    def _read(self, selector: selectors.BaseSelector) -> None:
        deadline = float("inf")
        while selector.get_map() and clock() < deadline:
            for key, _ in selector.select(DRAIN_TIMEOUT):
                data = os.read(key.fd, 65536)
                key.data.feed(data)
                if not data:
                    selector.unregister(key.fileobj)
            if not self._lines_left:
                self._command_gone.wait(THROTTLE_DELAY)
            if self._command_gone.is_set():
                deadline = min(deadline, clock() + DRAIN_TIMEOUT)

    def log_lines(self, level: int, lines: list[bytes]) -> None:
        """Log these lines, as far as there were not too many."""
        if level == logging.WARNING:
            self._last_error_line = next((line for line in reversed(lines) if line.strip()), self._last_error_line)
        if clock() >= self._window_ends_at:
            self._log_dropped_lines()
            self._window_ends_at, self._lines_left = clock() + RATE_WINDOW, LINES_PER_WINDOW
        log_count, self._lines_left = self._lines_left, max(0, self._lines_left - len(lines))
        self._dropped_lines += max(0, len(lines) - log_count)
        for line in lines[:log_count]:
            _log.log(level, "%s: %s", self._lock_name, _decode(line))

    def _log_dropped_lines(self) -> None:
        if self._dropped_lines:
            _log.warning("%s: %d lines of its output were left out", self._lock_name, self._dropped_lines)
            self._dropped_lines = 0


def _decode(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").translate(_ESCAPES)


class _LineSplitter:
    """Cuts one of the outputs into lines."""

    def __init__(self, output: CommandOutput, level: int) -> None:
        self._output = output
        self._level = level
        self._partial_line = b""

    def feed(self, data: bytes) -> None:
        """Log the lines that are complete; with no data, the last one too."""
        if lines := list(self._split(data)):
            self._output.log_lines(self._level, lines)

    def _split(self, data: bytes) -> Iterator[bytes]:
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        if len(self._partial_line) > LINE_LIMIT or not data:
            lines, self._partial_line = [*lines, *([self._partial_line] if self._partial_line else [])], b""
        for line in lines:
            yield from (line[at : at + LINE_LIMIT] for at in range(0, max(1, len(line)), LINE_LIMIT))
