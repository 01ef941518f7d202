"""A minute of random faults; `test_mutants` shows that the simulator finds planted bugs."""

import os
import time

import pytest

from tests.simulation.world import Violation, Weather, World, simulate

SECONDS_PER_WEATHER = float(os.environ.get("MASTERJOB_SIMULATE_SECONDS", "30"))


@pytest.mark.parametrize("weather", Weather)
@pytest.mark.timeout(600)
def test_the_invariants_hold_under_random_faults(weather: Weather) -> None:
    """Half a minute for each weather; the first seeds are always the same, so a failure names its seed."""
    started_at, seed = time.monotonic(), 0
    while time.monotonic() - started_at < SECONDS_PER_WEATHER:
        try:
            simulate(seed, weather)
        except Violation as violation:
            pytest.fail(f"{violation}\nreplay it with: make simulate SEED={seed} WEATHER={weather.value}")
        seed += 1
    print(f"{seed} seeds of {weather.value} weather")
    assert seed > 20


def test_a_seed_replays_exactly() -> None:
    def trace_lines() -> list[str]:
        lines: list[str] = []
        simulate(4, Weather.WILD, trace=lines.append)
        return lines

    assert trace_lines() == trace_lines()


def test_every_kind_of_fault_occurs_in_a_few_seeds() -> None:
    counts = World(0, Weather.WILD).checker.counts
    for seed in range(12):
        for weather in Weather:
            counts.update(simulate(seed, weather).checker.counts)
    for event in (
        "elected", "stepped down", "evicted", "start failed", "guarded effect", "pause", "kill", "shut_down",
        "outage", "brownout", "clock_step", "promote", "switch", "request_step_down", "retime",
    ):  # fmt: skip
        assert counts[event] > 0, f"in none of 24 worlds: {event}"
