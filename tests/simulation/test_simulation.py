"""A minute of random faults; `test_mutants` shows that the simulator finds planted bugs."""

import os
import time
from collections import Counter

import pytest

from masterjob.election.core import liveness
from masterjob.election.timing import Timing
from tests.simulation.shrinking import shrink
from tests.simulation.telling import tell
from tests.simulation.world import WORLD_VERSION, Scenario, Violation, Weather, replay, simulate

SECONDS_PER_WEATHER = float(os.environ.get("MASTERJOB_SIMULATE_SECONDS", "15"))
"""CPU time, so a busy machine simulates as many seeds."""
MAX_SEEDS = 1000
"""A fast machine must not meet seeds in the tests that nobody has looked at: those are for ``make simulate``."""


@pytest.mark.parametrize("weather", Weather)
@pytest.mark.timeout(600)
def test_the_invariants_hold_under_random_faults(weather: Weather) -> None:
    """A part of a minute for each weather; the first seeds are always the same, so a failure names its seed."""
    started_at, seed = time.process_time(), 0
    while seed < MAX_SEEDS and time.process_time() - started_at < SECONDS_PER_WEATHER:
        try:
            simulate(seed, weather)
        except Violation as violation:
            _, smallest = shrink(Scenario(seed, weather), violation, replay)
            command = f"make simulate SEED={seed} WEATHER={weather.value} SHRINK=1"
            pytest.fail(f"{tell(smallest)}\ntell this story again with: {command} (world {WORLD_VERSION})")
        seed += 1
    print(f"{seed} seeds of {weather.value} weather")
    assert seed > 20


def first_violation(seeds: range) -> tuple[int, Weather] | None:
    for seed in seeds:
        for weather in Weather:
            try:
                simulate(seed, weather)
            except Violation:
                return seed, weather
    return None


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (Timing, "margin", 0.0),
        (Timing, "margin", property(lambda timing: min(0.2, timing.stop_timeout) + 0.02 * timing.lease_duration)),
        (liveness, "STANDSTILL_LEASES", 0.9),
    ],
    ids=["no margin", "a margin that counts a part of the stop timeout", "an early eviction"],
)
@pytest.mark.timeout(600)
def test_the_two_numbers_that_safety_rests_on_matter(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, value: object
) -> None:
    monkeypatch.setattr(owner, name, value)
    assert first_violation(range(600)) is not None


def test_every_kind_of_fault_occurs_in_a_few_seeds() -> None:
    counts: Counter[str] = Counter()
    for seed in range(20):
        for weather in Weather:
            counts.update(simulate(seed, weather).checker.counts)
    for event in (
        "elected", "stepped down", "evicted", "start failed", "overrun", "guarded effect", "excused overlap",
        "cut_off", "cut_off_connection", "delay_replies", "brownout", "freeze", "stall", "pause_elector",
        "pause_watchdog", "pause_worker", "kill", "shut_down", "boot_another", "end_command", "outage", "lock_row",
        "disturb_release", "disturb_reading", "disturb_opening", "disturb_heartbeat", "disturb_eviction",
        "disturb_late_claim", "step_and_lose_a_master", "pause_candidate_over_steps",
        "clock_step", "replicate", "promote", "promote_and_cut_a_master", "split", "switch",
        "step_down", "retime", "rejoin",
    ):  # fmt: skip
        assert counts[event] > 0, f"in none of 40 worlds: {event}"
