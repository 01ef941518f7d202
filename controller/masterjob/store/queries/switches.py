"""The switch: enables and disables a lock for one source, and ends timed disables.

It is the only transaction of the protocol, and it is short. It locks the lock's row first: otherwise two
concurrent switches would each miss the other's change, and one disable would be lost. A claim writes the same
row, so it either comes before the switch or finds the lock disabled.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.job_status import ONCE_SOURCE
from masterjob.store.connection.connection import BoundedConnection, execute_statement
from masterjob.store.connection.dialect import Dialect
from masterjob.store.notifier import notify
from masterjob.store.queries import history

MAX_NAMES_PER_STATEMENT = 1_000
"""The most names in one statement: far below every database's limit of parameters."""

_EXISTING_LOCKS = "SELECT lock_name FROM master_lock WHERE lock_name IN :names"
_NEW_LOCK_ROW = """(:name{0}, 0, NOT EXISTS (
    SELECT 1 FROM master_control WHERE lock_name = :same{0} AND NOT enabled))"""

_SELECT_LOCK_FOR_UPDATE = "SELECT lock_name FROM master_lock WHERE lock_name = :lock_name {for_update}"
_SET_ENABLED = """
    UPDATE master_lock SET enabled = NOT EXISTS (
        SELECT 1 FROM master_control WHERE lock_name = :lock_name AND NOT enabled)
    WHERE lock_name = :lock_name
"""
# A disable whose time has passed does not count, even if it was not deleted yet.
_ACTIVE_DISABLE = """
    SELECT until FROM master_control WHERE lock_name = :lock_name AND source = :source AND NOT enabled
    AND (until IS NULL OR until > {now_ms})
"""
_EXTEND_DISABLE = "UPDATE master_control SET until = :until WHERE lock_name = :lock_name AND source = :source"
_DELETE_SWITCH = "DELETE FROM master_control WHERE lock_name = :lock_name AND source = :source"
_INSERT_DISABLE = """
    INSERT INTO master_control (lock_name, source, enabled, reason, actor, until, changed_at)
    VALUES (:lock_name, :source, FALSE, :reason, :actor, :until, {now})
"""
_DISABLES = """
    SELECT source FROM master_control WHERE lock_name = :lock_name AND source IN :sources AND NOT enabled
    ORDER BY source
"""
_DELETE_DISABLES = """
    DELETE FROM master_control WHERE lock_name = :lock_name AND source IN :sources AND NOT enabled
"""
_DELETE_DISABLE = _DELETE_SWITCH + " AND NOT enabled"
_EXPIRED_DISABLES = "SELECT lock_name, source, actor FROM master_control WHERE NOT enabled AND until <= {now_ms}"
_DELETE_EXPIRED_DISABLE = _DELETE_DISABLE + " AND until <= {now_ms}"

_IS_ENABLED = "SELECT enabled FROM master_lock WHERE lock_name = :lock_name"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DisableRequest:
    """A disable by one source. ``until_ms``: epoch milliseconds of its end; None: until it is enabled."""

    reason: str
    actor: str
    source: str
    until_ms: int | None = None


def chunks(items: Sequence[T]) -> Iterator[list[T]]:
    """Split ``items`` into lists that fit into one statement."""
    return (
        list(items[start : start + MAX_NAMES_PER_STATEMENT])
        for start in range(0, len(items), MAX_NAMES_PER_STATEMENT)
    )


def ensure_locks(db: BoundedConnection, names: Sequence[str]) -> None:
    """Insert the rows that are missing; another instance may insert some of them at the same time."""
    for chunk in chunks(sorted(set(names))):
        existing = {row.lock_name for row in db.fetch_all(_EXISTING_LOCKS, names=chunk)}
        missing = [name for name in chunk if name not in existing]
        if missing:
            new_rows = ", ".join(_NEW_LOCK_ROW.format(number) for number in range(len(missing)))
            db.execute(
                "{insert} master_lock (lock_name, term, enabled) VALUES " + new_rows + " {on_conflict_ignore}",
                **{f"name{number}": name for number, name in enumerate(missing)},
                **{f"same{number}": name for number, name in enumerate(missing)},
            )


