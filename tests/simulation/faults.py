"""What goes wrong: a random plan of faults, each with a method that makes it happen."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from masterjob.election.core.events import StepDown, Withdraw
from masterjob.election.values import Term
from tests.simulation.conditions import Weather
from tests.simulation.invariants import EXITS, FROZEN
from tests.simulation.network import Cut

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World

MAX_EXTRA_INSTANCES = 2


class Faults:
    """The faults of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self._clock_steps: list[tuple[float, float]] = []
        self._replica = world.server.memory.snapshot()
        choices: list[tuple[Callable[[], None], int]] = [
            (self._cut_off, 4), (self._delay_replies, 2), (self._kill, 1), (self._shut_down, 1),
            (self._boot_another, 1), (self._freeze, 2), (self._stall, 1), (self._pause_elector, 2),
            (self._pause_watchdog, 1), (self._pause_worker, 1), (self._outage, 1), (self._brownout, 1),
            (self._clock_step, 2),
            (self._lock_row, 1), (self._switch, 2), (self._request_step_down, 1), (self._retime, 1),
            (self._rejoin, 1), (self._replicate, 1),
        ]  # fmt: skip
        if world.weather is Weather.WILD:
            choices += [(self._promote, 2), (self._split, 2)]
        self._choices = [choice for choice, weight in choices for _ in range(weight)]

    def schedule(self, until: float, indices: frozenset[int] | None) -> None:
        """Schedule random faults until then; if ``indices`` is given, only those of these numbers."""
        time, index, conditions = 1.5, 0, self._world.conditions
        while (time := time + self._rng.expovariate(conditions.fault_rate)) < until:
            if indices is None or index in indices:
                self._world.scheduler.at(time, self._strike, index, self._rng.choice(self._choices))
            index += 1

    def _strike(self, index: int, fault: Callable[[], None]) -> None:
        self._world.checker.counts[fault.__name__.strip("_")] += 1
        self._world.struck_faults.append(index)
        fault()

    def _choose_instance(self) -> "SimulatedInstance | None":
        live = self._world.live_instances()
        masters = [each for each in live if each.jobs.runs]
        return self._rng.choice(masters if masters and self._rng.random() < 0.7 else live) if live else None

    def _choose_lock(self) -> str:
        return self._rng.choice(self._world.conditions.lock_names)

    # --- network ---

    def _cut_off(self) -> None:
        if instance := self._choose_instance():
            cut = self._rng.choice((Cut.BOTH, Cut.BOTH, Cut.REQUESTS, Cut.REPLIES))
            duration = self._rng.choice((0.3, 1.0, 2.0)) * self._world.conditions.longest_lease
            until = self._world.scheduler.now + duration * self._rng.random()
            instance.link.cut_off(cut, until)
            instance.hinder(until)
            self._world.story.tell("the network loses {} of {} until {:.3f}", cut.value, instance.name, until)

    def _delay_replies(self) -> None:
        """Delay the replies to one instance by up to a lease, and then perhaps cut it off."""
        if instance := self._choose_instance():
            world, lease = self._world, self._world.conditions.longest_lease
            until = world.scheduler.now + self._rng.uniform(0.5, 1.5) * lease
            instance.link.delay_replies(self._rng.choice((0.3, 1.0)) * lease, until)
            instance.hinder(until)
            world.story.tell("the replies to {} are late until {:.3f}", instance.name, until)
            if self._rng.random() < 0.5:
                world.scheduler.at(until, instance.link.cut_off, Cut.BOTH, until + lease)

    def _brownout(self) -> None:
        """For a while most messages are late: what was sent is done, but the answers take their time."""
        until = self._world.scheduler.now + self._rng.uniform(0.5, 3)
        self._world.network.brownout_until = until
        self._world.story.tell("most messages are late until {:.3f}", until)

    # --- instances ---

    def _freeze(self) -> None:
        """Freeze a process: in calm weather for less than the margin, together with the stop that follows."""
        world, instance = self._world, self._choose_instance()
        if instance is None:
            return
        now = world.scheduler.now
        if world.weather is Weather.CALM:
            runs = instance.jobs.runs.values()
            if now < instance.last_pause + 2 * world.conditions.longest_lease or any(
                run.stopping_since is not None for run in runs
            ):
                return
            longest = 0.5 * min((instance.jobs.stop_timeouts[run.term.lock_name] for run in runs), default=1.0)
            until = now + self._rng.uniform(0, longest)
        else:
            until = now + self._rng.uniform(0, self._rng.choice((1.0, 3.0, 10.0)))
            self._excuse(instance, FROZEN)
        instance.last_pause, instance.last_pause_duration = now, until - now
        world.story.tell("the process of {} is frozen until {:.3f}", instance.name, until)
        instance.freeze(until, can_exit=False)

    def _stall(self) -> None:
        """Block all Python threads for long by native code; only shims and the exit watchdog work."""
        if instance := self._choose_instance():
            until = self._world.scheduler.now + self._rng.uniform(0, 2 * self._world.conditions.longest_lease)
            self._excuse(instance, EXITS[1])
            self._world.story.tell("no Python thread of {} runs until {:.3f}", instance.name, until)
            instance.freeze(until, can_exit=True)

    def _excuse(self, instance: "SimulatedInstance", excuse: str) -> None:
        for name, run in instance.jobs.runs.items():
            if name not in self._world.conditions.commands and (not run.excuse or excuse == FROZEN):
                run.excuse = excuse

    def _pause_elector(self) -> None:
        instance, now = self._choose_instance(), self._world.scheduler.now
        if instance is not None and now >= instance.watchdog_paused_until:
            until = now + self._rng.uniform(0, 2 * self._world.conditions.longest_lease)
            self._world.story.tell("the elector's thread of {} is late until {:.3f}", instance.name, until)
            instance.pause_elector(until)

    def _pause_watchdog(self) -> None:
        instance, now = self._choose_instance(), self._world.scheduler.now
        if instance is not None and now >= instance.elector_paused_until:
            until = now + self._rng.uniform(0, 2 * self._world.conditions.longest_lease)
            self._world.story.tell("the watchdog of {} is late until {:.3f}", instance.name, until)
            instance.pause_watchdog(until)

    def _pause_worker(self) -> None:
        if instance := self._choose_instance():
            until = self._world.scheduler.now + self._rng.uniform(0, 6)
            self._world.story.tell("a connection's thread of {} is late until {:.3f}", instance.name, until)
            instance.pause_worker(until)

    def _kill(self) -> None:
        if instance := self._choose_instance():
            self._world.story.tell("{} is killed", instance.name)
            self._world.on_death(instance)

    def _shut_down(self) -> None:
        if (instance := self._choose_instance()) and not instance.shutting_down:
            self._world.story.tell("{} leaves", instance.name)
            instance.shut_down()
            longest = 2 * self._world.conditions.longest_lease
            self._world.scheduler.after(longest, self._world.on_death, instance)

    def _boot_another(self) -> None:
        self._world.boot_if_fewer(self._world.conditions.fleet + MAX_EXTRA_INSTANCES)

    # --- the database ---

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

    # --- people ---

    def _switch(self) -> None:
        name = self._choose_lock()
        if self._world.server.is_down:
            return
        row = self._world.server.memory.tables.locks.get(name)
        self._world.switch(name, enabled=row is None or not row.enabled)

    def _request_step_down(self) -> None:
        name = self._choose_lock()
        if self._rng.random() < 0.5:
            for instance in self._world.live_instances():
                instance.rest(name, self._world.conditions.longest_heartbeat * 1.02)
                instance.submit(StepDown(name, "asked on the spot"))
        elif (row := self._world.server.memory.tables.locks.get(name)) is not None:
            term, server = Term(name, row.term), self._world.server

            def commit() -> None:
                server.store.request_step_down(term, "somebody", "why not")

            server.when_unlocked(lambda: (name,), commit)

    def _retime(self) -> None:
        name = self._choose_lock()
        self._world.timings[name] = self._rng.choice(self._world.conditions.timings)
        self._world.story.tell("{} gets another timing", name)
        for instance in self._world.live_instances():
            timing = self._world.timings[name]
            self._world.scheduler.after(self._rng.uniform(0, 1), instance.declare, name, timing)

    def _rejoin(self) -> None:
        """An instance leaves a lock and takes part in it again."""
        if (instance := self._choose_instance()) and not instance.shutting_down:
            name, delay = self._choose_lock(), self._rng.uniform(0, 2)
            instance.rest(name, delay + 1.0)
            instance.submit(Withdraw(name, "not wanted any more"))
            self._world.scheduler.after(delay, instance.declare, name, self._world.timings[name])
