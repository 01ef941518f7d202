"""The thread that sends the end of the trust to every shim of this process."""

import logging
import os
import threading
from collections.abc import Callable

logger = logging.getLogger("masterjob.jobs.exec")


class TrustFeed:
    """A thread that sends all shims of this process the end of the trust, several times a second.

    A heartbeat moves the end of the trust. The shims must learn of it before the end that they know has passed.
    Between two heartbeats nothing changes, so nothing is sent.
    """

    def __init__(self) -> None:
        self._subscribers: set[Callable[[], float]] = set()
        self._subscribers_changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, send_trust: Callable[[], float]) -> None:
        """Call ``send_trust`` regularly from now on. It must return the seconds of trust left, and never block."""
        with self._subscribers_changed:
            self._subscribers.add(send_trust)
            self._subscribers_changed.notify()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="masterjob-trust-feed", daemon=True)
                thread.start()
                self._thread = thread

    def remove(self, send_trust: Callable[[], float]) -> None:
        """Stop calling ``send_trust``."""
        with self._subscribers_changed:
            self._subscribers.discard(send_trust)

    def _run(self) -> None:
        while True:
            with self._subscribers_changed:
                subscribers = self._subscribers_changed.wait_for(lambda: list(self._subscribers))
            shortest_trust = min(
                (left for left in map(_send_or_log, subscribers) if left > 0), default=float("inf")
            )
            with self._subscribers_changed:
                # There is at least one heartbeat interval to send a new end, and it is at most half the trust.
                self._subscribers_changed.wait(min(0.25, max(0.02, shortest_trust / 8)))


def _send_or_log(send_trust: Callable[[], float]) -> float:
    try:
        return send_trust()
    except Exception:  # one broken shim must not affect the others
        logger.exception("the end of the trust could not be sent to a shim")
        return 0.0


shared_feed = TrustFeed()
"""The feed of this process."""


def _reset_after_fork() -> None:
    """Forget the parent's thread, which a fork does not have, and the parent's commands."""
    global shared_feed  # noqa: PLW0603 - there is one a process
    shared_feed = TrustFeed()


os.register_at_fork(after_in_child=_reset_after_fork)
