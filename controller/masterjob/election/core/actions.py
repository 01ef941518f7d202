"""What the elector orders: commands to the database, and these to the others."""

from dataclasses import dataclass

from masterjob.election.core.commands import StoreCommand
from masterjob.election.values import HistoryEntry, LostPolicy, Term


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody waits for this command any more: free its lane, on a fresh connection."""

    command: StoreCommand


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the job of the term's lock."""

    term: Term


@dataclass(frozen=True, slots=True)
class SetStopTimeout:
    """From now on the stop of this term's job may take so many seconds: its timing has another margin."""

    term: Term
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop the job of the term's lock, and why, as the end of a sentence."""

    term: Term
    reason: str


@dataclass(frozen=True, slots=True)
class Overrun:
    """The lease ended and the job's ``stop`` has not returned: the policy decides."""

    term: Term
    lost_policy: LostPolicy


@dataclass(frozen=True, slots=True)
class RecordTransition:
    """A transition happened: one sentence for the log and the history."""

    entry: HistoryEntry


Action = StoreCommand | Abandon | StartJob | SetStopTimeout | StopJob | Overrun | RecordTransition
