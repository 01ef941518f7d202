"""The history: one row for each transition, the newest thousand of each lock.

It is written beside the statements that decide, and decides nothing itself. On databases without NOTIFY it is
also what the notifiers poll.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from masterjob.availability.gaps import LockFacts, with_vacancies
from masterjob.availability.ordering import in_causal_order
from masterjob.availability.report import AvailabilityReport, build_report
from masterjob.concurrency.clock import clock
from masterjob.election.values import HistoryEntry
from masterjob.lock_status import HistoryEvent
from masterjob.store.connection.connection import BoundedConnection, execute_statement
from masterjob.store.connection.dialect import Dialect
from masterjob.store.connection.dialects import MYSQL, as_utc_datetime

MAX_ROWS_PER_LOCK = 1_000
"""The rows that are kept of each lock; `read_events` never returns more."""

_VACANCY_LOOKBACK = 60
"""Further rows that are read to find the beginning of a gap; disables and failed starts may be in between."""

_MAX_TEXT_LENGTH = 4_000
_PRUNE_ONE_IN = 32  # often enough to keep histories short, rarely enough to cost nothing

_INSERT = """
    INSERT INTO master_event (lock_name, term, kind, instance, actor, reason, at)
    VALUES (:lock_name, :term, :kind, :instance, :actor, :reason, {ago})
"""
_PRUNE = """
    DELETE FROM master_event WHERE lock_name = :lock_name AND id <= (
        SELECT id FROM (SELECT id FROM master_event WHERE lock_name = :lock_name
                        ORDER BY id DESC LIMIT 1 OFFSET :max_rows) AS oldest)
"""
_READ = """
    SELECT at, lock_name, term, kind, instance, actor, reason FROM master_event
    WHERE lock_name = :lock_name ORDER BY id DESC LIMIT :limit
"""
_READ_TERMS = """
    SELECT lock_name, term, kind, instance, reason FROM master_event WHERE lock_name IN :names AND term IN :terms
"""


_LOCK_FACTS = """
    SELECT l.lock_name, l.enabled, {now} AS now, {now_ms} - s.heartbeat_ms AS age_ms, s.lease_ms
    FROM master_lock l LEFT JOIN master_session s ON s.id = l.holder
"""


def write(connection: Connection, dialect: Dialect, entries: Sequence[HistoryEntry]) -> None:
    """Insert rows in one batch, in the open transaction if there is one; sometimes prune the oldest."""
    # The ages are computed last. The time from here to the server makes an entry appear later than it happened,
    # never earlier: by the timeout of the call at most, or by a freeze of this process at just this point.
    # MySQL's drivers send one row after the other, so there each row gets its age by itself.
    for batch in [[entry] for entry in entries] if dialect is MYSQL else [entries]:
        now = clock()
        rows = [_to_row(entry) | {"age_us": _age_us(entry, now)} for entry in batch]
        connection.execute(dialect.sql(_INSERT), rows)
    for entry in entries:
        if random.randrange(_PRUNE_ONE_IN) == 0:  # noqa: S311 - chance, not a secret
            prune(connection, dialect, entry.lock_name)


def write_missing(connection: Connection, dialect: Dialect, entries: Sequence[HistoryEntry]) -> None:
    """Insert the rows that are not there. Only the instance that writes an entry may call this for it."""
    keys = {"names": [entry.lock_name for entry in entries], "terms": [entry.term for entry in entries]}
    written = {tuple(row) for row in execute_statement(connection, dialect, _READ_TERMS, keys)}
    if missing := [entry for entry in entries if _identity(_to_row(entry)) not in written]:
        write(connection, dialect, missing)


def prune(connection: Connection, dialect: Dialect, lock_name: str) -> None:
    """Delete the lock's rows beyond the newest `MAX_ROWS_PER_LOCK`."""
    execute_statement(connection, dialect, _PRUNE, {"lock_name": lock_name, "max_rows": MAX_ROWS_PER_LOCK})


def read_events(db: BoundedConnection, lock_name: str, limit: int) -> list[HistoryEvent]:
    """Return the newest rows of a lock, by the time of what happened, the newest first."""
    count = max(1, min(limit, MAX_ROWS_PER_LOCK))
    events = _read(db, lock_name, min(count + _VACANCY_LOOKBACK, MAX_ROWS_PER_LOCK))
    if not events:
        return []
    facts = LockFacts(max(event.at for event in events), enabled=True)
    oldest_first = sorted(with_vacancies(events, facts), key=lambda event: event.at)
    return oldest_first[::-1][:count]


def read_reports(
    db: BoundedConnection, since: timedelta, lock_name: str | None = None
) -> list[AvailabilityReport]:
    """Return the reports of one lock or of all, in the order of their names, for the time since then."""
    where = "" if lock_name is None else " WHERE l.lock_name = :lock_name"
    names = {} if lock_name is None else {"lock_name": lock_name}
    rows = db.fetch_all(_LOCK_FACTS + where + " ORDER BY l.lock_name", **names)
    return [_read_report(db, row.lock_name, _to_facts(row), since) for row in rows]


def _read_report(db: BoundedConnection, lock_name: str, facts: LockFacts, since: timedelta) -> AvailabilityReport:
    try:
        asked_since = facts.now - since
    except OverflowError:  # before the first year
        asked_since = datetime.min.replace(tzinfo=facts.now.tzinfo)
    return build_report(lock_name, _read(db, lock_name, MAX_ROWS_PER_LOCK), facts, asked_since)


def _to_facts(row: Row[Any]) -> LockFacts:
    now = as_utc_datetime(row.now)
    is_silent = row.age_ms is not None and row.age_ms >= row.lease_ms
    return LockFacts(now, bool(row.enabled), now - timedelta(milliseconds=row.age_ms) if is_silent else None)


def _read(db: BoundedConnection, lock_name: str, limit: int) -> list[HistoryEvent]:
    """Return the newest rows of a lock, the oldest first."""
    return in_causal_order(
        [
            HistoryEvent(
                as_utc_datetime(row.at), row.lock_name, row.term, row.kind, row.instance, row.actor, row.reason
            )
            for row in reversed(db.fetch_all(_READ, lock_name=lock_name, limit=limit))
        ]
    )


def sanitize_text(text: str, limit: int = _MAX_TEXT_LENGTH) -> str:
    """Return ``text`` without characters that one of the databases rejects; a job's error may contain any."""
    return text[:limit].replace("\x00", " ").encode("utf-8", "replace").decode("utf-8")


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["lock_name"], row["term"], row["kind"], row["instance"], row["reason"]


def _age_us(entry: HistoryEntry, now: float) -> int:
    return 0 if entry.happened_at is None else max(0, round((now - entry.happened_at) * 1e6))


def _to_row(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "lock_name": entry.lock_name,
        "term": entry.term,
        "kind": entry.kind.value,
        "instance": entry.instance,
        "actor": entry.actor and sanitize_text(entry.actor, 255),
        "reason": sanitize_text(entry.reason),
    }
