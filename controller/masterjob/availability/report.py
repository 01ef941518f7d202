"""The report of one lock: for which share of the enabled time its job ran, and its gaps by cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from masterjob.availability.gaps import Gap, LockFacts, measure
from masterjob.availability.intervals import clip, complement, total, union
from masterjob.availability.runs import GapCause
from masterjob.errors import SettingError
from masterjob.lock_status import HistoryEvent

DEFAULT_PERIOD = "30d"
PERIOD_PATTERN = r"^[0-9]{1,4}[dhms]$"
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True, slots=True)
class GapSummary:
    """All gaps of one cause."""

    cause: GapCause
    count: int
    total: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class AvailabilityReport:
    """The report of a lock. It covers the time from ``since`` until ``until``.

    ``since`` is later than was asked for if the history begins later; None if there is no history. ``demanded``
    is the time in which the lock was enabled and its job had not completed: the sum of ``running`` and the gaps.
    """

    lock_name: str
    since: datetime | None
    until: datetime
    demanded: timedelta
    running: timedelta
    gaps: tuple[Gap, ...]

    @property
    def availability(self) -> float | None:
        """The share of the demanded time in which the job ran, from 0 to 1; None if it was never demanded."""
        return self.running / self.demanded if self.demanded else None

    @property
    def by_cause(self) -> list[GapSummary]:
        """The gaps by cause, those that lasted longest in all first."""
        summaries = [
            GapSummary(cause, len(lengths), sum(lengths, timedelta()), max(lengths))
            for cause in GapCause
            if (lengths := [gap.length for gap in self.gaps if gap.cause is cause])
        ]
        return sorted(summaries, key=lambda each: each.total, reverse=True)


def parse_period(text: str) -> timedelta:
    """Return the length of time that a report is asked for, such as ``30d``, ``24h``, ``90m`` or ``30s``.

    Raises:
        SettingError: it is not written like that.
    """
    if not re.fullmatch(PERIOD_PATTERN, text, re.ASCII) or text.endswith("\n"):
        raise SettingError(f"since {text[:64]!r} is not a length of time: write it like 30d, 24h or 90m")
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def build_report(
    lock_name: str, events: Sequence[HistoryEvent], facts: LockFacts, asked_since: datetime
) -> AvailabilityReport:
    """Return the report of these events, which are in causal order."""
    measured = measure(events, facts)
    if measured is None:
        return AvailabilityReport(lock_name, None, facts.now, timedelta(), timedelta(), ())
    bounds = min(max(measured.bounds[0], asked_since), facts.now), facts.now
    demanded = complement(measured.excluded, bounds)
    running = [part for each in demanded for part in clip(measured.running, each)]
    gaps = tuple(replace(gap, start=max(gap.start, bounds[0])) for gap in measured.gaps if gap.end > bounds[0])
    return AvailabilityReport(lock_name, bounds[0], facts.now, total(demanded), total(union(running)), gaps)
