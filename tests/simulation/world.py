"""A small world on virtual time: instances, database servers, a bad network, and a checker of the invariants.

Everything random comes from one seed, so a failing seed replays exactly. The instances run the real elector; the
database has the statements of the real stores. `Violation` names the invariant that does not hold; its story says
what led to it.

    clock.py        virtual time; the clocks of instances and servers
    conditions.py   what is drawn for a seed: fleet, locks, timings, rates
    scenario.py     a seed, perhaps with less than it contains
    network.py      delays, losses, instances that are cut off
    memory.py       the statements of the real stores, in memory, on the tables of tables.py
    checked_store.py reports heartbeats, claims and evictions to the checker
    database.py     a server: outages, locked rows, calls that are executed late, twice or half-way
    instance.py     one process: the elector's thread, the watchdog
    actions.py      carries out what the elector orders
    decisions.py    what its elector must and must not order at each step; answers.py: after an answer
    connections.py  its connections
    jobs.py         its jobs: start, stop, guarded writes, shims
    failover.py     promoted replicas, and two primaries at once
    faults.py       what goes wrong, when: network_faults.py, disturbances.py, …
    invariants.py   what must never happen
    promises.py     what must happen in time
    story.py        what happened, in sentences; telling.py: what somebody else needs to understand it
    shrinking.py    from a failing seed to the shortest story

In *calm* weather everything happens that mutual exclusion (I1) is promised for. In *wild* weather processes are
also frozen for long and lagging replicas are promoted, with two primaries at once: jobs may overlap then, but only
those that a limit in docs/protocol.md names. When the faults end, every lock gets its master back (I3, I5).
"""

from collections.abc import Callable
from random import Random

from masterjob.election.core.elector import Elector
from masterjob.election.values import HistoryEntry
from tests.simulation import conditions as conditions_module
from tests.simulation.checked_store import CheckedStore
from tests.simulation.clock import DatabaseClock, Scheduler
from tests.simulation.conditions import Weather
from tests.simulation.connections import RECOVERY
from tests.simulation.database import Server
from tests.simulation.failover import Failover
from tests.simulation.faults import Faults
from tests.simulation.instance import SimulatedInstance
from tests.simulation.invariants import InvariantChecker
from tests.simulation.network import Network
from tests.simulation.promises import CHECK_INTERVAL, Promises
from tests.simulation.scenario import WORLD_VERSION, Scenario
from tests.simulation.story import Story, Violation

__all__ = ["WORLD_VERSION", "Scenario", "Violation", "Weather", "World", "replay", "simulate"]

SETTLED_CHECKS = 8
"""How many checks in a row must find every lock where it belongs before a world ends."""


