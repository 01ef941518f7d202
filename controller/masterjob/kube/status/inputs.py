"""Everything that the status of a MasterJob is computed from, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status.outages import DatabaseAccess
from masterjob.kube.status.own_runs import OwnRun
from masterjob.lock_status import LockStatus, MasterStatus
from masterjob.resource.problems import ProblemReason, ResourceProblem

_MASTER_WRITE_GRACE = timedelta(seconds=5)
"""How long after an election only the master writes the status."""

STALLED_AFTER = 3
"""The failures in a row, over all instances, after which waiting is not expected to help."""


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What is known of a resource. ``lock`` is None for a lock that was never used."""

    observed: ObservedResource
    lock: LockStatus | None = None
    database: DatabaseAccess = DatabaseAccess.ANSWERS
    """Otherwise ``lock`` is None."""
    problem: ResourceProblem | None = None
    newest_run: OwnRun | None = None
    """The newest run of this instance."""
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
    def own_run(self) -> OwnRun | None:
        """The run of this instance, if the newest term is its own."""
        term = self.lock.term if self.lock is not None else self.previous_status.get("term", 0)
        return self.newest_run if self.newest_run is not None and self.newest_run.term == term else None

    @property
    def is_run_recorded(self) -> bool:
        """Whether the database has the newest state of this instance's run: it is written a moment later."""
        return self.own_run is None or self.lock is None or self.own_run.is_recorded_in(self.lock.job)

    @property
    def is_stalled(self) -> bool:
        """Whether the job has failed too often in a row, and was not running since."""
        job = self.lock.job if self.lock is not None and self.owns_lock else None
        return job is not None and job.consecutive_failures >= STALLED_AFTER

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
    def is_first_election_pending(self) -> bool:
        """Whether the resource is so new that it has no status, and nothing is wrong: it gets a master soon."""
        if "conditions" in self.previous_status or self.problem is not None:
            return False
        return self.lock is None or (
            self.lock.state == "Vacant" and self.lock.master is None and not self.is_stalled
        )

    @property
    def is_database_behind(self) -> bool:
        """Whether the status has a higher term than the database, and must not be overwritten at once."""
        term = self.lock.term if self.lock is not None else 0
        return (
            self.database is DatabaseAccess.ANSWERS
            and self.owns_lock
            and term < self.previous_status.get("term", 0)
        )

    def is_left_to_master(self, now: datetime) -> bool:
        """Return whether another instance was just elected: it writes the status itself."""
        master = self.master
        if master is None or self.lock is None or self.own_run is not None:
            return False
        # By the database's clock, so it may be in our future.
        is_recent = abs(now - master.since) < _MASTER_WRITE_GRACE
        return self.lock.term > self.previous_status.get("term", 0) and is_recent
