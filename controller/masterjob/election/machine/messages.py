"""What the elector is told (events) and what it orders (actions).

A `Command` is an action for the database. It knows its own verb, so that whoever drives the machine just
performs it and hands the outcome back as `Reply` or `Failure`. Commands are compared by identity: a reply
that nobody waits for any more is recognised and dropped.
"""

from dataclasses import dataclass

from masterjob.election.machine.watch import Watched
from masterjob.election.ports import Store
from masterjob.election.timing import Timing
from masterjob.election.values import Entry, Inventory, LostPolicy, NewSession, Term

# --- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened but time."""


@dataclass(frozen=True, slots=True)
class Declare:
    """The instance wants the lock, with this timing; told again, the timing changes."""

    lock_name: str
    timing: Timing
    lost_policy: LostPolicy = LostPolicy.STOP
    delay: float = 0.0
    """Seconds to wait before the first check."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The instance does not want the lock any more; a term that it has is stepped down from."""

    lock_name: str
    why: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Step down from everything and take part no more."""

    why: str


@dataclass(frozen=True, slots=True)
class StepDown:
    """Give the current term up, if there is one, and sit out one heartbeat interval."""

    lock_name: str
    why: str


@dataclass(frozen=True, slots=True)
class Woken:
    """Something may have changed for these locks (None: for any). A hint, never the truth."""

    lock_names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The job's ``start`` returned."""

    term: Term


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The job's ``start`` raised."""

    term: Term
    error: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of the job's run is going on any more."""

    term: Term


CONTROL = "control"
"""The lane of everything that is not a heartbeat."""

PATIENCE = 5.0
"""Seconds until a command that is not a heartbeat counts as unanswered."""

AGAIN = 1.0
"""Seconds until such a command is sent again, when it got no answer or none that helps."""

# --- actions: to the database -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Command:
    """A verb of the store, performed on the connection of its lane; commands of a lane keep their order."""

    sent: float
    """When the elector decided to send it, on the local clock: where trust counts from."""

    @property
    def lane(self) -> str:
        """Which connection it goes over."""
        return CONTROL

    @property
    def timeout(self) -> float:
        """How long a call on that connection may take, in seconds."""
        return PATIENCE

    def perform(self, store: Store) -> object:
        """Carry the verb out and return the answer."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class OwnLane:
    """The connection that the heartbeats of one lease have to themselves."""

    name: str
    timeout: float


@dataclass(frozen=True, eq=False)
class SessionCommand(Command):
    """A verb on our own session. Heartbeats have their own connection, so that nothing holds them up."""

    own: "OwnLane"

    @property
    def lane(self) -> str:
        """The connection of this lease."""
        return self.own.name

    @property
    def timeout(self) -> float:
        """No longer than the trust can wait."""
        return self.own.timeout


@dataclass(frozen=True, eq=False)
class Open(SessionCommand):
    """Open a session."""

    session: NewSession

    def perform(self, store: Store) -> None:
        """No answer but that it was done."""
        store.open(self.session)


@dataclass(frozen=True, eq=False)
class Renew(SessionCommand):
    """Beat, and compare the inventory with what was believed when this was sent."""

    session_id: str
    instance: str
    believed: Inventory

    def perform(self, store: Store) -> Inventory | None:
        """Answer the inventory, or None: evicted."""
        return store.renew(self.session_id, self.instance)


@dataclass(frozen=True, eq=False)
class TakeInventory(Command):
    """Compare the inventory between two heartbeats, after a wake-up."""

    instance: str
    believed: Inventory

    def perform(self, store: Store) -> object:
        """Answer the inventory."""
        return store.inventory(self.instance)


@dataclass(frozen=True, eq=False)
class ReadHeld(Command):
    """Read in full what the short inventory said differs."""

    instance: str

    def perform(self, store: Store) -> object:
        """Answer every held term."""
        return store.held(self.instance)


@dataclass(frozen=True, eq=False)
class LookAtSessions(Command):
    """Look at all sessions."""

    def perform(self, store: Store) -> object:
        """Answer the census."""
        return store.census()


@dataclass(frozen=True, eq=False)
class Evict(Command):
    """Evict a session that was watched standing still at this beat."""

    watched: Watched
    if_stale: bool

    @property
    def session_id(self) -> str:
        """Whom to evict."""
        return self.watched.seen.id

    def perform(self, store: Store) -> object:
        """Answer the terms that ended, or None."""
        return store.evict(self.session_id, self.watched.seen.beat, if_stale=self.if_stale)


@dataclass(frozen=True, eq=False)
class Ensure(Command):
    """Make sure that the rows of these locks exist."""

    lock_names: tuple[str, ...]

    def perform(self, store: Store) -> None:
        """No answer but that it was done."""
        store.ensure(self.lock_names)


@dataclass(frozen=True, eq=False)
class LookForFree(Command):
    """Look for locks that are enabled and free."""

    take_the_rest: bool
    """Whether this is the second round, in which anyone takes what nobody's fair share covered."""

    def perform(self, store: Store) -> object:
        """Answer the vacancies."""
        return store.vacancies()


@dataclass(frozen=True, eq=False)
class Claim(Command):
    """Claim these locks for a session."""

    session_id: str
    lock_names: tuple[str, ...]

    def perform(self, store: Store) -> object:
        """Answer the terms granted."""
        return store.claim(self.session_id, self.lock_names)


@dataclass(frozen=True, eq=False)
class Move(Command):
    """Hand a held term from one of our sessions to another."""

    term: Term
    old: str
    new: str

    def perform(self, store: Store) -> object:
        """Answer which session holds it now."""
        return store.move(self.term, self.old, self.new)


@dataclass(frozen=True, eq=False)
class Release(Command):
    """Free the locks of these terms. Their jobs have stopped."""

    session_ids: tuple[str, ...]
    terms: tuple[Term, ...]

    def perform(self, store: Store) -> None:
        """No answer but that it was done."""
        store.release(self.session_ids, self.terms)


@dataclass(frozen=True, eq=False)
class Depart(SessionCommand):
    """Remove one of our sessions, which is used no more; the last command of its lane."""

    session_id: str

    def perform(self, store: Store) -> None:
        """No answer but that it was done."""
        store.leave(self.session_id)


@dataclass(frozen=True, eq=False)
class Record(Command):
    """Add to the history."""

    entries: tuple[Entry, ...]

    def perform(self, store: Store) -> None:
        """No answer but that it was done."""
        store.record(self.entries)


@dataclass(frozen=True, slots=True)
class Reply:
    """The database answered a command."""

    command: Command
    answer: object


@dataclass(frozen=True, slots=True)
class Failure:
    """A command's outcome is unknown."""

    command: Command
    error: str


# --- actions: to the others -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nobody waits for this command any more: free its lane, on a fresh connection."""

    command: Command


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the job of the term's lock."""

    term: Term


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop the job of the term's lock, and why, as the end of a sentence."""

    term: Term
    why: str


@dataclass(frozen=True, slots=True)
class Overrun:
    """The lease ended and the job's ``stop`` has not returned: the policy decides."""

    term: Term
    lost_policy: LostPolicy


@dataclass(frozen=True, slots=True)
class Say:
    """A transition happened: one sentence for the log and the history."""

    entry: Entry


Event = Tick | Declare | Withdraw | Leave | StepDown | Woken | Started | StartFailed | Stopped | Reply | Failure
Action = Command | Abandon | StartJob | StopJob | Overrun | Say
