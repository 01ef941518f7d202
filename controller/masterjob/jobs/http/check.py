"""The check of a service: a GET at an interval while the job runs.

    GET <check>
    X-Fencing-Token: 1763760000123

2xx means that the service runs the job in this term. 404 means that it does not, because it has restarted: its
start is called again, with the same term. Anything else, or no answer within the timeout, is a failed check, and
so is 404. After ``failures`` failed checks in a row the run has failed, and another instance takes over.
"""

import enum
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from masterjob.concurrency.timers import call_later
from masterjob.election.term import LiveTerm
from masterjob.errors import describe
from masterjob.jobs.http.request import HeaderReader, HookAttempt, HookFailed, HookRequest

logger = logging.getLogger("masterjob.jobs.http")

DEFAULT_INTERVAL, DEFAULT_TIMEOUT, DEFAULT_FAILURES = 10.0, 2.0, 3

NOT_RUNNING = 404
"""The status with which a service answers that it does not run the job."""


@dataclass(frozen=True, slots=True)
class Check:
    """How a service is checked. ``interval``: seconds between two checks. ``timeout``: seconds for a whole one."""

    url: str
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    failures: int = DEFAULT_FAILURES


class FollowUp(enum.Enum):
    """What follows from a check."""

    CONFIRM = enum.auto()  # it runs
    WAIT = enum.auto()  # for the next check
    START_AGAIN = enum.auto()
    FAIL = enum.auto()


class CheckResults:
    """The results of the checks of one run, one after the other. Not thread-safe."""

    def __init__(self, failures: int) -> None:
        self._limit = failures
        self._failures = 0
        self._is_first = True  # after a start

    def add(self, error: HookFailed | None) -> FollowUp:
        """Count a result, None if the service runs the job; return what follows.

        The first check comes right after a start. If it says that the job does not run, the service gets an
        interval of time before it is started again: it may begin the work a little later than it answers.
        """
        is_first, self._is_first = self._is_first, False
        if error is None:
            self._failures = 0
            return FollowUp.CONFIRM
        self._failures += 1
        if self._failures >= self._limit:
            return FollowUp.FAIL
        self._is_first = error.status == NOT_RUNNING and not is_first
        return FollowUp.START_AGAIN if self._is_first else FollowUp.WAIT


class CheckCall:
    """One check. ``on_result`` is called once, within the timeout, with the error or None."""

    def __init__(
        self,
        check: Check,
        headers: Mapping[str, HeaderReader],
        term: LiveTerm,
        on_result: Callable[[HookFailed | None], None],
    ) -> None:
        self._check = check
        self._headers = headers
        self._term = term
        self._on_result = on_result
        self._attempt = HookAttempt()
        self._reported = threading.Lock()  # acquired once, by the first result

    def send(self) -> None:
        """Send the request, and report the result. This blocks; the result does not wait for it."""
        call_later(self._check.timeout, self._expire)
        error: HookFailed | None = None
        try:
            token = {"X-Fencing-Token": str(self._term.number), "User-Agent": "masterjob"}
            headers = token | {name: value() for name, value in self._headers.items()}
            self._attempt.send(HookRequest("GET", self._check.url, headers), self._check.timeout)
        except HookFailed as failure:
            error = failure
        except Exception as failure:
            logger.exception("%s: the check raised", self._term.lock_name)
            error = HookFailed(describe(failure), retryable=False)
        self._report_once(error)

    def cancel(self) -> None:
        """Send nothing more, and report nothing."""
        self._reported.acquire(blocking=False)
        self._attempt.cancel()

    def _expire(self) -> None:
        """Give up. The thread that sends may still hang, for example in the resolution of the name."""
        url = HookRequest("GET", self._check.url).redacted_url
        self._report_once(HookFailed(f"{url} did not answer within {self._check.timeout:g} s", retryable=False))
        self._attempt.cancel()

    def _report_once(self, error: HookFailed | None) -> None:
        if self._reported.acquire(blocking=False):
            self._on_result(error)
