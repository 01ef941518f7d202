"""Everything that the status of a MasterJob is computed from, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status.job_tracker import JobState
from masterjob.lock_status import LockStatus, MasterStatus
from masterjob.resource.problems import ProblemReason, ResourceProblem

_MASTER_WRITE_GRACE = timedelta(seconds=5)
"""How long after an election only the master writes the status."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What is known of a resource. ``lock`` is None for a lock that was never used."""

    observed: ObservedResource
    lock: LockStatus | None = None
    database_error: str | None = None
    """Why the database could not be read; ``lock`` is None then."""
    problem: ResourceProblem | None = None
    job_state: JobState | None = None
    timing: Mapping[str, str | int] | None = None
    """The timing in effect for this instance."""
    applied_generation: int = 0
    """The newest generation that this instance has written to the database."""

    @property
    def previous_status(self) -> Mapping[str, Any]:
        """The status that the resource has now."""
        return self.observed.status

    @property
    def owns_lock(self) -> bool:
        """Whether this resource owns the lock that it names, rather than an older one."""
        return self.problem is None or self.problem.reason is not ProblemReason.CONFLICT

    @property
    def master(self) -> MasterStatus | None:
        """The master of the lock, if this resource owns it."""
        return self.lock.master if self.lock is not None and self.owns_lock else None

    @property
    def is_same_term(self) -> bool:
        """Whether the previous status is of the lock's newest term."""
        term = self.previous_status.get("term", 0)
        return bool(term) and (self.lock is None or self.lock.term == term)

    @property
    def own_job_state(self) -> JobState | None:
        """The job of this instance, if the newest term is its own."""
        term = self.lock.term if self.lock is not None else self.previous_status.get("term", 0)
        return self.job_state if self.job_state is not None and self.job_state.term == term else None

    @property
    def observed_generation(self) -> int:
        """The newest generation whose switch is in the database, or that cannot have one. It never decreases."""
        previous_generation: int = self.previous_status.get("observedGeneration", 0)
        has_no_switch = not self.owns_lock or self.observed.error is not None
        processed_generation = (
            self.observed.generation if has_no_switch else min(self.applied_generation, self.observed.generation)
        )
        return max(previous_generation, processed_generation)

    @property
    def is_disable_pending(self) -> bool:
        """Whether the resource is disabled, but not in the database: not yet, or not any more."""
        resource, lock = self.observed.resource, self.lock
        return (
            self.owns_lock and resource is not None and not resource.enabled and lock is not None and lock.enabled
        )

    @property
    def is_reportable(self) -> bool:
        """Whether this instance knows enough to write the status.

        An instance that cannot read the database does not know whether others can. It reports that only if it was
        the master, or if there is no status yet.
        """
        return (
            self.database_error is None
            or self.own_job_state is not None
            or "conditions" not in self.previous_status
        )

    @property
    def is_database_behind(self) -> bool:
        """Whether the status has a higher term than the database, and must not be overwritten at once."""
        term = self.lock.term if self.lock is not None else 0
        return self.database_error is None and self.owns_lock and term < self.previous_status.get("term", 0)

    def is_left_to_master(self, now: datetime) -> bool:
        """Return whether another instance was just elected: it writes the status itself, with its job's state."""
        master = self.master
        if master is None or self.lock is None or self.own_job_state is not None:
            return False
        # By the database's clock, so it may be in our future.
        is_recent = abs(now - master.since) < _MASTER_WRITE_GRACE
        return self.lock.term > self.previous_status.get("term", 0) and is_recent
