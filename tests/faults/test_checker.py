"""The judge, judged: stories that are fine, and stories that must never pass."""

import pytest

from tests.faults.checker import Promise, failovers, judge
from tests.faults.story import Effect, Event, Story, common, union, without

PROMISE = Promise(heartbeat=0.5, lease=2.0, stop_timeout=0.3)


def run(who: str, term: int, began: float, ended: float | None = None) -> list[Event]:
    events = [Event(began, "start", who, term)]
    return events if ended is None else [*events, Event(ended, "stop", who, term)]


def told(*events: Event | list[Event], until: float = 20.0, effects: list[Effect] | None = None) -> Story:
    flat = [event for each in events for event in (each if isinstance(each, list) else [each])]
    up = [Event(0.0, "up", who) for who in ("a", "b")]
    return Story.of([*up, *flat, Event(until, "curtain")], effects or [])


def effects(*terms: int) -> list[Effect]:
    return [Effect(number, term, float(number)) for number, term in enumerate(terms)]


FINE = {
    "one run": told(run("a", 1, 1)),
    "a hand-over": told(run("a", 1, 1, 5), run("b", 2, 5.01)),
    "a death, and the lease": told(
        run("a", 1, 1), Event(5, "leaving", "a"), Event(5, "gone", "a"), run("b", 2, 7.4)
    ),
    "a pause beyond the lease": told(
        run("a", 1, 1, 9.1), Event(5, "paused", "a"), Event(9, "resumed", "a"), run("b", 2, 7)
    ),
    "a pause that the machine made": told(run("a", 1, 1, 9.1), Event(9, "late", "a", since=5.0), run("b", 2, 7)),
    "an outage of the database": told(run("a", 1, 1, 6), Event(5, "down"), Event(15, "back"), run("b", 2, 17)),
    "nobody can reach the database": told(
        run("a", 1, 1, 6), *(Event(5, "cut", who) for who in "ab"), Event(16, "healed", "b"), run("b", 2, 18)
    ),
    "a disable": told(run("a", 1, 1, 5.5), Event(5, "disabling"), Event(5, "disabled"), Event(15, "enabling"),
                      Event(15, "enabled"), run("b", 2, 15.1)),
    "a disable that a paused master cannot hear": told(
        run("a", 1, 1, 9.5), Event(4, "disabling"), Event(5, "disabled"), Event(4, "paused", "a"),
        Event(9, "resumed", "a"),
    ),
    "a disable of which nobody knows whether it was done": told(run("a", 1, 1, 5), Event(4, "disabling")),
    "effects in order": told(run("a", 1, 1, 5), run("b", 2, 5.1), effects=effects(1, 1, 2, 2)),
}  # fmt: skip

BAD = {
    "I1: two at once": told(run("a", 1, 1, 5), run("b", 2, 4.9)),
    "I1: two at once, without end": told(run("a", 1, 1), run("b", 2, 5)),
    "I1: a pause that is shorter than the margin": told(
        run("a", 1, 1, 5.5), Event(5, "paused", "a"), Event(5.3, "resumed", "a"), run("b", 2, 5.1)
    ),
    "I1: somebody else's pause": told(
        run("a", 1, 1), Event(5, "paused", "c"), Event(9, "resumed", "c"), run("b", 2, 6)
    ),
    "I1: still going on long after the pause": told(
        run("a", 1, 1, 11), Event(5, "paused", "a"), Event(9, "resumed", "a"), run("b", 2, 7)
    ),
    "I1: an outage is no excuse": told(run("a", 1, 1, 8), Event(5, "down"), Event(9, "back"), run("b", 2, 7)),
    "I2: a term that was issued twice": told(run("a", 1, 1, 5), run("b", 1, 5.1)),
    "I2: a term that is smaller": told(run("a", 2, 1, 5), run("b", 1, 5.1)),
    "I2: a stale effect": told(run("a", 1, 1, 5), run("b", 2, 5.1), effects=effects(1, 2, 1)),
    "I2: by commit": told(
        run("a", 1, 1, 5), run("b", 2, 5.1), effects=[Effect(1, 1, 9.0), Effect(2, 2, 8.0)]
    ),
    "I2: an effect of nobody's term": told(run("a", 1, 1), effects=effects(7)),
    "I3: nobody ever starts": told(),
    "I3: nobody takes over": told(run("a", 1, 1), Event(5, "leaving", "a"), Event(5, "gone", "a")),
    "I3: it takes too long": told(run("a", 1, 1, 5), run("b", 2, 8.6)),
    "I3: too long after the outage": told(
        run("a", 1, 1, 6), Event(5, "down"), Event(10, "back"), run("b", 2, 13.6)
    ),
    "I3: a frozen master is none": told(run("a", 1, 1), Event(5, "paused", "a"), until=9.0),
    "I3: too long after the enable": told(
        Event(0, "disabling"), Event(0, "disabled"), Event(5, "enabling"), Event(5, "enabled"), run("b", 2, 8.6)
    ),
    "I4: it goes on": told(run("a", 1, 1, 6.1), Event(5, "disabling"), Event(5, "disabled")),
    "I4: it goes on after its pause": told(
        run("a", 1, 1, 10.1), Event(4, "disabling"), Event(4, "disabled"), Event(5, "paused", "a"),
        Event(9, "resumed", "a"),
    ),
    "I4: it begins": told(
        run("b", 1, 1, 4.1), Event(4, "disabling"), Event(4, "disabled"), run("a", 2, 6, 6.1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_a_story_without_fault_passes(name: str) -> None:
    assert judge(FINE[name], PROMISE) == []


@pytest.mark.parametrize("name", BAD)
def test_a_story_with_a_fault_is_rejected_for_that_fault(name: str) -> None:
    violations = judge(BAD[name], PROMISE)
    assert violations
    assert {violation[:2] for violation in violations} == {name[:2]}


def test_a_failover_lasts_from_the_end_of_one_run_to_the_start_of_the_next() -> None:
    (change,) = failovers(told(run("a", 1, 1), Event(5, "gone", "a"), run("b", 2, 7)))
    assert (change.seconds, change.cause, change.before, change.after) == (2.0, "gone", "a", "b")


def test_a_story_survives_being_written_down() -> None:
    story = told(run("a", 1, 1), Event(9, "late", "a", since=8.0), effects=effects(1))
    assert Story.read(story.lines()) == story


def test_spans_are_joined_met_and_cut_out() -> None:
    assert union([(3, 4), (1, 2), (2, 3), (7, 7)]) == [(1, 4)]
    assert common([(0, 5), (8, 9)], [(4, 8.5)]) == [(4, 5), (8, 8.5)]
    assert without([(0, 10)], [(2, 3), (5, 6)]) == [(0, 2), (3, 5), (6, 10)]
    assert without([(0, 10)], []) == [(0, 10)]


def test_the_failover_of_a_frozen_master_begins_with_its_freezing() -> None:
    (change,) = failovers(FINE["a pause beyond the lease"])
    assert (change.seconds, change.cause) == (2.0, "paused")
