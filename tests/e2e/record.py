"""The rows that the sample job wrote, and checks of the guarantees on them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

QUERY = """
    SELECT lock_name, term, pod, what, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
    FROM record ORDER BY at, id
"""


class Row(NamedTuple):
    """One row: ``start``, ``beat`` or ``stop`` of a term."""

    lock_name: str
    term: int
    pod: str
    event: str
    at: datetime

    @classmethod
    def parse(cls, line: str) -> "Row":
        """Parse a row as psql prints it."""
        lock_name, term, pod, event, at = line.split("|")
        return cls(lock_name, int(term), pod, event, datetime.fromisoformat(at))


class Gap(NamedTuple):
    """The time between two terms of a lock: from the last row of one to the first row of the next."""

    lock_name: str
    before: Row
    after: Row

    @property
    def seconds(self) -> float:
        return (self.after.at - self.before.at).total_seconds()

    @property
    def is_graceful(self) -> bool:
        """Whether the former master had stopped its job."""
        return self.before.event == "stop"


def rows_by_lock(rows: Iterable[Row]) -> dict[str, list[Row]]:
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        rows_of[row.lock_name].append(row)
    return rows_of


def second_masters(rows: Iterable[Row]) -> list[str]:
    """Return all signs of a second master: a term that continues after a later one began, or in two pods."""
    violations = []
    for lock_name, lock_rows in rows_by_lock(rows).items():
        for before, after in pairwise(lock_rows):
            if after.term < before.term:
                violations.append(
                    f"{lock_name}: {after.event} of term {after.term} after {before.event} of {before.term}"
                )
            if after.term == before.term and after.pod != before.pod:
                violations.append(f"{lock_name}: term {after.term} in {before.pod} and in {after.pod}")
            if after.term == before.term and before.event == "stop":
                violations.append(f"{lock_name}: {after.event} of term {after.term} after its stop")
    return violations


def gaps(rows: Sequence[Row]) -> list[Gap]:
    """Return the gaps between terms, in order."""
    pairs = [(name, pair) for name, ours in rows_by_lock(rows).items() for pair in pairwise(ours)]
    return [Gap(name, before, after) for name, (before, after) in pairs if before.term != after.term]
