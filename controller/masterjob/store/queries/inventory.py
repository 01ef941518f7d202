"""What the sessions of one instance hold: a summary with every heartbeat, in full if that differs."""

from typing import Any

from sqlalchemy import Row

from masterjob.election.values import HeldTerm, Inventory, StopRequest, Term, TransitionKind
from masterjob.lock_status import describe_actor
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.queries import incarnations

_COUNTS = """
    SELECT COUNT(*) AS held, COALESCE(SUM(term), 0) AS term_sum,
           COALESCE(SUM(CASE WHEN NOT enabled OR step_down_term = term THEN 1 ELSE 0 END), 0) AS flagged
    FROM master_lock WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance)
"""
SUMMARY = f"SELECT held.*, {incarnations.COLUMNS} FROM ({_COUNTS}) AS held" + incarnations.JOIN  # noqa: S608
_HELD_TERMS = """
    SELECT lock_name, term, holder FROM master_lock
    WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance) ORDER BY lock_name
"""
_STOP_REQUESTS = """
    SELECT lock_name, term, enabled FROM master_lock
    WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance)
    AND (NOT enabled OR step_down_term = term) ORDER BY lock_name
"""
# Oldest first, so that the newest wins in the dict.
_DISABLE_REASONS = """
    SELECT lock_name, actor, source, reason, name FROM master_control
    WHERE lock_name IN :names AND NOT enabled ORDER BY changed_at, source
"""
_STEP_DOWN_REASONS = """
    SELECT lock_name, term, actor, reason FROM master_event
    WHERE lock_name IN :names AND kind = :kind ORDER BY id
"""


def read_summary(db: BoundedConnection, instance: str) -> Inventory:
    """Return count and sum of the terms held, and the stop requests; read the reasons only if needed."""
    return from_summary_row(db, instance, db.fetch_all(SUMMARY, instance=instance)[0])


def from_summary_row(db: BoundedConnection, instance: str, row: Row[Any]) -> Inventory:
    """Return the inventory for a row of ``SUMMARY``."""
    stop_requests = _read_stop_requests(db, instance) if row.flagged else ()
    return Inventory(int(row.held), int(row.term_sum), stop_requests, incarnations.of_row(db, row))


def list_held_terms(db: BoundedConnection, instance: str) -> tuple[HeldTerm, ...]:
    """Return every held term and the session that holds it."""
    return tuple(
        HeldTerm(Term(row.lock_name, row.term), row.holder) for row in db.fetch_all(_HELD_TERMS, instance=instance)
    )


def _read_stop_requests(db: BoundedConnection, instance: str) -> tuple[StopRequest, ...]:
    rows = db.fetch_all(_STOP_REQUESTS, instance=instance)
    disable_reasons = _read_disable_reasons(db, [row.lock_name for row in rows if not row.enabled])
    step_down_reasons = _read_step_down_reasons(db, [row.lock_name for row in rows if row.enabled])
    return tuple(_to_stop_request(row, disable_reasons, step_down_reasons) for row in rows)


def _to_stop_request(
    row: Row[Any], disable_reasons: dict[str, str], step_down_reasons: dict[Term, str]
) -> StopRequest:
    term = Term(row.lock_name, row.term)
    if not row.enabled:  # a disable overrides a step-down: it also prevents the next claim
        return StopRequest(term, disable_reasons.get(term.lock_name, "disabled"), is_step_down=False)
    return StopRequest(term, step_down_reasons.get(term, "asked to step down"), is_step_down=True)


def _read_disable_reasons(db: BoundedConnection, names: list[str]) -> dict[str, str]:
    rows = db.fetch_all(_DISABLE_REASONS, names=names) if names else []
    return {
        row.lock_name: f"disabled by {describe_actor(row.actor, row.source, row.name)}: {row.reason}"
        for row in rows
    }


def _read_step_down_reasons(db: BoundedConnection, names: list[str]) -> dict[Term, str]:
    rows = (
        db.fetch_all(_STEP_DOWN_REASONS, names=names, kind=TransitionKind.STEP_DOWN_REQUESTED.value)
        if names
        else []
    )
    return {
        Term(row.lock_name, row.term): f"asked to step down by {row.actor}: {row.reason}".removesuffix(": ")
        for row in rows
        if row.term is not None
    }
