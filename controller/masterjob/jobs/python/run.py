"""One run of a Python job with ``start``: one ``start``, then ``stop``.

The run is over when ``start`` has returned and then the last ``stop`` has returned. So if ``start`` is a function
that has not returned yet, ``stop`` is called twice: at once, because ``start`` may block until then, and again
when ``start`` has returned, because it may have started something after the first ``stop``. A coroutine is
cancelled instead.
"""

import asyncio
import contextlib
import logging

from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.errors import TermLost, describe
from masterjob.jobs.lifecycle import Errored, StartReturned
from masterjob.jobs.policy import RunPolicy
from masterjob.jobs.python.callables import Cancel, JobCallable
from masterjob.jobs.run import Run, RunState
from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob.jobs")


class StartStopRun(Run):
    """One run of a Python job with ``start``."""

    def __init__(
        self, start: JobCallable, stop: JobCallable | None, policy: RunPolicy, term: LiveTerm, report: Report
    ) -> None:
        super().__init__(term, report, policy)
        self._user_start = start
        self._user_stop = stop
        self._pending_stops = 0  # how many calls of the user's stop are still to come
        self._stop_in_flight = False
        self._cancel_start: Cancel = lambda: None

    def begin(self) -> None:
        """Schedule the user's start on its thread or event loop."""
        with self._lock:
            self._cancel_start = self._user_start.call(self._term, self._try_call, self._on_start_returned)

    def _try_call(self) -> bool:
        may_begin = self._try_begin()
        if may_begin:
            self._expect_start()
        return may_begin

    def _request_stop(self) -> None:
        self._pending_stops = self._required_stops()
        if self._state is RunState.RUNNING:
            self._cancel_start()
        self._advance_stop()

    def _required_stops(self) -> int:
        if self._user_stop is None:
            return 0
        return 2 if self._state is RunState.RUNNING and not self._user_start.can_cancel else 1

    def _on_start_returned(self, error: BaseException | None) -> None:
        with self._lock:
            if self._state is RunState.STOPPED:
                return
            self._state = RunState.ENDED
            stopping = self._stopping
            if stopping:
                self._advance_stop()
            else:
                self._advance(StartReturned() if error is None else Errored(error))
        is_expected = stopping and isinstance(error, TermLost | asyncio.CancelledError)
        if error is not None and not is_expected:
            log_error("start", self._term, error)

    def _advance_stop(self) -> None:
        """Take the next step of the stop, if it is due. The last call of stop waits until start has returned."""
        running = self._state is RunState.RUNNING
        if self._state is RunState.STOPPED or self._stop_in_flight or (running and self._pending_stops < 2):
            return
        if self._user_stop is None or not self._pending_stops:
            self._finish()
            return
        self._pending_stops -= 1
        self._stop_in_flight = True
        self._user_stop.call(self._term, lambda: True, self._on_stop_returned)

    def _on_stop_returned(self, error: BaseException | None) -> None:
        with self._lock:
            self._stop_in_flight = False
            self._advance_stop()
        if error is not None:
            log_error("stop", self._term, error)


def log_error(function_name: str, term: LiveTerm, error: BaseException) -> None:
    """Log the error of a user's function. Call it without a lock, after reports: handlers may be slow or fail."""
    with contextlib.suppress(Exception):
        name = term.lock_name
        fields = log_fields(lock=name, term=term.number, event=f"{function_name} failed", reason=describe(error))
        logger.error("%s of lock %s raised", function_name, name, exc_info=error, extra=fields)
