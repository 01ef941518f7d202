"""What the sessions of one instance hold: in short with every heartbeat, in full when that differs.

Source: design section 3.2, renew.
"""

from typing import Any

from sqlalchemy import Row

from masterjob.election.values import Flagged, Held, Inventory, Kind, Term
from masterjob.election.views import said_by
from masterjob.store.connection.lines import Line

SHORT = """
    SELECT COUNT(*) AS held, COALESCE(SUM(term), 0) AS term_sum,
           COALESCE(SUM(CASE WHEN NOT enabled OR step_down_term = term THEN 1 ELSE 0 END), 0) AS flagged
    FROM master_lock WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance)
"""
_FULL = """
    SELECT lock_name, term, holder FROM master_lock
    WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance) ORDER BY lock_name
"""
_FLAGGED = """
    SELECT lock_name, term, enabled FROM master_lock
    WHERE holder IN (SELECT id FROM master_session WHERE instance = :instance)
    AND (NOT enabled OR step_down_term = term) ORDER BY lock_name
"""
# Oldest first, so that of several the newest stays.
_DISABLED_BY = """
    SELECT lock_name, actor, source, reason, name FROM master_control
    WHERE lock_name IN :names AND NOT enabled ORDER BY changed_at, source
"""
_ASKED_BY = """
    SELECT lock_name, term, actor, reason FROM master_event
    WHERE lock_name IN :names AND kind = :asked ORDER BY id
"""


def read(line: Line, instance: str) -> Inventory:
    """Return count and sum of the terms held, and what is flagged; the why is read only when something is."""
    return of_row(line, instance, line.rows(SHORT, instance=instance)[0])


def of_row(line: Line, instance: str, row: Row[Any]) -> Inventory:
    """Return what a row of ``SHORT`` says."""
    flagged = _flagged(line, instance) if row.flagged else ()
    return Inventory(int(row.held), int(row.term_sum), flagged)


def read_in_full(line: Line, instance: str) -> tuple[Held, ...]:
    """Return every term held, and the session that holds it."""
    return tuple(Held(Term(row.lock_name, row.term), row.holder) for row in line.rows(_FULL, instance=instance))


def _flagged(line: Line, instance: str) -> tuple[Flagged, ...]:
    rows = line.rows(_FLAGGED, instance=instance)
    disabled = _why_disabled(line, [row.lock_name for row in rows if not row.enabled])
    asked = _why_asked(line, [row.lock_name for row in rows if row.enabled])
    return tuple(_flag(row, disabled, asked) for row in rows)


def _flag(row: Row[Any], disabled: dict[str, str], asked: dict[Term, str]) -> Flagged:
    term = Term(row.lock_name, row.term)
    if not row.enabled:  # a disable counts more than an ask: after it nobody claims
        return Flagged(term, disabled.get(term.lock_name, "disabled"), asked=False)
    return Flagged(term, asked.get(term, "asked to step down"), asked=True)


def _why_disabled(line: Line, names: list[str]) -> dict[str, str]:
    rows = line.rows(_DISABLED_BY, names=names) if names else []
    return {row.lock_name: f"disabled by {said_by(row.actor, row.source, row.name)}: {row.reason}" for row in rows}


def _why_asked(line: Line, names: list[str]) -> dict[Term, str]:
    rows = line.rows(_ASKED_BY, names=names, asked=Kind.STEP_DOWN_ASKED.value) if names else []
    return {
        Term(row.lock_name, row.term): f"asked to step down by {row.actor}: {row.reason}".removesuffix(": ")
        for row in rows
        if row.term is not None
    }
