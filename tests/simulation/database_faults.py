"""What goes wrong with the database: outages, locked rows, steps of its clock, promoted replicas."""

from random import Random
from typing import TYPE_CHECKING

from tests.simulation.conditions import Weather
from tests.simulation.fault_source import FaultSource
from tests.simulation.network import Connections, Cut
from tests.simulation.network_faults import NetworkFaults

if TYPE_CHECKING:
    from tests.simulation.world import World

SPACING = 2.0
"""How many leases are between two steps of the clock that cancel out."""


class DatabaseFaults(FaultSource):
    """The faults of the database of one world."""

    def __init__(self, world: "World", network: NetworkFaults) -> None:
        super().__init__(world)
        self._network = network
        self._clock_steps: list[tuple[float, float]] = []
        self._replica = world.server.memory.snapshot()

    def outage(self, rng: Random) -> None:
        """Let the database answer nothing for a while."""
        until = self._now + rng.choice((0.3, 2.0, 8.0)) * rng.random()
        self._world.server.down_until = max(self._world.server.down_until, until)
        self._world.unsettle(until)
        self._world.story.tell_fault("the database is down until {:.3f}", until)

    def lock_row(self, rng: Random) -> None:
        """Lock a row by somebody else's transaction."""
        server, rows = self._world.server, [self._choose_lock(rng), *self._world.server.memory.tables.sessions]
        row, owner = rng.choice(rows), object()
        duration = rng.choice((0.5, 6.0)) * rng.random()
        server.lock_row(row, owner)
        self._world.scheduler.after(duration, server.unlock_row, row, owner)
        self._world.story.tell_fault("a transaction locks the row of {} for {:.3f} s", row, duration)

    def clock_step(self, rng: Random) -> None:
        """Let the database's clock step."""
        self._world.story.tell_fault("the database's clock is set")
        self._step(rng.choice((-1, 1)) * rng.choice((0.5, 3.0, 60.0)) * rng.random())

    def step_and_lose_a_master(self, rng: Random) -> None:
        """Kill a master, or cut it off, and let the clock step around that: a little, back or far."""
        masters = [each for each in self._world.live_instances() if each.jobs.runs]
        if not masters:
            return
        instance, until = rng.choice(masters), self._now + 2 * self._longest_lease
        self._world.story.tell_fault("{} is lost while the database's clock steps", instance.name)
        if rng.random() < 0.5:
            self._world.on_death(instance)
        else:
            self._network.cut_now(instance.name, Cut.BOTH, until, Connections.ALL)
        step = rng.choice(
            (rng.uniform(0.01, 0.04), rng.uniform(0.01, 0.04), -60 * rng.random(), 60 * rng.random())
        )
        self._world.scheduler.after(rng.random() * self._world.conditions.longest_heartbeat, self._step, step)

    def pause_candidate_over_steps(self, rng: Random) -> None:
        """Pause the elector of a candidate for more than two leases, with two steps in it that cancel out."""
        candidates = [each for each in self._world.live_instances() if not each.jobs.runs]
        if not candidates or self._has_stepped():
            return
        instance, step, gap = rng.choice(candidates), self._longest_lease * rng.uniform(0.5, 1.5), SPACING
        until = self._now + gap * self._longest_lease + rng.uniform(0.1, 0.8)
        if self._now < instance.watchdog_paused_until or until > self._world.conditions.fault_duration:
            return
        self._world.story.tell_fault("the elector's thread of {} is late until {:.3f}", instance.name, until)
        instance.pause_elector(until)
        self._step(-step)
        self._world.scheduler.after(gap * self._longest_lease + 0.01, self._step, step)

    def _has_stepped(self) -> bool:
        return any(time > self._now - SPACING * self._longest_lease for time, _ in self._clock_steps)

    def _step(self, step: float) -> None:
        """Avoid steps that cancel out between two looks: they are a documented limit."""
        recent = [size for time, size in self._clock_steps if time > self._now - SPACING * self._longest_lease]
        if any(abs(step + sum(recent[i:])) < 0.2 for i in range(len(recent))) or not self._world.faults_enabled:
            return
        self._clock_steps.append((self._now, step))
        self._world.server.clock.step(step)
        if self._world.weather is Weather.WILD:
            self._keep_clock_past_terms()
        self._world.story.tell("the database's clock steps by {:.3f} s", step)

    def replicate(self, _rng: Random) -> None:
        """Bring the replica up to date."""
        self._replica = self._world.server.memory.snapshot()

    def promote(self, rng: Random) -> None:
        """Promote a lagging replica with its own clock, which is past every term that was issued."""
        self._world.story.tell_fault("a lagging replica is promoted")
        self.promote_quietly(rng)

    def promote_and_cut_a_master(self, rng: Random) -> None:
        """Promote a replica that lacks claims, while a master can send its heartbeats and nothing else."""
        masters = [each for each in self._world.live_instances() if each.jobs.runs]
        if not masters:
            return
        instance, until = rng.choice(masters), self._now + 3 * self._longest_lease
        self._world.story.tell_fault("a lagging replica is promoted; only heartbeats of {} arrive", instance.name)
        self.promote_quietly(rng)
        self._network.cut_now(instance.name, Cut.BOTH, until, Connections.CONTROL)

    def promote_quietly(self, rng: Random) -> None:
        """Do the same as a part of another fault."""
        self._world.story.tell("the replica is the primary now")
        self._world.failover.promote(self._replica, rng.uniform(-1, 1))
        self._replica = self._world.server.memory.snapshot()
        self._keep_clock_past_terms()

    def split(self, rng: Random) -> None:
        """Promote a lagging replica while a part of the instances still uses the old primary."""
        until = self._now + rng.uniform(0.2, 5)
        self._world.story.tell_fault("a lagging replica is promoted; two primaries until {:.3f}", until)
        self._world.failover.split(self._replica, rng.uniform(-1, 1), until)
        self._replica = self._world.server.memory.snapshot()
        self._keep_clock_past_terms()

    def _keep_clock_past_terms(self) -> None:
        """Keep what I2 requires of a promoted replica: its rows may be old, but its clock must not."""
        self._world.server.clock.advance_past(max(self._world.checker.issued_terms.values(), default=0))
