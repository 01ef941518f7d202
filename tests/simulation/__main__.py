"""Run many seeds on all cores (``--seeds 1000``), or trace one (``--seed 7``), or shrink it (``--shrink``)."""

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import WORLD_VERSION, Scenario
from tests.simulation.shrinking import shrink
from tests.simulation.telling import tell
from tests.simulation.world import Violation, Weather, replay, simulate

SEEDS_PER_CHUNK = 25


def simulate_seeds(first: int, last: int) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    failures = []
    for seed, weather in itertools.product(range(first, last), Weather):
        try:
            counts.update(simulate(seed, weather).checker.counts)
        except Violation as violation:
            failures.append(f"SEED={seed} WEATHER={weather.value} (world {WORLD_VERSION}): {violation}")
    return counts, failures


def trace(seed: int, weather: Weather) -> int:
    """Print every step of a seed."""
    try:
        replay(Scenario(seed, weather), trace=print)
    except Violation as violation:
        print(tell(violation))
        return 1
    return 0


def explain(seed: int, weather: Weather) -> int:
    """Print the story of the smallest scenario that fails as the seed does."""
    scenario = Scenario(seed, weather)
    try:
        replay(scenario)
    except Violation as violation:
        smallest, shrunk = shrink(scenario, violation, replay)
        print(tell(shrunk))
        print(repr(smallest))
        return 1
    print(f"seed {seed} in {weather.value} weather, world {WORLD_VERSION}: no violation")
    return 0


def run(seeds: int, first: int) -> int:
    started_at, counts, failures = time.monotonic(), Counter[str](), list[str]()
    starts = range(first, first + seeds, SEEDS_PER_CHUNK)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        chunks = pool.map(
            simulate_seeds, starts, [min(start + SEEDS_PER_CHUNK, first + seeds) for start in starts]
        )
        for number, (chunk_counts, chunk_failures) in enumerate(chunks, start=1):
            counts += chunk_counts
            failures += chunk_failures
            for failure in chunk_failures:
                print(failure, flush=True)
            if number % 40 == 0:
                print(
                    f"{number * SEEDS_PER_CHUNK} seeds, {time.monotonic() - started_at:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
    for event, count in counts.most_common():
        print(f"{count:12,} {event}")
    print(f"{seeds} seeds in two weathers, {time.monotonic() - started_at:.0f} s: {len(failures)} violations")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="the number of seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this seed and print every step")
    parser.add_argument("--weather", type=Weather, default=Weather.CALM, choices=list(Weather))
    parser.add_argument("--shrink", action="store_true", help="print only what is needed for the seed's failure")
    options = parser.parse_args()
    if options.seed is None:
        return run(options.seeds, options.first)
    return (explain if options.shrink else trace)(options.seed, options.weather)


if __name__ == "__main__":
    sys.exit(main())
