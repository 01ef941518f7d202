"""The database calls that the elector orders: one class a call, which fixes the type of its reply.

The sender says what follows a reply and a failure (`ElectorState.send`). So a new call takes three places: the
port with its stores, a class here, and the part that sends it.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from masterjob.election.core.liveness import WatchedSession
from masterjob.election.core.session import HeartbeatConnection
from masterjob.election.ports import Store
from masterjob.election.values import (
    HeldTerm,
    Incarnation,
    Inventory,
    NewSession,
    SessionList,
    Term,
    Vacancies,
)

CONTROL_CONNECTION = "control"
"""The name of the connection for everything except heartbeats."""

COMMAND_TIMEOUT = 5.0
"""Seconds until a command counts as failed, except for heartbeats."""

RETRY_DELAY = 1.0
"""Seconds until such a command is retried."""

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


@dataclass(frozen=True, eq=False)
class StoreCommand(Generic[AnswerT_co]):
    """A call of the store, compared by identity. Commands on one connection are executed in order."""

    sent: float
    """When the elector ordered it, on the local clock. Trust is counted from here."""

    @property
    def connection_name(self) -> str:
        """The name of the connection that executes it."""
        return CONTROL_CONNECTION

    @property
    def timeout(self) -> float:
        """Seconds that a call on that connection may take."""
        return COMMAND_TIMEOUT

    @property
    def failure_message(self) -> str | None:
        """What the log says if it fails; None if nothing. Of repeated failures only the first is logged."""
        return None

    def execute(self, store: Store) -> AnswerT_co:
        """Call the store and return its reply."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SessionCommand(StoreCommand[AnswerT_co]):
    """A call for one of our sessions, on the session's own connection: nothing else can delay it."""

    connection: HeartbeatConnection

    @property
    def connection_name(self) -> str:
        """The name of the session's connection."""
        return self.connection.name

    @property
    def timeout(self) -> float:
        """Seconds that a call may take without putting the trust at risk."""
        return self.connection.timeout


@dataclass(frozen=True, eq=False)
class OpenSession(SessionCommand[None]):
    """Opens a session; this is its first heartbeat."""

    session: NewSession

    def execute(self, store: Store) -> None:
        """Write the session's row."""
        store.open_session(self.session)


@dataclass(frozen=True, eq=False)
class Renew(SessionCommand[Inventory | None]):
    """A heartbeat. Its reply is compared with the inventory that was expected when it was sent."""

    session_id: str
    instance: str
    expected: Inventory

    @property
    def failure_message(self) -> str:
        """What the log says at the first failure in a row."""
        return f"a heartbeat of {self.instance} failed"

    def execute(self, store: Store) -> Inventory | None:
        """Return the inventory, or None if the session was evicted."""
        return store.renew(self.session_id, self.instance)


@dataclass(frozen=True, eq=False)
class ReadInventory(StoreCommand[Inventory]):
    """Reads the inventory between two heartbeats."""

    instance: str
    expected: Inventory

    def execute(self, store: Store) -> Inventory:
        """Return the inventory."""
        return store.read_inventory(self.instance)


@dataclass(frozen=True, eq=False)
class ReadHeldTerms(StoreCommand[tuple[HeldTerm, ...]]):
    """Reads in full what the instance holds, after an inventory differed."""

    instance: str

    def execute(self, store: Store) -> tuple[HeldTerm, ...]:
        """Return every held term."""
        return store.list_held_terms(self.instance)


@dataclass(frozen=True, eq=False)
class ListSessions(StoreCommand[SessionList]):
    """Reads the sessions of all instances."""

    failure_message = "the sessions of other instances could not be read (will be retried)"

    def execute(self, store: Store) -> SessionList:
        """Return all sessions and the database's clock."""
        return store.list_sessions()


@dataclass(frozen=True, eq=False)
class Evict(StoreCommand[tuple[Term, ...] | None]):
    """Evicts a session whose heartbeat counter did not change while it was watched."""

    watched: WatchedSession
    if_stale: bool
    incarnation: Incarnation | None = None
    """The database's, when the beat was seen."""

    failure_message = "an eviction got no answer (will be retried)"

    @property
    def session_id(self) -> str:
        """The id of the session to evict."""
        return self.watched.row.id

    def execute(self, store: Store) -> tuple[Term, ...] | None:
        """Return the terms that this ended, or None if the session was not evicted by this call."""
        beat = self.watched.row.beat
        return store.evict(self.session_id, beat, if_stale=self.if_stale, incarnation=self.incarnation)


@dataclass(frozen=True, eq=False)
class EnsureLocks(StoreCommand[None]):
    """Creates the rows of locks that have none."""

    lock_names: tuple[str, ...]

    failure_message = "the rows of locks could not be written (will be retried)"

    def execute(self, store: Store) -> None:
        """Write the missing rows."""
        store.ensure_locks(self.lock_names)


@dataclass(frozen=True, eq=False)
class ListVacancies(StoreCommand[Vacancies]):
    """Reads which locks are enabled and free."""

    ignore_fair_share: bool
    """Whether to claim also what exceeds the fair share, since no other instance has claimed it."""

    failure_message = "the free locks could not be read (will be retried)"

    def execute(self, store: Store) -> Vacancies:
        """Return the vacancies."""
        return store.list_vacancies()


@dataclass(frozen=True, eq=False)
class Claim(StoreCommand[tuple[Term, ...]]):
    """Claims locks for a session."""

    session_id: str
    lock_names: tuple[str, ...]

    failure_message = "a claim got no answer (will be retried)"

    def execute(self, store: Store) -> tuple[Term, ...]:
        """Return the terms that the session holds now."""
        return store.claim(self.session_id, self.lock_names)


@dataclass(frozen=True, eq=False)
class Move(StoreCommand[str | None]):
    """Moves a held term from one of our sessions to another."""

    term: Term
    from_session_id: str
    to_session_id: str

    failure_message = "a change of timing got no answer (will be retried)"

    def execute(self, store: Store) -> str | None:
        """Return the id of the session that holds the term now, if any."""
        return store.move(self.term, self.from_session_id, self.to_session_id)


@dataclass(frozen=True, eq=False)
class Release(StoreCommand[None]):
    """Releases the locks of terms whose jobs have stopped."""

    session_ids: tuple[str, ...]
    terms: tuple[Term, ...]

    failure_message = "a release got no answer (will be retried)"

    def execute(self, store: Store) -> None:
        """Clear the holders."""
        store.release(self.session_ids, self.terms)


@dataclass(frozen=True, eq=False)
class CloseSession(SessionCommand[None]):
    """Removes one of our sessions; the last command on its connection."""

    session_id: str

    def execute(self, store: Store) -> None:
        """Delete the session's row."""
        store.close_session(self.session_id)
