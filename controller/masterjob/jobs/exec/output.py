"""The output of a command, line by line in our log."""

import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO, Literal, NamedTuple

from masterjob.concurrency.clock import clock
from masterjob.job_status import MAX_ERROR_CHARACTERS, MAX_OUTPUT_LINES, bound_output, show_invisible
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob.jobs.exec")

LINE_LIMIT = 8192
"""Bytes. A longer line is logged in pieces."""

RATE_WINDOW, LINES_PER_WINDOW = 5.0, 5000
"""The length of a window in seconds, and the lines that a command may log in it. Further lines are counted."""

THROTTLE_DELAY = 0.01
"""Seconds between two reads while lines are dropped: otherwise a flood would occupy a core, and the GIL."""

DRAIN_TIMEOUT = 1.0
"""Seconds to read on after the command's end, in case one of its processes holds the pipes open."""

Stream = Literal["stdout", "stderr"]


class OutputLevels(NamedTuple):
    """The log levels of a command's two outputs. Most programs write their ordinary log to the standard error."""

    stdout: int = logging.INFO
    stderr: int = logging.INFO


DEFAULT_LEVELS = OutputLevels()


class CommandOutput:
    """The two outputs of one command. `run` reads them to their end.

    A flood is read as fast as it comes, so that the command never blocks for long, but most of it is not logged.
    Only the last lines are kept in memory.
    """

    def __init__(
        self,
        lock_name: str,
        outputs: tuple[IO[bytes], IO[bytes]],
        levels: OutputLevels = DEFAULT_LEVELS,
        term: int | None = None,
    ) -> None:
        self._lock_name = lock_name
        self._levels = levels._asdict()
        self._fields = log_fields(lock=lock_name, term=term, event="output")
        self._outputs = outputs
        self._command_gone = threading.Event()
        self.drained = threading.Event()
        """Set when everything was read."""
        self._last_error_line = b""
        self._last_lines: deque[bytes] = deque(maxlen=MAX_OUTPUT_LINES)
        self._window_ends_at = 0.0
        self._lines_left = LINES_PER_WINDOW
        self._dropped_lines = 0

    @property
    def last_error_line(self) -> str:
        """The last non-empty line of the standard error."""
        return _decode(self._last_error_line)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of both outputs."""
        return bound_output(_decode(line) for line in tuple(self._last_lines))

    def finish(self) -> None:
        """Read only what is in the pipes already: the command has ended."""
        self._command_gone.set()

    def run(self) -> None:
        """Read until both outputs are closed, or until shortly after `finish`."""
        stdout, stderr = self._outputs
        with stdout, stderr, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, _LineSplitter(self, "stdout"))
            selector.register(stderr, selectors.EVENT_READ, _LineSplitter(self, "stderr"))
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

    def log_lines(self, stream: Stream, lines: list[bytes]) -> None:
        """Log these lines, up to the limit of the window."""
        self._last_lines.extend(line[:MAX_ERROR_CHARACTERS] for line in lines[-MAX_OUTPUT_LINES:])
        if stream == "stderr":
            self._last_error_line = next((line for line in reversed(lines) if line.strip()), self._last_error_line)
        if clock() >= self._window_ends_at:
            self._log_dropped_lines()
            self._window_ends_at, self._lines_left = clock() + RATE_WINDOW, LINES_PER_WINDOW
        log_count, self._lines_left = self._lines_left, max(0, self._lines_left - len(lines))
        self._dropped_lines += max(0, len(lines) - log_count)
        level, fields = self._levels[stream], self._fields | log_fields(stream=stream)
        for line in lines[:log_count]:
            logger.log(level, "%s: %s", self._lock_name, _decode(line), extra=fields)

    def _log_dropped_lines(self) -> None:
        if self._dropped_lines:
            message = "%s: %d lines of the command's output were dropped"
            logger.warning(message, self._lock_name, self._dropped_lines, extra=self._fields)
            self._dropped_lines = 0


def _decode(line: bytes) -> str:
    return show_invisible(line.decode(errors="replace").rstrip("\r"))


class _LineSplitter:
    """The lines of one output."""

    def __init__(self, output: CommandOutput, stream: Stream) -> None:
        self._output = output
        self._stream = stream
        self._partial_line = b""

    def feed(self, data: bytes) -> None:
        """Log the complete lines. Without data, log the incomplete last line too."""
        if lines := list(self._split(data)):
            self._output.log_lines(self._stream, lines)

    def _split(self, data: bytes) -> Iterator[bytes]:
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        if len(self._partial_line) > LINE_LIMIT or not data:
            lines, self._partial_line = [*lines, *([self._partial_line] if self._partial_line else [])], b""
        for line in lines:
            yield from (line[at : at + LINE_LIMIT] for at in range(0, max(1, len(line)), LINE_LIMIT))
