"""Many locks: their cost at rest, how fast they are claimed and taken over, and how they spread."""

import signal
import time
from collections import Counter

from bench.figures import Figure
from bench.world import SCALED_TIMING, BenchEnvironment, Databases, InstanceProcess, wait_until
from masterjob.concurrency.clock import clock

SIZES = (1, 100, 1_000, 10_000)
WINDOW = 64.0
"""Seconds at rest that are measured: eight heartbeats at default timing, and two scans for vacancies."""

_COUNT_STATEMENTS = """
    SELECT COALESCE(SUM(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'
"""


def cost(databases: Databases, _rounds: int) -> list[Figure]:
    """Measure statements per second, CPU and memory at rest, with default timing, on PostgreSQL."""
    figures = []
    for instances, size in [*((3, size) for size in SIZES), (1, SIZES[-1])]:
        with databases.environment("postgresql") as environment:
            figures += _measure_at_rest(environment, instances, size)
    return figures


def _measure_at_rest(environment: BenchEnvironment, instances: int, size: int) -> list[Figure]:
    for _ in range(instances):
        environment.start_instance("--locks", str(size), "--init-delay", "2s")
    environment.wait_for_events("up", 0.0, instances)
    environment.wait_for_events("start", 0.0, size)
    wait_until(lambda: environment.count_held_locks() == size)
    time.sleep(12)  # the inventory after the claims, and the history, are part of the start
    environment.fetch_value("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    before, cpu, started_at = (
        _count_statements(environment),
        [instance.cpu_seconds() for instance in environment.instances],
        clock(),
    )
    time.sleep(WINDOW)
    elapsed = clock() - started_at
    statements = (_count_statements(environment) - before) / elapsed
    shares = [
        100 * (instance.cpu_seconds() - cpu_before) / elapsed
        for instance, cpu_before in zip(environment.instances, cpu, strict=True)
    ]
    memory = [instance.memory_mib() for instance in environment.instances]
    case = f"{size:,} locks in {instances} instance{'s' if instances > 1 else ''}"
    return [
        Figure("statements a second, all instances together", case, "/s", [statements]),
        Figure("processor of each instance", case, "% of a core", shares),
        Figure("memory of each instance", case, "MiB", memory),
        Figure(
            "memory of each instance, highest",
            case,
            "MiB",
            [each.memory_mib("VmHWM") for each in environment.instances],
        ),
    ]


def _count_statements(environment: BenchEnvironment) -> float:
    return float(environment.fetch_value(_COUNT_STATEMENTS))


def claim(databases: Databases, rounds: int) -> list[Figure]:
    """Measure how long one instance takes to start 1,000 jobs whose locks are free and have rows."""
    figures = []
    for kind in databases.KINDS:
        with databases.environment(kind) as environment:
            durations = [_measure_claim(environment) for _ in range(max(3, rounds // 4))]
        figures.append(Figure("claim of 1,000 free locks: last start", kind, "ms", durations))
    return figures


def _measure_claim(environment: BenchEnvironment) -> float:
    """Measure from when all can be claimed to the last start; only the first round inserts the rows."""
    instance = environment.start_instance("--locks", "1000", "--init-delay", "3s", *SCALED_TIMING)
    free_at = environment.wait_for_events("up", 0.0)[0].at + 3.0
    starts = environment.wait_for_events("start", 0.0, 1000)
    environment.stop_instance(instance, signal.SIGTERM)
    environment.clear_events()
    return 1000 * (max(event.at for event in starts) - free_at)


def evict(databases: Databases, rounds: int) -> list[Figure]:
    """Measure from the end of a dead instance's lease until another has started all of its 1,000 jobs."""
    figures = []
    for kind in databases.KINDS:
        with databases.environment(kind) as environment:
            pairs = [_measure_eviction(environment) for _ in range(max(3, rounds // 4))]
        firsts, lasts = zip(*pairs, strict=True)
        figures += [
            Figure(
                "eviction of an instance with 1,000 locks: first start after the lease", kind, "ms", list(firsts)
            ),
            Figure(
                "eviction of an instance with 1,000 locks: last start after the lease", kind, "ms", list(lasts)
            ),
        ]
    return figures


def _measure_eviction(environment: BenchEnvironment) -> tuple[float, float]:
    first = environment.start_instance("--locks", "1000", *SCALED_TIMING)
    environment.wait_for_events("start", 0.0, 1000)
    wait_until(lambda: environment.count_held_locks() == 1000)
    second = environment.start_instance("--locks", "1000", *SCALED_TIMING)
    environment.wait_for_events("up", 0.0, 2)
    environment.wait_for_sessions(2)
    time.sleep(2.0)
    killed_at = environment.stop_instance(first, signal.SIGKILL)
    lease_expires_at = killed_at + 2.0 - (environment.heartbeat_age(first) - (clock() - killed_at))
    starts = [event.at for event in environment.wait_for_events("start", killed_at, 1000)]
    environment.stop_instance(second, signal.SIGTERM)
    environment.clear_events()
    return 1000 * (min(starts) - lease_expires_at), 1000 * (max(starts) - lease_expires_at)


def share(databases: Databases, rounds: int) -> list[Figure]:
    """Measure the largest deviation from the fair share: after four start at once, and after one dies."""
    figures = []
    for kind in databases.KINDS:
        for tables, case in ((True, kind), (False, f"{kind}, no tables yet")):
            pairs = []
            for _ in range(max(5, rounds // 3)):
                with databases.environment(kind, tables=tables) as environment:
                    pairs.append(_measure_share(environment))
            starts, deaths = zip(*pairs, strict=True)
            figures += [
                Figure("4 instances at once, 100 locks: furthest from its share", case, "%", list(starts)),
                Figure("the same after a death: furthest from its share", case, "%", list(deaths)),
            ]
    return figures


def _measure_share(environment: BenchEnvironment) -> tuple[float, float]:
    for _ in range(4):
        environment.start_instance("--wait", "--locks", "100", "--init-delay", "1s", *SCALED_TIMING)
    environment.wait_for_events("imported", 0.0, 4)
    for instance in environment.instances:
        instance.proceed()
    environment.wait_for_events("start", 0.0, 100)
    holders = {event.lock: event.instance for event in environment.events("start")}
    deviation = _largest_deviation(holders, environment.instances)
    time.sleep(1.0)
    victim = environment.instances[0]
    lost = [lock for lock, holder in holders.items() if holder is victim]
    killed_at = environment.stop_instance(victim, signal.SIGKILL)
    if lost:
        holders |= {
            event.lock: event.instance for event in environment.wait_for_events("start", killed_at, len(lost))
        }
    return deviation, _largest_deviation(holders, environment.instances)


def _largest_deviation(holders: dict[str, InstanceProcess], instances: list[InstanceProcess]) -> float:
    fair = len(holders) / len(instances)
    locks_per_instance = Counter(holders.values())
    return max(100 * abs(locks_per_instance[instance] - fair) / fair for instance in instances)
