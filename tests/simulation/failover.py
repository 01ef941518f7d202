"""Database failovers: a lagging replica is promoted, perhaps while the old primary still has clients.

What the replica lacks is a limit of the protocol, so it excuses an overlap: but only of the terms and sessions
that the replica does lack, and only until the new primary has confirmed them.
"""

from typing import TYPE_CHECKING

from masterjob.election.values import Term
from tests.simulation.connections import RECOVERY
from tests.simulation.invariants import LOST_HEARTBEATS, LOST_TERM
from tests.simulation.memory import Tables

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.world import World


class Failover:
    """Replaces the primary of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.former_beats: dict[str, int] = {}
        """How far the heartbeat counter of each session came on the primaries that were replaced."""
        self.stale_sessions: set[str] = set()
        """Sessions with heartbeats that the current primary lacks."""

    def promote(self, tables: Tables, clock_difference: float) -> None:
        """Replace the server by a replica that lacks the last commits."""
        world, old = self._world, self._world.server
        self._note_beats(old)
        self.stale_sessions = {
            id_ for id_, row in tables.sessions.items() if row.beat < self.former_beats.get(id_, row.beat)
        }
        world.server = world.make_server(old.clock.offset + clock_difference)
        world.server.memory.tables = tables
        world.server.down_until, world.server.is_clear = old.down_until, old.is_clear
        world.server.store.highest_terms = dict(old.store.highest_terms)
        world.checker.on_promotion(tables)
        world.unsettle(world.scheduler.now)
        for instance in world.instances:
            instance.connect(world.server)
        self._excuse_jobs()

    def split(self, tables: Tables, clock_difference: float, until: float) -> None:
        """Promote a replica, but leave some instances with the old primary until then."""
        world, old, instances = self._world, self._world.server, list(self._world.instances)
        self.promote(tables, clock_difference)
        for instance in instances:
            if instance.rng.random() < 0.5:
                world.story.tell("{} still uses the old primary", instance.name)
                instance.server = old
                instance.hinder(until + RECOVERY)
                # What the old primary confirms from now on will be lost.
                self.stale_sessions |= {
                    id_ for id_, row in tables.sessions.items() if row.instance == instance.name
                }
        self._excuse_jobs()
        world.unsettle(until)
        world.scheduler.at(until, self._heal, old)

    def _heal(self, old: "Server") -> None:
        old.down_until = float("inf")
        self._note_beats(old)
        for instance in self._world.instances:
            if instance.server is old:
                instance.connect(self._world.server)

    def _note_beats(self, old: "Server") -> None:
        for id_, beat in old.store.highest_beats.items():
            self.former_beats[id_] = max(beat, self.former_beats.get(id_, 0))

    def _excuse_jobs(self) -> None:
        for instance in self._world.instances:
            for run in instance.jobs.runs.values():
                if excuse := self.excuse_for(run.term):
                    run.add_excuse(excuse)

    def excuse_for(self, term: Term) -> str:
        """Return what the current primary lacks of a term; an empty text if nothing."""
        tables = self._world.server.memory.tables
        row = tables.locks.get(term.lock_name)
        if row is not None and row.holder is not None and row.term == term.number:
            return LOST_HEARTBEATS if row.holder in self.stale_sessions else ""
        if self._world.checker.granting_tables.get(term, tables) is not tables:
            return LOST_TERM
        return self._world.checker.excused_terms.get(term, "")
