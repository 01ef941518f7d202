"""What goes wrong: a random plan of faults, each with a method that makes it happen."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from masterjob.election.core.events import StepDown, Withdraw
from masterjob.election.values import Term
from tests.simulation.conditions import Weather
from tests.simulation.database_faults import DatabaseFaults
from tests.simulation.invariants import EXITS, FROZEN
from tests.simulation.network import Cut

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World

MAX_EXTRA_INSTANCES = 2


class Faults(DatabaseFaults):
    """The faults of one world."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        choices: list[tuple[Callable[[], None], int]] = [
            (self._cut_off, 4), (self._delay_replies, 2), (self._kill, 1), (self._shut_down, 1),
            (self._boot_another, 1), (self._freeze, 2), (self._stall, 1), (self._pause_elector, 2),
            (self._pause_watchdog, 1), (self._pause_worker, 1), (self._outage, 1), (self._brownout, 1),
            (self._clock_step, 2), (self._lock_row, 1), (self._switch, 2), (self._request_step_down, 1),
            (self._retime, 1), (self._rejoin, 1), (self._replicate, 1),
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
        """Delay the replies to an instance, perhaps to a claim for a lock that became free; cut it off."""
        world, lease = self._world, self._world.conditions.longest_lease
        masters = [each for each in world.live_instances() if each.jobs.runs]
        others = [each for each in world.live_instances() if not each.jobs.runs]
        instance = self._rng.choice(others) if others and self._rng.random() < 0.5 else self._choose_instance()
        if instance is None:
            return
        until = world.scheduler.now + self._rng.uniform(0.1, 1.0) * lease
        instance.link.delay_replies(self._rng.choice((0.3, 1.5)) * lease, until)
        instance.hinder(until)
        world.story.tell("the replies to {} are late until {:.3f}", instance.name, until)
        if self._rng.random() < 0.7:
            world.scheduler.at(until, instance.link.cut_off, Cut.BOTH, until + 1.5 * lease)
        if masters and instance not in masters and self._rng.random() < 0.5:
            for name in list(self._rng.choice(masters).jobs.runs):
                self._step_down(name)

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
            self._step_down(name)
        elif (row := self._world.server.memory.tables.locks.get(name)) is not None:
            term, server = Term(name, row.term), self._world.server

            def commit() -> None:
                server.store.request_step_down(term, "somebody", "why not")

            server.when_unlocked(lambda: (name,), commit)

    def _step_down(self, name: str) -> None:
        for instance in list(self._world.live_instances()):
            instance.rest(name, self._world.conditions.longest_heartbeat * 1.02)
            instance.submit(StepDown(name, "asked on the spot"))

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
