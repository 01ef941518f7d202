"""One call of a hook, with its retries.

    POST <start>
    X-Fencing-Token: 1763760000123
    Content-Type: application/json

    {"lockName": "reports", "term": 1763760000123, "event": "start", "deadline": "2025-11-21T21:20:24.000Z"}

At the start, the deadline is the time until which the mastership is certain now; every heartbeat extends it
without another call. At the stop, it is the time by which the work must have stopped.

2xx means done. At the start, any other answer gives the lock to another instance. At the stop, it is logged, and
the lock is released anyway, at the latest when the stop timeout is over: a service that must never run twice
compares the fencing token. A service that cannot be reached, or that answers 502, 503 or 504, is called again: at
the start while the trust lasts, at the stop within the stop timeout. Redirects are not followed. Proxies of the
environment are not used.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from masterjob.concurrency.backoff import Backoff
from masterjob.election.term import LiveTerm
from masterjob.jobs.http.check import Check
from masterjob.jobs.http.request import HeaderReader, HookAttempt, HookFailed, HookRequest
from masterjob.lock_status import format_timestamp

BACKOFF = Backoff(initial=0.1, maximum=2.0)
DEFAULT_TIMEOUT, DEFAULT_RETRIES = 5.0, 3


@dataclass(frozen=True, slots=True)
class Hooks:
    """Where to post, and how. ``timeout``: seconds for each attempt. ``retries``: attempts after the first."""

    start: str
    stop: str | None = None
    headers: Mapping[str, HeaderReader] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES
    check: Check | None = None

    @property
    def max_duration(self) -> float:
        """The longest duration of a call in seconds, with all its attempts."""
        return (self.retries + 1) * (self.timeout + BACKOFF.maximum)


class HookCall:
    """One POST with its retries, as long as ``time_left`` returns more than 0 and it is not cancelled."""

    def __init__(self, hooks: Hooks, time_left: Callable[[], float]) -> None:
        self._hooks = hooks
        self._time_left = time_left
        self._cancelled = threading.Event()
        self._attempt = HookAttempt()

    def cancel(self) -> None:
        """Cancel the current attempt. Nothing more is sent."""
        self._cancelled.set()
        self._attempt.cancel()

    def post(self, url: str, term: LiveTerm, event: str) -> None:
        """Post ``event``, and retry if that may help.

        Raises:
            HookFailed: the last attempt has failed.
        """
        for failures in range(self._hooks.retries + 1):
            try:
                request = self._build_request(url, term, event)
                self._attempt.send(request, max(0.001, min(self._hooks.timeout, self._time_left())))
            except HookFailed as error:
                delay = BACKOFF.delay(failures)
                can_retry = error.retryable and failures < self._hooks.retries and self._time_left() > delay
                if not can_retry or self._cancelled.wait(delay):
                    raise
            else:
                return

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
        return HookRequest("POST", url, standard_headers | configured_headers, json.dumps(content).encode())
