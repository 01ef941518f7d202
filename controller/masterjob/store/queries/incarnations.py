"""The incarnation of the database, in the only row of `master_incarnation`.

Each server has a name for the history of commits that it is in (`connection/incarnation.py`). The row is
replicated, so on a promoted replica it has the name of the old primary. The first instance that reads it writes
the new name, and with that begins the quarantine. A claim compares both names in its own statement, so it is
refused before that, too.
"""

import contextlib
from typing import Any

from sqlalchemy import Row

from masterjob.election.values import Incarnation
from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection

COLUMNS = """
    i.incarnation, i.since_ms AS incarnation_since, i.lease_ms AS incarnation_lease, i.may_claim,
    i.incarnation = {incarnation} AS is_current
"""
"""What `of_row` reads; a standby, which cannot tell, has NULL for ``is_current``."""

JOIN = " LEFT JOIN master_incarnation i ON i.id = 1"

MAY_CLAIM = """
    EXISTS (SELECT 1 FROM master_incarnation i WHERE i.id = 1 AND i.may_claim AND i.incarnation = {incarnation})
"""
IS_INCARNATION = """
    EXISTS (SELECT 1 FROM master_incarnation i WHERE i.id = 1 AND i.incarnation = :name AND i.since_ms = :since_ms)
"""
_READ = f"SELECT {COLUMNS} FROM (SELECT 1 AS one) AS always" + JOIN  # noqa: S608 - made of constants
_LONGEST_LEASE = "(SELECT COALESCE(MAX(lease_ms), 0) FROM master_session)"
_NOTE_CHANGE = f"""
    UPDATE master_incarnation AS i
    SET incarnation = {{incarnation}}, since_ms = {{now_ms}}, lease_ms = {_LONGEST_LEASE}, may_claim = FALSE
    WHERE i.id = 1 AND i.incarnation <> {{incarnation}}
"""  # noqa: S608
_INSERT_MISSING = f"""
    {{insert}} master_incarnation (id, incarnation, since_ms, lease_ms, may_claim)
    SELECT 1, {{incarnation}}, {{now_ms}}, {_LONGEST_LEASE}, FALSE FROM (SELECT 'unknown' AS incarnation) AS i
    WHERE NOT EXISTS (SELECT 1 FROM master_incarnation) {{on_conflict_ignore}}
"""  # noqa: S608
_END_QUARANTINE = """
    UPDATE master_incarnation AS i SET may_claim = TRUE
    WHERE i.id = 1 AND i.incarnation = {incarnation} AND i.incarnation = :name AND i.since_ms = :since_ms
"""


def describe_quarantine(row: Row[Any]) -> str:
    """Return why nothing is claimed for a row with `COLUMNS`; an empty text if locks may be claimed."""
    if row.is_current in (0, False):
        return "the database was promoted: no instance claims a lock for the time of a lease"
    return _incarnation(row).reason if row.may_claim in (0, False) else ""


def of_row(db: BoundedConnection, row: Row[Any]) -> Incarnation:
    """Return the incarnation for a row with `COLUMNS`; write it first if the database has changed.

    If it cannot be written, that is left to the next call or to another instance: nothing is claimed meanwhile.
    """
    if row.incarnation is None or row.is_current in (0, False):
        with contextlib.suppress(StoreUnavailable):
            if db.execute(_NOTE_CHANGE) == 0:
                db.execute(_INSERT_MISSING)
            row = db.fetch_all(_READ)[0]
    return _incarnation(row)


def _incarnation(row: Row[Any]) -> Incarnation:
    return Incarnation(
        row.incarnation or "",
        int(row.incarnation_since or 0),
        int(row.incarnation_lease or 0),
        is_quarantined=not row.may_claim or row.is_current in (0, False),
    )


def end_quarantine(db: BoundedConnection, incarnation: Incarnation) -> bool:
    """Allow claims again, if the database is still this incarnation; return whether it is."""
    return db.execute(_END_QUARANTINE, name=incarnation.name, since_ms=incarnation.since_ms) > 0
