"""One run of a command: its executions in one term, one after the other.

A thread of the pool executes the command and, if its policy wants that, starts it again in place after a pause.
"""

import logging
import threading

from masterjob.concurrency.thread_pool import ThreadPool
from masterjob.election.ports import Report
from masterjob.election.term import LiveTerm
from masterjob.job_status import RunPhase
from masterjob.jobs.exec.command import ExecCommand
from masterjob.jobs.exec.execution import Execution, exec_fields
from masterjob.jobs.lifecycle import Errored, Exited, RestartAfter, RestartDue, RunEvent
from masterjob.jobs.policy import RunPolicy
from masterjob.jobs.run import Run, RunState

logger = logging.getLogger("masterjob.jobs.exec")

KILL_RESERVE = 0.1
"""Share of the stop timeout that is reserved for SIGKILL to take effect, and its maximum in seconds."""


class ExecRun(Run):
    """One run of a command."""

    def __init__(
        self,
        command: ExecCommand,
        policy: RunPolicy,
        pool: ThreadPool,
        term: LiveTerm,
        report: Report,
        stop_timeout: float,
    ) -> None:
        super().__init__(term, report, policy)
        self._command = command
        self._pool = pool
        self._grace_period = _compute_grace_period(stop_timeout)
        self._execution: Execution | None = None
        self._pause: float | None = None
        """Seconds until the command is started again; None if it is not."""
        self._stop_requested = threading.Event()

    def begin(self) -> None:
        """Start the command from a thread of the pool."""
        self._pool.submit(self._supervise)

    def set_stop_timeout(self, stop_timeout: float) -> None:
        """Change how long a later stop may take, in seconds. A stop under way keeps its own timeout."""
        with self._lock:
            self._grace_period = _compute_grace_period(stop_timeout)
            if self._execution is not None:
                self._execution.set_grace_period(self._grace_period)

    def _request_stop(self) -> None:
        self._stop_requested.set()
        if self._state is RunState.ENDED:
            self._finish()
        elif self._execution is not None:
            self._execution.stop()

    # --- on a thread of the pool, as long as the command runs or is to be started again

    def _supervise(self) -> None:
        if not self._try_begin():
            return
        self._execute()
        while self._pause is not None and not self._stop_requested.wait(self._pause) and self._may_restart():
            self._execute()
        with self._lock:
            if self._stopping:
                self._finish()
            else:
                self._state = RunState.ENDED

    def _may_restart(self) -> bool:
        trusted = self._term.trust_left > 0  # outside the lock, as in `Run`
        with self._lock:
            self._pause = None
            if trusted and not self._stopping:
                self._advance(RestartDue())
            return trusted and not self._stopping

    def _execute(self) -> None:
        execution = Execution(self._command, self._policy, self._pool, self._term, self._on_event)
        with self._lock:
            if self._stopping:
                return
            execution.set_grace_period(self._grace_period)
            self._execution = execution
        execution.run()
        with self._lock:
            self._execution = None

    def _on_event(self, event: RunEvent) -> None:
        """Act on what happens to the command, unless it was stopped; without trust, the election stops it."""
        trusted = self._term.trust_left > 0
        with self._lock:
            if self._stopping or (not trusted and _is_failure(event)):
                return
            action = self._advance(event)
            self._pause = action.seconds if isinstance(action, RestartAfter) else None
            phase = self._status.phase if self._status is not None else None
        if isinstance(event, Exited):
            self._log_exit(event, phase)

    def _log_exit(self, event: Exited, phase: RunPhase | None) -> None:
        lock_name, level = self._term.lock_name, logging.WARNING if phase is RunPhase.FAILED else logging.INFO
        fields = exec_fields(self._term, "command ended", reason=str(event.error), exit_code=event.exit_code)
        if self._pause is not None:
            message = "%s: %s; it is started again in %g s"
            logger.log(level, message, lock_name, event.error, self._pause, extra=fields)
        elif phase is RunPhase.COMPLETED:
            logger.info("%s: the command is done; the lock is kept", lock_name, extra=fields)
        elif self._policy.keeps_lock_after_failure:
            logger.warning("%s: %s; the lock is kept", lock_name, event.error, extra=fields)


def _is_failure(event: RunEvent) -> bool:
    return isinstance(event, Errored) or (isinstance(event, Exited) and event.exit_code != 0)


def _compute_grace_period(stop_timeout: float) -> float:
    """Return the seconds from SIGTERM to SIGKILL, which itself needs a part of the stop timeout."""
    return stop_timeout - min(KILL_RESERVE, stop_timeout * KILL_RESERVE)
