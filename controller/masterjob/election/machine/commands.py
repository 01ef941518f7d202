"""What the elector orders of the database: a `Command` each, an action that knows its own verb.

Whoever drives the machine just performs it, and hands the outcome back as `Reply` or `Failure`. Commands are
compared by identity: a reply that nobody waits for any more is recognised and dropped.
"""

from dataclasses import dataclass

from masterjob.election.machine.watch import Watched
from masterjob.election.ports import Store
from masterjob.election.values import Entry, Inventory, NewSession, Term

CONTROL = "control"
"""The lane of everything that is not a heartbeat."""

PATIENCE = 5.0
"""Seconds until a command that is not a heartbeat counts as unanswered."""

AGAIN = 1.0
"""Seconds until such a command is sent again, when it got no answer or none that helps."""


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
