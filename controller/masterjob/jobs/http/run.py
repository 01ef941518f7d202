"""One run of hooks: the start posted, then the stop, neither waited for longer than it may take."""

import logging
import threading

from masterjob.election.clock import clock
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.crew import Crew
from masterjob.jobs.http.call import Call, Hooks
from masterjob.jobs.http.exchange import CallFailed
from masterjob.jobs.run import Run

_log = logging.getLogger("masterjob.jobs.http")


class HttpRun(Run):
    """One run. `stop` may be called from any thread and never blocks."""

    def __init__(self, hooks: Hooks, crew: Crew, stop_timeout: float, term: LiveTerm, report: Report) -> None:
        super().__init__(term, report)
        self._hooks = hooks
        self._crew = crew
        self._stop_timeout = stop_timeout
        self._start = Call(hooks, lambda: term.trust_left)

    def begin(self) -> None:
        """Post the start, unless the run is stopped or its term lost before that. On the crew."""
        if not self._may_begin():
            return
        ended = threading.Event()
        self._crew.run(lambda: self._limit_start(ended))
        error = self._outcome(self._start, self._hooks.start, "start")
        ended.set()
        with self._lock:
            if self._stopping:
                return
            if error is None:
                self._report.started()
            else:
                self._report.start_failed(error)

    def stop_within(self, seconds: float) -> None:
        """Wait for the answer to a stop that is still to come no longer than that."""
        with self._lock:
            self._stop_timeout = seconds

    def _stop(self) -> None:
        self._start.break_off()
        url = self._hooks.stop
        if url is None:
            self._finish()
            return
        seconds, ended = self._stop_timeout, threading.Event()
        ends_at = clock() + seconds
        call = Call(self._hooks, lambda: ends_at - clock())
        self._crew.run(lambda: self._post_stop(call, url, ended))
        self._crew.run(lambda: self._limit_stop(call, ended, seconds))

    def _limit_start(self, ended: threading.Event) -> None:
        """Do not hear out a service that answers a byte at a time."""
        if not ended.wait(self._hooks.longest):
            self._start.break_off()

    def _outcome(self, call: Call, url: str, event: str) -> Exception | None:
        try:
            call.post(url, self._term, event)
        except CallFailed as error:
            return error
        except Exception as error:
            _log.exception("%s: a defect in the call of its %s", self._term.lock_name, event)
            return error
        return None

    def _post_stop(self, call: Call, url: str, ended: threading.Event) -> None:
        error = self._outcome(call, url, "stop")
        if error is not None:
            _log.error("%s: the stop was not confirmed: %s", self._term.lock_name, error)
        ended.set()
        with self._lock:
            self._finish()

    def _limit_stop(self, call: Call, ended: threading.Event, seconds: float) -> None:
        """Wait no longer than the stop timeout, whatever the other side does."""
        if not ended.wait(seconds):
            call.break_off()
            with self._lock:
                self._finish()
