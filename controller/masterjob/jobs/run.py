"""The job of one lock, and one run of it: what exec, http and python jobs have in common.

A run begins at most once, and reports its end once.

                    may begin                     ended
    +---------+ --------------> +---------+ --------------> +-------+
    | PENDING |                 | RUNNING |                 | ENDED |
    +---------+                 +---------+                 +-------+
         | stopped, or no trust      | ended, stopping          | stopped
         +----------------------> STOPPED <---------------------+

A stop can be requested in every state. A run is over only when nothing that it started still runs. What people see
of it, from Starting to its end, is in `masterjob.jobs.lifecycle`.
"""

import enum
import threading
from collections.abc import Callable

from masterjob.concurrency.clock import clock
from masterjob.concurrency.timers import call_later
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.job_status import RunStatus
from masterjob.jobs.lifecycle import (
    HandOver,
    ReportStarted,
    RunAction,
    RunEvent,
    StartCalled,
    StartTimePassed,
    StopRequested,
    advance,
)
from masterjob.jobs.policy import DEFAULT_POLICY, RunPolicy


class RunState(enum.Enum):
    """The state of a run."""

    PENDING = enum.auto()  # nothing was started yet
    RUNNING = enum.auto()
    ENDED = enum.auto()  # the job has ended without a stop
    STOPPED = enum.auto()


class Run:
    """One run. Its public methods may be called from any thread; they do not block and call no user code."""

    def __init__(self, term: LiveTerm, report: Report, policy: RunPolicy = DEFAULT_POLICY) -> None:
        self._term = term
        self._report = report
        self._policy = policy
        self._status: RunStatus | None = None
        self._state = RunState.PENDING
        self._stopping = False
        # Reports are sent under the lock, so that they arrive in order. It is reentrant because the receiver of a
        # report may call `stop`.
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Start the job without waiting for it, unless the run is stopped or its term lost before that."""
        raise NotImplementedError

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a later stop may take, in seconds. Some kinds of job have no use for it."""

    def stop(self) -> None:
        """End the term and stop the job. Further calls have no effect."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._term.end()
            if self._state is RunState.PENDING:
                self._finish()
                return
            self._advance(StopRequested())
            if self._state is not RunState.STOPPED:
                self._request_stop()

    def _request_stop(self) -> None:
        """Stop what `begin` started. Called once, under the lock."""
        raise NotImplementedError

    def _try_begin(self) -> bool:
        """Return whether the job may start now: True at most once, never after a stop or without trust."""
        trusted = self._term.trust_left > 0  # outside the lock: the term's source of trust may take a lock
        with self._lock:
            if self._state is not RunState.PENDING:
                return False
            if not trusted:
                self._finish()
                return False
            self._state = RunState.RUNNING
            self._advance(StartCalled())
            return True

    def _advance(self, event: RunEvent) -> RunAction | None:
        """Report how the event changes the run; return what is left to do. Called under the lock."""
        before = self._status
        self._status, action = advance(self._policy, before, event, clock())
        if self._status != before:
            self._report.progress(self._status)
        match action:
            case ReportStarted():
                self._report.started()
            case HandOver(error):
                self._report.start_failed(error)
        return action

    def _expect_start(self) -> None:
        """Count the job as running when its start time has passed, unless it has ended by then."""
        restarts = self._restarts
        call_later(self._policy.start_seconds, lambda: self._on_start_time(restarts))

    def _on_start_time(self, restarts: int) -> None:
        with self._lock:
            if self._state is RunState.RUNNING and restarts == self._restarts:
                self._advance(StartTimePassed())

    @property
    def _restarts(self) -> int:
        return 0 if self._status is None else self._status.restarts

    def _finish(self) -> None:
        """Report that the run is over. Called under the lock."""
        if self._state is not RunState.STOPPED:
            self._state = RunState.STOPPED
            self._report.stopped()


class JobRunner:
    """The job of one lock (the port `masterjob.election.ports.Job`): one run at a time, a new one for each term.

    ``create_run`` gets the term, the report and the stop timeout in seconds.
    """

    def __init__(self, create_run: Callable[[LiveTerm, Report, float], Run], stop_timeout: float) -> None:
        self._create_run = create_run
        self._stop_timeout = stop_timeout
        self._run: Run | None = None

    def start(self, term: LiveTerm, report: Report) -> None:
        """Begin a run, unless the term is lost."""
        self._run = self._create_run(term, report, self._stop_timeout)
        self._run.begin()

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a stop may take, in seconds: for the current run and for later ones."""
        self._stop_timeout = stop_timeout
        if self._run is not None:
            self._run.set_stop_timeout(stop_timeout)

    def stop(self) -> None:
        """Stop the latest run. Further calls for the same run have no effect."""
        if self._run is not None:
            self._run.stop()
