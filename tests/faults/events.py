"""The event log of a run: events on one clock, effects in a table, and arithmetic on spans of time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Span = tuple[float, float]
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class ObservedEvent:
    """Something that happened at a time of CLOCK_BOOTTIME, which all processes of a machine share.

    ``what`` is one of the pairs in `INTERVAL_EVENTS`, of a worker (``who``) or of the database and the lock; or
    ``start`` or ``stop`` of a run, with its term; or ``late``, a pause that no test caused and began at ``since``.
    """

    at: float
    what: str
    who: str = ""
    term: int | None = None
    since: float | None = None


INTERVAL_EVENTS = {
    "up": "leaving",  # the process takes part, until it is asked to end or dies
    "paused": "resumed",
    "cut": "healed",  # its connection to the database is disturbed
    "down": "back",  # the database is disturbed, and so all workers are
}


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a worker wrote under the guard; ordered by ``id``, with the time of its commit."""

    id: int
    term: int
    committed: float


@dataclass(frozen=True, slots=True)
class JobRun:
    """From the call of ``start`` to the return of ``stop``, or to the death of the process."""

    who: str
    term: int
    started_at: float
    ended_at: float
    cause: str
    """What ended it: ``stop`` or ``gone``; ``end`` if it was still running at the end of the log."""

    @property
    def span(self) -> Span:
        return (self.started_at, self.ended_at)


@dataclass(frozen=True, slots=True)
class EventLog:
    """The input of the checker."""

    events: tuple[ObservedEvent, ...]
    effects: tuple[Effect, ...]

    @classmethod
    def from_events(cls, events: Iterable[ObservedEvent], effects: Iterable[Effect] = ()) -> "EventLog":
        return cls(tuple(sorted(events, key=lambda event: event.at)), tuple(effects))

    @property
    def end(self) -> float:
        return self.events[-1].at if self.events else 0.0

    def workers(self) -> list[str]:
        return sorted({event.who for event in self.events if event.what == "up"})

    def spans(self, first: str, last: str, who: str = "") -> list[Span]:
        """Return the spans from each ``first`` to the next ``last``, or to the end of the log."""
        spans: list[Span] = []
        since: float | None = None
        for event in self.events:
            if event.who == who and event.what == first and since is None:
                since = event.at
            elif event.who == who and event.what == last and since is not None:
                spans.append((since, event.at))
                since = None
        return spans if since is None else [*spans, (since, self.end)]

    def pauses(self, who: str) -> list[Span]:
        """Return the pauses that a test caused, and those that the worker noticed itself on a busy machine."""
        reported = [
            (event.since, event.at)
            for event in self.events
            if event.who == who and event.what == "late" and event.since is not None
        ]
        return union([*self.spans("paused", "resumed", who), *reported])

    def runs(self) -> list[JobRun]:
        """Return all runs, in the order of their start."""
        runs: list[JobRun] = []
        active: dict[str, ObservedEvent] = {}
        for event in [*self.events, *(ObservedEvent(self.end, "end", who) for who in self.workers())]:
            start_event = active.get(event.who)
            if start_event is not None and (
                event.what in ("gone", "end") or _is_same_term(start_event, event, "stop")
            ):
                runs.append(JobRun(event.who, start_event.term or 0, start_event.at, event.at, event.what))
                del active[event.who]
            if event.what == "start":
                active[event.who] = event
        return sorted(runs, key=lambda run: run.started_at)

    def to_json_lines(self) -> Iterable[str]:
        """Yield the log as lines of JSON, to be checked again later."""
        for kind, records in (("event", self.events), ("effect", self.effects)):
            for record in records:
                yield json.dumps({"kind": kind, **asdict(record)})

    @classmethod
    def from_json_lines(cls, lines: Iterable[str]) -> "EventLog":
        events, effects = [], []
        for line in lines:
            record: dict[str, Any] = json.loads(line)
            if record.pop("kind") == "event":
                events.append(ObservedEvent(**record))
            else:
                effects.append(Effect(**record))
        return cls.from_events(events, effects)


def _is_same_term(start_event: ObservedEvent, event: ObservedEvent, kind: str) -> bool:
    return event.what == kind and event.term == start_event.term


# --- spans of time


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the union of the spans, in order and without overlap."""
    merged: list[Span] = []
    for begin, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def intersection(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Return the time that is in both."""
    return union((max(a, c), min(b, d)) for a, b in first for c, d in second)


def difference(spans: Sequence[Span], holes: Iterable[Span]) -> list[Span]:
    """Return the time of ``spans`` that is in none of the holes."""
    merged_holes = union(holes)
    ends = [-FOREVER, *(end for _, end in merged_holes)]
    begins = [*(begin for begin, _ in merged_holes), FOREVER]
    return intersection(spans, list(zip(ends, begins, strict=True)))


def length(span: Span) -> float:
    return span[1] - span[0]
