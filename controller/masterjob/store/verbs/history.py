"""The history: one row a transition, the newest thousand of each lock.

It is written beside the deciding statements and decides nothing; where polling is the only wake-up, it is
also what the others poll.

Source: design section 3.1.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from masterjob.election.values import Entry, Kind
from masterjob.election.views import Event
from masterjob.store.connection.dialects import Dialect, moment
from masterjob.store.connection.lines import Line, execute

KEPT = 1_000
"""How many rows of each lock are kept; `read` never returns more."""

_ENDS = (Kind.STEPPED_DOWN, Kind.EVICTED)
_LOOK_BACK = 20  # how many rows an end may stand before the election that follows it: disables, failed starts

_TEXT_LIMIT = 4_000
_PRUNE_ONE_IN = 32  # often enough that no history grows much, seldom enough to cost nothing

_INSERT = """
    INSERT INTO master_event (lock_name, term, kind, instance, actor, reason, at)
    VALUES (:lock_name, :term, :kind, :instance, :actor, :reason, {now})
"""
_PRUNE = """
    DELETE FROM master_event WHERE lock_name = :lock_name AND id <= (
        SELECT id FROM (SELECT id FROM master_event WHERE lock_name = :lock_name
                        ORDER BY id DESC LIMIT 1 OFFSET :kept) AS oldest)
"""
_READ = """
    SELECT at, lock_name, term, kind, instance, actor, reason FROM master_event
    WHERE lock_name = :lock_name ORDER BY id DESC LIMIT :limit
"""


def write(connection: Connection, dialect: Dialect, entries: Sequence[Entry]) -> None:
    """Add lines in one batch, inside whatever transaction is open; now and then drop the oldest."""
    connection.execute(dialect.sql(_INSERT), [_row(entry) for entry in entries])
    for entry in entries:
        if random.randrange(_PRUNE_ONE_IN) == 0:  # noqa: S311 - chance, not a secret
            prune(connection, dialect, entry.lock_name)


def prune(connection: Connection, dialect: Dialect, lock_name: str) -> None:
    """Drop what is older than the newest rows that are kept of this lock."""
    execute(connection, dialect, _PRUNE, {"lock_name": lock_name, "kept": KEPT})


def read(line: Line, lock_name: str, limit: int) -> list[Event]:
    """Return the lines of a lock, newest first."""
    wanted = max(1, min(limit, KEPT))
    rows = line.rows(_READ, lock_name=lock_name, limit=min(wanted + _LOOK_BACK, KEPT))
    events = [
        Event(moment(row.at), row.lock_name, row.term, row.kind, row.instance, row.actor, row.reason)
        for row in rows
    ]
    return [_with_vacancy(event, events[number + 1 :]) for number, event in enumerate(events[:wanted])]


def _with_vacancy(event: Event, older: Sequence[Event]) -> Event:
    if event.kind != Kind.ELECTED:
        return event
    before = next((each for each in older[:_LOOK_BACK] if each.kind in _ENDS), None)
    return event if before is None else replace(event, vacant_for=event.at - before.at)


def storable(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return ``text`` without what one of the databases refuses, such as in the message of a job's error."""
    return text[:limit].replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "lock_name": entry.lock_name,
        "term": entry.term,
        "kind": entry.kind.value,
        "instance": entry.instance,
        "actor": entry.actor and storable(entry.actor, 255),
        "reason": storable(entry.reason),
    }
