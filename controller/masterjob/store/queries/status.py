"""The state of the locks for people: the master, the last run of the job, and why nothing runs."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from masterjob.job_status import JobStatus
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import as_utc_datetime, from_epoch_ms
from masterjob.store.queries import incarnations, job_status
from masterjob.store.queries.switches import chunks

_WHERE_NAMED = " WHERE l.lock_name IN :names"
_WHERE_AFTER = " WHERE l.lock_name > :after"
_AND_DISABLED = " AND NOT l.enabled"
_COLUMNS = f"""
    SELECT l.lock_name, l.enabled, l.term, l.acquired_at, s.id, s.instance, s.address, s.pod, s.node,
           {{now_ms}} - s.heartbeat_ms AS age_ms, s.heartbeat_ms, s.lease_ms,
           (SELECT COUNT(DISTINCT instance) FROM master_session WHERE heartbeat_ms + lease_ms > {{now_ms}})
               AS live_instances,
           (SELECT MAX(started_at) FROM master_session WHERE heartbeat_ms + lease_ms > {{now_ms}})
               AS newest_session_at,
           {{now}} AS read_at,
           CASE WHEN l.enabled AND l.holder IS NULL THEN (
               SELECT e.at FROM master_event e WHERE e.lock_name = l.lock_name ORDER BY e.id DESC LIMIT 1
           ) END AS free_since, {incarnations.COLUMNS}, {job_status.COLUMNS}
"""  # noqa: S608 - made of constants
_FROM_LOCKS = (
    " FROM master_lock l LEFT JOIN master_session s ON s.id = l.holder" + job_status.JOIN + incarnations.JOIN
)
_ORDER_BY_NAME = " ORDER BY l.lock_name"
_LIMIT = " LIMIT :limit"
PAGE = _COLUMNS + _FROM_LOCKS + _WHERE_AFTER + _ORDER_BY_NAME + _LIMIT
DISABLED_PAGE = _COLUMNS + _FROM_LOCKS + _WHERE_AFTER + _AND_DISABLED + _ORDER_BY_NAME + _LIMIT
# Oldest first, so that the newest source wins in the dict.
_SELECT_SWITCHES = """
    SELECT l.lock_name, l.reason, l.actor, l.source, l.until, l.changed_at, l.namespace, l.name
    FROM master_control l
"""
_DISABLED_OLDEST_FIRST = " NOT l.enabled ORDER BY l.changed_at, l.source"


def read_named(db: BoundedConnection, names: Iterable[str]) -> list[LockStatus]:
    """Return those of these locks that exist, in the order of their names.

    The output of its last run comes with a lock only if it is the only one: outputs are long.
    """
    found: list[LockStatus] = []
    for chunk in chunks(sorted(set(names))):
        with_output = len(chunk) == 1
        columns = _COLUMNS + (job_status.OUTPUT_COLUMN if with_output else "")
        rows = db.fetch_all(columns + _FROM_LOCKS + _WHERE_NAMED + _ORDER_BY_NAME, names=chunk)
        found += _to_statuses(db, rows, with_output=with_output)
    return found


def read_page(db: BoundedConnection, after: str, limit: int, *, only_disabled: bool = False) -> list[LockStatus]:
    """Return up to ``limit`` locks whose names come after ``after``, in the database's order of names.

    The condition and the order are those of the primary key, so that a page costs the same whatever the number of
    locks.
    """
    rows = db.fetch_all(DISABLED_PAGE if only_disabled else PAGE, after=after, limit=limit)
    return _to_statuses(db, rows, with_output=False)


def _to_statuses(db: BoundedConnection, rows: Sequence[Row[Any]], *, with_output: bool) -> list[LockStatus]:
    disabled: dict[str, Row[Any]] = {}
    for chunk in chunks([row.lock_name for row in rows if not row.enabled]):
        disables = db.fetch_all(_SELECT_SWITCHES + _WHERE_NAMED + " AND" + _DISABLED_OLDEST_FIRST, names=chunk)
        disabled |= {row.lock_name: row for row in disables}
    return [
        _to_lock_status(row, disabled.get(row.lock_name), job_status.to_job_status(row, with_output=with_output))
        for row in rows
    ]


def _to_lock_status(row: Row[Any], disable_row: Row[Any] | None, job: JobStatus | None) -> LockStatus:
    enabled = bool(row.enabled)
    return LockStatus(
        row.lock_name,
        enabled,
        None if enabled or disable_row is None else _to_disable(disable_row),
        None if row.id is None else _to_master(row),
        row.term,
        job,
        row.live_instances,
        None if row.free_since is None else as_utc_datetime(row.free_since),
        None if row.newest_session_at is None else as_utc_datetime(row.newest_session_at),
        as_utc_datetime(row.read_at),
        incarnations.describe_quarantine(row),
    )


def _to_disable(row: Row[Any]) -> DisabledStatus:
    until = None if row.until is None else from_epoch_ms(row.until)
    resource = f"{row.namespace}/{row.name}" if row.name else ""
    return DisabledStatus(row.reason, row.actor, row.source, as_utc_datetime(row.changed_at), until, resource)


def _to_master(row: Row[Any]) -> MasterStatus:
    return MasterStatus(
        row.instance,
        row.address,
        row.pod,
        row.node,
        as_utc_datetime(row.acquired_at),
        row.age_ms / 1000,
        row.age_ms < row.lease_ms,
        row.lease_ms / 1000,
        from_epoch_ms(row.heartbeat_ms),
    )
