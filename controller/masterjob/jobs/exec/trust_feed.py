"""One thread that tells every shim of this process how long the trust lasts (design 3.4)."""

import logging
import os
import threading
from collections.abc import Callable

_log = logging.getLogger("masterjob.jobs.exec")

NEVER = float("inf")


class TrustFeed:
    """One thread that tells all shims of this process how long the trust lasts, some times a second.

    A heartbeat moves the trust's end; the shims have to hear of it before the end that they know has passed.
    Between two heartbeats there is nothing to tell, and the thread only looks.
    """

    def __init__(self) -> None:
        self._subscribers: set[Callable[[], float]] = set()
        self._subscribers_changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, send_trust: Callable[[], float]) -> None:
        """Call ``send_trust`` often enough from now on; it returns the seconds of trust left and never blocks."""
        with self._subscribers_changed:
            self._subscribers.add(send_trust)
            self._subscribers_changed.notify()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="masterjob trust feed", daemon=True)
                thread.start()
                self._thread = thread

    def remove(self, send_trust: Callable[[], float]) -> None:
        """Call it no more."""
        with self._subscribers_changed:
            self._subscribers.discard(send_trust)

    def _run(self) -> None:
        while True:
            with self._subscribers_changed:
                subscribers = self._subscribers_changed.wait_for(lambda: list(self._subscribers))
            shortest_trust = min((left for left in map(_send_or_log, subscribers) if left > 0), default=NEVER)
            with self._subscribers_changed:
                # A new end has at least one heartbeat to arrive in, and that is half the trust or less.
                self._subscribers_changed.wait(min(0.25, max(0.02, shortest_trust / 8)))


def _send_or_log(send_trust: Callable[[], float]) -> float:
    try:
        return send_trust()
    except Exception:  # whatever it is, the other commands must not pay for it
        _log.exception("a shim could not be told how long the trust lasts")
        return 0.0


shared_feed = TrustFeed()
"""The process's own."""


def _reset_after_fork() -> None:
    """A fork has no such thread, and no say in what its parent's commands do."""
    global shared_feed  # noqa: PLW0603 - it is the process's
    shared_feed = TrustFeed()


os.register_at_fork(after_in_child=_reset_after_fork)
