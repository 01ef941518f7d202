"""What the sample job has written, and whether that is what was promised."""

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
    """One line: ``start``, ``beat`` or ``stop`` of a term."""

    lock_name: str
    term: int
    pod: str
    what: str
    at: datetime

    @classmethod
    def read(cls, line: str) -> "Row":
        """Return what psql prints of one."""
        lock_name, term, pod, what, at = line.split("|")
        return cls(lock_name, int(term), pod, what, datetime.fromisoformat(at))


class Gap(NamedTuple):
    """The time between two terms of a lock: from the last sign of one to the first of the next."""

    lock_name: str
    before: Row
    after: Row

    @property
    def seconds(self) -> float:
        return (self.after.at - self.before.at).total_seconds()

    @property
    def in_order(self) -> bool:
        """Whether the former master had stopped by itself."""
        return self.before.what == "stop"


def by_lock(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.lock_name].append(row)
    return found


def second_masters(rows: Iterable[Row]) -> list[str]:
    """Return every sign of a second master: a term that goes on after a later one began, or that two pods had."""
    found = []
    for lock_name, ours in by_lock(rows).items():
        for before, after in pairwise(ours):
            if after.term < before.term:
                found.append(
                    f"{lock_name}: {after.what} of term {after.term} after {before.what} of {before.term}"
                )
            if after.term == before.term and after.pod != before.pod:
                found.append(f"{lock_name}: term {after.term} in {before.pod} and in {after.pod}")
            if after.term == before.term and before.what == "stop":
                found.append(f"{lock_name}: {after.what} of term {after.term} after its stop")
    return found


def gaps(rows: Sequence[Row]) -> list[Gap]:
    """Return the times between terms, in their order."""
    pairs = [(name, pair) for name, ours in by_lock(rows).items() for pair in pairwise(ours)]
    return [Gap(name, before, after) for name, (before, after) in pairs if before.term != after.term]
