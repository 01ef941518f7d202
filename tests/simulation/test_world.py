"""A seed always means the same: in every process, with every Python, and as long as the world has this version."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from masterjob.election.core.elector import Elector
from tests.simulation.regressions import Regression, read
from tests.simulation.scenario import WORLD_VERSION, Scenario
from tests.simulation.scripted import ScriptedElector
from tests.simulation.story import Violation
from tests.simulation.world import Weather, World, replay, simulate

DIGEST_SEEDS = range(6)

DIGEST = "b6370933f9392871"
"""What `digest` is in this version of the world."""


def digest(make_elector: Callable[..., Any], seeds: range) -> str:
    """Return a hash of what happens in these seeds, and when."""
    lines = []
    for seed, weather in itertools.product(seeds, Weather):
        world = World(Scenario(seed, weather), make_elector)
        try:
            world.simulate()
        except Violation:
            world.checker.counts["violation"] += 1
        lines.append(f"{world.now!r} {world.scheduler.calls} {sorted(world.checker.counts.items())}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_a_seed_means_the_same_as_long_as_the_world_has_this_version() -> None:
    """The elector is a script here, so a change of the real one changes nothing."""
    assert digest(ScriptedElector, DIGEST_SEEDS) == DIGEST, (
        f"the world has changed since it became version {WORLD_VERSION}, so its seeds mean something else: "
        "increase WORLD_VERSION, run `python -m tests.simulation.regressions`, and pin the new digest here"
    )


def test_a_seed_replays_exactly() -> None:
    assert digest(Elector, range(4, 6)) == digest(Elector, range(4, 6))


def test_a_seed_replays_exactly_with_another_hash_seed() -> None:
    """No order comes from a set of texts."""
    program = "from tests.simulation.world import *; simulate(4, Weather.WILD, trace=print)"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_a_world_with_fewer_faults_has_the_others_at_the_same_times() -> None:
    def faults(numbers: frozenset[int] | None) -> dict[str, str]:
        lines: list[str] = []
        simulate(4, Weather.CALM, trace=lines.append, faults=numbers)
        return {
            text.split(":")[0]: time for time, text in (line.split(" s  ", 1) for line in lines) if "FAULT" in text
        }

    everything = faults(None)
    kept = faults(frozenset({2, 5}))
    assert kept
    assert set(kept) <= {"FAULT 2", "FAULT 5"}
    assert kept.items() <= everything.items()


TABLE_VERSION, REGRESSIONS = read()
HOW_TO_RENEW = "find and shrink the failures again with `python -m tests.simulation.regressions`"


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda regression: regression.planted)
def test_a_shrunk_failure_is_seen_again_and_only_with_its_planted_bug(regression: Regression) -> None:
    assert TABLE_VERSION == WORLD_VERSION, f"the table is of world {TABLE_VERSION}: {HOW_TO_RENEW}"
    replay(regression.scenario)
    with regression.mutant.planted():
        violation = violation_of(regression.scenario)
    assert violation is not None, f"the planted bug breaks nothing any more: {HOW_TO_RENEW}"
    assert violation.rule == regression.sentence.split(":")[0]


def violation_of(scenario: Scenario) -> Violation | None:
    try:
        replay(scenario)
    except Violation as violation:
        return violation
    return None
