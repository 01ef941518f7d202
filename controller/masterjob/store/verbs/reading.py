"""The state of the locks as people see it: who is master, since when, or why nobody may be.

Source: design sections 3.1 and 6.1.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from masterjob.election.views import Disabled, LockStatus, MasterSeen
from masterjob.store.connection.dialects import moment
from masterjob.store.connection.lines import Line
from masterjob.store.verbs.switch import chunks

_SOME = " WHERE l.lock_name IN :names"
_LOCKS = """
    SELECT l.lock_name, l.enabled, l.term, l.acquired_at, s.id, s.instance, s.address, s.pod, s.node,
           {now_ms} - s.heartbeat_ms AS age_ms, s.lease_ms
    FROM master_lock l LEFT JOIN master_session s ON s.id = l.holder
"""
_IN_ORDER = " ORDER BY l.lock_name"
# Oldest first, so that of several sources the newest stays.
_DISABLED = """
    SELECT l.lock_name, l.reason, l.actor, l.source, l.until, l.changed_at, l.namespace, l.name
    FROM master_control l
"""
_DISABLED_IN_ORDER = " NOT l.enabled ORDER BY l.changed_at, l.source"


def status(line: Line, names: Sequence[str] | None = None) -> list[LockStatus]:
    """Return all locks, or those asked for as far as there are such, in the order of their names."""
    if names is not None:
        return [lock for some in chunks(sorted(set(names))) for lock in _read(line, _SOME, some)]
    return _read(line, "", [])


def _read(line: Line, only: str, names: Sequence[str]) -> list[LockStatus]:
    values = {"names": names} if only else {}
    locks = line.rows(_LOCKS + only + _IN_ORDER, **values)
    joint = only + " AND" if only else " WHERE"
    disabled = {row.lock_name: row for row in line.rows(_DISABLED + joint + _DISABLED_IN_ORDER, **values)}
    return [_lock(row, disabled.get(row.lock_name)) for row in locks]


def _lock(row: Row[Any], why: Row[Any] | None) -> LockStatus:
    enabled = bool(row.enabled)
    return LockStatus(
        row.lock_name,
        enabled,
        None if enabled or why is None else _disabled(why),
        None if row.id is None else _master(row),
        row.term,
    )


def _disabled(row: Row[Any]) -> Disabled:
    until = None if row.until is None else datetime.fromtimestamp(row.until / 1000, UTC)
    resource = f"{row.namespace}/{row.name}" if row.name else ""
    return Disabled(row.reason, row.actor, row.source, moment(row.changed_at), until, resource)


def _master(row: Row[Any]) -> MasterSeen:
    return MasterSeen(
        row.instance,
        row.address,
        row.pod,
        row.node,
        moment(row.acquired_at),
        row.age_ms / 1000,
        row.age_ms < row.lease_ms,
    )
