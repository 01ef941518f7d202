"""One call of a hook: what is posted, and its further attempts."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from masterjob.election.term import LiveTerm
from masterjob.jobs.http.exchange import CallFailed, Exchange, Message

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts: doubled each time, up to the second."""

TIMEOUT, RETRIES = 5.0, 3

Header = Callable[[], str]
"""Returns a header's value, read anew for each call.

Raises:
    CallFailed: it cannot be read; the message does not hold it.
"""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where to post, and how. ``timeout`` is seconds an attempt; ``retries`` are the attempts after the first."""

    start: str
    stop: str | None = None
    headers: Mapping[str, Header] = field(default_factory=dict, repr=False)
    timeout: float = TIMEOUT
    retries: int = RETRIES

    @property
    def longest(self) -> float:
        """Seconds that a call takes at most, with all its attempts."""
        return (self.retries + 1) * (self.timeout + LONGEST_PAUSE)


class Call:
    """One POST with its further attempts, until ``time_left`` says 0 or it is broken off."""

    def __init__(self, hooks: Hooks, time_left: Callable[[], float]) -> None:
        self._hooks = hooks
        self._time_left = time_left
        self._over = threading.Event()
        self._exchange = Exchange()

    def break_off(self) -> None:
        """Send nothing more from here on."""
        self._over.set()
        self._exchange.break_off()

    def post(self, url: str, term: LiveTerm, event: str) -> None:
        """Post ``event``, again where that may help.

        Raises:
            CallFailed: the last attempt has failed.
        """
        pause = FIRST_PAUSE
        for left in range(self._hooks.retries, -1, -1):
            try:
                self._exchange.post(self._message(url, term, event), self._timeout())
            except CallFailed as error:
                if not (left and error.again and self._time_left() > pause) or self._over.wait(pause):
                    raise
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    def _timeout(self) -> float:
        return max(0.001, min(self._hooks.timeout, self._time_left()))

    def _message(self, url: str, term: LiveTerm, event: str) -> Message:
        deadline = datetime.now(UTC) + timedelta(seconds=max(0.0, min(self._time_left(), 1e9)))
        content = {
            "lockName": term.lock_name,
            "term": term.number,
            "event": event,
            "deadline": deadline.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        own = {"Content-Type": "application/json", "X-Fencing-Token": str(term.number), "User-Agent": "masterjob"}
        configured = {name: value() for name, value in self._hooks.headers.items()}
        return Message(url, own | configured, json.dumps(content).encode())
