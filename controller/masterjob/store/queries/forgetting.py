"""Forgetting a lock: its row, its history and the last run of its job are deleted.

Like the switch this is a transaction that locks the lock's row first. So a claim comes either before it, and the
lock is kept, or after it, and finds no row.

Term numbers must not decrease, since a frozen master may still hold a term of the lock. So the highest term of all
forgotten locks is kept, and every claim gives a higher one. The claim reads it, and not the insert of a new row: a
statement that sees a row which was inserted after a deletion also sees the term that this deletion has kept.
"""

from datetime import timedelta

from sqlalchemy import Connection, Row, text

from masterjob.concurrency.clock import format_age
from masterjob.lock_status import describe_actor
from masterjob.store.connection.connection import BoundedConnection, execute_statement
from masterjob.store.notifier import notify_all

UNUSED_TIME = timedelta(minutes=6)
"""For how long a lock must be unused while instances are alive.

One that waits for it claims it sooner: the longest pause of a job that does not start is five minutes.
"""

_INSERT_COUNTER = """
    {insert} master_forgotten (id, locks, highest_term) VALUES (1, 0, 0) {on_conflict_ignore}
"""
_SELECT_LOCK_FOR_UPDATE = """
    SELECT term, enabled, holder FROM master_lock WHERE lock_name = :lock_name {for_update}
"""
_SELECT_SWITCHES = """
    SELECT enabled, actor, source, namespace, name FROM master_control WHERE lock_name = :lock_name
    ORDER BY enabled, changed_at DESC
"""
_SELECT_SESSION = """
    SELECT s.instance, {now_ms} - s.heartbeat_ms AS age_ms, s.lease_ms FROM master_session s WHERE s.id = :holder
"""
_SELECT_USE = """
    SELECT (SELECT COUNT(DISTINCT instance) FROM master_session WHERE heartbeat_ms + lease_ms > {now_ms})
               AS live_instances,
           (SELECT COUNT(*) FROM master_event WHERE lock_name = l.lock_name AND at > {ago}) AS recent_events,
           CASE WHEN l.acquired_at > {ago} THEN 1 ELSE 0 END AS was_elected
    FROM master_lock l WHERE l.lock_name = :lock_name
"""
_COUNT = """
    UPDATE master_forgotten SET locks = locks + 1, highest_term = {greatest}(highest_term, :term) WHERE id = 1
"""
_DELETIONS = tuple(
    f"DELETE FROM {table} WHERE lock_name = :lock_name"  # noqa: S608 - names of our tables
    for table in ("master_job", "master_event", "master_lock")
)
_UNUSED_LOCKS = """
    SELECT l.lock_name FROM master_lock l
    WHERE l.lock_name > :after AND l.holder IS NULL AND l.enabled
    AND (l.acquired_at IS NULL OR l.acquired_at <= {ago})
    AND NOT EXISTS (SELECT 1 FROM master_control c WHERE c.lock_name = l.lock_name)
    AND NOT EXISTS (SELECT 1 FROM master_event e WHERE e.lock_name = l.lock_name AND e.at > {ago})
    ORDER BY l.lock_name LIMIT :limit
"""


def forget(db: BoundedConnection, lock_name: str, unused_for: timedelta) -> str | None:
    """Delete the lock and its history; return None, or why it is kept, as the end of a sentence.

    It must be free and have no switch. ``unused_for``: for how long nothing may have happened to it; at least
    `UNUSED_TIME` if an instance is alive. A lock that has no row is forgotten already.
    """
    db.execute(_INSERT_COUNTER)
    kept = db.run(lambda connection: _forget_in_transaction(connection, db, lock_name, unused_for))
    if kept is None:
        notify_all(db)  # an instance that still waits for the lock writes its row again
    return kept


def list_unused(db: BoundedConnection, unused_for: timedelta, after: str, limit: int) -> list[str]:
    """Return up to ``limit`` names, after ``after``, of free locks without a switch to which nothing happened."""
    values = {"age_us": _microseconds(unused_for), "after": after, "limit": limit}
    return [row.lock_name for row in db.fetch_all(_UNUSED_LOCKS, **values)]


def _forget_in_transaction(
    connection: Connection, db: BoundedConnection, lock_name: str, unused_for: timedelta
) -> str | None:
    # If a statement fails, `BoundedConnection` drops the connection, and so the server rolls back.
    key = {"lock_name": lock_name}
    for statement in db.dialect.begin_statements:
        connection.execute(text(statement))
    lock = execute_statement(connection, db.dialect, _SELECT_LOCK_FOR_UPDATE, key).first()
    kept = None if lock is None else _why_kept(connection, db, lock_name, lock, unused_for)
    if lock is not None and kept is None:
        execute_statement(connection, db.dialect, _COUNT, {"term": lock.term})
        for statement in _DELETIONS:
            execute_statement(connection, db.dialect, statement, key)
    for statement in db.dialect.commit_statements:
        connection.execute(text(statement))
    return kept


def _why_kept(
    connection: Connection,
    db: BoundedConnection,
    lock_name: str,
    lock: Row[tuple[object, ...]],
    unused_for: timedelta,
) -> str | None:
    if lock.holder is not None:
        session = execute_statement(connection, db.dialect, _SELECT_SESSION, {"holder": lock.holder}).first()
        return _why_held(session)
    switch = execute_statement(connection, db.dialect, _SELECT_SWITCHES, {"lock_name": lock_name}).first()
    if switch is not None:
        resource = f"{switch.namespace}/{switch.name}" if switch.name else ""
        by = describe_actor(switch.actor, switch.source, resource)
        return f"{by} declares it" if switch.enabled else f"it is disabled by {by}"
    return _why_in_use(connection, db, lock_name, unused_for)


def _why_held(session: Row[tuple[object, ...]] | None) -> str:
    if session is None:
        return "it has a master"
    if session.age_ms < session.lease_ms:
        return f"{session.instance} is its master"
    silence = format_age(session.age_ms / 1000)
    return f"{session.instance}, its last master, has been silent for {silence}, and no instance has evicted it"


def _why_in_use(
    connection: Connection, db: BoundedConnection, lock_name: str, unused_for: timedelta
) -> str | None:
    for needed, needs_live_instance in ((UNUSED_TIME, True), (unused_for, False)):
        values = {"lock_name": lock_name, "age_us": _microseconds(needed)}
        use = execute_statement(connection, db.dialect, _SELECT_USE, values).one()
        if not (use.recent_events or use.was_elected) or (needs_live_instance and not use.live_instances):
            continue
        age = format_age(needed.total_seconds())
        suffix = ", and an instance that is alive may wait for it" if needs_live_instance else ""
        return f"it was used in the last {age}{suffix}"
    return None


def _microseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1e6)