def disable(db: BoundedConnection, lock_name: str, request: DisableRequest) -> bool:
    """Disable the lock for this source; return False if this source disables it already.

    In that case the first reason stays and the later end counts, so that every disable lasts as long as requested.
    """
    key = {"lock_name": lock_name, "source": request.source}
    new_values = {"reason": request.reason, "actor": request.actor, "until": request.until_ms}

    def apply_disable(connection: Connection) -> bool:
        if (existing := execute_statement(connection, db.dialect, _ACTIVE_DISABLE, key).first()) is not None:
            if existing.until is not None and (request.until_ms is None or request.until_ms > existing.until):
                execute_statement(connection, db.dialect, _EXTEND_DISABLE, key | {"until": request.until_ms})
            return False
        execute_statement(connection, db.dialect, _DELETE_SWITCH, key)
        execute_statement(connection, db.dialect, _INSERT_DISABLE, key | new_values)
        return True

    entry = HistoryEntry(lock_name, None, TransitionKind.DISABLED, request.reason, actor=request.actor)
    return change_switch(db, entry, apply_disable)


def enable(db: BoundedConnection, lock_name: str, actor: str, source: str) -> bool:
    """Remove this source's disable; return False if there was none.

    People who enable a lock also allow a job that has completed for good to run again.
    """
    sources = ["api", ONCE_SOURCE] if source == "api" else [source]
    key: dict[str, Any] = {"lock_name": lock_name, "sources": sources}
    disables = db.fetch_all(_DISABLES, **key)
    if not disables:
        return False  # without creating a row for a mistyped name
    reason = f"the disable ({', '.join(row.source for row in disables)}) was taken back"
    entry = HistoryEntry(lock_name, None, TransitionKind.ENABLED, reason, actor=actor)
    return change_switch(
        db,
        entry,
        lambda connection: execute_statement(connection, db.dialect, _DELETE_DISABLES, key).rowcount > 0,
    )


def end_expired_disables(db: BoundedConnection) -> None:
    """End the disables whose time has passed; one whose row is locked waits for the next scan."""
    for expired in db.fetch_all(_EXPIRED_DISABLES):
        reason = f"the time of the disable by {expired.actor} ({expired.source}) ended"
        entry = HistoryEntry(expired.lock_name, None, TransitionKind.ENABLED, reason)
        with contextlib.suppress(StoreUnavailable):
            change_switch(
                db, entry, _deletion(db.dialect, _DELETE_EXPIRED_DISABLE, expired.lock_name, expired.source)
            )


def _deletion(dialect: Dialect, statement: str, lock_name: str, source: str) -> Callable[[Connection], bool]:
    key: dict[str, Any] = {"lock_name": lock_name, "source": source}
    return lambda connection: execute_statement(connection, dialect, statement, key).rowcount > 0


def change_switch(db: BoundedConnection, entry: HistoryEntry, change: Callable[[Connection], bool]) -> bool:
    """Run ``change`` in the transaction of a switch. If it returns True, write ``entry`` and notify the others."""
    ensure_locks(db, [entry.lock_name])
    changed = db.transact(lambda connection: _change_in_transaction(connection, db.dialect, entry, change))
    if changed:
        notify(db, [entry.lock_name])
    return changed


def _change_in_transaction(
    connection: Connection, dialect: Dialect, entry: HistoryEntry, change: Callable[[Connection], bool]
) -> bool:
    key = {"lock_name": entry.lock_name}
    execute_statement(connection, dialect, _SELECT_LOCK_FOR_UPDATE, key)
    changed = change(connection)
    if changed:
        execute_statement(connection, dialect, _SET_ENABLED, key)
        is_enabled = execute_statement(connection, dialect, _IS_ENABLED, key).scalar()
        history.write(connection, dialect, [entry if is_enabled else _of_disabled_lock(entry)])
    return changed


def _of_disabled_lock(entry: HistoryEntry) -> HistoryEntry:
    """Return the entry of a switch after which the lock is disabled, also if another source disables it."""
    is_removal = entry.kind is TransitionKind.ENABLED
    return replace(entry, kind=TransitionKind.DISABLE_REMOVED) if is_removal else entry
