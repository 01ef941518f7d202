"""``python -m bench`` runs all benchmarks, ``python -m bench handover cost`` some; ``--rounds`` bounds each."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bench import cluster, crowd, handover, heartbeat_under_load, plots
from bench.figures import Figure, load, save, table
from bench.world import Databases

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"

BENCHMARKS: dict[str, Callable[[Databases, int], list[Figure]]] = {
    "handover": handover.hand_over,
    "failover": handover.fail_over,
    "switch": handover.switch,
    "claim": crowd.claim,
    "evict": crowd.evict,
    "share": crowd.share,
    "cost": crowd.cost,
    "load": heartbeat_under_load.measure_heartbeats_under_load,
    "cluster": cluster.cluster,
}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--rounds", type=int, default=30, help="number of measurements")
    parser.add_argument("--out", type=Path, default=DOCS, help="directory of the JSON file and the plots")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"{', '.join(sorted(unknown))} is not a benchmark; there are {', '.join(BENCHMARKS)}")
    databases = Databases()
    try:
        for name in options.names or BENCHMARKS:
            started_at = time.monotonic()
            figures = BENCHMARKS[name](databases, options.rounds)
            print(f"\n{name}, {time.monotonic() - started_at:.0f} s\n{table(figures)}", flush=True)
            save(figures, options.out / "results.json")
    finally:
        databases.close()
    plots.draw(load(options.out / "results.json"), options.out)


if __name__ == "__main__":
    main()
