"""When a lock's job ran, had completed, or was disabled, and why each run ended: read from the lock's history.

The events of each term are read by themselves, since an instance that could not reach the database writes its
events late. A term of an older release has no events of its job, which ran from the election to the term's end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from masterjob.availability.intervals import Interval
from masterjob.election.values import TransitionKind as Kind
from masterjob.lock_status import HistoryEvent


class GapCause(StrEnum):
    """Why the job of an enabled lock did not run."""

    DATABASE_OUTAGE = "database_outage"
    """Its master could not reach the database for as long as its trust lasted."""
    CRASH = "crash"
    """Its master died, or was frozen, and was evicted."""
    HAND_OVER = "hand_over"
    """Its master ended, or was asked to step down."""
    JOB_FAILED = "job_failed"
    """It ended with an error after it had run."""
    START_FAILED = "start_failed"
    """It did not start."""
    RESTART = "restart"
    """It ended, and was started again in place."""
    ENABLED = "enabled"
    """It started for the first time since the lock was created or enabled."""
    NO_INSTANCE = "no_instance"
    """The lock was free, and no instance took it."""
    UNKNOWN = "unknown"
    """The history does not have the end of the last run."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run."""

    at: datetime
    cause: GapCause


@dataclass(slots=True)
class Timeline:
    """What a history says. An interval without an end lasts until the time of the report."""

    running: list[Interval] = field(default_factory=list)
    completed: list[Interval] = field(default_factory=list)
    run_ends: list[RunEnd] = field(default_factory=list)


_JOB_KINDS = (Kind.RUNNING, Kind.RESTARTING, Kind.COMPLETED, Kind.FAILED, Kind.STOPPED, Kind.TRUST_ENDED)
_ENDS_OF_RUN = (Kind.RESTARTING, Kind.COMPLETED, Kind.FAILED, Kind.START_FAILED, Kind.STOPPED)
_ENDS_OF_TERM = (Kind.STEPPED_DOWN, Kind.EVICTED)


def read_timeline(events: Sequence[HistoryEvent], now: datetime, silent_since: datetime | None) -> Timeline:
    """Return what these events say, which are sorted by time.

    ``silent_since``: the last sign of life of a master whose lease is over, and that was not evicted yet.
    """
    timeline = Timeline()
    terms = sorted({event.term for event in events if event.term is not None})
    for index, number in enumerate(terms):
        is_last = index == len(terms) - 1
        next_events = [] if is_last else [event for event in events if event.term == terms[index + 1]]
        reader = _TermReader(
            [event for event in events if event.term == number],
            known_from=events[0].at,
            over_at=(silent_since or now) if is_last else next_events[0].at,
            is_silent=is_last and silent_since is not None,
            is_current=is_last and silent_since is None,
        )
        reader.read_into(timeline)
    return timeline


class _TermReader:
    """The events of one term. ``over_at`` is when it was over at the latest, if no event says so."""

    def __init__(
        self,
        events: list[HistoryEvent],
        known_from: datetime,
        over_at: datetime,
        *,
        is_silent: bool,
        is_current: bool,
    ) -> None:
        self._kinds = {event.kind for event in events}
        self._evicted_at = self._first(events, Kind.EVICTED)
        self._last_heartbeat = self._first(events, Kind.LAST_HEARTBEAT) or self._evicted_at
        # What an instance reports after its eviction says nothing: it was frozen, or it is its late stop.
        self._events = [each for each in events if self._evicted_at is None or each.at <= self._evicted_at]
        self._known_from, self._over_at = known_from, over_at
        self._is_silent, self._is_current = is_silent, is_current

    @staticmethod
    def _first(events: Iterable[HistoryEvent], kind: Kind) -> datetime | None:
        return next((event.at for event in events if event.kind == kind), None)

    def read_into(self, timeline: Timeline) -> None:
        """Add the runs of this term."""
        running_since, completed_since = self._read_runs(timeline)
        end = self._end()
        if running_since is not None:
            timeline.running.append((running_since, end.at))
            if not self._is_current or self._kinds.intersection(_ENDS_OF_TERM):
                timeline.run_ends.append(end)
        if completed_since is not None:
            timeline.completed.append((completed_since, end.at))
            timeline.run_ends.append(end)

    def _read_runs(self, timeline: Timeline) -> tuple[datetime | None, datetime | None]:
        """Add the runs that have ended; return since when the last one runs, and since when it has completed."""
        running_since = self._initial_start()
        started_at = self._first(self._events, Kind.ELECTED)
        completed_since: datetime | None = None
        for event in self._events:
            if event.kind == Kind.RUNNING:
                running_since = running_since or event.at
                completed_since = None
            elif event.kind in _ENDS_OF_RUN:
                if event.kind == Kind.COMPLETED:  # perhaps before it had lived long enough to count as running
                    running_since = running_since or started_at
                if running_since is not None:
                    timeline.running.append((running_since, event.at))
                    timeline.run_ends.append(RunEnd(event.at, self._cause_of(event)))
                running_since = None
                started_at = event.at
                completed_since = event.at if event.kind == Kind.COMPLETED else completed_since
        return running_since, completed_since

    def _initial_start(self) -> datetime | None:
        """Return since when the job ran before the first event of this term that would say so."""
        job_kinds = [event.kind for event in self._events if event.kind in (*_JOB_KINDS, Kind.START_FAILED)]
        elected_at = self._first(self._events, Kind.ELECTED)
        is_of_older_release = not self._kinds.intersection(_JOB_KINDS) and self._kinds.intersection(_ENDS_OF_TERM)
        if elected_at is not None:
            return elected_at if is_of_older_release else None
        if is_of_older_release or (
            job_kinds and job_kinds[0] in (Kind.RESTARTING, Kind.STOPPED, Kind.TRUST_ENDED)
        ):
            return self._known_from  # the history begins in this term
        return None

    def _end(self) -> RunEnd:
        trust_ended_at = self._first(self._events, Kind.TRUST_ENDED)
        stepped_down_at = self._first(self._events, Kind.STEPPED_DOWN)
        if trust_ended_at is not None:
            return RunEnd(trust_ended_at, GapCause.DATABASE_OUTAGE)
        if self._last_heartbeat is not None:
            return RunEnd(self._last_heartbeat, GapCause.CRASH)
        if stepped_down_at is not None:
            return RunEnd(stepped_down_at, GapCause.HAND_OVER)
        return RunEnd(self._over_at, GapCause.CRASH if self._is_silent else GapCause.UNKNOWN)

    def _cause_of(self, event: HistoryEvent) -> GapCause:
        match event.kind:
            case Kind.RESTARTING:
                return GapCause.RESTART
            case Kind.FAILED | Kind.START_FAILED:
                return GapCause.JOB_FAILED
        if Kind.TRUST_ENDED in self._kinds:
            return GapCause.DATABASE_OUTAGE
        return GapCause.HAND_OVER


def disabled_intervals(events: Iterable[HistoryEvent], bounds: Interval, *, enabled: bool) -> Iterator[Interval]:
    """Yield when the lock was disabled. ``enabled`` is its state now, which the last switch has set."""
    switches = [event for event in events if event.kind in (Kind.DISABLED, Kind.ENABLED)]
    was_enabled = switches[0].kind == Kind.DISABLED if switches else enabled
    since = bounds[0]
    for event in switches:
        if not was_enabled:
            yield since, event.at
        was_enabled, since = event.kind == Kind.ENABLED, event.at
    if not enabled:
        yield since, bounds[1]
