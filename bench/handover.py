"""How long there is no master after SIGTERM and kill -9, and how fast a switch takes effect."""

import random
import signal
import threading

import masterjob
from bench.figures import Figure
from bench.world import SCALED_TIMING, BenchEnvironment, Databases, InstanceProcess
from masterjob.concurrency.clock import clock

LEASE = 2.0
LOCK = "lock-00000"
INSTANCES = 3


def hand_over(databases: Databases, rounds: int) -> list[Figure]:
    """Measure from SIGTERM, sent to the master, to the next ``start``."""
    return [_handover_figure(databases, kind, rounds) for kind in databases.KINDS]


def fail_over(databases: Databases, rounds: int) -> list[Figure]:
    """Measure from kill -9 to the next ``start``, and that time without the rest of the lease."""
    figures = []
    for kind in databases.KINDS:
        with databases.environment(kind) as environment:
            pairs = [_measure_failover(environment) for _ in range(rounds)]
        totals, beyond_lease = zip(*pairs, strict=True)
        figures += [
            Figure("kill -9 to the next start", kind, "ms", list(totals)),
            Figure("kill -9 to the next start, less what was left of the lease", kind, "ms", list(beyond_lease)),
        ]
    return figures


def switch(databases: Databases, rounds: int) -> list[Figure]:
    """Measure from the call of `disable` to ``stop``, and of `enable` to ``start``."""
    figures = []
    for kind in databases.KINDS:
        with databases.environment(kind) as environment:
            _start_instances(environment)
            pairs = [_measure_switch(environment) for _ in range(rounds)]
        stop_times, start_times = zip(*pairs, strict=True)
        figures += [
            Figure("disable to stop", kind, "ms", list(stop_times)),
            Figure("enable to start", kind, "ms", list(start_times)),
        ]
    return figures


def _handover_figure(databases: Databases, kind: str, rounds: int) -> Figure:
    with databases.environment(kind) as environment:
        return Figure(
            "SIGTERM to the next start", kind, "ms", [_measure_handover(environment) for _ in range(rounds)]
        )


def _start_instances(environment: BenchEnvironment) -> InstanceProcess:
    """Start instances until there are three with sessions; return the master."""
    while len(environment.instances) < INSTANCES:
        environment.start_instance(*SCALED_TIMING)
    environment.wait_for_events("start", 0.0)
    environment.wait_for_sessions(INSTANCES)
    _sleep_randomly()
    return [event for event in environment.events("start") if event.instance in environment.instances][-1].instance


def _measure_handover(environment: BenchEnvironment) -> float:
    master = _start_instances(environment)
    signalled_at = environment.stop_instance(master, signal.SIGTERM)
    return 1000 * (environment.wait_for_events("start", signalled_at)[0].at - signalled_at)


def _measure_failover(environment: BenchEnvironment) -> tuple[float, float]:
    master = _start_instances(environment)
    killed_at = environment.stop_instance(master, signal.SIGKILL)
    age = environment.heartbeat_age(master) - (clock() - killed_at)
    duration = environment.wait_for_events("start", killed_at)[0].at - killed_at
    return 1000 * duration, 1000 * (duration - (LEASE - age))


def _measure_switch(environment: BenchEnvironment) -> tuple[float, float]:
    _sleep_randomly()
    disabled_at = clock()
    masterjob.disable(LOCK, "a benchmark", "bench", database=environment.url)
    stopped_at = environment.wait_for_events("stop", disabled_at)[0].at
    _sleep_randomly()
    enabled_at = clock()
    masterjob.enable(LOCK, "bench", database=environment.url)
    return 1000 * (stopped_at - disabled_at), 1000 * (
        environment.wait_for_events("start", enabled_at)[0].at - enabled_at
    )


def _sleep_randomly() -> None:
    """Wait for a random part of two heartbeats, so that not every round is at the same phase."""
    threading.Event().wait(random.uniform(0.3, 1.3))
