"""The switches of resources: what a manifest, or an object of Kubernetes, says about its lock.

Unlike what people switches_module, a declaration takes the place of what its source has said before. An object of
Kubernetes has a generation that grows with each change of its spec, and an instance that lags behind cannot undo
a newer one: the row of such a source stays when it is enabled again, and keeps the generation.

Source: design sections 3.1 and 6.2.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.store.connection.connection import BoundedConnection, execute_statement
from masterjob.store.queries import switches as switches_module

_SELECT_SWITCH = """
    SELECT enabled, reason, generation, actor FROM master_control WHERE lock_name = :lock_name AND source = :source
"""
_DELETE_SWITCH = "DELETE FROM master_control WHERE lock_name = :lock_name AND source = :source"
_INSERT_SWITCH = """
    INSERT INTO master_control
        (lock_name, source, enabled, reason, actor, generation, cluster, namespace, name, changed_at)
    VALUES (:lock_name, :source, :enabled, :reason, :actor, :generation, :cluster, :namespace, :name, {now})
"""
# The time since when it is as it is stays, for people to see.
_UPDATE_SWITCH = """
    UPDATE master_control SET reason = :reason, actor = :actor, generation = :generation, cluster = :cluster
    WHERE lock_name = :lock_name AND source = :source
"""
_LIST_SWITCHES = """
    SELECT lock_name, source, enabled, generation, cluster, namespace, name FROM master_control
    WHERE source <> 'api'
"""


@dataclass(frozen=True, slots=True)
class SwitchSpec:
    """What a source says of a lock. A lock is enabled by it where there is no ``reason``.

    ``generation`` is that of an object of Kubernetes, as are its ``cluster``, ``namespace`` and ``name``.
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
        """Whether the lock may have a master, as far as this source is concerned."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class StoredSwitch:
    """What the database has of a source; of one that never disabled anything it may have nothing."""

    lock_name: str
    source: str
    enabled: bool
    generation: int | None
    cluster: str | None
    namespace: str | None
    name: str | None


def apply_switch(db: BoundedConnection, lock_name: str, spec: SwitchSpec) -> bool:
    """Have the source's switch be as it says; return whether that changed what people see.

    What an older generation says is not taken in.
    """
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
        return was_enabled != spec.enabled or (
            stored is not None and not was_enabled and stored.reason != spec.reason
        )

    return switches_module.change_switch(db, entry, write_switch)


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
    """Forget what the source has said; return whether it had disabled the lock."""
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

    return switches_module.change_switch(db, entry, delete_switch)


def list_switches(db: BoundedConnection) -> list[StoredSwitch]:
    """Return what the database has of all sources but people's."""
    return [
        StoredSwitch(
            row.lock_name, row.source, bool(row.enabled), row.generation, row.cluster, row.namespace, row.name
        )
        for row in db.fetch_all(_LIST_SWITCHES)
    ]


def _disable_removed_reason(actor: str) -> str:
    return f"the disable by {actor} was taken back"
