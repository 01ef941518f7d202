"""The operations on `master_lock`, each one conditional UPDATE; the rows that it changed are the answer."""

import contextlib
from collections.abc import Sequence

from masterjob.election.values import (
    HeldTerm,
    HistoryEntry,
    Incarnation,
    Inventory,
    Term,
    TransitionKind,
    Vacancies,
)
from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection, ConstraintViolation
from masterjob.store.connection.dialects import MYSQL
from masterjob.store.notifier import notify
from masterjob.store.queries import history, incarnations, inventory, switches
from masterjob.store.queries.switches import chunks

# The term is based on the epoch, so that it grows even if a promoted replica has lost the last claims.
# It is also above every term of a lock that was forgotten: this one may have had the same name.
_CLAIM = f"""
    UPDATE {{lock_table}} SET holder = :session_id, acquired_at = {{now}}, step_down_term = NULL,
        term = {{greatest}}(
            term + 1, {{now_ms}}, (SELECT COALESCE(MAX(highest_term), 0) + 1 FROM master_forgotten))
    WHERE {{only_free}} AND enabled AND holder IS NULL AND {incarnations.MAY_CLAIM} {{order_by_name}}
"""  # noqa: S608 - made of constants
# For MySQL only: there an UPDATE waits for every row that another transaction has locked, and one blocks all.
_SELECT_SKIP_LOCKED = """
    SELECT lock_name FROM {lock_table} WHERE {only_free} AND enabled AND holder IS NULL FOR UPDATE SKIP LOCKED
"""
_CLAIMED_TERMS = """
    SELECT lock_name, term FROM master_lock WHERE holder = :session_id AND lock_name IN :names ORDER BY lock_name
"""
_MOVE = "UPDATE master_lock SET holder = :new WHERE lock_name = :lock_name AND holder = :old AND term = :term"
_HOLDER = "SELECT holder FROM master_lock WHERE lock_name = :lock_name AND term = :term"
_RELEASE = "UPDATE master_lock SET holder = NULL WHERE holder IN :sessions AND (lock_name, term) IN :terms"
_REQUEST_STEP_DOWN = """
    UPDATE master_lock SET step_down_term = :term
    WHERE lock_name = :lock_name AND term = :term AND holder IS NOT NULL
"""
_FREE_OR_DISABLED_LOCKS = """
    SELECT lock_name, enabled FROM master_lock WHERE holder IS NULL OR NOT enabled ORDER BY lock_name
"""
_LOCK_COUNTS = """
    SELECT (SELECT COUNT(*) FROM master_lock) AS locks,
           (SELECT COUNT(*) FROM master_lock WHERE enabled) AS enabled,
           (SELECT COUNT(DISTINCT instance) FROM master_session WHERE heartbeat_ms + lease_ms > {now_ms})
               AS instances,
           (SELECT COUNT(*) FROM master_control WHERE NOT enabled AND until <= {now_ms}) AS due,
           (SELECT MIN(until) - {now_ms} FROM master_control WHERE NOT enabled AND until > {now_ms}) AS due_ms,
           (SELECT COALESCE(MAX(locks), 0) FROM master_forgotten) AS forgotten
"""


class LockQueries:
    """`masterjob.election.ports.LockStore` on a connection."""

    def __init__(self, db: BoundedConnection) -> None:
        self._db = db

    def ensure_locks(self, lock_names: Sequence[str]) -> None:
        """Insert the rows of these locks if they are missing."""
        switches.ensure_locks(self._db, lock_names)

    def list_vacancies(self) -> Vacancies:
        """End the timed disables that are due, then return the locks that are enabled and free."""
        counts = self._db.fetch_all(_LOCK_COUNTS)[0]
        if counts.due:
            switches.end_expired_disables(self._db)
            counts = self._db.fetch_all(_LOCK_COUNTS)[0]
        rows = self._db.fetch_all(_FREE_OR_DISABLED_LOCKS)
        free = tuple(row.lock_name for row in rows if row.enabled)
        disabled = frozenset(row.lock_name for row in rows if not row.enabled)
        return Vacancies(
            free, counts.enabled, counts.instances, counts.due_ms, counts.locks, disabled, counts.forgotten
        )

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        """Claim those of ``lock_names`` that are enabled and free; return all of them that the session holds now.

        An evicted session gets none: the foreign key rejects its claim. In a quarantine none gets any.
        """
        held: list[Term] = []
        for chunk in chunks(sorted(set(lock_names))):
            try:
                if free := self._skip_locked(chunk):
                    self._db.execute(_CLAIM, session_id=session_id, names=free)
            except ConstraintViolation:
                return ()
            held += [
                Term(row.lock_name, row.term)
                for row in self._db.fetch_all(_CLAIMED_TERMS, session_id=session_id, names=chunk)
            ]
        return tuple(held)

    def _skip_locked(self, names: list[str]) -> list[str]:
        """Leave out locks for which a claim would have to wait; only a hint, the claim itself decides."""
        if self._db.dialect is not MYSQL:
            return names
        return [row.lock_name for row in self._db.fetch_all(_SELECT_SKIP_LOCKED, names=names)]

    def end_quarantine(self, incarnation: Incarnation) -> bool:
        """Allow claims again, if the database is still this incarnation; return whether it is."""
        return incarnations.end_quarantine(self._db, incarnation)

    def move(self, term: Term, from_session_id: str, to_session_id: str) -> str | None:
        """Move the held term from one session to another; return the session that holds it now, if any."""
        key = {"lock_name": term.lock_name, "term": term.number}
        with contextlib.suppress(ConstraintViolation):  # `to_session_id` was evicted: the term stays where it is
            self._db.execute(_MOVE, old=from_session_id, new=to_session_id, **key)
        rows = self._db.fetch_all(_HOLDER, **key)
        return rows[0].holder if rows else None

    def release(self, session_ids: Sequence[str], terms: Sequence[Term]) -> None:
        """Free these locks if one of the sessions holds exactly this term; notify the other instances."""
        if not session_ids:
            return
        for chunk in chunks(sorted(set(terms))):
            pairs = [(term.lock_name, term.number) for term in chunk]
            if self._db.execute(_RELEASE, sessions=list(session_ids), terms=pairs):
                notify(self._db, [term.lock_name for term in chunk])

    def read_inventory(self, instance: str) -> Inventory:
        """Return a summary of what the sessions of the instance hold, and the stop requests."""
        return inventory.read_summary(self._db, instance)

    def list_held_terms(self, instance: str) -> tuple[HeldTerm, ...]:
        """Return every term that the sessions of the instance hold."""
        return inventory.list_held_terms(self._db, instance)

    def request_step_down(self, term: Term, actor: str, reason: str) -> bool:
        """Request that exactly this term steps down and notify its master; return whether it was held."""
        if self._db.execute(_REQUEST_STEP_DOWN, lock_name=term.lock_name, term=term.number) == 0:
            return False
        entry = HistoryEntry(term.lock_name, term.number, TransitionKind.STEP_DOWN_REQUESTED, reason, actor=actor)
        with contextlib.suppress(StoreUnavailable):  # the request is written; only its history is missing
            self.append_history([entry])
        notify(self._db, [term.lock_name])
        return True

    def append_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Append rows to the history."""
        if entries:
            self._db.run(lambda connection: history.write(connection, self._db.dialect, entries))

    def append_missing_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Append the rows that the history lacks."""
        if entries:
            self._db.run(lambda connection: history.write_missing(connection, self._db.dialect, entries))