class World:
    """Virtual time, and everything that happens in it."""

    def __init__(
        self,
        scenario: Scenario,
        make_elector: Callable[..., Elector] = Elector,
        store: type[CheckedStore] = CheckedStore,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.weather = scenario.weather
        self.rng = self.stream("world")
        drawn = conditions_module.draw(self.rng, self.weather)
        self.timings = {name: self.rng.choice(drawn.timings) for name in drawn.lock_names}
        self.first_timings = dict(self.timings)
        self.conditions = scenario.apply(drawn)
        self.scheduler = Scheduler()
        self.story = Story(self.scheduler, trace)
        self.checker = InvariantChecker(self)
        self.network = Network(self.conditions)
        self.instances: list[SimulatedInstance] = []
        self.instances_by_name: dict[str, SimulatedInstance] = {}
        self.faults_enabled = True
        self.steady_since = 0.0
        """Since when the database is there and loses nothing; in the future while it is not."""
        self._make_elector = make_elector
        self._store = store
        self._settled_checks = 0
        self.server = self.make_server(0.0)
        self.failover = Failover(self)
        self.faults = Faults(self)
        self.promises = Promises(self)

    @property
    def now(self) -> float:
        """The time of the world, in seconds."""
        return self.scheduler.now

    def stream(self, name: str) -> Random:
        """Return a source of chance of its own, so that leaving out one thing changes nothing else."""
        return Random(f"{self.scenario.seed}-{self.weather.value}-{WORLD_VERSION}-{name}")

    def unsettle(self, until: float) -> None:
        """Expect nothing of anybody until then, and what a failure leaves behind."""
        self.steady_since = max(self.steady_since, until + RECOVERY)

    # --- instances ---

    def boot_instance(self, prepare: Callable[[SimulatedInstance], None] = lambda _: None) -> None:
        """Start an instance; ``prepare`` sees it before it does anything."""
        self.checker.counts["boot"] += 1
        name = f"i{self.checker.counts['boot']}"
        instance = SimulatedInstance(self, name, self.server, self._make_elector)
        self.instances.append(instance)
        self.instances_by_name[name] = instance
        self.story.tell("{} boots", name)
        prepare(instance)
        for lock_name in self.conditions.lock_names:
            instance.declare(lock_name, self.timings[lock_name], init_delay=0.2)

    def boot_if_fewer(self, count: int) -> None:
        """Start an instance if fewer take part."""
        if len([each for each in self.instances if not each.shutting_down]) < count:
            self.boot_instance()

    def on_transition(self, instance: SimulatedInstance, entry: HistoryEntry) -> None:
        """Note what an instance writes to the log and the history."""
        self.checker.counts[entry.kind.value] += 1
        self.story.tell("{}: {}", instance.name, entry.reason)

    def live_instances(self) -> list[SimulatedInstance]:
        """Return the instances whose process has not ended."""
        return self.instances

    def on_death(self, instance: SimulatedInstance) -> None:
        """End a process; usually it is started again."""
        if not instance.alive:
            return
        instance.die()
        self.instances.remove(instance)
        if self.faults_enabled and instance.rng.random() < 0.8:
            self.scheduler.after(instance.rng.uniform(0, 3), self.boot_if_fewer, self.conditions.fleet)
        elif not self.instances:
            self.boot_instance()

    # --- servers ---

    def make_server(self, clock_offset: float) -> Server:
        clock = DatabaseClock(self.scheduler, clock_offset)
        self.checker.counts["server"] += 1
        name = f"server {self.checker.counts['server']}"
        rng = self.stream(name)
        server = Server(self.scheduler, rng, self.conditions, self.checker, self._store, clock, name=name)
        server.memory.listeners.append(lambda names: self._on_change(server, names))
        return server

    def _on_change(self, server: Server, lock_names: frozenset[str]) -> None:
        for instance in self.instances:
            instance.on_change(server, lock_names)

    def switch(self, lock_name: str, *, enabled: bool, seconds: float | None = None) -> None:
        """Enable or disable a lock as soon as its row is not locked; disable it for some seconds if given."""
        server = self.server

        def commit() -> None:
            if server is self.server:
                self.story.tell("{} is {}", lock_name, "enabled" if enabled else "disabled")
                self.checker.on_switch(lock_name, enabled=enabled)
                if enabled:
                    server.memory.enable(lock_name)
                else:
                    server.memory.disable(lock_name, seconds)

        server.when_unlocked(lambda: (lock_name,), commit)

    # --- the end ---

    def end_faults(self) -> None:
        """Clear the weather: from now on everything is as it should be."""
        self.story.tell("the weather clears")
        self.faults_enabled = False
        self.network.clear()
        self.server.down_until, self.server.is_clear = min(self.server.down_until, self.now), True
        for instance in list(self.instances):
            instance.recover()
            if instance.server is not self.server:
                instance.connect(self.server)
        self.steady_since = min(self.steady_since, self.now + RECOVERY)
        if not [each for each in self.instances if not each.shutting_down]:
            self.boot_instance()
        for name in self.conditions.lock_names:
            self.switch(name, enabled=True)
            for instance in list(self.instances):
                instance.declare(name, self.timings[name])

    def simulate(self) -> None:
        """Let everything happen that the scenario says."""
        duration = self.conditions.fault_duration
        for _ in range(self.conditions.fleet):
            self.scheduler.at(self.rng.uniform(0, 1), self.boot_instance)
        self.faults.schedule(duration, self.scenario.faults)
        self.scheduler.at(duration, self.end_faults)
        self.scheduler.at(0.0, self.check)
        self.scheduler.run(duration + 5.0 + 5 * self.conditions.longest_lease)
        if unsettled := self.promises.describe_unsettled():
            raise Violation(f"I3/I5: {unsettled}")

    def check(self) -> None:
        """Check the promises, and end the world when nothing happens any more."""
        self.promises.check()
        if not self.faults_enabled:
            self._settled_checks = 0 if self.promises.describe_unsettled() else self._settled_checks + 1
            if self._settled_checks >= SETTLED_CHECKS:
                self.scheduler.finish()
        self.scheduler.after(CHECK_INTERVAL, self.check)


def simulate(
    seed: int,
    weather: Weather,
    make_elector: Callable[..., Elector] = Elector,
    store: type[CheckedStore] = CheckedStore,
    trace: Callable[[str], None] | None = None,
    *,
    faults: frozenset[int] | None = None,
) -> World:
    """Simulate one seed; raise `Violation` if an invariant does not hold.

    ``trace`` gets every sentence of the story at once. ``faults``: let only the faults with these numbers happen.
    """
    kept = None if faults is None else tuple(sorted(faults))
    return replay(Scenario(seed, weather, kept), make_elector, store, trace)


def replay(
    scenario: Scenario,
    make_elector: Callable[..., Elector] = Elector,
    store: type[CheckedStore] = CheckedStore,
    trace: Callable[[str], None] | None = None,
) -> World:
    """Simulate a scenario; raise `Violation` if an invariant does not hold."""
    world = World(scenario, make_elector, store, trace)
    try:
        world.simulate()
    except Violation as violation:
        violation.story, violation.faults = world.story.lines(), tuple(world.story.struck_faults)
        violation.world = world
        raise
    return world
