"""The state of the locks for people: the master, the last run of the job, and why nothing runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from masterjob.job_status import JobStatus
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import as_utc_datetime, from_epoch_ms
from masterjob.store.queries import incarnations, job_status
from masterjob.store.queries.switches import chunks

_WHERE_NAMED = " WHERE l.lock_name IN :names"
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
# Oldest first, so that the newest source wins in the dict.
_SELECT_SWITCHES = """
    SELECT l.lock_name, l.reason, l.actor, l.source, l.until, l.changed_at, l.namespace, l.name
    FROM master_control l
"""
_DISABLED_OLDEST_FIRST = " NOT l.enabled ORDER BY l.changed_at, l.source"


def read_statuses(db: BoundedConnection, names: Sequence[str] | None = None) -> list[LockStatus]:
    """Return all locks, or those of ``names`` that exist, in the order of their names.

    The output of its last run comes with a lock only if it is the only one of ``names``: outputs are long.
    """
    if names is not None:
        return [lock for chunk in chunks(sorted(set(names))) for lock in _read_status(db, _WHERE_NAMED, chunk)]
    return _read_status(db, "", [])


def _read_status(db: BoundedConnection, where: str, names: Sequence[str]) -> list[LockStatus]:
    values = {"names": names} if where else {}
    with_output = len(names) == 1
    columns = _COLUMNS + (job_status.OUTPUT_COLUMN if with_output else "")
    locks = db.fetch_all(columns + _FROM_LOCKS + where + _ORDER_BY_NAME, **values)
    conjunction = where + " AND" if where else " WHERE"
    disabled = {
        row.lock_name: row
        for row in db.fetch_all(_SELECT_SWITCHES + conjunction + _DISABLED_OLDEST_FIRST, **values)
    }
    return [
        _to_lock_status(row, disabled.get(row.lock_name), job_status.to_job_status(row, with_output=with_output))
        for row in locks
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
