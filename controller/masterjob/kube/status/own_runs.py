"""What this instance does as master of each lock, derived from the steps of its election."""

import threading
from dataclasses import dataclass, replace

from masterjob.election.core.actions import StartJob, StopJob
from masterjob.election.core.events import JobRunChanged, JobStopped
from masterjob.election.observers import Step
from masterjob.election.values import Term
from masterjob.job_status import FINAL_PHASES, JobStatus, RunPhase, RunStatus


@dataclass(frozen=True, slots=True)
class OwnRun:
    """The newest term that this instance had of a lock. ``run`` is None until the job's start was called."""

    term: int
    run: RunStatus | None = None
    is_lost: bool = False
    """Whether the mastership was lost, rather than given up."""
    is_over: bool = False
    """Whether nothing of the job runs any more."""

    @property
    def phase(self) -> RunPhase | None:
        """The phase as the database will have it; None if the job was not started, or was stopped."""
        if self.run is None or (self.is_over and self.run.phase not in FINAL_PHASES):
            return None
        return self.run.phase

    def is_recorded_in(self, job: JobStatus | None) -> bool:
        """Return whether the database has the newest state of this run."""
        if self.run is None:
            return True
        return (
            job is not None
            and job.term == self.term
            and (job.phase, job.restarts) == (self.phase, self.run.restarts)
        )


class OwnRuns:
    """The newest term of each lock that this instance was master of.

    Call `track` from one thread; the other methods may be called from any.
    """

    def __init__(self) -> None:
        self._runs: dict[str, OwnRun] = {}
        self._lock = threading.Lock()

    def get(self, lock_name: str) -> OwnRun | None:
        """Return the newest run of this instance, or None if it was never master of the lock."""
        with self._lock:
            return self._runs.get(lock_name)

    def is_master_of(self, lock_name: str) -> bool:
        """Return whether this instance is the master of the lock, as far as it knows."""
        own_run = self.get(lock_name)
        return own_run is not None and not own_run.is_over

    def track(self, step: Step) -> list[str]:
        """Record a step of the election; return the locks whose run has changed."""
        with self._lock:
            changed = []
            match step.event:  # before the actions that follow from it
                case JobRunChanged(term, run):
                    changed += self._update(term, run=run)
                case JobStopped(term):
                    changed += self._update(term, is_over=True)
            for action in step.actions:
                match action:
                    case StartJob(term):
                        self._runs[term.lock_name] = OwnRun(term.number)
                        changed.append(term.lock_name)
                    case StopJob(term, _, is_lost):
                        changed += self._update(term, is_lost=is_lost)
            return changed

    def _update(self, term: Term, **changes: RunStatus | bool) -> list[str]:
        before = self._runs.get(term.lock_name)
        if before is None or before.term != term.number:
            return []
        after = self._runs[term.lock_name] = replace(before, **changes)  # type: ignore[arg-type]  # typed fields
        return [] if after == before else [term.lock_name]
