"""HTTP hooks as a job (the port `masterjob.election.ports.Job`): POST at the start, POST at the stop.

    POST <start>
    X-Fencing-Token: 1763760000123
    Content-Type: application/json

    {"lockName": "reports", "term": 1763760000123, "event": "start", "deadline": "2025-11-21T21:20:24.000Z"}

The deadline is the moment until which the mastership is certain now (every heartbeat prolongs it, silently), and
with ``stop`` the moment by which all must have stopped. 2xx means done. At the start everything else gives the
lock to another instance; at the stop it is logged, and the lock is released all the same when the stop timeout is
over: who must never run twice compares the fencing token. What cannot be reached, or answers 502, 503 or 504, is
tried again a few times, at the start while the trust lasts and at the stop within the stop timeout. Redirects are
not followed, nor are proxies of the environment used.

Source: design section 3.4.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from masterjob.election.clock import clock
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.jobs.http.exchange import CallFailed, Exchange, Message

_log = logging.getLogger("masterjob.jobs.http")

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


class HttpJob:
    """Runs a job of somebody else's by telling it to start and to stop, one run at a time."""

    def __init__(self, hooks: Hooks, crew: Crew, stop_timeout: float) -> None:
        self._hooks = hooks
        self._crew = crew
        self._stop_timeout = stop_timeout
        self._run: _Run | None = None
        crew.stand_by()  # now: when the interpreter exits, no thread could be started any more

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run: have the start posted, if the term is still trusted right before that."""
        self._run = run = _Run(self._hooks, self._crew, self._stop_timeout, term, report)
        self._crew.run(run.begin)

    def stop(self) -> None:
        """End the run that was begun last. Called again for the same run, it does nothing."""
        if self._run is not None:
            self._run.stop()


class _Call:
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


class _Run:
    """One run. `stop` may be called from any thread and never blocks."""

    def __init__(self, hooks: Hooks, crew: Crew, stop_timeout: float, term: LiveTerm, report: Report) -> None:
        self._hooks = hooks
        self._crew = crew
        self._stop_timeout = stop_timeout
        self._term = term
        self._report = report
        self._begun = self._stopping = self._over = False
        self._start = _Call(hooks, lambda: term.trust_left)
        self._lock = threading.Lock()  # reports are made under it, so that they come in order

    def begin(self) -> None:
        """Post the start, unless the run is stopped or its term lost before that. On the crew."""
        if not self._may_begin():
            return
        longest, ended = (self._hooks.retries + 1) * (self._hooks.timeout + LONGEST_PAUSE), threading.Event()
        self._crew.run(lambda: self._limit_start(longest, ended))
        error = self._outcome(self._start, self._hooks.start, "start")
        ended.set()
        with self._lock:
            if self._stopping:
                return
            if error is None:
                self._report.started()
            else:
                self._report.start_failed(error)

    def stop(self) -> None:
        """End the term and the start, and have the stop posted. Called again, it does nothing."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._term.end()
            self._start.break_off()
            url = self._hooks.stop
            if not self._begun or url is None:
                self._finish()
                return
        ends_at, ended = clock() + self._stop_timeout, threading.Event()
        call = _Call(self._hooks, lambda: ends_at - clock())
        self._crew.run(lambda: self._post_stop(call, url, ended))
        self._crew.run(lambda: self._limit_stop(call, ended))

    def _may_begin(self) -> bool:
        trusted = self._term.trust_left > 0  # outside the lock: whoever answers may have a lock of its own
        with self._lock:
            if self._stopping:
                return False
            if not trusted:
                self._finish()
                return False
            self._begun = True
            return True

    def _limit_start(self, longest: float, ended: threading.Event) -> None:
        """Do not hear out a service that answers a byte at a time."""
        if not ended.wait(longest):
            self._start.break_off()

    def _outcome(self, call: _Call, url: str, event: str) -> Exception | None:
        try:
            call.post(url, self._term, event)
        except CallFailed as error:
            return error
        except Exception as error:
            _log.exception("%s: a defect in the call of its %s", self._term.lock_name, event)
            return error
        return None

    def _post_stop(self, call: _Call, url: str, ended: threading.Event) -> None:
        error = self._outcome(call, url, "stop")
        if error is not None:
            _log.error("%s: the stop was not confirmed: %s", self._term.lock_name, error)
        ended.set()
        with self._lock:
            self._finish()

    def _limit_stop(self, call: _Call, ended: threading.Event) -> None:
        """Wait no longer than the stop timeout, whatever the other side does."""
        if not ended.wait(self._stop_timeout):
            call.break_off()
            with self._lock:
                self._finish()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._report.stopped()
