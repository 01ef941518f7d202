"""One thread that tells every keeper of this process how long the trust lasts (design 3.4)."""

import logging
import os
import threading
from collections.abc import Callable

_log = logging.getLogger("masterjob.jobs.exec")

NEVER = float("inf")


class Feeder:
    """One thread that tells all keepers of this process how long the trust lasts, some times a second.

    A heartbeat moves the trust's end; the keepers have to hear of it before the end that they know has passed.
    Between two heartbeats there is nothing to tell, and the thread only looks.
    """

    def __init__(self) -> None:
        self._fed: set[Callable[[], float]] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, feed: Callable[[], float]) -> None:
        """Call ``feed`` often enough from now on; it returns the seconds of trust left and never blocks."""
        with self._changed:
            self._fed.add(feed)
            self._changed.notify()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="masterjob feeder", daemon=True)
                thread.start()
                self._thread = thread

    def remove(self, feed: Callable[[], float]) -> None:
        """Call it no more."""
        with self._changed:
            self._fed.discard(feed)

    def _run(self) -> None:
        while True:
            with self._changed:
                fed = self._changed.wait_for(lambda: list(self._fed))
            least = min((left for left in map(_fed, fed) if left > 0), default=NEVER)
            with self._changed:
                # A new end has at least one heartbeat to arrive in, and that is half the trust or less.
                self._changed.wait(min(0.25, max(0.02, least / 8)))


def _fed(feed: Callable[[], float]) -> float:
    try:
        return feed()
    except Exception:  # whatever it is, the other commands must not pay for it
        _log.exception("a keeper could not be told how long the trust lasts")
        return 0.0


feeder = Feeder()
"""The process's own."""


def _forget() -> None:
    """A fork has no such thread, and no say in what its parent's commands do."""
    global feeder  # noqa: PLW0603 - it is the process's
    feeder = Feeder()


os.register_at_fork(after_in_child=_forget)
