"""Plants each bug of `mutants` and measures what finds it: ``python -m tests.simulation.mutate``.

The simulation gets all cores, and at most ``--seconds`` for each bug; then the unit tests get it, in a process of
their own. Seconds are CPU time of one process, so a busy machine makes the measurement longer and not different.
``--only TEXT`` takes the bugs whose sentence or section contains the text.
"""

import argparse
import itertools
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

from tests.simulation.mutant_plugin import EXECUTED, VARIABLE
from tests.simulation.mutants import MUTANTS
from tests.simulation.planting import Mutant, executions
from tests.simulation.world import Violation, Weather, simulate

MAX_CRASHES = 3
"""After this many seeds that end with an error which is not a `Violation`, a mutant counts as broken code."""

MAX_SECONDS_OF_A_SEED = 60.0

UNIT_TEST_TIMEOUT = 600.0
UNIT_TESTS = sorted(
    map(str, Path("tests/election").glob("test_*.py")),
    key=lambda path: (Path(path).stem in ("test_runner", "test_watchdog"), path),  # those with real time come last
)


@dataclass(frozen=True)
class Finding:
    """What the simulation found with one planted bug."""

    seconds: float = 0.0
    seeds: int = 0
    is_executed: bool = False
    seed: str = ""
    text: str = ""
    """What is wrong; empty if nothing was found."""


def simulate_with(mutant: Mutant, seconds: float, processes: int) -> Finding:
    """Simulate the seeds 0, 1, 2 … with the planted bug in several processes until one of them finds it."""
    context = multiprocessing.get_context("fork")
    workers = []
    pending: list[Connection] = []
    for first in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        search = context.Process(target=_search, args=(mutant, first, processes, seconds, sender), daemon=True)
        search.start()
        sender.close()
        workers.append(search)
        pending.append(receiver)
    findings: list[Finding] = []
    while pending and not any(finding.text for finding in findings):
        for ready in wait(pending):
            assert isinstance(ready, Connection)
            pending.remove(ready)
            findings.append(_received(ready))
    for worker in workers:
        worker.kill()
        worker.join()
    found = next((finding for finding in findings if finding.text), None)
    return found or Finding(
        max(finding.seconds for finding in findings),
        sum(finding.seeds for finding in findings),
        any(finding.is_executed for finding in findings),
    )


def _received(receiver: Connection) -> Finding:
    try:
        finding = receiver.recv()
    except EOFError:
        return Finding(is_executed=True, text="crash: the process of the simulation has died")
    assert isinstance(finding, Finding)
    return finding


def _search(mutant: Mutant, first: int, step: int, seconds: float, sender: Connection) -> None:
    started_at = time.process_time()
    cpu_limit = int(started_at + seconds + MAX_SECONDS_OF_A_SEED)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit, cpu_limit))  # for a seed that does not end
    seeds = crashes = 0

    def finding(seed: str = "", text: str = "") -> Finding:
        return Finding(time.process_time() - started_at, seeds, executions[mutant.name] > 0, seed, text)

    with mutant.planted():
        for seed in itertools.count(first, step):
            if time.process_time() - started_at >= seconds:
                break
            for weather in Weather:
                text = violation(seed, weather)
                crashes += text.startswith("crash")
                if text and (not text.startswith("crash") or crashes >= MAX_CRASHES):
                    sender.send(finding(f"{seed} {weather.value}", text))
                    return
            seeds += 1
    sender.send(finding())


def violation(seed: int, weather: Weather) -> str:
    """Return what is wrong with the seed, or nothing."""
    try:
        simulate(seed, weather)
    except Violation as error:
        return str(error)
    except Exception as error:
        return f"crash: {error!r}"
    return ""


def unit_test_with(mutant: Mutant) -> str:
    """Return the first unit test that fails with the planted bug; "no" if all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.simulation.mutant_plugin"]
    command += ["-p", "no:cacheprovider", "--no-header", "--tb=line", *UNIT_TESTS]
    process = subprocess.Popen(
        command,
        env={**os.environ, VARIABLE: mutant.name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=UNIT_TEST_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "the tests do not end"
    if failed := re.search(r"^(?:FAILED|ERROR) \S*?([^/\s]+?::[^\s\[]+|\S+)", output, re.MULTILINE):
        return failed[1]
    if process.returncode != 0:
        return f"pytest ends with {process.returncode}"
    return "no" if f"{EXECUTED}: 0" not in output else "no (never executed)"


def explain(mutant: Mutant, finding: Finding) -> str:
    """Return the columns of the table about the simulation."""
    if not mutant.is_simulated or not finding.seconds:
        return "not simulated |"
    if not finding.text:
        reason = f"{finding.seeds} seeds" if finding.is_executed else "never executed"
        return f"no, {finding.seconds:.0f} s | {reason}"
    return f"{finding.seconds:.1f} s | {finding.seed}: {finding.text[:60]}"


def measure(mutants: Sequence[Mutant], seconds: float, processes: int, *, with_unit_tests: bool) -> int:
    """Print a row for each mutant; return how many nothing finds."""
    print("| planted bug | rule | found by the simulation | seed and violation | found by the unit tests |")
    print("|---|---|---|---|---|", flush=True)
    survivors = 0
    simulated = 0
    for mutant in mutants:
        finding = Finding()
        if mutant.is_simulated and seconds > 0:
            finding = simulate_with(mutant, seconds, processes)
        test = unit_test_with(mutant) if with_unit_tests else "not tried"
        simulated += bool(finding.text)
        survives = not finding.text and test.startswith("no")
        survivors += survives
        row = [mutant.sentence, mutant.rule, explain(mutant, finding), test + (" **neither**" if survives else "")]
        print(f"| {' | '.join(row)} |", flush=True)
    total = sum(mutant.is_simulated for mutant in mutants)
    print(f"\n{simulated} of {total} found by the simulation; {survivors} of {len(mutants)} found by neither.")
    return survivors


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of each process; 0: none")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes of the simulation")
    parser.add_argument("--only", default="", help="only bugs whose sentence or section contains this")
    parser.add_argument("--no-unit-tests", action="store_true", help="only the simulation")
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if options.only in f"{each.sentence} ({each.rule})"]
    survivors = measure(chosen, options.seconds, options.processes, with_unit_tests=not options.no_unit_tests)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
