"""A database server: executes the calls of instances in memory, with outages, row locks and broken connections."""

from collections.abc import Callable, Sequence
from random import Random

from masterjob.election.core.commands import (
    Claim,
    CloseSession,
    EnsureLocks,
    Evict,
    Move,
    OpenSession,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.events import Failure, Reply
from masterjob.election.values import Inventory, NewSession, Term, Vacancies
from tests.simulation.clock import DatabaseClock, Scheduler
from tests.simulation.conditions import Conditions
from tests.simulation.invariants import InvariantChecker
from tests.simulation.memory import MemoryDatabase, MemoryStore

TRANSACTION_TIMEOUT = 4.0
"""Seconds after which the server ends the transaction of a client that is silent (10 s on PostgreSQL)."""


class CheckedStore(MemoryStore):
    """The server's side of a call, which reports heartbeats and claims to the checker."""

    def __init__(self, database: MemoryDatabase, checker: InvariantChecker) -> None:
        super().__init__(database)
        self._checker = checker
        self.highest_terms: dict[str, int] = {}
        self.highest_beats: dict[str, int] = {}
        """How far the heartbeat counter of each session came, also of those that are gone."""

    def open_session(self, session: NewSession) -> None:
        super().open_session(session)
        self._sessions[session.id].renewed_at = self._checker.on_heartbeat(session.id)
        self.highest_beats[session.id] = 1

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        inventory = super().renew(session_id, instance)
        if (row := self._sessions.get(session_id)) is not None:
            row.renewed_at = self._checker.on_heartbeat(session_id)
            self.highest_beats[session_id] = row.beat
            self._checker.on_renewal(self._database.tables, session_id, row)
        return inventory

    def evict(self, session_id: str, beat: int, *, if_stale: bool) -> tuple[Term, ...] | None:
        row = self._sessions.get(session_id)
        terms = super().evict(session_id, beat, if_stale=if_stale)
        if row is not None and terms is not None:
            self._checker.on_eviction(session_id, row, terms)
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


class Server:
    """One database server. Statements that must wait for a row are executed when it is unlocked."""

    def __init__(
        self,
        scheduler: Scheduler,
        rng: Random,
        conditions: Conditions,
        checker: InvariantChecker,
        store: type[CheckedStore],
        clock: DatabaseClock,
    ) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._conditions = conditions
        self.clock = clock
        self.memory = MemoryDatabase(clock)
        self.store = store(self.memory, checker)
        self.down_until = 0.0
        self.is_clear = False
        self.rows_free_since: dict[str, float] = {}
        """When each row that was locked was unlocked."""
        self._row_locks: dict[str, set[object]] = {}
        self._waiting: list[tuple[Callable[[], tuple[str, ...]], Callable[[], None]]] = []

    @property
    def is_down(self) -> bool:
        """Whether it answers nothing."""
        return self._scheduler.now < self.down_until

    # --- rows ---

    def lock_row(self, row: str, owner: object) -> None:
        """Lock the row of a lock or session for a transaction; such locks are shared."""
        self._row_locks.setdefault(row, set()).add(owner)

    def unlock_row(self, row: str, owner: object) -> None:
        """End a transaction's lock, and execute the statements that have waited for it."""
        owners = self._row_locks.get(row)
        if owners is None or owner not in owners:
            return
        owners.discard(owner)
        if not owners:
            del self._row_locks[row]
            self.rows_free_since[row] = self._scheduler.now
            waiting, self._waiting = self._waiting, []
            for rows, statement in waiting:
                self.when_unlocked(rows, statement)

    def is_locked(self, row: str) -> bool:
        """Return whether a transaction has locked the row."""
        return row in self._row_locks

    def when_unlocked(self, rows: Callable[[], tuple[str, ...]], statement: Callable[[], None]) -> bool:
        """Execute the statement when all rows that it writes are unlocked; return whether that was at once."""
        if self._row_locks and any(row in self._row_locks for row in rows()):
            self._waiting.append((rows, statement))
            return False
        statement()
        return True

    def _written_rows(self, command: StoreCommand[object]) -> tuple[str, ...]:
        match command:
            case Renew(session_id=id_):
                return (id_,)
            case Evict() | CloseSession():
                id_ = command.session_id
                return (id_, *(name for name, row in self.memory.tables.locks.items() if row.holder == id_))
            case Release(terms=terms):
                return tuple(term.lock_name for term in terms)
            case Move(term=term):
                return (term.lock_name,)
        return ()  # a claim skips locked rows, and the rest reads or inserts

    # --- calls ---

    def receive(self, command: StoreCommand[object], respond: Callable[[Reply | Failure], None]) -> bool:
        """Execute a call, perhaps late, twice or half-way; return whether it went the usual way."""
        if self._scheduler.now < self.down_until:
            if self._rng.random() < 0.7:  # refused; otherwise a black hole
                respond(Failure(command, "the database is down"))
            return False
        if not self.is_clear and self._conditions.duplicate_rate > self._rng.random():
            self._execute_quietly(command)
            self._scheduler.after(self._rng.uniform(0, 0.5), self._execute, command, respond)
            return False
        return self._execute(command, respond)

    def _execute(self, command: StoreCommand[object], respond: Callable[[Reply | Failure], None]) -> bool:
        if self._row_locks:
            return self.when_unlocked(lambda: self._written_rows(command), lambda: respond(self._outcome(command)))
        respond(self._outcome(command))
        return True

    def _execute_quietly(self, command: StoreCommand[object]) -> None:
        self.when_unlocked(lambda: self._written_rows(command), lambda: self._discard(command))

    def _discard(self, command: StoreCommand[object]) -> None:
        self._call(command)

    def _outcome(self, command: StoreCommand[object]) -> Reply | Failure:
        half_way_rate = self._conditions.half_way_rate
        if half_way_rate and not self.is_clear and self._rng.random() < half_way_rate:
            if isinstance(command, EnsureLocks):
                self.store.ensure_locks(command.lock_names[: self._rng.randrange(len(command.lock_names) + 1)])
            else:
                self._call(command)
            return Failure(command, "the connection broke between two statements")
        return self._call(command)

    def _call(self, command: StoreCommand[object]) -> Reply | Failure:
        if isinstance(command, OpenSession) and command.session.id in self.memory.tables.sessions:
            return Failure(command, "duplicate key")
        if self._row_locks and isinstance(command, Claim):
            return self._claim_unlocked(command)
        return Reply(command, command.execute(self.store))

    def _claim_unlocked(self, command: Claim) -> Reply:
        names = [name for name in command.lock_names if name not in self._row_locks]
        return Reply(command, self.store.claim(command.session_id, names))

    # --- the transaction of a job ---

    def guard(self, term: Term, transaction: object) -> bool:
        """Check the term and lock its row until `unlock_row`; the server ends the transaction after a while."""
        if self.is_down or not self.store.can_commit(term):
            return False
        self.lock_row(term.lock_name, transaction)
        self._scheduler.after(TRANSACTION_TIMEOUT, self.unlock_row, term.lock_name, transaction)
        return True

    def is_open(self, term: Term, transaction: object) -> bool:
        """Return whether a transaction that `guard` began can still commit."""
        return not self.is_down and transaction in self._row_locks.get(term.lock_name, ())
