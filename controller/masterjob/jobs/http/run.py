"""One run of HTTP hooks: the start call, then the stop call, each with a deadline."""

import logging
import threading

from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.http.call import HookCall, Hooks
from masterjob.jobs.http.request import HookFailed
from masterjob.jobs.lifecycle import Errored, StartReturned
from masterjob.jobs.run import Run

logger = logging.getLogger("masterjob.jobs.http")


class HttpRun(Run):
    """One run of HTTP hooks."""

    def __init__(
        self, hooks: Hooks, pool: ThreadPool, term: LiveTerm, report: Report, stop_timeout: float
    ) -> None:
        super().__init__(term, report)
        self._hooks = hooks
        self._pool = pool
        self._stop_timeout = stop_timeout
        self._start_call = HookCall(hooks, lambda: term.trust_left)

    def begin(self) -> None:
        """Post the start from a thread of the pool."""
        self._pool.submit(self._post_start)

    def _post_start(self) -> None:
        if not self._try_begin():
            return
        done = threading.Event()
        self._pool.submit(lambda: self._enforce_start_deadline(done))
        error = self._post(self._start_call, self._hooks.start, "start")
        done.set()
        with self._lock:
            if not self._stopping:
                self._advance(StartReturned() if error is None else Errored(error))

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a later stop call may take, in seconds."""
        with self._lock:
            self._stop_timeout = stop_timeout

    def _request_stop(self) -> None:
        self._start_call.cancel()
        url = self._hooks.stop
        if url is None:
            self._finish()
            return
        seconds, done = self._stop_timeout, threading.Event()
        deadline = clock() + seconds
        call = HookCall(self._hooks, lambda: deadline - clock())
        self._pool.submit(lambda: self._post_stop(call, url, done))
        self._pool.submit(lambda: self._enforce_stop_deadline(call, done, seconds))

    def _enforce_start_deadline(self, done: threading.Event) -> None:
        """Cancel the call if the service answers a byte at a time."""
        if not done.wait(self._hooks.max_duration):
            self._start_call.cancel()

    def _post(self, call: HookCall, url: str, event: str) -> Exception | None:
        try:
            call.post(url, self._term, event)
        except HookFailed as error:
            return error
        except Exception as error:
            logger.exception("%s: the call of the %s hook raised", self._term.lock_name, event)
            return error
        return None

    def _post_stop(self, call: HookCall, url: str, done: threading.Event) -> None:
        error = self._post(call, url, "stop")
        if error is not None:
            logger.error("%s: the stop was not confirmed: %s", self._term.lock_name, error)
        done.set()
        with self._lock:
            self._finish()

    def _enforce_stop_deadline(self, call: HookCall, done: threading.Event, seconds: float) -> None:
        """End the run when the stop timeout is over, whatever the service does."""
        if not done.wait(seconds):
            call.cancel()
            with self._lock:
                self._finish()
