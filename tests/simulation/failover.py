"""Database failovers: a lagging replica is promoted, perhaps while the old primary still has clients."""

from typing import TYPE_CHECKING

from masterjob.election.values import Term
from tests.simulation.connections import RECOVERY
from tests.simulation.invariants import PROMOTED
from tests.simulation.memory import Tables

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.world import World

LATEST_GRANT = 20.0
"""Seconds after a promotion in which a job may still start because of a claim that was granted before."""


class Failover:
    """Replaces the primary of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._promoted_at = float("-inf")
        self._split_until = 0.0

    def promote(self, tables: Tables, clock_difference: float) -> None:
        """Replace the server by a replica that lacks the last commits."""
        old = self._world.server
        self._world.server = self._world.make_server(old.clock.offset + clock_difference)
        self._world.server.memory.tables = tables
        self._world.server.down_until, self._world.server.is_clear = old.down_until, old.is_clear
        self._world.server.store.highest_terms = dict(old.store.highest_terms)
        self._promoted_at = self._world.scheduler.now
        self._world.checker.excuse_all(PROMOTED)
        self._world.checker.on_promotion(tables)
        self._world.unsettle(self._world.scheduler.now)
        for instance in self._world.instances:
            instance.connect(self._world.server)

    def split(self, tables: Tables, clock_difference: float, until: float) -> None:
        """Promote a replica, but leave some instances with the old primary until then."""
        old, instances = self._world.server, list(self._world.instances)
        self.promote(tables, clock_difference)
        for instance in instances:
            if instance.rng.random() < 0.5:
                instance.server = old
                instance.hinder(until + RECOVERY)
        self._split_until = max(self._split_until, until)
        self._world.unsettle(until)
        self._world.scheduler.at(until, self._heal, old)

    def _heal(self, old: "Server") -> None:
        old.down_until = float("inf")
        self._world.checker.excuse_all(PROMOTED)
        for instance in self._world.instances:
            if instance.server is old:
                instance.connect(self._world.server)

    @property
    def was_promoted(self) -> bool:
        """Whether a replica was promoted, so that confirmed heartbeats and claims may be lost."""
        return self._promoted_at >= 0

    def may_have_lost(self, term: Term) -> bool:
        """Return whether the database may not know this term, because it was granted by a primary that failed."""
        if self._world.scheduler.now < self._split_until:
            return True
        row = self._world.server.memory.tables.locks.get(term.lock_name)
        is_known = row is not None and row.holder is not None and row.term == term.number
        return self._world.scheduler.now < self._promoted_at + LATEST_GRANT and not is_known
