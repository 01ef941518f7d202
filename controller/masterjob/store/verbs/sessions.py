"""Who is alive: the verbs on `master_session`, each one statement on the database's clock.

Source: design sections 3.1 and 3.2.
"""

from dataclasses import asdict

from masterjob.election.values import Census, Inventory, NewSession, SessionSeen, Term
from masterjob.store.connection.lines import Line
from masterjob.store.verbs import inventory
from masterjob.store.verbs.history import storable
from masterjob.store.wakeups import announce

_OPEN = """
    INSERT INTO master_session (id, instance, address, pod, pod_uid, node, container, container_id,
                                beat, heartbeat_at, heartbeat_ms, lease_ms, started_at)
    VALUES (:id, :instance, :address, :pod, :pod_uid, :node, :container, :container_id,
            1, {now}, {now_ms}, :lease_ms, {now})
"""
# A column always changes, so that the count of rows is the same whether a driver counts found or changed
# ones.
_RENEW = """
    UPDATE master_session SET beat = beat + 1, heartbeat_at = {now}, heartbeat_ms = {now_ms} WHERE id = :me
"""
# Where a query may contain an UPDATE, the inventory comes in the same round trip.
_RENEW_AND_READ = f"""
    WITH beaten AS ({_RENEW} RETURNING id)
    SELECT held.*, (SELECT COUNT(*) FROM beaten) AS beaten FROM ({inventory.SHORT}) AS held
"""  # noqa: S608 - made of constants
# The clock comes with the sessions, and also when there is none.
_CENSUS = """
    SELECT {now_ms} AS clock_ms, s.id, s.instance, s.beat, s.heartbeat_ms, s.lease_ms
    FROM (SELECT 1 AS one) AS always LEFT JOIN master_session s ON 1 = 1
"""
_HELD_BY = "SELECT lock_name, term FROM master_lock WHERE holder = :id ORDER BY lock_name"
_EVICT = "DELETE FROM master_session WHERE id = :id AND beat = :seen"
_AND_STALE = " AND heartbeat_ms + lease_ms <= {now_ms}"
_LEAVE = "DELETE FROM master_session WHERE id = :id"


class SessionVerbs:
    """The port `Sessions` on a line to a database."""

    _line: Line

    def open(self, session: NewSession) -> None:
        """Write the session with its first heartbeat."""
        identity = {name: storable(value, 255) for name, value in asdict(session.identity).items()}
        self._line.change(_OPEN, id=session.id, lease_ms=session.lease_ms, **identity)

    def renew(self, session_id: str, instance: str) -> Inventory | None:
        """Beat once more; return what the instance holds, or None where the session was evicted."""
        if self._line.dialect.updates_in_queries:
            row = self._line.rows(_RENEW_AND_READ, me=session_id, instance=instance)[0]
            return inventory.of_row(self._line, instance, row) if row.beaten else None
        if self._line.change(_RENEW, me=session_id) == 0:
            return None
        return inventory.read(self._line, instance)

    def census(self) -> Census:
        """Read all sessions and the database's clock, in one statement."""
        rows = self._line.rows(_CENSUS)
        clock_ms = int(rows[0].clock_ms)
        return Census(
            clock_ms,
            tuple(
                SessionSeen(row.id, row.instance, row.beat, clock_ms - row.heartbeat_ms, row.lease_ms)
                for row in rows
                if row.id is not None
            ),
        )

    def evict(self, session_id: str, beat: int, *, if_stale: bool) -> tuple[Term, ...] | None:
        """Remove the session if it still stands at ``beat``; the DELETE alone decides.

        What it held is read just before, for the history: the next claim of a lock tells the same.
        """
        held = self._held_by(session_id)
        if self._line.change(_EVICT + (_AND_STALE if if_stale else ""), id=session_id, seen=beat) == 0:
            return None
        announce(self._line, [term.lock_name for term in held])
        return held

    def leave(self, session_id: str) -> None:
        """Remove our own session; whatever it still holds becomes free."""
        held = self._held_by(session_id)
        self._line.change(_LEAVE, id=session_id)
        announce(self._line, [term.lock_name for term in held])

    def _held_by(self, session_id: str) -> tuple[Term, ...]:
        return tuple(Term(row.lock_name, row.term) for row in self._line.rows(_HELD_BY, id=session_id))
