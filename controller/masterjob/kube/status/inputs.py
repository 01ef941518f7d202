"""Everything that the status of a MasterJob is made of, as values.

What the database has comes from the store, what the resource says from the mirror, why it cannot be done from the
controller; what this instance does itself is `JobState`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from masterjob.kube.informer.object import ObservedResource
from masterjob.kube.status.conditions import ConditionReason
from masterjob.lock_status import LockStatus, MasterStatus


class JobPhase(StrEnum):
    """How far the job of this instance's term is."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Its start raised; nothing of it runs."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What this instance does, or did last, as master of a lock; ``reason`` why it stops or failed."""

    term: int
    phase: JobPhase
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """Why a resource cannot be done as it says."""

    reason: ConditionReason
    message: str


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What is known of a resource. ``lock`` is None for a lock that was never used."""

    observed: ObservedResource
    lock: LockStatus | None = None
    database_error: str | None = None
    """Why the database cannot be read, where it cannot; then ``lock`` is None too."""
    problem: StatusProblem | None = None
    job_state: JobState | None = None
    timing: Mapping[str, str | int] | None = None
    """The timing in effect for this instance."""
    applied_generation: int = 0
    """The generation whose switch this instance knows to be in the database."""

    @property
    def previous_status(self) -> Mapping[str, Any]:
        """The status as it is."""
        return self.observed.status

    @property
    def owns_lock(self) -> bool:
        """Whether the lock is this resource's, and not that of an older one."""
        return self.problem is None or self.problem.reason is not ConditionReason.CONFLICT

    @property
    def master(self) -> MasterStatus | None:
        """Who is master by this resource."""
        return self.lock.master if self.lock is not None and self.owns_lock else None

    @property
    def own_job_state(self) -> JobState | None:
        """What this instance does in the newest term, if that is its own."""
        term = self.lock.term if self.lock is not None else self.previous_status.get("term", 0)
        return self.job_state if self.job_state is not None and self.job_state.term == term else None

    @property
    def observed_generation(self) -> int:
        """The newest generation that is answered, by its switch in the database, or by why there is none.

        It never goes back.
        """
        previous_generation: int = self.previous_status.get("observedGeneration", 0)
        has_no_switch = not self.owns_lock or self.observed.error is not None
        processed_generation = (
            self.observed.generation if has_no_switch else min(self.applied_generation, self.observed.generation)
        )
        return max(previous_generation, processed_generation)

    @property
    def is_disable_pending(self) -> bool:
        """Whether the resource is disabled and the database does not say so: not yet, or not any more."""
        resource, lock = self.observed.resource, self.lock
        return (
            self.owns_lock and resource is not None and not resource.enabled and lock is not None and lock.enabled
        )
