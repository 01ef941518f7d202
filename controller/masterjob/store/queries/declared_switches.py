"""The switches that resources declare: whether a manifest or a Kubernetes object enables its lock.

Unlike a switch by people, a declaration replaces what its source declared before. A Kubernetes object has a
generation that grows with each change of its spec, and an instance that lags behind must not undo a newer one.
So the row of such a source stays when it is enabled again, and keeps the generation.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.job_status import ONCE_SOURCE
from masterjob.store.connection.connection import BoundedConnection, execute_statement
from masterjob.store.queries.switches import change_switch

_SELECT_SWITCH = """
    SELECT enabled, reason, generation, actor FROM master_control WHERE lock_name = :lock_name AND source = :source
"""
_DELETE_SWITCH = "DELETE FROM master_control WHERE lock_name = :lock_name AND source = :source"
_INSERT_SWITCH = """
    INSERT INTO master_control
        (lock_name, source, enabled, reason, actor, generation, cluster, namespace, name, changed_at)
    VALUES (:lock_name, :source, :enabled, :reason, :actor, :generation, :cluster, :namespace, :name, {now})
"""
# changed_at stays: people see since when the lock is disabled.
_UPDATE_SWITCH = """
    UPDATE master_control SET reason = :reason, actor = :actor, generation = :generation, cluster = :cluster
    WHERE lock_name = :lock_name AND source = :source
"""
_LIST_SWITCHES = """
    SELECT lock_name, source, enabled, generation, cluster, namespace, name FROM master_control
    WHERE source NOT IN ('api', 'once')
"""


@dataclass(frozen=True, slots=True)
class SwitchSpec:
    """What a source declares for a lock: it disables the lock if there is a ``reason``, otherwise it enables it.

    ``generation``, ``cluster``, ``namespace`` and ``name`` are those of a Kubernetes object.
    """

    source: str
    actor: str
    reason: str | None
    generation: int | None = None
    cluster: str | None = None
    namespace: str | None = None
    name: str | None = None

    @property
    def enabled(self) -> bool:
        """Whether this source allows the lock to have a master."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class StoredSwitch:
    """The row of a source. A source that never disabled its lock may have none."""

    lock_name: str
    source: str
    enabled: bool
    generation: int | None
    cluster: str | None
    namespace: str | None
    name: str | None


def apply_switch(db: BoundedConnection, lock_name: str, spec: SwitchSpec) -> bool:
    """Write the source's switch; return whether that changed what people see. Ignore an older generation."""
    entry = HistoryEntry(
        lock_name, None, TransitionKind.ENABLED, _disable_removed_reason(spec.actor), actor=spec.actor
    )
    if spec.reason is not None:
        entry = HistoryEntry(lock_name, None, TransitionKind.DISABLED, spec.reason, actor=spec.actor)
    values = asdict(spec) | {"lock_name": lock_name, "enabled": spec.enabled, "reason": spec.reason or ""}

    def write_switch(connection: Connection) -> bool:
        stored = execute_statement(connection, db.dialect, _SELECT_SWITCH, values).first()
        if stored is not None and (stored.generation or 0) > (spec.generation or 0):
            return False
        _write_row(connection, db, spec, stored, values)
        was_enabled = stored is None or bool(stored.enabled)
        if spec.enabled and not was_enabled:  # then a job that has completed for good runs again
            execute_statement(connection, db.dialect, _DELETE_SWITCH, values | {"source": ONCE_SOURCE})
        return was_enabled != spec.enabled or (
            stored is not None and not was_enabled and stored.reason != spec.reason
        )

    return change_switch(db, entry, write_switch)


def _write_row(
    connection: Connection,
    db: BoundedConnection,
    spec: SwitchSpec,
    stored: Row[Any] | None,
    values: dict[str, Any],
) -> None:
    if stored is not None and bool(stored.enabled) == spec.enabled:
        execute_statement(connection, db.dialect, _UPDATE_SWITCH, values)
        return
    execute_statement(connection, db.dialect, _DELETE_SWITCH, values)
    if not spec.enabled or spec.generation is not None:
        execute_statement(connection, db.dialect, _INSERT_SWITCH, values)


def remove_switch(db: BoundedConnection, lock_name: str, source: str, actor: str) -> bool:
    """Delete the source's switch; return whether it had disabled the lock."""
    values = {"lock_name": lock_name, "source": source}
    if not (rows := db.fetch_all(_SELECT_SWITCH, **values)):
        return False
    entry = HistoryEntry(
        lock_name, None, TransitionKind.ENABLED, _disable_removed_reason(rows[0].actor), actor=actor
    )

    def delete_switch(connection: Connection) -> bool:
        stored = execute_statement(connection, db.dialect, _SELECT_SWITCH, values).first()
        execute_statement(connection, db.dialect, _DELETE_SWITCH, values)
        return stored is not None and not stored.enabled

    return change_switch(db, entry, delete_switch)


def list_switches(db: BoundedConnection) -> list[StoredSwitch]:
    """Return the switches of all sources except that of people."""
    return [
        StoredSwitch(
            row.lock_name, row.source, bool(row.enabled), row.generation, row.cluster, row.namespace, row.name
        )
        for row in db.fetch_all(_LIST_SWITCHES)
    ]


def _disable_removed_reason(actor: str) -> str:
    return f"the disable by {actor} was taken back"
