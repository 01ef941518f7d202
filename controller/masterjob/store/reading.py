"""The state of the locks as people see it: who is master, since when, or why nobody may be.

Source: design sections 3.1 and 6.1.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from masterjob.store.dialects import moment
from masterjob.store.lines import Line

_ONE = " WHERE l.lock_name = :lock_name"
_LOCKS = """
    SELECT l.lock_name, l.enabled, l.term, l.acquired_at, s.id, s.instance, s.address, s.pod, s.node,
           {now_ms} - s.heartbeat_ms AS age_ms, s.lease_ms
    FROM master_lock l LEFT JOIN master_session s ON s.id = l.holder
"""
_IN_ORDER = " ORDER BY l.lock_name"
# Oldest first, so that of several sources the newest stays.
_DISABLED = """
    SELECT l.lock_name, l.reason, l.actor, l.source, l.until, l.changed_at FROM master_control l
"""
_DISABLED_IN_ORDER = " NOT l.enabled ORDER BY l.changed_at, l.source"


@dataclass(frozen=True, slots=True)
class Disabled:
    """Who stopped a lock, why, and for how long; the newest where there are several."""

    reason: str
    actor: str
    source: str
    since: datetime
    until: datetime | None

    @property
    def by(self) -> str:
        """Who, and by which switch, where that does not say who by itself."""
        return self.actor if self.actor == self.source else f"{self.actor} ({self.source})"


@dataclass(frozen=True, slots=True)
class MasterSeen:
    """Who holds a lock. ``alive`` is by the lease and the database's clock; the age is in seconds."""

    instance: str
    address: str
    pod: str
    node: str
    since: datetime
    heartbeat_age: float
    alive: bool


@dataclass(frozen=True, slots=True)
class LockStatus:
    """One lock. ``term`` is the number of the last term, 0 where there was none yet."""

    lock_name: str
    enabled: bool
    disabled: Disabled | None
    master: MasterSeen | None
    term: int


def status(line: Line, lock_name: str | None = None) -> list[LockStatus]:
    """Return all locks, or the one asked for if there is one, in the order of their names."""
    only, values = (_ONE, {"lock_name": lock_name}) if lock_name is not None else ("", {})
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
    return Disabled(row.reason, row.actor, row.source, moment(row.changed_at), until)


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
