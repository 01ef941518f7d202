"""One run of a Python job with ``run``: its calls in one term, one after the other.

A ``run`` that returns has completed, and one that raises has failed. If its policy wants that, it is called again
after a pause. The run is over when ``run`` and ``stop`` have returned.
"""

import asyncio
import logging
from collections.abc import Callable

from masterjob.concurrency.clock import clock
from masterjob.concurrency.timers import call_later
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.errors import MasterJobError, TermLost
from masterjob.jobs.lifecycle import Errored, Raised, RestartAfter, RestartDue, Returned, RunAction
from masterjob.jobs.policy import RunPolicy
from masterjob.jobs.python.callables import Cancel, JobCallable
from masterjob.jobs.python.run import log_error
from masterjob.jobs.run import Run, RunState

logger = logging.getLogger("masterjob.jobs")


class RunFunctionRun(Run):
    """One run of a Python job with ``run``."""

    def __init__(
        self, function: JobCallable, stop: JobCallable | None, policy: RunPolicy, term: LiveTerm, report: Report
    ) -> None:
        super().__init__(term, report, policy)
        self._function = function
        self._user_stop = stop
        self._stop_in_flight = False
        self._called_at = 0.0
        self._cancel_function: Cancel = lambda: None

    def begin(self) -> None:
        """Schedule the user's function on its thread or event loop."""
        self._call(self._try_begin)

    def _call(self, try_begin: Callable[[], bool]) -> None:
        is_called = False

        def try_call() -> bool:
            nonlocal is_called
            is_called = try_begin()
            if is_called:
                self._called_at = clock()
                self._expect_start()
            return is_called

        def on_return(error: BaseException | None) -> None:
            if is_called:
                self._on_returned(error)
            elif error is not None:
                self._on_uncallable(error)

        with self._lock:
            if not self._stopping:
                self._cancel_function = self._function.call(self._term, try_call, on_return)

    def _try_restart(self) -> bool:
        trusted = self._term.trust_left > 0  # outside the lock, as in `Run`
        with self._lock:
            if self._stopping or not trusted:
                return False
            self._state = RunState.RUNNING
            self._advance(RestartDue())
            return True

    def _on_uncallable(self, error: BaseException) -> None:
        """Act on an event loop that was closed before the function could be called."""
        with self._lock:
            if self._stopping:
                return
            if self._state is RunState.ENDED:  # in the pause before a restart
                self._advance(RestartDue())
            self._state = RunState.ENDED
            self._advance(Errored(error))
        log_error("run", self._term, error)

    def _on_returned(self, error: BaseException | None) -> None:
        trusted = self._term.trust_left > 0
        action: RunAction | None = None
        with self._lock:
            self._state = RunState.ENDED
            stopping = self._stopping
            if stopping:
                self._advance_stop()
            elif trusted:  # otherwise the election stops the run, and the end of the trust may be why it returned
                action = self._advance(self._describe_end(error))
                if isinstance(action, RestartAfter):
                    call_later(action.seconds, lambda: self._call(self._try_restart))
        if error is not None:
            if not (stopping and isinstance(error, TermLost | asyncio.CancelledError)):
                log_error("run", self._term, error)
        elif trusted and not stopping:
            self._log_return(action)

    def _describe_end(self, error: BaseException | None) -> Raised | Returned:
        if error is not None:
            return Raised(error)
        return Returned(MasterJobError(f"run has returned after {clock() - self._called_at:.1f} s"))

    def _log_return(self, action: RunAction | None) -> None:
        follows = "the lock is kept"
        if isinstance(action, RestartAfter):
            follows = f"it is called again in {action.seconds:g} s"
        logger.info("%s: run has returned; %s", self._term.lock_name, follows)

    # --- the stop

    def _request_stop(self) -> None:
        if self._state is RunState.ENDED:
            self._finish()
            return
        self._cancel_function()
        self._advance_stop()

    def _advance_stop(self) -> None:
        """Take the next step of the stop: a function is asked to return, but a coroutine is awaited first."""
        running = self._state is RunState.RUNNING
        if self._stop_in_flight or (running and self._function.can_cancel):
            return
        if self._user_stop is not None:
            stop, self._user_stop, self._stop_in_flight = self._user_stop, None, True
            stop.call(self._term, lambda: True, self._on_stop_returned)
        elif not running:
            self._finish()

    def _on_stop_returned(self, error: BaseException | None) -> None:
        with self._lock:
            self._stop_in_flight = False
            self._advance_stop()
        if error is not None:
            log_error("stop", self._term, error)
