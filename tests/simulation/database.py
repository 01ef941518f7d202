"""A database server: executes the calls of instances in memory, with outages, row locks and broken connections."""

from collections.abc import Callable
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
from masterjob.election.values import Term
from tests.simulation.checked_store import CheckedDatabase, CheckedStore
from tests.simulation.clock import DatabaseClock, Scheduler
from tests.simulation.conditions import Conditions
from tests.simulation.invariants import InvariantChecker

TRANSACTION_TIMEOUT = 4.0
"""Seconds after which the server ends the transaction of a client that is silent (10 s on PostgreSQL)."""


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
        *,
        name: str,
    ) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self._conditions = conditions
        self.clock = clock
        self.memory = CheckedDatabase(clock, name, lambda: scheduler.now)
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

    def end(self) -> None:
        """Answer nothing any more, not even what has waited for a row."""
        self.down_until = float("inf")
        self._waiting.clear()

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

    def receive(
        self, command: StoreCommand[object], respond: Callable[[Reply | Failure], None], skew: float = 0.0
    ) -> bool:
        """Execute a call, perhaps late, twice or half-way; return whether it went the usual way.

        ``skew``: by how many seconds the clock of the node that executes it is ahead of the cluster's.
        """
        if self._scheduler.now < self.down_until:
            if self._rng.random() < 0.7:  # refused; otherwise a black hole
                respond(Failure(command, "the database is down"))
            return False
        if not self.is_clear and self._conditions.duplicate_rate > self._rng.random():
            self._execute_quietly(command, skew)
            self._scheduler.after(self._rng.uniform(0, 0.5), self._execute, command, respond, skew)
            return False
        return self._execute(command, respond, skew)

    def _execute(
        self, command: StoreCommand[object], respond: Callable[[Reply | Failure], None], skew: float
    ) -> bool:
        if self.down_until == float("inf"):  # what was sent twice comes too late
            respond(Failure(command, "the database is gone"))
            return False
        if self._row_locks:
            return self.when_unlocked(
                lambda: self._written_rows(command), lambda: respond(self._outcome(command, skew))
            )
        respond(self._outcome(command, skew))
        return True

    def _execute_quietly(self, command: StoreCommand[object], skew: float) -> None:
        self.when_unlocked(lambda: self._written_rows(command), lambda: self._discard(command, skew))

    def _discard(self, command: StoreCommand[object], skew: float) -> None:
        self._call(command, skew)

    def _outcome(self, command: StoreCommand[object], skew: float) -> Reply | Failure:
        half_way_rate = self._conditions.half_way_rate
        if half_way_rate and not self.is_clear and self._rng.random() < half_way_rate:
            if isinstance(command, EnsureLocks):
                self.store.ensure_locks(command.lock_names[: self._rng.randrange(len(command.lock_names) + 1)])
            else:
                self._call(command, skew)
            return Failure(command, "the connection broke between two statements")
        return self._call(command, skew)

    def _call(self, command: StoreCommand[object], skew: float) -> Reply | Failure:
        if isinstance(command, OpenSession) and command.session.id in self.memory.tables.sessions:
            return Failure(command, "duplicate key")
        self.clock.skew = skew
        try:
            if self._row_locks and isinstance(command, Claim):
                return self._claim_unlocked(command)
            return Reply(command, command.execute(self.store))
        finally:
            self.clock.skew = 0.0

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
