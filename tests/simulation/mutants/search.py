"""Looks for a violation in simulated seeds, with a planted bug, in several processes."""

import itertools
import multiprocessing
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from tests.simulation.mutants.planting import Mutant, executions
from tests.simulation.world import Violation, Weather, simulate

MAX_CRASHES = 3
"""After this many seeds that end with an error which is not a `Violation`, a mutant counts as broken code."""

MAX_SECONDS_OF_A_SEED = 60.0


@dataclass(frozen=True)
class Finding:
    """What the simulation found with one planted bug. Seconds are CPU time of the process that found it."""

    seconds: float = 0.0
    seeds: int = 0
    is_executed: bool = False
    seed: str = ""
    text: str = ""
    """What is wrong; empty if nothing was found."""


def simulate_with(mutant: Mutant, seconds: float, processes: int) -> Finding:
    """Simulate the seeds 0, 1, 2 … with the planted bug until one of the processes finds it."""
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

    for seed, weather in worlds(first, step):
        if time.process_time() - started_at >= seconds:
            break
        with mutant.planted():
            text = violation(seed, weather)
        seeds = (seed - first) // step + 1
        crashes += text.startswith("crash")
        if not text or (text.startswith("crash") and crashes < MAX_CRASHES):
            continue
        if not violation(seed, weather):  # else it is not the bug's
            sender.send(finding(f"{seed} {weather.value}", text))
            return
    sender.send(finding())


def worlds(first: int, step: int) -> Iterator[tuple[int, Weather]]:
    """Yield the seeds from the first one on, each in all weathers, without end."""
    return ((seed, weather) for seed in itertools.count(first, step) for weather in Weather)


def violation(seed: int, weather: Weather) -> str:
    """Return what is wrong with the seed, or nothing."""
    try:
        simulate(seed, weather)
    except Violation as error:
        return str(error)
    except Exception as error:
        return f"crash: {error!r}"
    return ""
