"""Explore small worlds: ``python -m tests.exploration --instances 3 --locks 2 --faults 1 --depth 12``."""

import argparse
import resource
import sys
import time

from tests.exploration.moves import FAULTS, Grain, Verb
from tests.exploration.search import Bounds, Result, Search
from tests.exploration.start import booting, settled
from tests.exploration.story import story_of
from tests.exploration.world import World


def main() -> int:
    """Explore, and print what is known after each level; return 1 if an invariant does not hold."""
    options = _parse()
    kinds = frozenset(Verb[name] for name in options.kinds.split(",")) if options.kinds else FAULTS
    bounds = Bounds(options.depth, options.faults, kinds, Grain[options.grain.upper()], options.states)
    start = _start(options)
    started_at = time.process_time()

    def report(result: Result) -> None:
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"depth {result.depth}: {result.states:,} states, {result.transitions:,} transitions, "
            f"{time.process_time() - started_at:.0f} s, {megabytes:,} MB",
            flush=True,
        )

    result = Search(start, bounds, report).run()
    if result.violation:
        print(*story_of(start, result.path), sep="\n")
        return 1
    print("all states are known" if result.is_complete else "the bounds are reached")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="explore", description=__doc__)
    parser.add_argument("--instances", type=int, default=2, choices=(1, 2, 3))
    parser.add_argument("--locks", type=int, default=1, choices=(1, 2))
    parser.add_argument("--depth", type=int, default=30, help="the largest number of moves")
    parser.add_argument("--faults", type=int, default=1, help="the largest number of faults")
    parser.add_argument("--kinds", default="", help="the faults to try, such as CUT,SLOW_STOP; default: all")
    parser.add_argument("--states", type=int, default=10**9, help="stop when so many states are known")
    parser.add_argument("--grain", default="coarse", choices=("fine", "coarse"), help="how much one move is")
    parser.add_argument(
        "--stagger", type=float, default=1.0, help="seconds between the heartbeats of two instances"
    )
    parser.add_argument("--booting", action="store_true", help="begin when all instances start")
    return parser.parse_args()


def _start(options: argparse.Namespace) -> World:
    if options.booting:
        return booting(options.instances, options.locks)
    return settled(options.instances, options.locks, options.stagger)


if __name__ == "__main__":
    sys.exit(main())
