"""Calls after a delay, on one daemon thread of the process."""

import heapq
import itertools
import logging
import os
import threading
from collections.abc import Callable

from masterjob.concurrency.clock import clock

logger = logging.getLogger("masterjob")

_IDLE_TIMEOUT = 60.0
"""Seconds after which the thread ends if there is nothing to wait for."""


class Timers:
    """Functions to be called later. They must not block. The thread starts with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._has_thread = False

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call ``function`` in ``delay`` seconds. There is no cancel: the function checks whether it is still due.

        If no thread can be started, because the interpreter exits, it is never called.
        """
        with self._changed:
            heapq.heappush(self._heap, (clock() + delay, next(self._sequence), function))
            self._changed.notify()
            if not self._has_thread:
                self._start_thread()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="masterjob-timers", daemon=True)
        try:
            thread.start()
            self._has_thread = True
        except RuntimeError as error:
            logger.debug("no thread can be started for timers: %s", error)

    def _run(self) -> None:
        while (function := self._next_due()) is not None:
            try:
                function()
            except Exception:
                logger.exception("a function that was called after a delay failed")

    def _next_due(self) -> Callable[[], None] | None:
        """Wait for the next function; return None, and end the thread, if there was nothing to do for a while."""
        with self._changed:
            while not self._heap or self._heap[0][0] > clock():
                timeout = self._heap[0][0] - clock() if self._heap else _IDLE_TIMEOUT
                notified = self._changed.wait(max(0.0, timeout))
                if not notified and not self._heap:
                    self._has_thread = False
                    return None
            return heapq.heappop(self._heap)[2]


_timers = Timers()


def call_later(delay: float, function: Callable[[], None]) -> None:
    """Call ``function`` in ``delay`` seconds, on the timer thread of this process. It must not block."""
    _timers.call_later(delay, function)


def _reset_after_fork() -> None:
    """Forget the parent's thread, which a fork does not have, and its functions."""
    global _timers  # noqa: PLW0603 - there is one a process
    _timers = Timers()


os.register_at_fork(after_in_child=_reset_after_fork)
