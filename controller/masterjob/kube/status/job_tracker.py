"""What this instance does as master of each lock, derived from the steps of its election."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from masterjob.election.core.actions import RecordTransition, StartJob, StopJob
from masterjob.election.core.events import Failure, JobStartFailed, JobStopped, Reply
from masterjob.election.observers import Step
from masterjob.election.values import HistoryEntry, Term


class JobPhase(StrEnum):
    """The phase of the job in this instance's term."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Its start raised; nothing of it runs."""


@dataclass(frozen=True, slots=True)
class JobState:
    """The job of this instance's newest term; ``reason``: why it is being stopped, or failed."""

    term: int
    phase: JobPhase
    reason: str = ""


class JobTracker:
    """The newest term of each lock that this instance was master of.

    Call `track` from one thread; the other methods may be called from any.
    """

    def __init__(self) -> None:
        self._job_states: dict[str, JobState] = {}
        self._lock = threading.Lock()

    def state_of(self, lock_name: str) -> JobState | None:
        """Return the state of this instance's job, or None if it was never master of the lock."""
        with self._lock:
            return self._job_states.get(lock_name)

    def is_master_of(self, lock_name: str) -> bool:
        """Return whether this instance is the master of the lock, as far as it knows."""
        job_state = self.state_of(lock_name)
        return job_state is not None and job_state.phase in (JobPhase.RUNNING, JobPhase.STOPPING)

    def track(self, step: Step) -> list[str]:
        """Record a step of the election; return the locks whose job state has changed."""
        with self._lock:
            return [term.lock_name for term, state in self._transitions(step) if self._store(term, state)]

    def _transitions(self, step: Step) -> Iterator[tuple[Term, JobState]]:
        match step.event:  # before the actions that follow from it
            case JobStartFailed(term, error):
                yield term, JobState(term.number, JobPhase.FAILED, f"start failed: {error}")
            case JobStopped(term) if not self._has_failed(term):
                yield term, JobState(term.number, JobPhase.STOPPED)
        for action in step.actions:
            match action:
                case StartJob(term):
                    yield term, JobState(term.number, JobPhase.RUNNING)
                case StopJob(term, reason) if not self._has_failed(term):
                    yield term, JobState(term.number, JobPhase.STOPPING, reason)

    def _has_failed(self, term: Term) -> bool:
        # A failed start stays the reason why nothing runs, whatever follows in its term.
        state = self._job_states.get(term.lock_name)
        return state is not None and state.phase is JobPhase.FAILED and state.term == term.number

    def _store(self, term: Term, job_state: JobState) -> bool:
        is_changed = self._job_states.get(term.lock_name) != job_state
        self._job_states[term.lock_name] = job_state
        return is_changed


def history_entries(step: Step) -> list[HistoryEntry]:
    """Return the entries that this step adds to the history."""
    return [action.entry for action in step.actions if isinstance(action, RecordTransition)]


def is_database_answering(step: Step) -> bool | None:
    """Return whether the database has answered, or None if the step does not show it."""
    return isinstance(step.event, Reply) if isinstance(step.event, Reply | Failure) else None
