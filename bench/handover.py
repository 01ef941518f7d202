"""How long nobody is master: after SIGTERM, after kill -9, and how fast a switch is obeyed."""

import random
import signal
import threading

import masterjob
from bench.figures import Figure
from bench.world import SCALED, Databases, Member, World
from masterjob.election.clock import clock

LEASE = 2.0
LOCK = "lock-00000"
MEMBERS = 3


def hand_over(databases: Databases, rounds: int) -> list[Figure]:
    """From SIGTERM, sent to the master, to the next ``start``."""
    return [_ends(databases, kind, rounds) for kind in databases.KINDS]


def fail_over(databases: Databases, rounds: int) -> list[Figure]:
    """From kill -9 to the next ``start``, and how much of that is not the rest of the lease."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world:
            pairs = [_killed(world) for _ in range(rounds)]
        whole, beyond = zip(*pairs, strict=True)
        figures += [
            Figure("kill -9 to the next start", kind, "ms", list(whole)),
            Figure("kill -9 to the next start, less what was left of the lease", kind, "ms", list(beyond)),
        ]
    return figures


def switch(databases: Databases, rounds: int) -> list[Figure]:
    """From the call of `disable` and `enable` to the ``stop`` and ``start`` that come of it."""
    figures = []
    for kind in databases.KINDS:
        with databases.world(kind) as world:
            _crew(world)
            pairs = [_switched(world) for _ in range(rounds)]
        stops, starts = zip(*pairs, strict=True)
        figures += [
            Figure("disable to stop", kind, "ms", list(stops)),
            Figure("enable to start", kind, "ms", list(starts)),
        ]
    return figures


def _ends(databases: Databases, kind: str, rounds: int) -> Figure:
    with databases.world(kind) as world:
        return Figure("SIGTERM to the next start", kind, "ms", [_ended(world) for _ in range(rounds)])


def _crew(world: World) -> Member:
    """Have three members, all with a session; return the master among them."""
    while len(world.members) < MEMBERS:
        world.enter(*SCALED)
    world.hear("start", 0.0)
    world.await_sessions(MEMBERS)
    _any_time()
    return [said for said in world.said("start") if said.member in world.members][-1].member


def _ended(world: World) -> float:
    master = _crew(world)
    at = world.leave(master, signal.SIGTERM)
    return 1000 * (world.hear("start", at)[0].at - at)


def _killed(world: World) -> tuple[float, float]:
    master = _crew(world)
    at = world.leave(master, signal.SIGKILL)
    age = world.beat_age(master) - (clock() - at)
    took = world.hear("start", at)[0].at - at
    return 1000 * took, 1000 * (took - (LEASE - age))


def _switched(world: World) -> tuple[float, float]:
    _any_time()
    off = clock()
    masterjob.disable(LOCK, "a benchmark", "bench", database=world.url)
    stop = world.hear("stop", off)[0].at
    _any_time()
    on = clock()
    masterjob.enable(LOCK, "bench", database=world.url)
    return 1000 * (stop - off), 1000 * (world.hear("start", on)[0].at - on)


def _any_time() -> None:
    """Let some part of two heartbeats pass, so that rounds do not all meet the same moment of one."""
    threading.Event().wait(random.uniform(0.3, 1.3))
