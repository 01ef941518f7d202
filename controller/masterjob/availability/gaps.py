"""The gaps in the running of a lock's job, each with its cause."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from masterjob.availability.intervals import Interval, complement, union
from masterjob.availability.runs import GapCause, Timeline, disabled_intervals, read_timeline
from masterjob.election.values import TransitionKind as Kind
from masterjob.lock_status import HistoryEvent

NO_INSTANCE_AFTER = timedelta(minutes=1)
"""A live candidate takes a free lock within milliseconds, or at its next check, by default in seconds."""

_FREES_LOCK = (Kind.STEPPED_DOWN, Kind.EVICTED, Kind.ENABLED)
_TAKEN_OVER_CAUSES = (GapCause.CRASH, GapCause.HAND_OVER, GapCause.ENABLED)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a lock was enabled and its job did not run. ``is_open``: it has not ended yet."""

    start: datetime
    end: datetime
    cause: GapCause
    is_open: bool = False

    @property
    def length(self) -> timedelta:
        """How long it lasted, or has lasted so far."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class LockFacts:
    """What the database says about a lock now, at the time ``now`` of its clock.

    ``silent_since``: the last sign of life of a master whose lease is over, and that was not evicted yet.
    """

    now: datetime
    enabled: bool
    silent_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """The history of a lock, as intervals from the first event until now."""

    bounds: Interval
    running: list[Interval]
    excluded: list[Interval]
    """When the lock was disabled, or its job had completed."""
    gaps: list[Gap]


def measure(events: Sequence[HistoryEvent], facts: LockFacts) -> MeasuredTime | None:
    """Return what the events, in causal order, say; None if there are none."""
    events = sorted((replace(each, at=min(each.at, facts.now)) for each in events), key=lambda each: each.at)
    if not events:
        return None
    bounds = events[0].at, facts.now
    timeline = read_timeline(events, facts.now, facts.silent_since)
    disabled = union(disabled_intervals(events, bounds, enabled=facts.enabled))
    excluded = union([*disabled, *timeline.completed])
    running = union(timeline.running)
    is_open = all(start != facts.now for start, _ in timeline.running)
    gaps = [
        Gap(
            start,
            end,
            _cause_of((start, end), events, timeline, disabled),
            is_open=is_open and end == facts.now,
        )
        for start, end in complement([*running, *excluded], bounds)
    ]
    return MeasuredTime(bounds, running, excluded, gaps)


def _cause_of(
    gap: Interval, events: Sequence[HistoryEvent], timeline: Timeline, disabled: Sequence[Interval]
) -> GapCause:
    within = [event for event in events if gap[0] <= event.at < gap[1]]
    if any(event.kind == Kind.START_FAILED and gap[0] <= event.at <= gap[1] for event in events):
        return GapCause.START_FAILED
    cause = _cause_of_start(gap[0], events, timeline, disabled)
    if cause in _TAKEN_OVER_CAUSES and _longest_wait(gap, within) > NO_INSTANCE_AFTER:
        return GapCause.NO_INSTANCE
    return cause


def _cause_of_start(
    start: datetime, events: Sequence[HistoryEvent], timeline: Timeline, disabled: Sequence[Interval]
) -> GapCause:
    if any(end == start for _, end in disabled):
        return GapCause.ENABLED
    ends = [end for end in timeline.run_ends if end.at <= start]
    if ends:
        return max(ends, key=lambda end: end.at).cause
    is_first_start = events[0].kind == Kind.ELECTED and events[0].at == start
    return GapCause.ENABLED if is_first_start else GapCause.UNKNOWN


def _longest_wait(gap: Interval, within: Sequence[HistoryEvent]) -> timedelta:
    """Return for how long the lock was free without being taken."""
    longest, free_since = timedelta(), None
    for event in within:
        if event.kind in _FREES_LOCK:
            free_since = event.at
        elif event.kind == Kind.ELECTED and free_since is not None:
            longest, free_since = max(longest, event.at - free_since), None
    return longest if free_since is None else max(longest, gap[1] - free_since)


def with_vacancies(events: Sequence[HistoryEvent], facts: LockFacts) -> list[HistoryEvent]:
    """Return the events, which are in causal order, each gap with the event that ended it."""
    if (measured := measure(events, facts)) is None:
        return []
    gap_by_end = {
        gap.end: gap
        for gap in measured.gaps
        if not gap.is_open and gap.start > measured.bounds[0] and gap.cause is not GapCause.UNKNOWN
    }
    return [
        replace(each, vacant_for=gap.length, vacancy_cause=gap.cause.value)
        if each.kind in (Kind.RUNNING, Kind.ELECTED) and (gap := gap_by_end.get(each.at)) is not None
        else each
        for each in events
    ]
