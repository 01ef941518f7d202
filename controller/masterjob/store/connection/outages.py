"""The log of a database that cannot be used: when that begins, once a minute, and when it ends.

All connections of a process to one database report here, so that the log does not repeat what each heartbeat, each
claim and each switch of a resource finds out again.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from masterjob.concurrency.clock import clock
from masterjob.election.timing import format_duration
from masterjob.errors import StoreRefused, StoreUnavailable, TablesMissing
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob")

REPEAT_INTERVAL = 60.0
"""Seconds between two lines about one outage."""

SETTLE_TIME = 10.0
"""Seconds after which an outage is logged even if the last one was logged less than `REPEAT_INTERVAL` ago.

A server that is out of connections still answers on those that are open: then each call begins or ends an outage.
"""

MAX_NAMES = 10
"""The most locks that a line names."""


@dataclass(slots=True)
class _Outage:
    """The time since which no call has succeeded."""

    began_at: float
    error: StoreUnavailable
    failed_calls: int = 1
    is_logged: bool = False


class OutageLog:
    """The outages of one database, as this process sees them. All methods are thread-safe.

    ``database``: its name in the log, without a password.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._outage: _Outage | None = None
        self._logged_at = float("-inf")
        self._affected: list[Callable[[], Iterable[str]]] = []
        self._on_refused_at_start: Callable[[StoreRefused], None] | None = None

    def add_affected(self, list_locks: Callable[[], Iterable[str]]) -> None:
        """Name these locks in the log. ``list_locks`` is called on any thread, and must not block."""
        self._affected.append(list_locks)

    def on_refused_at_start(self, callback: Callable[[StoreRefused], None]) -> None:
        """Call ``callback`` in place of a log line if the database refuses us before it was ever usable."""
        self._on_refused_at_start = callback

    def mark_usable(self) -> None:
        """Record that the tables are ready: from now on a refusal is logged and retried, as an outage is."""
        self._on_refused_at_start = None

    def refusal(self) -> str | None:
        """Return why this process cannot use the database that answers it; None if it can, or if it is away."""
        outage = self._outage
        if outage is not None and isinstance(outage.error, TablesMissing):
            return "the tables are missing in the database; they are created again when the longest lease is over"
        return (
            f"the database refuses this process, because {outage.error.refusal}"
            if outage is not None and isinstance(outage.error, StoreRefused)
            else None
        )

    def record_failure(self, error: StoreUnavailable) -> None:
        """Record that a call failed because the database cannot be used."""
        now = clock()
        with self._lock:
            if self._outage is None:
                self._outage = _Outage(now, error)
            else:
                self._outage.failed_calls += 1
                self._outage.error = error
            outage, is_due = self._outage, self._is_due(self._outage, now)
            callback = self._on_refused_at_start if isinstance(error, StoreRefused) else None
            if callback is None and is_due:
                self._logged_at, outage.is_logged = now, True
            is_first = outage.failed_calls == 1
        if callback is not None:
            assert isinstance(error, StoreRefused)  # noqa: S101 - for the type checker
            callback(error)
        elif is_due:
            self._log_failure(error, None if is_first else now - outage.began_at, outage.failed_calls)

    def record_success(self) -> None:
        """Record that a call succeeded."""
        if self._outage is None:  # nearly always; without the lock
            return
        with self._lock:
            outage = self._end_outage()
        if outage is not None and outage.is_logged:
            duration = format_duration(round(clock() - outage.began_at, 1))
            fields = log_fields(event="database answers")
            logger.info("the database answers again after %s (%s)", duration, self._database, extra=fields)

    def _end_outage(self) -> _Outage | None:
        outage, self._outage = self._outage, None
        return outage

    def _is_due(self, outage: _Outage, now: float) -> bool:
        next_line_at = self._logged_at + REPEAT_INTERVAL
        if not outage.is_logged:
            next_line_at = min(next_line_at, outage.began_at + SETTLE_TIME)
        return now >= next_line_at

    def _log_failure(self, error: StoreUnavailable, duration: float | None, failed_calls: int) -> None:
        if isinstance(error, StoreRefused):
            problem, event = f"refuses this process, because {error.refusal}", "database refuses"
        else:
            problem, event = "cannot be used", "database unavailable"
        since = (
            "" if duration is None else f" for {format_duration(round(duration))} ({failed_calls} failed calls)"
        )
        logger.error(
            "the database %s%s, and is retried: %s (%s)%s",
            problem,
            since,
            error,
            self._database,
            self._describe_affected(),
            extra=log_fields(event=event, reason=str(error)),
        )

    def _describe_affected(self) -> str:
        names = sorted({name for list_locks in self._affected for name in list_locks()})
        if not names:
            return ""
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"; affected: {', '.join(names[:MAX_NAMES])}{more}"
