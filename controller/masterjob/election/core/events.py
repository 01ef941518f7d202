"""What the elector reacts to: requests, time, reports of its jobs, and outcomes of its commands."""

from dataclasses import dataclass

from masterjob.election.core.commands import StoreCommand
from masterjob.election.timing import Timing
from masterjob.election.values import LostPolicy, Term
from masterjob.job_status import RunStatus


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Declare:
    """The instance shall take part in the lock. A repetition changes timing and policy."""

    lock_name: str
    timing: Timing
    lost_policy: LostPolicy = LostPolicy.STOP
    init_delay: float = 0.0
    """Seconds until the instance first competes."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The instance shall no longer take part in the lock; a current term ends."""

    lock_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The instance shall end all its terms and take part in nothing more."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """The instance shall end its current term, if any, and pause for one heartbeat interval."""

    lock_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LocksChanged:
    """These locks may have changed in the database (None: any lock). A hint that may be wrong or missing."""

    lock_names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The job's ``start`` has returned."""

    term: Term


@dataclass(frozen=True, slots=True)
class JobStartFailed:
    """The job's ``start`` has raised an error."""

    term: Term
    error: str


@dataclass(frozen=True, slots=True)
class JobStopped:
    """The job's run has ended completely."""

    term: Term


@dataclass(frozen=True, slots=True)
class JobRunChanged:
    """The status of the job's run has changed. It is for the history and the observers, and decides nothing."""

    term: Term
    run: RunStatus


@dataclass(frozen=True, slots=True)
class Reply:
    """The database has answered a command; ``answer`` is what the command's ``execute`` returned."""

    command: StoreCommand[object]
    answer: object


@dataclass(frozen=True, slots=True)
class Failure:
    """A command has failed; whether the database executed it is unknown."""

    command: StoreCommand[object]
    error: str
    is_outage: bool = False
    """Whether the database could not be used at all. The store logs that, once for all commands."""


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
    | JobRunChanged
    | Reply
    | Failure
)
