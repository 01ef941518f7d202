"""The worlds in which an exploration begins."""

from dataclasses import replace

from masterjob.election.core.events import Declare
from tests.exploration.acts import apply
from tests.exploration.clocks import LOCAL_CLOCK_START
from tests.exploration.database import Database
from tests.exploration.invariants import checked
from tests.exploration.moves import Verb, moves, next_time
from tests.exploration.process import Process
from tests.exploration.states import INSTANCE_NAMES, TIMING, forget_states, state_of
from tests.exploration.world import World

LOCK_NAMES = ("red", "blue")


def booting(instances: int, locks: int) -> World:
    """Return the world in which all instances begin at the same time to take part in all locks."""
    return _boot(_empty_world(), instances, locks)


def _empty_world() -> World:
    forget_states()
    return World(LOCAL_CLOCK_START, Database(), (), ())


def settled(instances: int, locks: int, stagger: float = 0.0, heartbeats: int = 4) -> World:
    """Return a world in which every lock has its master and nothing is on its way.

    The heartbeats of one instance come ``stagger`` seconds after those of the one before it: with 0, all instances
    act at the same time, and every order of what they do is possible. ``heartbeats`` is the age of the terms.
    """
    if not stagger:
        return settle(booting(instances, locks), heartbeats * TIMING.heartbeat_interval)
    world = _empty_world()
    for _ in range(instances):
        world = settle(_boot(world, 1, locks), stagger)
    return settle(world, heartbeats * TIMING.heartbeat_interval)


def _boot(world: World, instances: int, locks: int) -> World:
    for _ in range(instances):
        process = Process(INSTANCE_NAMES[len(world.processes)])
        for lock_name in LOCK_NAMES[:locks]:
            process.step(Declare(lock_name, TIMING), world.now)
        states = (*world.processes, state_of(process))
        world = replace(world, processes=states, notices=(*world.notices, frozenset()))
    return world


def settle(world: World, seconds: float) -> World:
    """Return the world after so much time without a fault, in which the first possible move is always made."""
    end = world.now + seconds
    while True:
        move = next(moves(world))
        if move.verb is Verb.ADVANCE_TO_TICK and next_time(world) > end:
            return replace(world, now=end)
        world = checked(apply(world, move))
