"""Long random runs: ``python -m tests.faults --for 2h --seed 7``, or ``--judge FILE`` to judge a kept story again.

A seed replays the schedule of faults; what they meet is up to the machine, so a violation may need several runs.
"""

import argparse
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path

from masterjob.election.timing import duration
from tests.faults.random_run import RandomRun, report
from tests.faults.schedule import schedule
from tests.faults.server import FaultyPostgreSQL
from tests.faults.stage import PROMISE, Stage
from tests.faults.story import Story


def tell(line: str) -> None:
    print(line, flush=True)


def run(seconds: float, seed: int, workers: int, kept: Path) -> bool:
    tell(f"SEED={seed}, {seconds:.0f} s, {workers} workers on PostgreSQL; the story is kept in {kept}")
    server = FaultyPostgreSQL()
    server.start()
    with tempfile.TemporaryDirectory(prefix="masterjob-faults-") as directory:
        stage = Stage(server.with_effects(), server, Path(directory))
        try:
            play = RandomRun(stage, workers, tell)
            story = play.play(schedule(seed, seconds, workers, PROMISE), seconds)
        finally:
            stage.close()
            server.stop()
    kept.write_text("".join(f"{line}\n" for line in story.lines()))
    words, good = report(story, play.done, stage.complaints)
    tell(words)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--for", dest="seconds", type=duration, default=120.0, help="like 2h or 90s")
    parser.add_argument("--seed", type=int, help="replay the schedule of this seed")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where to write the story (default: in the temporary directory)")
    parser.add_argument("--judge", type=Path, help="judge this story again instead of making one")
    options = parser.parse_args()
    if options.judge:
        words, good = report(Story.read(options.judge.read_text().splitlines()), Counter())
        tell(words)
        return 0 if good else 1
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    kept = options.keep or Path(tempfile.gettempdir()) / f"masterjob-faults-{seed}.jsonl"
    return 0 if run(options.seconds, seed, options.workers, kept) else 1


if __name__ == "__main__":
    sys.exit(main())
