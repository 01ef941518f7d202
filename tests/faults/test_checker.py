"""Tests of the checker: logs that are valid, and logs that must never pass."""

import pytest

from tests.faults.checker import Guarantees, failovers, find_violations
from tests.faults.events import Effect, EventLog, ObservedEvent, difference, intersection, union

GUARANTEES = Guarantees(heartbeat=0.5, lease=2.0, stop_timeout=0.3)


def run_events(who: str, term: int, started_at: float, ended_at: float | None = None) -> list[ObservedEvent]:
    events = [ObservedEvent(started_at, "start", who, term)]
    return events if ended_at is None else [*events, ObservedEvent(ended_at, "stop", who, term)]


def event_log(
    *events: ObservedEvent | list[ObservedEvent], until: float = 20.0, effects: list[Effect] | None = None
) -> EventLog:
    all_events = [event for each in events for event in (each if isinstance(each, list) else [each])]
    up = [ObservedEvent(0.0, "up", who) for who in ("a", "b")]
    return EventLog.from_events([*up, *all_events, ObservedEvent(until, "finished")], effects or [])


def effects(*terms: int) -> list[Effect]:
    return [Effect(number, term, float(number)) for number, term in enumerate(terms)]


VALID_LOGS = {
    "one run": event_log(run_events("a", 1, 1)),
    "a handover": event_log(run_events("a", 1, 1, 5), run_events("b", 2, 5.01)),
    "a death, and the lease": event_log(
        run_events("a", 1, 1),
        ObservedEvent(5, "leaving", "a"),
        ObservedEvent(5, "gone", "a"),
        run_events("b", 2, 7.4),
    ),
    "a pause beyond the lease": event_log(
        run_events("a", 1, 1, 9.1),
        ObservedEvent(5, "paused", "a"),
        ObservedEvent(9, "resumed", "a"),
        run_events("b", 2, 7),
    ),
    "a pause caused by the machine": event_log(
        run_events("a", 1, 1, 9.1), ObservedEvent(9, "late", "a", since=5.0), run_events("b", 2, 7)
    ),
    "an outage of the database": event_log(
        run_events("a", 1, 1, 6), ObservedEvent(5, "down"), ObservedEvent(15, "back"), run_events("b", 2, 17)
    ),
    "no worker can reach the database": event_log(
        run_events("a", 1, 1, 6),
        *(ObservedEvent(5, "cut", who) for who in "ab"),
        ObservedEvent(16, "healed", "b"),
        run_events("b", 2, 18),
    ),
    "a disable": event_log(
        run_events("a", 1, 1, 5.5),
        ObservedEvent(5, "disabling"),
        ObservedEvent(5, "disabled"),
        ObservedEvent(15, "enabling"),
        ObservedEvent(15, "enabled"),
        run_events("b", 2, 15.1),
    ),
    "a disable that a paused master cannot notice": event_log(
        run_events("a", 1, 1, 9.5),
        ObservedEvent(4, "disabling"),
        ObservedEvent(5, "disabled"),
        ObservedEvent(4, "paused", "a"),
        ObservedEvent(9, "resumed", "a"),
    ),
    "a disable with an unknown outcome": event_log(run_events("a", 1, 1, 5), ObservedEvent(4, "disabling")),
    "effects in order": event_log(run_events("a", 1, 1, 5), run_events("b", 2, 5.1), effects=effects(1, 1, 2, 2)),
}

