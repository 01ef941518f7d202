"""Many seeds on all cores (``python -m tests.simulation --seeds 1000``), or one that tells all (``--seed 7``)."""

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from .world import Violation, Weather, simulate

CHUNK = 25


def live_through(first: int, last: int) -> tuple[Counter[str], list[str]]:
    seen: Counter[str] = Counter()
    failures = []
    for seed, weather in itertools.product(range(first, last), Weather):
        try:
            seen.update(simulate(seed, weather).judge.seen)
        except Violation as violation:
            failures.append(f"SEED={seed} WEATHER={weather.value}: {violation}")
    return seen, failures


def replay(seed: int, weather: Weather) -> int:
    try:
        simulate(seed, weather, trace=print)
    except Violation as violation:
        print(f"violation: {violation}")
        return 1
    return 0


def run(seeds: int, first: int) -> int:
    began, seen, failures = time.monotonic(), Counter[str](), list[str]()
    starts = range(first, first + seeds, CHUNK)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        chunks = pool.map(live_through, starts, [min(start + CHUNK, first + seeds) for start in starts])
        for number, (counted, failed) in enumerate(chunks, start=1):
            seen += counted
            failures += failed
            for failure in failed:
                print(failure, flush=True)
            if number % 40 == 0:
                print(f"{number * CHUNK} seeds, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for what, count in seen.most_common():
        print(f"{count:12,} {what}")
    print(f"{seeds} seeds in two weathers, {time.monotonic() - began:.0f} s: {len(failures)} violations")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one and tell everything")
    parser.add_argument("--weather", type=Weather, default=Weather.CALM, choices=list(Weather))
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, options.weather)
    return run(options.seeds, options.first)


if __name__ == "__main__":
    sys.exit(main())
