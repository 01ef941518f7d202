"""What the elector orders: commands to the database, and these."""

from dataclasses import dataclass

from masterjob.election.core.commands import StoreCommand
from masterjob.election.values import HistoryEntry, LostPolicy, Term


@dataclass(frozen=True, slots=True)
class Abandon:
    """Ignore the reply of a command that took too long, and continue its queue on a fresh connection."""

    command: StoreCommand[object]


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the job of the term's lock."""

    term: Term


@dataclass(frozen=True, slots=True)
class SetStopTimeout:
    """Set how many seconds the stop of this term's job may take from now on."""

    term: Term
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop the job of the term's lock; ``reason`` reads as the end of a sentence."""

    term: Term
    reason: str
    is_lost: bool = False
    """Whether the mastership was lost, rather than given up."""


@dataclass(frozen=True, slots=True)
class Overrun:
    """Apply the lost policy: the lease has ended, but the job's ``stop`` has not returned."""

    term: Term
    lost_policy: LostPolicy


@dataclass(frozen=True, slots=True)
class RecordTransition:
    """Write a transition to the log and the history."""

    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class Notice:
    """Write to the log what concerns no single lock; ``text`` is a sentence."""

    text: str


Action = StoreCommand[object] | Abandon | StartJob | SetStopTimeout | StopJob | Overrun | RecordTransition | Notice
