"""The switch: how people, files and resources stop and start a lock, and what ends a disable by itself.

It is the only transaction of the protocol, and it is short. It locks the lock's row before anything else: two
switches at once would otherwise each see only their own half, and one disable would be lost. A claim writes
the same row, so it comes wholly before the switch or finds the lock disabled.

Source: design sections 3.1 and 3.2.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from masterjob.election.errors import StoreUnavailable
from masterjob.election.values import Entry, Kind
from masterjob.store.connection.dialects import Dialect
from masterjob.store.connection.lines import Line, execute
from masterjob.store.verbs import history
from masterjob.store.wakeups import announce

CHUNK = 1_000
"""How many names stand in one statement: far below every database's limit of parameters."""

_KNOWN = "SELECT lock_name FROM master_lock WHERE lock_name IN :names"
_NEW_ROW = """(:name{0}, 0, NOT EXISTS (
    SELECT 1 FROM master_control WHERE lock_name = :same{0} AND NOT enabled))"""

_LOCK_ROW = "SELECT lock_name FROM master_lock WHERE lock_name = :lock_name {for_update}"
_SET_ENABLED = """
    UPDATE master_lock SET enabled = NOT EXISTS (
        SELECT 1 FROM master_control WHERE lock_name = :lock_name AND NOT enabled)
    WHERE lock_name = :lock_name
"""
# A disable whose time has passed stands in nobody's way, though nobody has cleared it away yet.
_STILL_DISABLES = """
    SELECT until FROM master_control WHERE lock_name = :lock_name AND source = :source AND NOT enabled
    AND (until IS NULL OR until > {now_ms})
"""
_PUT_OFF = "UPDATE master_control SET until = :until WHERE lock_name = :lock_name AND source = :source"
_FORGET = "DELETE FROM master_control WHERE lock_name = :lock_name AND source = :source"
_DISABLE = """
    INSERT INTO master_control (lock_name, source, enabled, reason, actor, until, changed_at)
    VALUES (:lock_name, :source, FALSE, :reason, :actor, :until, {now})
"""
_DISABLES = "SELECT 1 FROM master_control WHERE lock_name = :lock_name AND source = :source AND NOT enabled"
_ENABLE = _FORGET + " AND NOT enabled"
_DUE = "SELECT lock_name, source, actor FROM master_control WHERE NOT enabled AND until <= {now_ms}"
_END_DUE = _ENABLE + " AND until <= {now_ms}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Disabling:
    """What is said with a disable. ``until_ms`` is in epoch milliseconds; None: until somebody enables."""

    reason: str
    actor: str
    source: str
    until_ms: int | None = None


def chunks(items: Sequence[T]) -> Iterator[list[T]]:
    """Return ``items`` in pieces that fit into one statement."""
    return (list(items[start : start + CHUNK]) for start in range(0, len(items), CHUNK))


def ensure(line: Line, names: Sequence[str]) -> None:
    """Write the rows that are not there yet; one that another instance writes meanwhile is as good."""
    for some in chunks(sorted(set(names))):
        known = {row.lock_name for row in line.rows(_KNOWN, names=some)}
        missing = [name for name in some if name not in known]
        if missing:
            rows = ", ".join(_NEW_ROW.format(number) for number in range(len(missing)))
            line.change(
                "{insert} master_lock (lock_name, term, enabled) VALUES " + rows + " {or_nothing}",
                **{f"name{number}": name for number, name in enumerate(missing)},
                **{f"same{number}": name for number, name in enumerate(missing)},
            )


def disable(line: Line, lock_name: str, said: Disabling) -> bool:
    """Disable the lock for this source; return False where it does so already.

    Then its first reason stays, and of two ends the later: who disables a lock finds it disabled that long.
    """
    key = {"lock_name": lock_name, "source": said.source}
    told = {"reason": said.reason, "actor": said.actor, "until": said.until_ms}

    def change(connection: Connection) -> bool:
        if (before := execute(connection, line.dialect, _STILL_DISABLES, key).first()) is not None:
            if before.until is not None and (said.until_ms is None or said.until_ms > before.until):
                execute(connection, line.dialect, _PUT_OFF, key | {"until": said.until_ms})
            return False
        execute(connection, line.dialect, _FORGET, key)
        execute(connection, line.dialect, _DISABLE, key | told)
        return True

    entry = Entry(lock_name, None, Kind.DISABLED, said.reason, actor=said.actor)
    return turn(line, entry, change)


def enable(line: Line, lock_name: str, actor: str, source: str) -> bool:
    """Take this source's disable back; return False where it had none."""
    if not line.rows(_DISABLES, lock_name=lock_name, source=source):
        return False  # and no row for a lock whose name was only mistyped
    entry = Entry(lock_name, None, Kind.ENABLED, f"the disable ({source}) was taken back", actor=actor)
    return turn(line, entry, _removal(line.dialect, _ENABLE, lock_name, source))


def end_due(line: Line) -> None:
    """End the disables whose time has come; one whose row is held just now waits for the next look."""
    for due in line.rows(_DUE):
        reason = f"the time of the disable by {due.actor} ({due.source}) ended"
        entry = Entry(due.lock_name, None, Kind.ENABLED, reason)
        with contextlib.suppress(StoreUnavailable):
            turn(line, entry, _removal(line.dialect, _END_DUE, due.lock_name, due.source))


def _removal(dialect: Dialect, statement: str, lock_name: str, source: str) -> Callable[[Connection], bool]:
    key: dict[str, Any] = {"lock_name": lock_name, "source": source}
    return lambda connection: execute(connection, dialect, statement, key).rowcount > 0


def turn(line: Line, entry: Entry, change: Callable[[Connection], bool]) -> bool:
    """Make a ``change`` to a lock's switches in the one transaction; others are told if it changed anything."""
    ensure(line, [entry.lock_name])
    changed = line.run(lambda connection: _transaction(connection, line.dialect, entry, change))
    if changed:
        announce(line, [entry.lock_name])
    return changed


def _transaction(
    connection: Connection, dialect: Dialect, entry: Entry, change: Callable[[Connection], bool]
) -> bool:
    """Where this fails half-way, the line drops the connection, and with it the server the transaction."""
    key = {"lock_name": entry.lock_name}
    for statement in dialect.begin:
        connection.execute(text(statement))
    execute(connection, dialect, _LOCK_ROW, key)
    changed = change(connection)
    if changed:
        execute(connection, dialect, _SET_ENABLED, key)
        history.write(connection, dialect, [entry])
    for statement in dialect.commit:
        connection.execute(text(statement))
    return changed
