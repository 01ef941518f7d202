"""Everything that the status of a MasterJob is made of, as values.

What the database has comes from the store, what the resource says from the mirror, why it cannot be done from the
controller; what this instance does itself is `Doing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from masterjob.election.views import LockStatus, MasterSeen
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status.conditions import Reason


class Phase(StrEnum):
    """How far the job of this instance's term is."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Its start raised; nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What this instance does, or did last, as master of a lock; ``why`` it stops or failed."""

    term: int
    phase: Phase
    why: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a resource cannot be done as it says."""

    reason: Reason
    words: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a resource. ``lock`` is None for a lock that was never used."""

    observed: Observed
    lock: LockStatus | None = None
    database_trouble: str | None = None
    """Why the database cannot be read, where it cannot; then ``lock`` is None too."""
    problem: Problem | None = None
    doing: Doing | None = None
    timing: Mapping[str, str | int] | None = None
    """The timing in effect for this instance."""
    settled: int = 0
    """The generation whose switch this instance knows to be in the database."""

    @property
    def before(self) -> Mapping[str, Any]:
        """The status as it is."""
        return self.observed.status

    @property
    def owns_lock(self) -> bool:
        """Whether the lock is this resource's, and not that of an older one."""
        return self.problem is None or self.problem.reason is not Reason.CONFLICT

    @property
    def master(self) -> MasterSeen | None:
        """Who is master by this resource."""
        return self.lock.master if self.lock is not None and self.owns_lock else None

    @property
    def own_doing(self) -> Doing | None:
        """What this instance does in the newest term, if that is its own."""
        term = self.lock.term if self.lock is not None else self.before.get("term", 0)
        return self.doing if self.doing is not None and self.doing.term == term else None

    @property
    def observed_generation(self) -> int:
        """The newest generation that is answered, by its switch in the database, or by why there is none.

        It never goes back.
        """
        before: int = self.before.get("observedGeneration", 0)
        switches_nothing = not self.owns_lock or self.observed.error is not None
        answered = self.observed.generation if switches_nothing else min(self.settled, self.observed.generation)
        return max(before, answered)

    @property
    def overlooked(self) -> bool:
        """Whether the resource is disabled and the database does not say so: not yet, or not any more."""
        resource, lock = self.observed.resource, self.lock
        return (
            self.owns_lock and resource is not None and not resource.enabled and lock is not None and lock.enabled
        )
