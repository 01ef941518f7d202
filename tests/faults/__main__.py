"""Long random runs: ``python -m tests.faults --for 2h --seed 7``, or ``--check FILE`` to check a saved log again.

A seed replays the schedule of faults. Their effect depends on the machine, so a violation may need several runs.
"""

import argparse
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path

from masterjob.election.timing import parse_duration
from tests.faults.events import EventLog
from tests.faults.fixtures import RANDOM_RUN_GUARANTEES, FaultHarness
from tests.faults.random_run import RandomRun, report
from tests.faults.schedule import schedule
from tests.faults.server import FaultyPostgreSQL


def write_line(line: str) -> None:
    print(line, flush=True)


def run(seconds: float, seed: int, workers: int, log_path: Path) -> bool:
    write_line(f"SEED={seed}, {seconds:.0f} s, {workers} workers on PostgreSQL; event log: {log_path}")
    server = FaultyPostgreSQL()
    server.start()
    with tempfile.TemporaryDirectory(prefix="masterjob-faults-") as directory:
        harness = FaultHarness(server.create_effect_database(), server, Path(directory), RANDOM_RUN_GUARANTEES)
        try:
            random_run = RandomRun(harness, workers, write_line)
            event_log = random_run.run(schedule(seed, seconds, workers, RANDOM_RUN_GUARANTEES), seconds)
        finally:
            harness.close()
            server.stop()
    log_path.write_text("".join(f"{line}\n" for line in event_log.to_json_lines()))
    text, passed = report(event_log, random_run.fault_counts, harness.other_violations)
    write_line(text)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--for", dest="seconds", type=parse_duration, default=120.0, help="like 2h or 90s")
    parser.add_argument("--seed", type=int, help="replay the schedule of this seed")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="file for the event log (default: in the temporary directory)")
    parser.add_argument("--check", type=Path, help="check this event log instead of starting a run")
    options = parser.parse_args()
    if options.check:
        text, passed = report(EventLog.from_json_lines(options.check.read_text().splitlines()), Counter())
        write_line(text)
        return 0 if passed else 1
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    log_path = options.keep or Path(tempfile.gettempdir()) / f"masterjob-faults-{seed}.jsonl"
    return 0 if run(options.seconds, seed, options.workers, log_path) else 1


if __name__ == "__main__":
    sys.exit(main())
