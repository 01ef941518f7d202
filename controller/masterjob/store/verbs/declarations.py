"""The switches of resources: what a manifest, or an object of Kubernetes, says about its lock.

Unlike what people switch, a declaration takes the place of what its source has said before. An object of
Kubernetes has a generation that grows with each change of its spec, and an instance that lags behind cannot undo
a newer one: the row of such a source stays when it is enabled again, and keeps the generation.

Source: design sections 3.1 and 6.2.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row

from masterjob.election.values import Entry, Kind
from masterjob.store.connection.lines import Line, execute
from masterjob.store.verbs import switch

_ROW = """
    SELECT enabled, reason, generation, actor FROM master_control WHERE lock_name = :lock_name AND source = :source
"""
_FORGET = "DELETE FROM master_control WHERE lock_name = :lock_name AND source = :source"
_SAY = """
    INSERT INTO master_control
        (lock_name, source, enabled, reason, actor, generation, cluster, namespace, name, changed_at)
    VALUES (:lock_name, :source, :enabled, :reason, :actor, :generation, :cluster, :namespace, :name, {now})
"""
# The time since when it is as it is stays, for people to see.
_CORRECT = """
    UPDATE master_control SET reason = :reason, actor = :actor, generation = :generation, cluster = :cluster
    WHERE lock_name = :lock_name AND source = :source
"""
_STANDING = """
    SELECT lock_name, source, enabled, generation, cluster, namespace, name FROM master_control
    WHERE source <> 'api'
"""


@dataclass(frozen=True, slots=True)
class Declaration:
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
class Standing:
    """What the database has of a source; of one that never disabled anything it may have nothing."""

    lock_name: str
    source: str
    enabled: bool
    generation: int | None
    cluster: str | None
    namespace: str | None
    name: str | None


def declare(line: Line, lock_name: str, said: Declaration) -> bool:
    """Have the source's switch be as it says; return whether that changed what people see.

    What an older generation says is not taken in.
    """
    entry = Entry(lock_name, None, Kind.ENABLED, _taken_back(said.actor), actor=said.actor)
    if said.reason is not None:
        entry = Entry(lock_name, None, Kind.DISABLED, said.reason, actor=said.actor)
    values = asdict(said) | {"lock_name": lock_name, "enabled": said.enabled, "reason": said.reason or ""}

    def change(connection: Connection) -> bool:
        before = execute(connection, line.dialect, _ROW, values).first()
        if before is not None and (before.generation or 0) > (said.generation or 0):
            return False
        _write(connection, line, said, before, values)
        was_enabled = before is None or bool(before.enabled)
        return was_enabled != said.enabled or (
            before is not None and not was_enabled and before.reason != said.reason
        )

    return switch.turn(line, entry, change)


def _write(
    connection: Connection, line: Line, said: Declaration, before: Row[Any] | None, values: dict[str, Any]
) -> None:
    if before is not None and bool(before.enabled) == said.enabled:
        execute(connection, line.dialect, _CORRECT, values)
        return
    execute(connection, line.dialect, _FORGET, values)
    if not said.enabled or said.generation is not None:
        execute(connection, line.dialect, _SAY, values)


def retract(line: Line, lock_name: str, source: str, actor: str) -> bool:
    """Forget what the source has said; return whether it had disabled the lock."""
    values = {"lock_name": lock_name, "source": source}
    if not (found := line.rows(_ROW, **values)):
        return False
    entry = Entry(lock_name, None, Kind.ENABLED, _taken_back(found[0].actor), actor=actor)

    def change(connection: Connection) -> bool:
        before = execute(connection, line.dialect, _ROW, values).first()
        execute(connection, line.dialect, _FORGET, values)
        return before is not None and not before.enabled

    return switch.turn(line, entry, change)


def standing(line: Line) -> list[Standing]:
    """Return what the database has of all sources but people's."""
    return [
        Standing(
            row.lock_name, row.source, bool(row.enabled), row.generation, row.cluster, row.namespace, row.name
        )
        for row in line.rows(_STANDING)
    ]


def _taken_back(by: str) -> str:
    return f"the disable by {by} was taken back"
