"""A failing seed becomes a story: as short as possible, and for somebody who never saw the world."""

import pytest

from masterjob.election.timing import Timing
from tests.simulation.scenario import Scenario
from tests.simulation.shrinking import MAX_REPLAYS, shrink
from tests.simulation.story import Violation
from tests.simulation.telling import tell
from tests.simulation.world import Weather, World, replay

MANY = 5
"""How many faults a failure must have before it is shrunk here."""


def first_failure() -> tuple[Scenario, Violation]:
    for seed in range(100):
        for weather in Weather:
            try:
                replay(Scenario(seed, weather))
            except Violation as violation:
                if len(violation.faults) >= MANY:
                    return Scenario(seed, weather), violation
    pytest.fail("the planted bug is not found")


@pytest.fixture(autouse=True)
def _without_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timing, "margin", 0.0)


def test_a_failure_shrinks_to_few_faults_one_lock_and_few_instances() -> None:
    scenario, violation = first_failure()
    smallest, shrunk = shrink(scenario, violation, replay)
    assert shrunk.rule == violation.rule
    assert smallest.faults is not None
    assert len(smallest.faults) <= 2
    assert shrunk.world is not None
    assert len(shrunk.world.conditions.lock_names) == 1
    assert shrunk.world.conditions.fleet <= 2
    assert len(shrunk.story) < len(violation.story)


def test_the_smallest_scenario_replays_to_the_same_story() -> None:
    smallest, shrunk = shrink(*first_failure(), replay)
    with pytest.raises(Violation) as caught:
        replay(smallest)
    assert tell(caught.value) == tell(shrunk)


def test_shrinking_keeps_the_rule_that_was_broken() -> None:
    def break_another_rule_without_faults(scenario: Scenario) -> World:
        if not scenario.faults:
            raise Violation("I5: another failure")
        return replay(scenario)

    scenario, violation = first_failure()
    smallest, shrunk = shrink(scenario, violation, break_another_rule_without_faults)
    assert smallest.faults
    assert shrunk.rule == violation.rule == "I1"


def test_shrinking_ends_after_so_many_worlds() -> None:
    scenario, violation = first_failure()
    replays: list[Scenario] = []

    def fail_always(smaller: Scenario) -> None:
        replays.append(smaller)
        raise violation

    shrink(scenario, violation, fail_always)
    assert len(replays) <= MAX_REPLAYS


def test_a_story_has_the_setting_the_events_the_beliefs_and_the_rule() -> None:
    _, shrunk = shrink(*first_failure(), replay)
    story = tell(shrunk)
    for part in (
        "Instances: ",
        "lease ",
        "FAULT ",
        "became master of",
        "--- What everybody believes",
        "it trusts session ",
        "the database: session ",
        "I1: ",
        "no two instances are between the call of start and the return of stop",
    ):
        assert part in story
