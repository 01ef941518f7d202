"""What the elector is told: of people, of time, of its jobs, and what the database answered."""

from dataclasses import dataclass

from masterjob.election.core.commands import StoreCommand
from masterjob.election.timing import Timing
from masterjob.election.values import LostPolicy, Term


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened but time."""


@dataclass(frozen=True, slots=True)
class Declare:
    """The instance wants the lock, with this timing; told again, the timing changes."""

    lock_name: str
    timing: Timing
    lost_policy: LostPolicy = LostPolicy.STOP
    init_delay: float = 0.0
    """Seconds to wait before the first check."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The instance does not want the lock any more; a term that it has is stepped down from."""

    lock_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Step down from everything and take part no more."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """Give the current term up, if there is one, and sit out one heartbeat interval."""

    lock_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LocksChanged:
    """Something may have changed for these locks (None: for any). A hint, never the truth."""

    lock_names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The job's ``start`` returned."""

    term: Term


@dataclass(frozen=True, slots=True)
class JobStartFailed:
    """The job's ``start`` raised."""

    term: Term
    error: str


@dataclass(frozen=True, slots=True)
class JobStopped:
    """Nothing of the job's run is going on any more."""

    term: Term


@dataclass(frozen=True, slots=True)
class Reply:
    """The database answered a command."""

    command: StoreCommand
    answer: object


@dataclass(frozen=True, slots=True)
class Failure:
    """A command's outcome is unknown."""

    command: StoreCommand
    error: str


CoreEvent = (
    Tick
    | Declare
    | Withdraw
    | Shutdown
    | StepDown
    | LocksChanged
    | JobStarted
    | JobStartFailed
    | JobStopped
    | Reply
    | Failure
)
