"""One run of HTTP hooks: the start call, the checks, then the stop call, each with a deadline."""

import logging
import threading

from masterjob.concurrency.clock import clock
from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.concurrency.timers import call_later
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.jobs.http.call import HookCall, Hooks
from masterjob.jobs.http.check import Check, CheckCall, CheckResults, FollowUp
from masterjob.jobs.http.request import HookFailed
from masterjob.jobs.lifecycle import Errored, FoundStopped, StartReturned
from masterjob.jobs.run import Run
from masterjob.log_fields import log_fields

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
        self._start_call = self._new_start_call()
        self._check_call: CheckCall | None = None
        self._check_results = CheckResults(hooks.check.failures if hooks.check is not None else 0)

    def begin(self) -> None:
        """Post the start from a thread of the pool."""
        self._pool.submit(self._begin)

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a later stop call may take, in seconds."""
        with self._lock:
            self._stop_timeout = stop_timeout

    def _request_stop(self) -> None:
        self._start_call.cancel()
        if self._check_call is not None:
            self._check_call.cancel()
        url = self._hooks.stop
        if url is None:
            self._finish()
            return
        seconds, done = self._stop_timeout, threading.Event()
        deadline = clock() + seconds
        call = HookCall(self._hooks, lambda: deadline - clock())
        self._pool.submit(lambda: self._post_stop(call, url, done))
        self._pool.submit(lambda: self._enforce_stop_deadline(call, done, seconds))

    # --- the start

    def _new_start_call(self) -> HookCall:
        return HookCall(self._hooks, lambda: self._term.trust_left)

    def _begin(self) -> None:
        if self._try_begin():
            self._post_start(self._start_call)

    def _post_start(self, call: HookCall) -> None:
        done = threading.Event()
        self._pool.submit(lambda: self._enforce_start_deadline(call, done))
        error = self._post(call, self._hooks.start, "start")
        done.set()
        check = self._hooks.check
        with self._lock:
            if self._stopping:
                return
            if error is not None:
                self._advance(Errored(error))
            elif check is None:
                self._advance(StartReturned())
            else:
                self._pool.submit(lambda: self._send_check(check))

    def _enforce_start_deadline(self, call: HookCall, done: threading.Event) -> None:
        """Cancel the call if the service answers a byte at a time."""
        if not done.wait(self._hooks.max_duration):
            call.cancel()

    # --- the checks

    def _send_check(self, check: Check) -> None:
        call = CheckCall(check, self._hooks.headers, self._term, lambda error: self._on_check_result(check, error))
        with self._lock:
            if self._stopping:
                return
            self._check_call = call
        call.send()

    def _on_check_result(self, check: Check, error: HookFailed | None) -> None:
        trusted = self._term.trust_left > 0  # outside the lock, as in `Run`
        with self._lock:
            if self._stopping or not trusted:  # without trust, the election stops the run
                return
            follow_up = self._check_results.add(error)
            self._act_on_check(follow_up, check, error)
        if error is not None:
            again = "; the start is called again" if follow_up is FollowUp.START_AGAIN else ""
            logger.warning("%s: the check has failed: %s%s", self._term.lock_name, error, again)

    def _act_on_check(self, follow_up: FollowUp, check: Check, error: HookFailed | None) -> None:
        if error is None:
            self._advance(StartReturned())
        elif follow_up is FollowUp.FAIL:
            text = f"{check.failures} checks in a row have failed: {error}" if check.failures > 1 else str(error)
            self._advance(Errored(HookFailed(text, retryable=False)))
            return
        elif follow_up is FollowUp.START_AGAIN:
            self._advance(FoundStopped(error))
            self._start_call = call = self._new_start_call()
            self._pool.submit(lambda: self._post_start(call))
            return
        call_later(check.interval, lambda: self._pool.submit(lambda: self._send_check(check)))

    # --- any call

    def _post(self, call: HookCall, url: str, event: str) -> Exception | None:
        try:
            call.post(url, self._term, event)
        except HookFailed as error:
            return error
        except Exception as error:
            logger.exception(
                "%s: the call of the %s hook raised", self._term.lock_name, event, extra=self._log_fields()
            )
            return error
        return None

    def _log_fields(self) -> dict[str, object]:
        return log_fields(lock=self._term.lock_name, term=self._term.number)

    # --- the stop

    def _post_stop(self, call: HookCall, url: str, done: threading.Event) -> None:
        error = self._post(call, url, "stop")
        if error is not None:
            fields = self._log_fields() | log_fields(event="stop failed", reason=str(error))
            logger.error("%s: the stop was not confirmed: %s", self._term.lock_name, error, extra=fields)
        done.set()
        with self._lock:
            self._finish()

    def _enforce_stop_deadline(self, call: HookCall, done: threading.Event, seconds: float) -> None:
        """End the run when the stop timeout is over, whatever the service does."""
        if not done.wait(seconds):
            call.cancel()
            with self._lock:
                self._finish()
