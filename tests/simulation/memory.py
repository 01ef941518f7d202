"""The database of the simulator: the same statements as the real stores, in memory, each of them atomic.

It passes the same contract tests as PostgreSQL, MariaDB and SQLite, so they cannot diverge.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from masterjob.election.values import (
    HeldTerm,
    HistoryEntry,
    Incarnation,
    Inventory,
    NewSession,
    SessionList,
    SessionRow,
    StopRequest,
    Term,
    Vacancies,
)
from tests.simulation.tables import StoredLock, StoredSession, Tables


class MemoryDatabase:
    """Tables, a clock in epoch milliseconds, and listeners for changes. ``name``: that of its incarnation."""

    def __init__(self, clock_ms: Callable[[], int], name: str = "") -> None:
        self.clock_ms = clock_ms
        self.name = name
        self.tables = Tables(Incarnation(name))
        self.listeners: list[Callable[[frozenset[str]], None]] = []

    def connect(self) -> "MemoryStore":
        return MemoryStore(self)

    def snapshot(self) -> Tables:
        """Return what an up-to-date replica has."""
        return self.tables.copy()

    def backdate(self, session_id: str, ms: int) -> None:
        self.tables.sessions[session_id].heartbeat_ms -= ms

    def note_promotion(self) -> Incarnation:
        """Note that the tables come from another server, and return the incarnation."""
        if self.tables.incarnation.name != self.name:
            longest_lease = max((row.lease_ms for row in self.tables.sessions.values()), default=0)
            self.tables.incarnation = Incarnation(self.name, self.clock_ms(), longest_lease, is_quarantined=True)
        return self.tables.incarnation

    def quarantine(self) -> None:
        """Begin a quarantine, without a promotion."""
        self.tables.incarnation = replace(self.tables.incarnation, is_quarantined=True)

    @property
    def may_claim(self) -> bool:
        """Whether locks may be claimed and sessions evicted."""
        incarnation = self.tables.incarnation
        return incarnation.name == self.name and not incarnation.is_quarantined

    def history_kinds(self, lock_name: str) -> list[str]:
        return [entry.kind.value for entry in self.tables.history if entry.lock_name == lock_name]

    def enable(self, lock_name: str) -> None:
        self._set_enabled(lock_name, enabled=True)

    def disable(self, lock_name: str, seconds: float | None = None) -> None:
        """Disable the lock, for some seconds if they are given."""
        self._set_enabled(lock_name, enabled=False)
        if seconds is not None:
            self.tables.locks[lock_name].enable_at_ms = self.clock_ms() + int(seconds * 1000)

    def _set_enabled(self, lock_name: str, *, enabled: bool) -> None:
        row = self.tables.locks.setdefault(lock_name, StoredLock())
        row.enabled, row.enable_at_ms = enabled, None
        self.notify_listeners([lock_name])

    def notify_listeners(self, names: Sequence[str]) -> None:
        for listener in self.listeners if names else ():
            listener(frozenset(names))


class MemoryStore:
    """One connection; it implements `masterjob.election.ports.Store`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @property
    def _sessions(self) -> dict[str, StoredSession]:
        return self._database.tables.sessions

    @property
    def _locks(self) -> dict[str, StoredLock]:
        return self._database.tables.locks

    def open_session(self, session: NewSession) -> None:
        row = StoredSession(session.identity.instance, session.lease_ms, self._database.clock_ms())
        self._sessions[session.id] = row

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        row = self._sessions.get(session_id)
        if row is None:
            return None
        row.beat += 1
        row.heartbeat_ms = self._database.clock_ms()
        return self.read_inventory(instance)

    def list_sessions(self) -> SessionList:
        now = self._database.clock_ms()
        return SessionList(
            now,
            tuple(
                SessionRow(id_, row.instance, row.beat, now - row.heartbeat_ms, row.lease_ms)
                for id_, row in self._sessions.items()
            ),
            self._database.note_promotion(),
        )

    def evict(
        self, session_id: str, beat: int, *, if_stale: bool, incarnation: Incarnation | None = None
    ) -> tuple[Term, ...] | None:
        row = self._sessions.get(session_id)
        if row is None or row.beat != beat:
            return None
        is_current = incarnation is None or incarnation.is_same(self._database.tables.incarnation)
        if not (is_current and self._database.may_claim):
            return None
        if if_stale and row.heartbeat_ms + row.lease_ms > self._database.clock_ms():
            return None
        return self._delete(session_id)

    def close_session(self, session_id: str) -> None:
        if session_id in self._sessions:
            self._delete(session_id)

    def _delete(self, session_id: str) -> tuple[Term, ...]:
        del self._sessions[session_id]
        ended_terms = tuple(Term(name, row.term) for name, row in self._locks.items() if row.holder == session_id)
        for term in ended_terms:
            self._locks[term.lock_name].holder = None
        self._database.notify_listeners([term.lock_name for term in ended_terms])
        return ended_terms

    def ensure_locks(self, lock_names: Sequence[str]) -> None:
        for name in lock_names:
            self._locks.setdefault(name, StoredLock())

    def list_vacancies(self) -> Vacancies:
        now = self._database.clock_ms()
        next_enable_ms = self._end_timed_disables(now)
        live_instances = {row.instance for row in self._sessions.values() if row.heartbeat_ms + row.lease_ms > now}
        enabled = [name for name, row in self._locks.items() if row.enabled]
        free_names = tuple(name for name in enabled if self._locks[name].holder is None)
        disabled = frozenset(self._locks).difference(enabled)
        counts = len(enabled), len(live_instances), next_enable_ms, len(self._locks)
        return Vacancies(free_names, *counts, disabled)

    def _end_timed_disables(self, now: int) -> int | None:
        """Enable the locks whose timed disable is over; return the milliseconds until the next one is."""
        timed = [(row.enable_at_ms, name) for name, row in self._locks.items() if row.enable_at_ms is not None]
        for _, name in [each for each in timed if each[0] <= now]:
            self._database.enable(name)
        return min((enable_at - now for enable_at, _ in timed if enable_at > now), default=None)

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        if session_id not in self._sessions:
            return ()
        for name in sorted(lock_names) if self._database.may_claim else ():
            row = self._locks.get(name)
            if row is not None and row.enabled and row.holder is None:
                row.holder, row.term, row.step_down_term = session_id, self.next_term(row.term), None
        return tuple(
            Term(name, self._locks[name].term)
            for name in sorted(lock_names)
            if name in self._locks and self._locks[name].holder == session_id
        )

    def end_quarantine(self, incarnation: Incarnation) -> bool:
        tables = self._database.tables
        if self._database.name != incarnation.name or not incarnation.is_same(tables.incarnation):
            return False
        tables.incarnation = replace(tables.incarnation, is_quarantined=False)
        return True

    def next_term(self, last: int) -> int:
        return max(last + 1, self._database.clock_ms())

    def move(self, term: Term, from_session_id: str, to_session_id: str) -> str | None:
        row = self._locks.get(term.lock_name)
        if row is None or row.term != term.number:
            return None
        if row.holder == from_session_id and to_session_id in self._sessions:
            row.holder = to_session_id
        return row.holder

    def release(self, session_ids: Sequence[str], terms: Sequence[Term]) -> None:
        freed = []
        for term in terms:
            row = self._locks.get(term.lock_name)
            if row is not None and row.holder in session_ids and row.term == term.number:
                row.holder = None
                freed.append(term.lock_name)
        self._database.notify_listeners(freed)

    def read_inventory(self, instance: str) -> Inventory:
        held = self._held_rows(instance)
        stop_requests = [
            StopRequest(Term(name, row.term), "disabled" if not row.enabled else "asked to step down", row.enabled)
            for name, row in held
            if not row.enabled or row.step_down_term == row.term
        ]
        incarnation = self._database.note_promotion()
        return Inventory(len(held), sum(row.term for _, row in held), tuple(stop_requests), incarnation)

    def list_held_terms(self, instance: str) -> tuple[HeldTerm, ...]:
        return tuple(HeldTerm(Term(name, row.term), row.holder or "") for name, row in self._held_rows(instance))

    def _held_rows(self, instance: str) -> list[tuple[str, StoredLock]]:
        own_ids = {id_ for id_, row in self._sessions.items() if row.instance == instance}
        return [(name, row) for name, row in self._locks.items() if row.holder in own_ids]

    def request_step_down(self, term: Term, actor: str, reason: str) -> bool:
        row = self._locks.get(term.lock_name)
        if row is None or row.term != term.number or row.holder is None:
            return False
        row.step_down_term = term.number
        self._database.notify_listeners([term.lock_name])
        return True

    def append_history(self, entries: Sequence[HistoryEntry]) -> None:
        self._database.tables.history.extend(entries)

    def append_missing_history(self, entries: Sequence[HistoryEntry]) -> None:
        history = self._database.tables.history
        history.extend(entry for entry in entries if entry not in history)

    def can_commit(self, term: Term) -> bool:
        """Return whether a guarded write of this term commits now."""
        row = self._locks.get(term.lock_name)
        return row is not None and row.term == term.number and row.holder is not None

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing: no call hangs."""
