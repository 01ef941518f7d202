"""Database failovers: a lagging replica is promoted, perhaps while the old primary still has clients.

If the old primary is gone, nothing is excused: the quarantine keeps mutual exclusion although claims and renewals
are lost. While two primaries have clients, their instances do not know of each other: a limit of the protocol. It
excuses the jobs of those that use the old one, until the last trust that it could confirm has ended.
"""

from typing import TYPE_CHECKING

from masterjob.election.values import Term
from tests.simulation.connections import RECOVERY
from tests.simulation.invariants import CLOCK_DIFFERENCE, TWO_PRIMARIES
from tests.simulation.tables import Tables

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World


class Failover:
    """Replaces the primary of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._old_primaries: list[tuple[Server, float]] = []
        """Those that kept clients after a promotion, and until when what they confirmed counts."""

    def promote(self, tables: Tables, clock_difference: float) -> None:
        """Replace the server by a replica that lacks the last commits; the old one is gone."""
        old = self._world.server
        self._replace(tables, clock_difference)
        old.end()
        for instance in self._world.instances:
            instance.connect(self._world.server)

    def split(self, tables: Tables, clock_difference: float, until: float) -> None:
        """Promote a replica, but leave some instances with the old primary until then."""
        world, old = self._world, self._world.server
        self._replace(tables, clock_difference)
        excused_until = until + world.conditions.longest_lease * (1 + CLOCK_DIFFERENCE)
        self._old_primaries.append((old, excused_until))
        for instance in world.instances:
            if instance.rng.random() < 0.5:
                world.story.tell("{} still uses the old primary", instance.name)
                instance.hinder(until + RECOVERY)
                for run in instance.jobs.runs.values():
                    run.add_excuse(TWO_PRIMARIES, excused_until)
            else:
                instance.connect(world.server)
        world.unsettle(until)
        world.scheduler.at(until, self._heal, old)

    def _replace(self, tables: Tables, clock_difference: float) -> None:
        world, old = self._world, self._world.server
        world.server = world.make_server(old.clock.offset + clock_difference)
        world.server.memory.tables = tables
        world.server.down_until, world.server.is_clear = old.down_until, old.is_clear
        world.server.store.highest_terms = dict(old.store.highest_terms)
        world.checker.on_promotion(tables)
        world.unsettle(world.scheduler.now)

    def _heal(self, old: "Server") -> None:
        old.end()
        for instance in self._world.instances:
            if instance.server is old:
                instance.connect(self._world.server)

    def excused_until(self, instance: "SimulatedInstance", term: Term) -> float:
        """Return until when a job may run beside another one because an old primary had confirmed it."""
        tables = self._world.checker.granting_tables.get(term)
        return max(
            (
                until
                for server, until in self._old_primaries
                if instance.server is server or tables is server.memory.tables
            ),
            default=0.0,
        )
