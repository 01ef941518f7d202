"""What happened, as values: events on one clock, effects in a table, and the arithmetic of spans of time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Span = tuple[float, float]
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a time of CLOCK_BOOTTIME, which all processes of a machine share.

    ``what`` is one of the pairs in `PAIRS`, of a worker (``who``) or of the database and the lock; or ``start``
    and ``stop`` of a run, with its term; or ``late``, a pause that nobody asked for, which began at ``since``.
    """

    at: float
    what: str
    who: str = ""
    term: int | None = None
    since: float | None = None


PAIRS = {
    "up": "leaving",  # the process takes part, until it is told to end or is dead
    "paused": "resumed",
    "cut": "healed",  # its connection to the database is anything but good
    "down": "back",  # the same, for the database and so for all
}


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a worker wrote inside the guard: in the order of ``id``, and committed at that time."""

    id: int
    term: int
    committed: float


@dataclass(frozen=True, slots=True)
class Run:
    """From the call of ``start`` to the return of ``stop``, or to the death of the process."""

    who: str
    term: int
    began: float
    ended: float
    cause: str
    """What ended it: ``stop`` or ``gone``; ``end`` where it was still going on when nobody looked any more."""

    @property
    def span(self) -> Span:
        return (self.began, self.ended)


@dataclass(frozen=True, slots=True)
class Story:
    """All that the checker is told."""

    events: tuple[Event, ...]
    effects: tuple[Effect, ...]

    @classmethod
    def of(cls, events: Iterable[Event], effects: Iterable[Effect] = ()) -> "Story":
        return cls(tuple(sorted(events, key=lambda event: event.at)), tuple(effects))

    @property
    def end(self) -> float:
        return self.events[-1].at if self.events else 0.0

    def workers(self) -> list[str]:
        return sorted({event.who for event in self.events if event.what == "up"})

    def spans(self, first: str, last: str, who: str = "") -> list[Span]:
        """From every ``first`` to the next ``last``; to the end of the story where there is none."""
        found: list[Span] = []
        since: float | None = None
        for event in self.events:
            if event.who == who and event.what == first and since is None:
                since = event.at
            elif event.who == who and event.what == last and since is not None:
                found.append((since, event.at))
                since = None
        return found if since is None else [*found, (since, self.end)]

    def pauses(self, who: str) -> list[Span]:
        """Ours, and those that the worker noticed itself, on a machine that had no time for it."""
        noticed = [
            (event.since, event.at)
            for event in self.events
            if event.who == who and event.what == "late" and event.since is not None
        ]
        return union([*self.spans("paused", "resumed", who), *noticed])

    def runs(self) -> list[Run]:
        """All runs, in the order in which they began."""
        found: list[Run] = []
        going: dict[str, Event] = {}
        for event in [*self.events, *(Event(self.end, "end", who) for who in self.workers())]:
            begun = going.get(event.who)
            if begun is not None and (event.what in ("gone", "end") or _same(begun, event, "stop")):
                found.append(Run(event.who, begun.term or 0, begun.at, event.at, event.what))
                del going[event.who]
            if event.what == "start":
                going[event.who] = event
        return sorted(found, key=lambda run: run.began)

    def lines(self) -> Iterable[str]:
        """The story as lines of JSON, to be judged again another day."""
        for kind, things in (("event", self.events), ("effect", self.effects)):
            for thing in things:
                yield json.dumps({"kind": kind, **asdict(thing)})

    @classmethod
    def read(cls, lines: Iterable[str]) -> "Story":
        events, effects = [], []
        for line in lines:
            said: dict[str, Any] = json.loads(line)
            if said.pop("kind") == "event":
                events.append(Event(**said))
            else:
                effects.append(Effect(**said))
        return cls.of(events, effects)


def _same(begun: Event, event: Event, what: str) -> bool:
    return event.what == what and event.term == begun.term


# --- spans of time


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time, in order and without overlap."""
    whole: list[Span] = []
    for begin, end in sorted(span for span in spans if span[1] > span[0]):
        if whole and begin <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(end, whole[-1][1]))
        else:
            whole.append((begin, end))
    return whole


def common(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The time that is in both."""
    return union((max(a, c), min(b, d)) for a, b in some for c, d in others)


def without(some: Sequence[Span], holes: Iterable[Span]) -> list[Span]:
    """The time of ``some`` that is in none of the holes."""
    edges = union(holes)
    ends = [-FOREVER, *(end for _, end in edges)]
    begins = [*(begin for begin, _ in edges), FOREVER]
    return common(some, list(zip(ends, begins, strict=True)))


def length(span: Span) -> float:
    return span[1] - span[0]
