"""One call of a hook: what is posted, and its further attempts."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from masterjob.election.term import LiveTerm
from masterjob.jobs.http.request import HookAttempt, HookFailed, HookRequest
from masterjob.lock_status import format_timestamp

INITIAL_BACKOFF, MAX_BACKOFF = 0.1, 2.0
"""Seconds between attempts: doubled each time, up to the second."""

DEFAULT_TIMEOUT, DEFAULT_RETRIES = 5.0, 3

HeaderReader = Callable[[], str]
"""Returns a header's value, read anew for each call.

Raises:
    CallFailed: it cannot be read; the message does not hold it.
"""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where to post, and how. ``timeout`` is seconds an attempt; ``retries`` are the attempts after the first."""

    start: str
    stop: str | None = None
    headers: Mapping[str, HeaderReader] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES

    @property
    def max_duration(self) -> float:
        """Seconds that a call takes at most, with all its attempts."""
        return (self.retries + 1) * (self.timeout + MAX_BACKOFF)


class HookCall:
    """One POST with its further attempts, until ``time_left`` says 0 or it is broken off."""

    def __init__(self, hooks: Hooks, time_left: Callable[[], float]) -> None:
        self._hooks = hooks
        self._time_left = time_left
        self._cancelled = threading.Event()
        self._attempt = HookAttempt()

    def cancel(self) -> None:
        """Send nothing more from here on."""
        self._cancelled.set()
        self._attempt.cancel()

    def post(self, url: str, term: LiveTerm, event: str) -> None:
        """Post ``event``, again where that may help.

        Raises:
            CallFailed: the last attempt has failed.
        """
        backoff = INITIAL_BACKOFF
        for retries_left in range(self._hooks.retries, -1, -1):
            try:
                self._attempt.post(self._build_request(url, term, event), self._timeout())
            except HookFailed as error:
                if not (retries_left and error.retryable and self._time_left() > backoff) or self._cancelled.wait(
                    backoff
                ):
                    raise
                backoff = min(2 * backoff, MAX_BACKOFF)
            else:
                return

    def _timeout(self) -> float:
        return max(0.001, min(self._hooks.timeout, self._time_left()))

    def _build_request(self, url: str, term: LiveTerm, event: str) -> HookRequest:
        deadline = datetime.now(UTC) + timedelta(seconds=max(0.0, min(self._time_left(), 1e9)))
        content = {
            "lockName": term.lock_name,
            "term": term.number,
            "event": event,
            "deadline": format_timestamp(deadline, "milliseconds"),
        }
        standard_headers = {
            "Content-Type": "application/json",
            "X-Fencing-Token": str(term.number),
            "User-Agent": "masterjob",
        }
        configured_headers = {name: value() for name, value in self._hooks.headers.items()}
        return HookRequest(url, standard_headers | configured_headers, json.dumps(content).encode())
