"""What this instance does as master, put together from the steps of its election.

Source: design section 6.3.
"""

import threading
from collections.abc import Iterator

from masterjob.election.core.actions import RecordTransition, StartJob, StopJob
from masterjob.election.core.events import Failure, JobStartFailed, JobStopped, Reply
from masterjob.election.observers import Step
from masterjob.election.values import HistoryEntry, Term
from masterjob.kube.status.inputs import JobPhase, JobState


class JobTracker:
    """The newest term of each lock that this instance served. `track` is for one thread, the rest for any."""

    def __init__(self) -> None:
        self._job_states: dict[str, JobState] = {}
        self._lock = threading.Lock()

    def state_of(self, lock_name: str) -> JobState | None:
        """What this instance does, or did last, for the lock."""
        with self._lock:
            return self._job_states.get(lock_name)

    def is_master_of(self, lock_name: str) -> bool:
        """Whether this instance is its master, as far as it was told."""
        job_state = self.state_of(lock_name)
        return job_state is not None and job_state.phase in (JobPhase.RUNNING, JobPhase.STOPPING)

    def track(self, step: Step) -> list[str]:
        """Take in one step of the election; return the locks of which there is something new to tell."""
        with self._lock:
            return [term.lock_name for term, doing in self._transitions(step) if self._store(term, doing)]

    def _transitions(self, step: Step) -> Iterator[tuple[Term, JobState]]:
        """What happened comes before what was ordered because of it."""
        match step.event:
            case JobStartFailed(term, error):
                yield term, JobState(term.number, JobPhase.FAILED, f"start failed: {error}")
            case JobStopped(term):
                yield term, self._stopped_state(term)
        for action in step.actions:
            match action:
                case StartJob(term):
                    yield term, JobState(term.number, JobPhase.RUNNING)
                case StopJob(term, reason):
                    yield term, self._stopping_state(term, reason)

    def _stopped_state(self, term: Term) -> JobState:
        """A start that failed stays the reason why nothing runs."""
        previous = self._job_states.get(term.lock_name)
        if previous is not None and previous.phase is JobPhase.FAILED and previous.term == term.number:
            return previous
        return JobState(term.number, JobPhase.STOPPED)

    def _stopping_state(self, term: Term, reason: str) -> JobState:
        stopped_state = self._stopped_state(term)
        return (
            stopped_state
            if stopped_state.phase is JobPhase.FAILED
            else JobState(term.number, JobPhase.STOPPING, reason)
        )

    def _store(self, term: Term, job_state: JobState) -> bool:
        is_changed = self._job_states.get(term.lock_name) != job_state
        self._job_states[term.lock_name] = job_state
        return is_changed


def history_entries(step: Step) -> list[HistoryEntry]:
    """Return what this step adds to the history."""
    return [action.entry for action in step.actions if isinstance(action, RecordTransition)]


def is_database_answering(step: Step) -> bool | None:
    """Return whether the database gave an answer; None where this step says nothing of it."""
    return isinstance(step.event, Reply) if isinstance(step.event, Reply | Failure) else None
