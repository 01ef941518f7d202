"""The order of the events of a history.

An instance measures on its own clock when something happened; the time of the call that writes an event makes it
appear a little later on the database's clock. So two events that different calls wrote can be stored in the wrong
order, though their order is known: a term begins with its election and ends with its release.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from masterjob.election.values import TransitionKind as Kind
from masterjob.lock_status import HistoryEvent

_RANKS: dict[str, int] = {Kind.ELECTED: 0, Kind.STEPPED_DOWN: 2}
_RANK_BETWEEN = 1


def in_causal_order(events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
    """Return the events by their time, those of the same time in the order given.

    What an instance wrote of a term comes after its election and before its release: their times are moved so.
    """
    times = _times_between(events)
    moved = [_move(event, times.get((event.term, event.instance), [])) for event in events]
    return sorted(moved, key=lambda event: (event.at, _rank_of(event)))


def _rank_of(event: HistoryEvent) -> int:
    return _RANKS.get(event.kind, _RANK_BETWEEN)


def _times_between(events: Sequence[HistoryEvent]) -> dict[tuple[int | None, str | None], list[datetime]]:
    """Return the times of what each instance wrote between the election and the release of a term."""
    times: dict[tuple[int | None, str | None], list[datetime]] = {}
    for event in events:
        if event.term is not None and event.kind not in _RANKS:
            times.setdefault((event.term, event.instance), []).append(event.at)
    return times


def _move(event: HistoryEvent, times: Sequence[datetime]) -> HistoryEvent:
    if event.kind == Kind.ELECTED:
        return replace(event, at=min([event.at, *times]))
    if event.kind == Kind.STEPPED_DOWN:
        return replace(event, at=max([event.at, *times]))
    return event
