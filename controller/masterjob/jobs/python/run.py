"""One run of a job: one ``start``, then ``stop``, in whatever order threads and loops come round to them.

                      may begin               start returned
    +---------+ -----------------> +---------+ -----------------> +----------+
    | WAITING |                    | RUNNING |                    | RETURNED |
    +---------+                    +---------+                    +----------+
         | stopped, or the trust is over                               | stopping, and every stop returned
         +-------------------------> OVER <---------------------------+

Stopping is not a state but a wish that can come in each of them. A run is over only when nothing of it goes
on: ``start`` has returned, and so has the last ``stop``, which began after that. So a function that is still
starting is asked to stop twice: at once, since it may block until it is, and once more when it has returned,
since it may have begun something after the first ``stop`` had looked. A coroutine is cancelled instead.

Source: design sections 3 (rule 3) and 3.4.
"""

import asyncio
import enum
import logging
import threading

from masterjob.election.errors import TermLost
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.python.places import Cancel, Place

_log = logging.getLogger("masterjob.jobs")


class _State(enum.Enum):
    WAITING = enum.auto()
    RUNNING = enum.auto()
    RETURNED = enum.auto()
    OVER = enum.auto()


class Run:
    """One run. Its methods may be called from any thread; none blocks or calls the user's code."""

    def __init__(self, start: Place, stop: Place | None, term: LiveTerm, report: Report) -> None:
        self._start = start
        self._stop = stop
        self._term = term
        self._report = report
        self._state = _State.WAITING
        self._stopping = False
        self._stops_due = 0  # how often the user's stop has still to be called
        self._stop_runs = False
        self._cancel_start: Cancel = lambda: None
        # Reports are made under the lock, so that they come in order; reentrant, since a closed loop answers
        # within the call.
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Have the user's start called, unless the run is stopped or its term lost before that."""
        with self._lock:
            self._cancel_start = self._start.call(self._term, self._may_begin, self._start_returned)

    def stop(self) -> None:
        """End the term, and have the user's stop called. Called again, it does nothing."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._term.end()
            if self._state is _State.WAITING:
                self._finish()
                return
            self._stops_due = self._how_many_stops()
            if self._state is _State.RUNNING:
                self._cancel_start()
            self._go_on()

    def _how_many_stops(self) -> int:
        if self._stop is None:
            return 0
        return 2 if self._state is _State.RUNNING and not self._start.can_cancel else 1

    def _may_begin(self) -> bool:
        trusted = self._term.trust_left > 0  # outside the lock: whoever answers may have a lock of its own
        with self._lock:
            if self._state is not _State.WAITING:
                return False
            if not trusted:
                self._finish()
                return False
            self._state = _State.RUNNING
            return True

    def _start_returned(self, error: BaseException | None) -> None:
        if error is not None:
            self._log_start(error)  # outside the lock: a slow log must hold up nobody who stops
        with self._lock:
            if self._state is _State.OVER:
                return
            self._state = _State.RETURNED
            if self._stopping:
                self._go_on()
            elif error is None:
                self._report.started()
            else:
                self._report.start_failed(error)

    def _log_start(self, error: BaseException) -> None:
        as_asked = self._stopping and isinstance(error, TermLost | asyncio.CancelledError)
        if not as_asked and self._state is not _State.OVER:
            _log.error("start of lock %s raised", self._term.lock_name, exc_info=error)

    def _go_on(self) -> None:
        """Take the next step of stopping, if it is due. The last stop waits until start has returned."""
        running = self._state is _State.RUNNING
        if self._state is _State.OVER or self._stop_runs or (running and self._stops_due < 2):
            return
        if self._stop is None or not self._stops_due:
            self._finish()
            return
        self._stops_due -= 1
        self._stop_runs = True
        self._stop.call(self._term, lambda: True, self._stop_returned)

    def _stop_returned(self, error: BaseException | None) -> None:
        if error is not None:
            _log.error("stop of lock %s raised", self._term.lock_name, exc_info=error)
        with self._lock:
            self._stop_runs = False
            self._go_on()

    def _finish(self) -> None:
        self._state = _State.OVER
        self._report.stopped()
