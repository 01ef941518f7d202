"""The server's side of the calls, which reports heartbeats, claims and evictions to the checker."""

from collections.abc import Callable, Sequence

from masterjob.election.values import Incarnation, Inventory, NewSession, Term, Vacancies
from tests.simulation.clock import DatabaseClock
from tests.simulation.invariants import InvariantChecker
from tests.simulation.memory import MemoryDatabase, MemoryStore


class CheckedDatabase(MemoryDatabase):
    """A server's tables, and when its promotion was noted in them."""

    def __init__(self, clock: DatabaseClock, name: str, now: Callable[[], float]) -> None:
        super().__init__(clock, name)
        self._now = now
        self.noted_at = float("-inf")
        """When a change of the incarnation was first written, in seconds of the simulated world."""

    def note_promotion(self) -> Incarnation:
        before, noted = self.tables.incarnation, super().note_promotion()
        if noted is not before:
            self.noted_at = self._now()
        return noted


class CheckedStore(MemoryStore):
    """The server's side of a call, which reports heartbeats and claims to the checker."""

    def __init__(self, database: CheckedDatabase, checker: InvariantChecker) -> None:
        super().__init__(database)
        self._checked = database
        self._checker = checker
        self.highest_terms: dict[str, int] = {}

    def open_session(self, session: NewSession) -> None:
        super().open_session(session)
        self._sessions[session.id].renewed_at = self._checker.on_heartbeat(session.id)

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        inventory = super().renew(session_id, instance)
        if (row := self._sessions.get(session_id)) is not None:
            row.renewed_at = self._checker.on_heartbeat(session_id)
            self._checker.on_renewal(self._database.tables, session_id, row)
        return inventory

    def evict(
        self, session_id: str, beat: int, *, if_stale: bool, incarnation: Incarnation | None = None
    ) -> tuple[Term, ...] | None:
        row = self._sessions.get(session_id)
        terms = super().evict(session_id, beat, if_stale=if_stale, incarnation=incarnation)
        if row is not None and terms is not None:
            self._checker.on_eviction(session_id, row)
        return terms

    def list_vacancies(self) -> Vacancies:
        disabled = [name for name, row in self._locks.items() if row.enable_at_ms is not None]
        vacancies = super().list_vacancies()
        for name in disabled:
            if self._locks[name].enabled:
                self._checker.on_switch(name, enabled=True)
        return vacancies

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        before = {name: (row.term, row.enabled) for name in lock_names if (row := self._locks.get(name))}
        terms = super().claim(session_id, lock_names)
        for term in terms:
            last, enabled = before[term.lock_name]
            if term.number != last:
                self._checker.on_claim_of(self._checked.name, self._checked.tables, self._checked.noted_at)
                self._checker.on_claim(term, self._database.tables, self.highest_terms, enabled=enabled)
        return terms

    def move(self, term: Term, from_session_id: str, to_session_id: str) -> str | None:
        row = self._locks.get(term.lock_name)
        before = row.holder if row is not None else None
        holder = super().move(term, from_session_id, to_session_id)
        if row is not None and row.holder != before:
            is_from_there = (before, row.term) == (from_session_id, term.number)
            self._checker.on_move(term, may_move=is_from_there and to_session_id in self._sessions)
        return holder
