"""The operations on `master_session`, each one statement on the database's clock."""

from dataclasses import asdict

from masterjob.election.values import Incarnation, Inventory, NewSession, SessionList, SessionRow, Term
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.notifier import notify
from masterjob.store.queries import incarnations, inventory
from masterjob.store.queries.history import sanitize_text

_INSERT_SESSION = """
    INSERT INTO master_session (id, instance, address, pod, pod_uid, node, container, container_id,
                                beat, heartbeat_at, heartbeat_ms, lease_ms, started_at)
    VALUES (:id, :instance, :address, :pod, :pod_uid, :node, :container, :container_id,
            1, {now}, {now_ms}, :lease_ms, {now})
"""
# A column always changes, so the row count is the same whether a driver counts matched or changed rows.
_RENEW = """
    UPDATE master_session SET beat = beat + 1, heartbeat_at = {now}, heartbeat_ms = {now_ms} WHERE id = :session_id
"""
# If a query may contain an UPDATE, the inventory comes in the same round trip.
_RENEW_AND_READ_INVENTORY = f"""
    WITH renewed AS ({_RENEW} RETURNING id)
    SELECT summary.*, (SELECT COUNT(*) FROM renewed) AS renewed FROM ({inventory.SUMMARY}) AS summary
"""  # noqa: S608 - made of constants
# Returns the clock even if there are no sessions.
_LIST_SESSIONS = f"""
    SELECT {{now_ms}} AS clock_ms, s.id, s.instance, s.beat, s.heartbeat_ms, s.lease_ms, {incarnations.COLUMNS}
    FROM (SELECT 1 AS one) AS always {incarnations.JOIN} LEFT JOIN master_session s ON 1 = 1
"""  # noqa: S608
_TERMS_HELD_BY = "SELECT lock_name, term FROM master_lock WHERE holder = :id ORDER BY lock_name"
_EVICT = f"DELETE FROM master_session WHERE id = :id AND beat = :beat AND {incarnations.MAY_CLAIM}"  # noqa: S608
_AND_IS_INCARNATION = " AND" + incarnations.IS_INCARNATION
_AND_LEASE_EXPIRED = " AND heartbeat_ms + lease_ms <= {now_ms}"
_DELETE_SESSION = "DELETE FROM master_session WHERE id = :id"


class SessionQueries:
    """`masterjob.election.ports.SessionStore` on a connection."""

    def __init__(self, db: BoundedConnection) -> None:
        self._db = db

    def open_session(self, session: NewSession) -> None:
        """Insert the session with its first heartbeat."""
        identity = {name: sanitize_text(value, 255) for name, value in asdict(session.identity).items()}
        self._db.execute(_INSERT_SESSION, id=session.id, lease_ms=session.lease_ms, **identity)

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        """Write a heartbeat; return what the instance holds, or None if the session was evicted."""
        if self._db.dialect.supports_writable_cte:
            row = self._db.fetch_all(_RENEW_AND_READ_INVENTORY, session_id=session_id, instance=instance)[0]
            return inventory.from_summary_row(self._db, instance, row) if row.renewed else None
        if self._db.execute(_RENEW, session_id=session_id) == 0:
            return None
        return inventory.read_summary(self._db, instance)

    def list_sessions(self) -> SessionList:
        """Return all sessions and the database's clock, read in one statement."""
        rows = self._db.fetch_all(_LIST_SESSIONS)
        clock_ms = int(rows[0].clock_ms)
        return SessionList(
            clock_ms,
            tuple(
                SessionRow(row.id, row.instance, row.beat, clock_ms - row.heartbeat_ms, row.lease_ms)
                for row in rows
                if row.id is not None
            ),
            incarnations.of_row(self._db, rows[0]),
        )

    def evict(
        self, session_id: str, beat: int, *, if_stale: bool, incarnation: Incarnation | None = None
    ) -> tuple[Term, ...] | None:
        """Delete the session if it is still at ``beat``; return the terms it held, or None if it was not deleted.

        The DELETE alone decides. The terms are read just before it, for the history only.
        """
        held = self._terms_held_by(session_id)
        statement, values = _EVICT + (_AND_LEASE_EXPIRED if if_stale else ""), {"id": session_id, "beat": beat}
        if incarnation is not None:
            statement += _AND_IS_INCARNATION
            values |= {"name": incarnation.name, "since_ms": incarnation.since_ms}
        if self._db.execute(statement, **values) == 0:
            return None
        notify(self._db, [term.lock_name for term in held])
        return held

    def close_session(self, session_id: str) -> None:
        """Delete our own session; the locks that it still holds become free."""
        held = self._terms_held_by(session_id)
        self._db.execute(_DELETE_SESSION, id=session_id)
        notify(self._db, [term.lock_name for term in held])

    def _terms_held_by(self, session_id: str) -> tuple[Term, ...]:
        return tuple(Term(row.lock_name, row.term) for row in self._db.fetch_all(_TERMS_HELD_BY, id=session_id))
