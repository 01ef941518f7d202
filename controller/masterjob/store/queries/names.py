"""Names of locks that were never used, which may be mistyped: what people may have meant."""

from difflib import get_close_matches

from masterjob.store.connection.connection import BoundedConnection

_MAX_CANDIDATES = 5_000
"""The most names that are compared, which takes a tenth of a second."""

_MAX_LENGTH_DIFFERENCE = 3

_IS_KNOWN = "SELECT 1 AS one FROM master_lock WHERE lock_name = :lock_name"
_NAMES_OF_LIKE_LENGTH = """
    SELECT lock_name FROM master_lock WHERE LENGTH(lock_name) BETWEEN :shortest AND :longest LIMIT :limit
"""


def explain_unknown(db: BoundedConnection, lock_name: str) -> str:
    """Return that the lock was never used, and the nearest name that was; empty if it has a row."""
    if db.fetch_all(_IS_KNOWN, lock_name=lock_name):
        return ""
    rows = db.fetch_all(
        _NAMES_OF_LIKE_LENGTH,
        shortest=len(lock_name) - _MAX_LENGTH_DIFFERENCE,
        longest=len(lock_name) + _MAX_LENGTH_DIFFERENCE,
        limit=_MAX_CANDIDATES,
    )
    by_key = {row.lock_name.casefold(): row.lock_name for row in rows}
    nearest = get_close_matches(lock_name.casefold(), by_key, n=1)
    suggestion = f"; did you mean {by_key[nearest[0]]}?" if nearest else ""
    return f"no lock of this name was ever used on this database{suggestion}"
