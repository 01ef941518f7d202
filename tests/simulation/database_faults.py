"""What goes wrong with the database: outages, locked rows, steps of its clock, promoted replicas."""

from typing import TYPE_CHECKING

from tests.simulation.conditions import Weather

if TYPE_CHECKING:
    from tests.simulation.world import World


class DatabaseFaults:
    """The faults of the database of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self._clock_steps: list[tuple[float, float]] = []
        self._replica = world.server.memory.snapshot()

    def _choose_lock(self) -> str:
        return self._rng.choice(self._world.conditions.lock_names)

    def _outage(self) -> None:
        until = self._world.scheduler.now + self._rng.choice((0.3, 2.0, 8.0)) * self._rng.random()
        self._world.server.down_until = max(self._world.server.down_until, until)
        self._world.unsettle(until)
        self._world.story.tell("the database is down until {:.3f}", until)

    def _lock_row(self) -> None:
        """Lock a row by somebody else's transaction."""
        server, rows = self._world.server, [self._choose_lock(), *self._world.server.memory.tables.sessions]
        row, owner = self._rng.choice(rows), object()
        duration = self._rng.choice((0.5, 6.0)) * self._rng.random()
        server.lock_row(row, owner)
        self._world.scheduler.after(duration, server.unlock_row, row, owner)
        self._world.story.tell("a transaction locks the row of {} for {:.3f} s", row, duration)

    def _clock_step(self) -> None:
        """Avoid steps that cancel out between two looks: they are a documented limit."""
        now = self._world.scheduler.now
        step = self._rng.choice((-1, 1)) * self._rng.choice((0.5, 3.0, 60.0)) * self._rng.random()
        recent = [
            size for time, size in self._clock_steps if time > now - 2 * self._world.conditions.longest_lease
        ]
        if any(abs(step + sum(recent[i:])) < 0.2 for i in range(len(recent))):
            return
        self._clock_steps.append((now, step))
        self._world.server.clock.step(step)
        if self._world.weather is Weather.WILD:
            self._keep_clock_past_terms()
        self._world.story.tell("the database's clock steps by {:.3f}", step)

    def _replicate(self) -> None:
        self._replica = self._world.server.memory.snapshot()

    def _promote(self) -> None:
        """Promote a lagging replica with its own clock, which is past every term that was issued."""
        self._world.story.tell("a lagging replica is promoted")
        self._world.failover.promote(self._replica, self._rng.uniform(-1, 1))
        self._replica = self._world.server.memory.snapshot()
        self._keep_clock_past_terms()

    def _split(self) -> None:
        """Promote a lagging replica while a part of the instances still uses the old primary."""
        until = self._world.scheduler.now + self._rng.uniform(0.2, 5)
        self._world.story.tell("two primaries at once until {:.3f}", until)
        self._world.failover.split(self._replica, self._rng.uniform(-1, 1), until)
        self._replica = self._world.server.memory.snapshot()
        self._keep_clock_past_terms()

    def _keep_clock_past_terms(self) -> None:
        """Keep what I2 requires of a promoted replica: its rows may be old, but its clock must not."""
        self._world.server.clock.advance_past(max(self._world.checker.issued_terms.values(), default=0))
