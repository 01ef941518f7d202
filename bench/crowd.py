"""Many locks: what they cost at rest, how fast they are claimed and taken over, and how they spread."""

import signal
import time
from collections import Counter

from bench.figures import Figure
from bench.world import SCALED, Databases, Member, World, wait_until
from masterjob.election.clock import clock

SIZES = (1, 100, 1_000, 10_000)
WINDOW = 64.0
"""Seconds of rest that are measured: eight heartbeats at default timing, and two checks of free locks."""

_COUNTED = """
    SELECT COALESCE(SUM(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'
"""


def cost(databases: Databases, _rounds: int) -> list[Figure]:
    """Statements a second, processor and memory at default timing and at rest, on PostgreSQL."""
    figures = []
    for instances, size in [*((3, size) for size in SIZES), (1, SIZES[-1])]:
        with databases.world("postgresql") as world:
            figures += _at_rest(world, instances, size)
    return figures


def _at_rest(world: World, instances: int, size: int) -> list[Figure]:
    for _ in range(instances):
        world.enter("--locks", str(size), "--init-delay", "2s")
    world.hear("up", 0.0, instances)
    world.hear("start", 0.0, size)
    wait_until(lambda: world.held() == size)
    time.sleep(12)  # the inventory after the claims, and the history, are part of the start
    world.ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    before, cpu, since = _counted(world), [member.cpu() for member in world.members], clock()
    time.sleep(WINDOW)
    passed = clock() - since
    statements = (_counted(world) - before) / passed
    shares = [100 * (member.cpu() - was) / passed for member, was in zip(world.members, cpu, strict=True)]
    memory = [member.memory() for member in world.members]
    case = f"{size:,} locks in {instances} instance{'s' if instances > 1 else ''}"
    return [
        Figure("statements a second, all instances together", case, "/s", [statements]),
        Figure("processor of each instance", case, "% of a core", shares),
        Figure("memory of each instance", case, "MiB", memory),
        Figure("memory of each instance, highest", case, "MiB", [each.memory("VmHWM") for each in world.members]),
    ]


def _counted(world: World) -> float:
    return float(world.ask(_COUNTED))


def claim(databases: Databases, rounds: int) -> list[Figure]:
    """How long one instance takes to start 1,000 jobs whose locks are free and have their rows."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world:
            spans = [_claimed(world) for _ in range(max(3, rounds // 4))]
        figures.append(Figure("claim of 1,000 free locks: last start", kind, "ms", spans))
    return figures


def _claimed(world: World) -> float:
    """From the moment at which all may be claimed to the last start; the rows are there but in the first round."""
    member = world.enter("--locks", "1000", "--init-delay", "3s", *SCALED)
    free_at = world.hear("up", 0.0)[0].at + 3.0
    starts = world.hear("start", 0.0, 1000)
    world.leave(member, signal.SIGTERM)
    world.forget()
    return 1000 * (max(said.at for said in starts) - free_at)


def evict(databases: Databases, rounds: int) -> list[Figure]:
    """From the end of a dead instance's lease to the last of its 1,000 jobs started by another."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world:
            pairs = [_evicted(world) for _ in range(max(3, rounds // 4))]
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


def _evicted(world: World) -> tuple[float, float]:
    first = world.enter("--locks", "1000", *SCALED)
    world.hear("start", 0.0, 1000)
    wait_until(lambda: world.held() == 1000)
    second = world.enter("--locks", "1000", *SCALED)
    world.hear("up", 0.0, 2)
    world.await_sessions(2)
    time.sleep(2.0)
    at = world.leave(first, signal.SIGKILL)
    expires = at + 2.0 - (world.beat_age(first) - (clock() - at))
    starts = [said.at for said in world.hear("start", at, 1000)]
    world.leave(second, signal.SIGTERM)
    world.forget()
    return 1000 * (min(starts) - expires), 1000 * (max(starts) - expires)


def share(databases: Databases, rounds: int) -> list[Figure]:
    """How far from its fair share the unluckiest instance is: after a start of four at once, and after a death."""
    figures = []
    for kind in databases.KINDS:
        for tables, case in ((True, kind), (False, f"{kind}, no tables yet")):
            pairs = []
            for _ in range(max(5, rounds // 3)):
                with databases.world(kind, tables=tables) as world:
                    pairs.append(_shared(world))
            starts, deaths = zip(*pairs, strict=True)
            figures += [
                Figure("4 instances at once, 100 locks: furthest from its share", case, "%", list(starts)),
                Figure("the same after a death: furthest from its share", case, "%", list(deaths)),
            ]
    return figures


def _shared(world: World) -> tuple[float, float]:
    for _ in range(4):
        world.enter("--wait", "--locks", "100", "--init-delay", "1s", *SCALED)
    world.hear("imported", 0.0, 4)
    for member in world.members:
        member.go()
    world.hear("start", 0.0, 100)
    holders = {said.lock: said.member for said in world.said("start")}
    off = _furthest(holders, world.members)
    time.sleep(1.0)
    victim = world.members[0]
    lost = [lock for lock, member in holders.items() if member is victim]
    at = world.leave(victim, signal.SIGKILL)
    if lost:
        holders |= {said.lock: said.member for said in world.hear("start", at, len(lost))}
    return off, _furthest(holders, world.members)


def _furthest(holders: dict[str, Member], members: list[Member]) -> float:
    fair = len(holders) / len(members)
    counted = Counter(holders.values())
    return max(100 * abs(counted[member] - fair) / fair for member in members)
