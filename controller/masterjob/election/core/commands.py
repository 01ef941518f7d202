"""What the elector orders of the database: a `StoreCommand` each, an action that knows its own verb.

Whoever drives the machine just performs it, and hands the outcome back as `Reply` or `Failure`. Commands are
compared by identity: a reply that nobody waits for any more is recognised and dropped.
"""

from dataclasses import dataclass

from masterjob.election.core.liveness import WatchedSession
from masterjob.election.ports import Store
from masterjob.election.values import HistoryEntry, Inventory, NewSession, Term

CONTROL_CONNECTION = "control"
"""The lane of everything that is not a heartbeat."""

COMMAND_TIMEOUT = 5.0
"""Seconds until a command that is not a heartbeat counts as unanswered."""

RETRY_DELAY = 1.0
"""Seconds until such a command is sent again, when it got no answer or none that helps."""


@dataclass(frozen=True, eq=False)
class StoreCommand:
    """A verb of the store, performed on the connection of its lane; commands of a lane keep their order."""

    sent: float
    """When the elector decided to send it, on the local clock: where trust counts from."""

    @property
    def connection_name(self) -> str:
        """Which connection it goes over."""
        return CONTROL_CONNECTION

    @property
    def timeout(self) -> float:
        """How long a call on that connection may take, in seconds."""
        return COMMAND_TIMEOUT

    def execute(self, store: Store) -> object:
        """Carry the verb out and return the answer."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class HeartbeatConnection:
    """The connection that the heartbeats of one lease have to themselves."""

    name: str
    timeout: float


@dataclass(frozen=True, eq=False)
class SessionCommand(StoreCommand):
    """A verb on our own session. Heartbeats have their own connection, so that nothing holds them up."""

    connection: "HeartbeatConnection"

    @property
    def connection_name(self) -> str:
        """The connection of this lease."""
        return self.connection.name

    @property
    def timeout(self) -> float:
        """No longer than the trust can wait."""
        return self.connection.timeout


@dataclass(frozen=True, eq=False)
class OpenSession(SessionCommand):
    """Open a session."""

    session: NewSession

    def execute(self, store: Store) -> None:
        """No answer but that it was done."""
        store.open_session(self.session)


@dataclass(frozen=True, eq=False)
class Renew(SessionCommand):
    """Beat, and compare the inventory with what was believed when this was sent."""

    session_id: str
    instance: str
    expected: Inventory

    def execute(self, store: Store) -> Inventory | None:
        """Answer the inventory, or None: evicted."""
        return store.renew(self.session_id, self.instance)


@dataclass(frozen=True, eq=False)
class ReadInventory(StoreCommand):
    """Compare the inventory between two heartbeats, after a wake-up."""

    instance: str
    expected: Inventory

    def execute(self, store: Store) -> object:
        """Answer the inventory."""
        return store.read_inventory(self.instance)


@dataclass(frozen=True, eq=False)
class ReadHeldTerms(StoreCommand):
    """Read in full what the short inventory said differs."""

    instance: str

    def execute(self, store: Store) -> object:
        """Answer every held term."""
        return store.list_held_terms(self.instance)


@dataclass(frozen=True, eq=False)
class ListSessions(StoreCommand):
    """Look at all sessions."""

    def execute(self, store: Store) -> object:
        """Answer the census."""
        return store.list_sessions()


@dataclass(frozen=True, eq=False)
class Evict(StoreCommand):
    """Evict a session that was watched standing still at this beat."""

    watched: WatchedSession
    if_stale: bool

    @property
    def session_id(self) -> str:
        """Whom to evict."""
        return self.watched.row.id

    def execute(self, store: Store) -> object:
        """Answer the terms that ended, or None."""
        return store.evict(self.session_id, self.watched.row.beat, if_stale=self.if_stale)


@dataclass(frozen=True, eq=False)
class EnsureLocks(StoreCommand):
    """Make sure that the rows of these locks exist."""

    lock_names: tuple[str, ...]

    def execute(self, store: Store) -> None:
        """No answer but that it was done."""
        store.ensure_locks(self.lock_names)


@dataclass(frozen=True, eq=False)
class ListVacancies(StoreCommand):
    """Look for locks that are enabled and free."""

    ignore_fair_share: bool
    """Whether this is the second round, in which anyone takes what nobody's fair share covered."""

    def execute(self, store: Store) -> object:
        """Answer the vacancies."""
        return store.list_vacancies()


@dataclass(frozen=True, eq=False)
class Claim(StoreCommand):
    """Claim these locks for a session."""

    session_id: str
    lock_names: tuple[str, ...]

    def execute(self, store: Store) -> object:
        """Answer the terms granted."""
        return store.claim(self.session_id, self.lock_names)


@dataclass(frozen=True, eq=False)
class Move(StoreCommand):
    """Hand a held term from one of our sessions to another."""

    term: Term
    from_session_id: str
    to_session_id: str

    def execute(self, store: Store) -> object:
        """Answer which session holds it now."""
        return store.move(self.term, self.from_session_id, self.to_session_id)


@dataclass(frozen=True, eq=False)
class Release(StoreCommand):
    """Free the locks of these terms. Their jobs have stopped."""

    session_ids: tuple[str, ...]
    terms: tuple[Term, ...]

    def execute(self, store: Store) -> None:
        """No answer but that it was done."""
        store.release(self.session_ids, self.terms)


@dataclass(frozen=True, eq=False)
class CloseSession(SessionCommand):
    """Remove one of our sessions, which is used no more; the last command of its lane."""

    session_id: str

    def execute(self, store: Store) -> None:
        """No answer but that it was done."""
        store.close_session(self.session_id)


@dataclass(frozen=True, eq=False)
class AppendHistory(StoreCommand):
    """Add to the history."""

    entries: tuple[HistoryEntry, ...]

    def execute(self, store: Store) -> None:
        """No answer but that it was done."""
        store.append_history(self.entries)