INVALID_LOGS = {
    "I1: two at once": event_log(run_events("a", 1, 1, 5), run_events("b", 2, 4.9)),
    "I1: two at once, without end": event_log(run_events("a", 1, 1), run_events("b", 2, 5)),
    "I1: a pause that is shorter than the margin": event_log(
        run_events("a", 1, 1, 5.5),
        ObservedEvent(5, "paused", "a"),
        ObservedEvent(5.3, "resumed", "a"),
        run_events("b", 2, 5.1),
    ),
    "I1: the pause of another worker": event_log(
        run_events("a", 1, 1),
        ObservedEvent(5, "paused", "c"),
        ObservedEvent(9, "resumed", "c"),
        run_events("b", 2, 6),
    ),
    "I1: still running long after the pause": event_log(
        run_events("a", 1, 1, 11),
        ObservedEvent(5, "paused", "a"),
        ObservedEvent(9, "resumed", "a"),
        run_events("b", 2, 7),
    ),
    "I1: an outage is no excuse": event_log(
        run_events("a", 1, 1, 8), ObservedEvent(5, "down"), ObservedEvent(9, "back"), run_events("b", 2, 7)
    ),
    "I2: a term that was issued twice": event_log(run_events("a", 1, 1, 5), run_events("b", 1, 5.1)),
    "I2: a term that is smaller": event_log(run_events("a", 2, 1, 5), run_events("b", 1, 5.1)),
    "I2: a stale effect": event_log(run_events("a", 1, 1, 5), run_events("b", 2, 5.1), effects=effects(1, 2, 1)),
    "I2: by commit": event_log(
        run_events("a", 1, 1, 5), run_events("b", 2, 5.1), effects=[Effect(1, 1, 9.0), Effect(2, 2, 8.0)]
    ),
    "I2: an effect of a term that no run had": event_log(run_events("a", 1, 1), effects=effects(7)),
    "I3: no job ever starts": event_log(),
    "I3: no worker takes over": event_log(
        run_events("a", 1, 1), ObservedEvent(5, "leaving", "a"), ObservedEvent(5, "gone", "a")
    ),
    "I3: it takes too long": event_log(run_events("a", 1, 1, 5), run_events("b", 2, 8.6)),
    "I3: too long after the outage": event_log(
        run_events("a", 1, 1, 6), ObservedEvent(5, "down"), ObservedEvent(10, "back"), run_events("b", 2, 13.6)
    ),
    "I3: a paused master does not count": event_log(
        run_events("a", 1, 1), ObservedEvent(5, "paused", "a"), until=9.0
    ),
    "I3: too long after the enable": event_log(
        ObservedEvent(0, "disabling"),
        ObservedEvent(0, "disabled"),
        ObservedEvent(5, "enabling"),
        ObservedEvent(5, "enabled"),
        run_events("b", 2, 8.6),
    ),
    "I4: it continues": event_log(
        run_events("a", 1, 1, 6.1), ObservedEvent(5, "disabling"), ObservedEvent(5, "disabled")
    ),
    "I4: it continues after its pause": event_log(
        run_events("a", 1, 1, 10.1),
        ObservedEvent(4, "disabling"),
        ObservedEvent(4, "disabled"),
        ObservedEvent(5, "paused", "a"),
        ObservedEvent(9, "resumed", "a"),
    ),
    "I4: it begins": event_log(
        run_events("b", 1, 1, 4.1),
        ObservedEvent(4, "disabling"),
        ObservedEvent(4, "disabled"),
        run_events("a", 2, 6, 6.1),
    ),
}


@pytest.mark.parametrize("name", VALID_LOGS)
def test_a_log_without_violation_passes(name: str) -> None:
    assert find_violations(VALID_LOGS[name], GUARANTEES) == []


@pytest.mark.parametrize("name", INVALID_LOGS)
def test_a_log_with_a_violation_is_rejected_for_it(name: str) -> None:
    violations = find_violations(INVALID_LOGS[name], GUARANTEES)
    assert violations
    assert {violation[:2] for violation in violations} == {name[:2]}


def test_a_failover_lasts_from_the_end_of_one_run_to_the_start_of_the_next() -> None:
    (change,) = failovers(event_log(run_events("a", 1, 1), ObservedEvent(5, "gone", "a"), run_events("b", 2, 7)))
    assert (change.duration, change.cause, change.before, change.after) == (2.0, "gone", "a", "b")


def test_an_event_log_survives_serialisation() -> None:
    log = event_log(run_events("a", 1, 1), ObservedEvent(9, "late", "a", since=8.0), effects=effects(1))
    assert EventLog.from_json_lines(log.to_json_lines()) == log


def test_union_intersection_and_difference_of_spans() -> None:
    assert union([(3, 4), (1, 2), (2, 3), (7, 7)]) == [(1, 4)]
    assert intersection([(0, 5), (8, 9)], [(4, 8.5)]) == [(4, 5), (8, 8.5)]
    assert difference([(0, 10)], [(2, 3), (5, 6)]) == [(0, 2), (3, 5), (6, 10)]
    assert difference([(0, 10)], []) == [(0, 10)]


def test_the_failover_of_a_paused_master_begins_with_its_pause() -> None:
    (change,) = failovers(VALID_LOGS["a pause beyond the lease"])
    assert (change.duration, change.cause) == (2.0, "paused")
