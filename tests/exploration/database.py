"""The database: the simulator's tables and statements, whose claims and evictions are checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from masterjob.election.values import Incarnation, Inventory, NewSession, Term
from tests.exploration.clocks import DATABASE_CLOCK_START, LOCAL_CLOCK_START
from tests.simulation.memory import MemoryDatabase, MemoryStore
from tests.simulation.tables import Tables


class Violation(AssertionError):
    """An invariant does not hold in a state."""


@dataclass
class Database:
    """The tables, the clock, and what has really happened, as seen from outside."""

    tables: Tables = field(default_factory=Tables)
    clock_offset: float = 0.0
    """Seconds by which the clock was stepped."""
    beat_at: dict[str, float] = field(default_factory=dict)
    """When each session was last opened or renewed."""

    def copy(self) -> "Database":
        """Return a copy that can be changed."""
        memory = MemoryDatabase(lambda: 0)
        memory.tables = self.tables
        return Database(memory.snapshot(), self.clock_offset, dict(self.beat_at))

    def clock(self, now: float) -> float:
        """Return what its clock shows, in seconds."""
        return DATABASE_CLOCK_START + (now - LOCAL_CLOCK_START) + self.clock_offset


class CheckedStore(MemoryStore):
    """The statements, executed at one moment; ``changed`` gets the names of the locks to notify of."""

    def __init__(self, database: Database, now: float) -> None:
        memory = MemoryDatabase(lambda: int(database.clock(now) * 1000))
        memory.tables = database.tables
        memory.listeners.append(self._on_change)
        super().__init__(memory)
        self.memory = memory
        self.changed: set[str] = set()
        self._state = database
        self._now = now

    def _on_change(self, lock_names: frozenset[str]) -> None:
        self.changed |= lock_names

    def open_session(self, session: NewSession) -> None:
        """Note the heartbeat."""
        super().open_session(session)
        self._state.beat_at[session.id] = self._now

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        """Note the heartbeat."""
        answer = super().renew(session_id, instance)
        if answer is not None:
            self._state.beat_at[session_id] = self._now
        return answer

    def _delete(self, session_id: str) -> tuple[Term, ...]:
        self._state.beat_at.pop(session_id, None)
        return super()._delete(session_id)

    def evict(
        self, session_id: str, beat: int, *, if_stale: bool, incarnation: Incarnation | None = None
    ) -> tuple[Term, ...] | None:
        """Check I1: a session is evicted only when its lease has passed since its last heartbeat."""
        row, beat_at = self._sessions.get(session_id), self._state.beat_at.get(session_id, 0.0)
        terms = super().evict(session_id, beat, if_stale=if_stale, incarnation=incarnation)
        if row is not None and terms is not None and self._now - beat_at < row.lease_ms / 1000:
            raise Violation(
                f"I1: a session was evicted {self._now - beat_at:.3f} s after its last heartbeat, but its lease "
                f"is {row.lease_ms / 1000} s"
            )
        return terms

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        """Check I2 and I4: terms grow, and a disabled lock is not granted."""
        before = {name: (row.term, row.enabled) for name in lock_names if (row := self._locks.get(name))}
        terms = super().claim(session_id, lock_names)
        for term in terms:
            last, enabled = before[term.lock_name]
            if term.number == last:
                continue  # it was granted before
            if term.number < last:
                raise Violation(f"I2: a term of {term.lock_name} was issued that is smaller than the last one")
            if not enabled:
                raise Violation(f"I4: {term.lock_name} was granted although it is disabled")
        return terms
