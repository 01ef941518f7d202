"""A small world on virtual time: instances, one database, a bad network, and a checker of the invariants.

Everything random comes from one seed, so a failing seed replays exactly. The instances run the real elector; the
database has the statements of the real stores. The invariants (docs/design.md, section 7) are checked after every
step; `Violation` names the one that does not hold.

There are two kinds of weather. In *calm* weather pauses are shorter than the margin and no replica is promoted, so
two jobs of one lock must never run at the same time (I1). In *wild* weather pauses have any length and lagging
replicas are promoted; then jobs may overlap, but guarded effects must not interleave and no term number may be
issued twice (I2). In both, every lock gets its master back when the weather clears (I3, I5).
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from random import Random

from masterjob.election.core.actions import Action, Overrun, RecordTransition, SetStopTimeout, StartJob, StopJob
from masterjob.election.core.commands import StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import (
    CoreEvent,
    Declare,
    Failure,
    JobStarted,
    JobStartFailed,
    JobStopped,
    LocksChanged,
    Reply,
    Shutdown,
    StepDown,
    Tick,
)
from masterjob.election.core.state import Serving
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Term
from tests.simulation.memory import MemoryDatabase, MemoryStore, Tables

EPOCH_MS = 1_700_000_000_000
TIMINGS = (
    Timing.of(1.0, stop_timeout=0.5, check_master_interval=5.0),
    Timing.of(0.6, stop_timeout=0.3, max_heartbeat_retry_count=2, check_master_interval=3.0),
    Timing.of(1.0, 5.0, 1.0, 1, 4.0),
    Timing.of(1.0, 4.0, 0.2, 0, 4.0),
)
LOCKS = ("red", "green", "blue")
INSTANCES = 5
LONGEST_LEASE = max(timing.lease_duration for timing in TIMINGS)


class Violation(AssertionError):
    """An invariant does not hold."""


class Weather(Enum):
    CALM = "calm"
    WILD = "wild"


@dataclass
class JobRun:
    """A job between its start and the return of its stop."""

    term: Term
    stopping: bool = False


class SimulatedInstance:
    """One instance: an elector, its clock, and its jobs."""

    def __init__(self, name: str, rng: Random, make_elector: Callable[..., Elector]) -> None:
        self.name = name
        self.elector = make_elector(Identity(name), rng, self._new_id)
        self.clock_rate = rng.uniform(0.995, 1.005)
        self.clock_offset = rng.uniform(0, 1e6)
        self.alive = True
        self.shutting_down = False
        self.paused_until = 0.0
        self.last_pause = float("-inf")
        self.runs: dict[str, JobRun] = {}
        self.stop_timeouts: dict[str, float] = {}
        self.next_tick_at = float("inf")
        self._last_id = 0

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self.name}/{self._last_id}"

    def local_time(self, now: float) -> float:
        return self.clock_offset + now * self.clock_rate

    def world_time(self, local: float) -> float:
        return (local - self.clock_offset) / self.clock_rate


@dataclass
class Network:
    """How messages are lost and delayed; all of it is zero when the weather clears."""

    loss_rate: float
    slow_rate: float
    max_delay: float


PERFECT_NETWORK = Network(0.0, 0.0, 0.0)


@dataclass
class InvariantChecker:
    """Detects what must never happen, and counts events."""

    issued_terms: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def record_term(self, lock_name: str, number: int) -> None:
        if number <= self.issued_terms.get(lock_name, 0):
            raise Violation(f"I2: term {number} of {lock_name} was issued after {self.issued_terms[lock_name]}")
        self.issued_terms[lock_name] = number

    def record_guarded_write(self, term: Term, guarded_writes: dict[str, int]) -> None:
        self.counts["guarded effect"] += 1
        if term.number < guarded_writes.get(term.lock_name, 0):
            raise Violation(f"I2: an effect of {term} came after one of {guarded_writes[term.lock_name]}")
        guarded_writes[term.lock_name] = term.number


class CheckedStore(MemoryStore):
    """The database's side of a call, which checks every claim that was granted."""

    def __init__(self, database: MemoryDatabase, checker: InvariantChecker) -> None:
        super().__init__(database)
        self._checker = checker

    def claim(self, session_id: str, lock_names: Sequence[str]) -> tuple[Term, ...]:
        before = {name: row.term for name, row in self._locks.items()}
        enabled = {name: row.enabled for name, row in self._locks.items()}
        terms = super().claim(session_id, lock_names)
        for term in terms:
            if term.number != before[term.lock_name]:
                self._checker.record_term(term.lock_name, term.number)
                if not enabled[term.lock_name]:
                    raise Violation(f"I4: {term} was granted on a disabled lock")
        return terms


class World:
    """Virtual time, and everything that happens in it."""

    def __init__(
        self,
        seed: int,
        weather: Weather,
        make_elector: Callable[..., Elector] = Elector,
        store: type[CheckedStore] = CheckedStore,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = Random(f"{seed}-{weather.value}")
        self.weather = weather
        self.now = 0.0
        self.checker = InvariantChecker()
        self._trace = trace
        self._make_elector = make_elector
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0
        self._clock_offset = 0.0
        self.database = MemoryDatabase(self._clock_ms)
        self.database.listeners.append(self._on_change)
        self.store = store(self.database, self.checker)
        self.down_until = 0.0
        self.instances: list[SimulatedInstance] = []
        self.timings = {name: self.rng.choice(TIMINGS) for name in LOCKS}
        self.network = Network(self.rng.choice([0.0, 0.02, 0.15]), 0.05, self.rng.choice([0.1, 1.0, 6.0]))
        self._replica: Tables = self.database.snapshot()
        self._switch_counts: Counter[str] = Counter()
        self._clock_steps: list[tuple[float, float]] = []
        self.faults_enabled = True

    # --- time ---

    def schedule_at(self, time: float, callback: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, callback))

    def schedule_after(self, delay: float, callback: Callable[[], object]) -> None:
        self.schedule_at(self.now + delay, callback)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._queue)
            callback()
        self.now = until

    def trace(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.now:9.3f} {text}")

    def _clock_ms(self) -> int:
        return EPOCH_MS + int((self.now + self._clock_offset) * 1000)

    # --- instances ---

    def boot_instance(self) -> SimulatedInstance:
        self.checker.counts["boot"] += 1
        instance = SimulatedInstance(f"i{self.checker.counts['boot']}", self.rng, self._make_elector)
        self.instances.append(instance)
        self.trace(f"{instance.name} boots")
        for name in LOCKS:
            self.submit(instance, Declare(name, self.timings[name], init_delay=0.2))
        return instance

    def live_instances(self) -> list[SimulatedInstance]:
        return [instance for instance in self.instances if instance.alive]

    def submit(self, instance: SimulatedInstance, event: CoreEvent) -> None:
        """Deliver an event now, or when the instance's pause is over."""
        if not instance.alive:
            return
        if self.now < instance.paused_until:
            self.schedule_at(instance.paused_until, lambda: self.submit(instance, event))
            return
        for action in instance.elector.handle(event, instance.local_time(self.now)):
            self._execute(instance, action)
        self._check_stop_timeouts(instance)
        self._schedule_tick(instance)

    def _check_stop_timeouts(self, instance: SimulatedInstance) -> None:
        """Every session of a served term must leave its job the stop timeout that it has."""
        for name in instance.runs:
            lock = instance.elector._state.locks.get(name)
            if lock is not None and isinstance(lock.phase, Serving):
                min_stop_timeout = min(session.timing.stop_timeout for session in lock.phase.sessions)
                if instance.stop_timeouts[name] > min_stop_timeout:
                    raise Violation(f"{instance.name} lets {name} stop for longer than its lease leaves")

    def _schedule_tick(self, instance: SimulatedInstance) -> None:
        if instance.elector.next_tick_at() <= instance.local_time(self.now):
            raise Violation(f"{instance.name} has done what it can and wants another tick at once: it would spin")
        due = max(self.now, instance.world_time(instance.elector.next_tick_at()) + 1e-6)
        if due < instance.next_tick_at:
            instance.next_tick_at = due
            self.schedule_at(due, lambda: self._tick(instance, due))

    def _tick(self, instance: SimulatedInstance, due: float) -> None:
        if instance.next_tick_at != due or not instance.alive:
            return
        if self.now < instance.paused_until:
            self.schedule_at(instance.paused_until, lambda: self._tick(instance, due))
            return
        instance.next_tick_at = float("inf")
        self.submit(instance, Tick())

    def _execute(self, instance: SimulatedInstance, action: Action) -> None:
        match action:
            case StoreCommand():
                self._transmit(instance, action)
            case StartJob(term):
                self._start(instance, term)
            case SetStopTimeout(term, seconds):
                instance.stop_timeouts[term.lock_name] = seconds
            case StopJob(term, _):
                self._stop(instance, term)
            case RecordTransition(entry):
                self.checker.counts[entry.kind.value] += 1
                self.trace(f"{instance.name}: {entry.reason}")
            case Overrun(term):
                self.trace(f"{instance.name}: overrun of {term}")
                if self.weather is Weather.CALM:
                    raise Violation(f"I1: {term} of {instance.name} outlived its lease")
            case _:
                pass

    # --- the network and the database ---

    def _random_delay(self) -> float:
        if self.rng.random() < self.network.slow_rate:
            return self.rng.uniform(0, self.network.max_delay)
        return self.rng.uniform(0.0005, 0.01)

    def _is_lost(self) -> bool:
        return self.rng.random() < self.network.loss_rate

    def _transmit(self, instance: SimulatedInstance, command: StoreCommand[object]) -> None:
        if not self._is_lost():
            self.schedule_after(self._random_delay(), lambda: self._arrive(instance, command))

    def _arrive(self, instance: SimulatedInstance, command: StoreCommand[object]) -> None:
        if self.now < self.down_until:
            if self.rng.random() < 0.7:  # refused; otherwise a black hole
                self.schedule_after(0.002, lambda: self.submit(instance, Failure(command, "the database is down")))
            return
        answer = command.execute(self.store)
        if not self._is_lost():
            self.schedule_after(self._random_delay(), lambda: self.submit(instance, Reply(command, answer)))

    def _on_change(self, lock_names: frozenset[str]) -> None:
        for instance in self.instances:
            if instance.alive and self.rng.random() < 0.8:
                deliver = partial(self.submit, instance, LocksChanged(lock_names))
                self.schedule_after(self._random_delay(), deliver)

    # --- jobs ---

    def _start(self, instance: SimulatedInstance, term: Term) -> None:
        self.checker.counts["start"] += 1
        self.trace(f"{instance.name} starts {term}")
        if term.lock_name in instance.runs:
            raise Violation(
                f"I1: {instance.name} starts {term} while it still runs {instance.runs[term.lock_name]}"
            )
        if self.weather is Weather.CALM:
            for other in self.live_instances():
                if term.lock_name in other.runs:
                    raise Violation(
                        f"I1: {instance.name} starts {term} while {other.name} runs {other.runs[term.lock_name]}"
                    )
        run = instance.runs[term.lock_name] = JobRun(term)
        failed = self.faults_enabled and self.rng.random() < 0.02
        event: CoreEvent = JobStartFailed(term, "boom") if failed else JobStarted(term)
        self.schedule_after(self.rng.uniform(0, 0.05), lambda: self.submit(instance, event))
        self._write(instance, run)

    def _write(self, instance: SimulatedInstance, run: JobRun) -> None:
        """Make guarded writes while the job runs."""
        if not instance.alive or instance.runs.get(run.term.lock_name) is not run:
            return
        if self.now >= instance.paused_until:
            self.schedule_after(self._random_delay(), lambda: self._commit(run))
        self.schedule_after(self.rng.uniform(0.05, 0.5), lambda: self._write(instance, run))

    def _commit(self, run: JobRun) -> None:
        if self.now >= self.down_until and self.store.can_commit(run.term):
            self.checker.record_guarded_write(run.term, self.database.tables.guarded_writes)

    def _stop(self, instance: SimulatedInstance, term: Term) -> None:
        run = instance.runs.get(term.lock_name)
        if run is None or run.term != term or run.stopping:
            raise Violation(f"{instance.name} stops {term}, which it does not run")
        run.stopping = True
        self.trace(f"{instance.name} stops {term}")
        max_duration = instance.stop_timeouts[term.lock_name] if self.weather is Weather.WILD else 0.15
        self.schedule_after(self.rng.uniform(0, max_duration), lambda: self._stopped(instance, term))

    def _stopped(self, instance: SimulatedInstance, term: Term) -> None:
        if self.now < instance.paused_until:
            self.schedule_at(instance.paused_until, lambda: self._stopped(instance, term))
        elif instance.alive:
            del instance.runs[term.lock_name]
            self.trace(f"{instance.name} has stopped {term}")
            self.submit(instance, JobStopped(term))

    # --- faults ---

    def schedule_faults(self, until: float) -> None:
        """Schedule random faults until then."""
        time = 1.5
        while time < until:
            time += self.rng.expovariate(0.8)
            self.schedule_at(min(time, until), self._fault)
        self.schedule_at(until, self._clear_weather)

    def _fault(self) -> None:
        choices: list[Callable[[], None]] = [
            self._pause, self._pause, self._kill, self._shut_down, self._outage, self._clock_step,
            self._brownout, self._switch, self._switch, self._request_step_down, self._retime,
            self._boot_another, self._replicate,
        ]  # fmt: skip
        if self.weather is Weather.WILD:
            choices += [self._promote, self._promote]
        fault = self.rng.choice(choices)
        self.checker.counts[fault.__name__.strip("_")] += 1
        fault()

    def _random_instance(self) -> SimulatedInstance | None:
        live = self.live_instances()
        masters = [instance for instance in live if instance.runs]
        return self.rng.choice(masters if masters and self.rng.random() < 0.7 else live) if live else None

    def _pause(self) -> None:
        instance = self._random_instance()
        if instance is None or (
            self.now < instance.last_pause + 2 * LONGEST_LEASE and self.weather is Weather.CALM
        ):
            return
        max_duration = 0.1 if self.weather is Weather.CALM else self.rng.choice([1.0, 3.0, 10.0])
        instance.paused_until = max(instance.paused_until, self.now + self.rng.uniform(0, max_duration))
        instance.last_pause = self.now
        self.trace(f"{instance.name} is paused until {instance.paused_until:.3f}")

    def _kill(self) -> None:
        if instance := self._random_instance():
            self.trace(f"{instance.name} is killed")
            instance.alive = False
            instance.runs.clear()
            if self.rng.random() < 0.8:
                self.schedule_after(self.rng.uniform(0, 3), self._boot_another)

    def _shut_down(self) -> None:
        if instance := self._random_instance():
            self.trace(f"{instance.name} leaves")
            instance.shutting_down = True
            self.submit(instance, Shutdown("the process ends"))

            def terminate() -> None:
                instance.alive = False
                instance.runs.clear()

            self.schedule_after(LONGEST_LEASE, terminate)

    def _boot_another(self) -> None:
        if len([instance for instance in self.live_instances() if not instance.shutting_down]) < INSTANCES + 2:
            self.boot_instance()

    def _outage(self) -> None:
        self.down_until = max(self.down_until, self.now + self.rng.choice([0.3, 2.0, 8.0]) * self.rng.random())
        self.trace(f"the database is down until {self.down_until:.3f}")

    def _brownout(self) -> None:
        """For a while most messages are late: what was sent is done, but the answers take their time."""
        normal = self.network
        self.network = Network(normal.loss_rate, 0.7, 6.0)
        self.schedule_after(self.rng.uniform(0.5, 4), lambda: self._end_brownout(normal))

    def _end_brownout(self, normal: Network) -> None:
        if self.faults_enabled:
            self.network = normal

    def _clock_step(self) -> None:
        """Avoid steps that cancel out within one heartbeat interval: they are a documented limit."""
        step = self.rng.choice([-1, 1]) * self.rng.choice([0.5, 3.0, 60.0]) * self.rng.random()
        recent = [size for time, size in self._clock_steps if time > self.now - 3]
        if any(abs(step + sum(recent[i:])) < 0.2 for i in range(len(recent))):
            return
        self._clock_steps.append((self.now, step))
        self._clock_offset += step
        if self.weather is Weather.WILD:
            self._keep_clock_past_terms()
        self.trace(f"the database's clock steps by {step:.3f}")

    def _switch(self) -> None:
        name = self.rng.choice(LOCKS)
        if self.now < self.down_until:
            return
        row = self.database.tables.locks.get(name)
        self._switch_counts[name] += 1
        if row is not None and row.enabled:
            self.trace(f"{name} is disabled")
            self.database.disable(name)
            if self.weather is Weather.CALM:
                self._check_disabled(name)
        else:
            self.trace(f"{name} is enabled")
            self.database.enable(name)

    def _check_disabled(self, name: str) -> None:
        """Check I4: the current masters have stopped when their trust would have ended at the latest."""
        running = [(instance, instance.runs[name]) for instance in self.live_instances() if name in instance.runs]
        switched = self._switch_counts[name]

        def check() -> None:
            for instance, run in running:
                if instance.alive and instance.runs.get(name) is run and self._switch_counts[name] == switched:
                    raise Violation(f"I4: {instance.name} still runs {run.term} after its lock was disabled")

        if running:
            self.schedule_after(LONGEST_LEASE + 0.2, check)

    def _request_step_down(self) -> None:
        name = self.rng.choice(LOCKS)
        if self.rng.random() < 0.5:
            for instance in self.live_instances():
                self.submit(instance, StepDown(name, "asked on the spot"))
        elif (row := self.database.tables.locks.get(name)) is not None:
            self.store.request_step_down(Term(name, row.term), "ann", "why not")

    def _retime(self) -> None:
        name = self.rng.choice(LOCKS)
        self.timings[name] = self.rng.choice(TIMINGS)
        self.trace(f"{name} gets another timing")
        for instance in self.live_instances():
            if not instance.shutting_down:
                event = Declare(name, self.timings[name])
                self.schedule_after(self.rng.uniform(0, 1), partial(self._declare, instance, event))

    def _declare(self, instance: SimulatedInstance, event: Declare) -> None:
        if not instance.shutting_down:
            self.submit(instance, event)

    def _replicate(self) -> None:
        self._replica = self.database.snapshot()

    def _promote(self) -> None:
        """Promote a lagging replica with its own clock, which is past every term that was issued."""
        self.trace("a lagging replica is promoted")
        self.database.tables = self._replica
        self._replica = self.database.snapshot()
        self._clock_offset += self.rng.uniform(-1, 1)
        self._keep_clock_past_terms()

    def _keep_clock_past_terms(self) -> None:
        """Keep what I2 requires of a promoted replica: its rows may be old, but its clock must not."""
        behind = max(self.checker.issued_terms.values(), default=0) + 1 - self._clock_ms()
        self._clock_offset += max(0.0, behind / 1000)

    # --- clear weather ---

    def _clear_weather(self) -> None:
        self.trace("the weather clears")
        self.faults_enabled = False
        self.network = PERFECT_NETWORK
        self.down_until = 0.0
        for instance in self.instances:
            instance.paused_until = min(instance.paused_until, self.now)
        if not [host for host in self.live_instances() if not host.shutting_down]:
            self.boot_instance()
        for name in LOCKS:
            self.database.enable(name)
            self._switch_counts[name] += 1
            for instance in self.live_instances():
                self._declare(instance, Declare(name, self.timings[name]))

    def check_converged(self) -> None:
        """Check I3 and I5: every lock runs on exactly one instance, the one that the database names."""
        for name in LOCKS:
            runs = [
                (instance.name, instance.runs[name].term)
                for instance in self.live_instances()
                if name in instance.runs
            ]
            row = self.database.tables.locks[name]
            holder = self.database.tables.sessions[row.holder].instance if row.holder else None
            if runs != [(holder, Term(name, row.term))]:
                raise Violation(f"I3/I5: {name} runs as {runs}, the database names {holder} term {row.term}")


FAULT_DURATION = 25.0
CONVERGENCE_DURATION = 4 * LONGEST_LEASE


def simulate(
    seed: int,
    weather: Weather,
    make_elector: Callable[..., Elector] = Elector,
    store: type[CheckedStore] = CheckedStore,
    trace: Callable[[str], None] | None = None,
) -> World:
    """Simulate one seed; raise `Violation` if an invariant does not hold."""
    world = World(seed, weather, make_elector, store, trace)
    for _ in range(INSTANCES):
        world.schedule_after(world.rng.uniform(0, 1), world.boot_instance)
    world.schedule_faults(FAULT_DURATION)
    world.run(FAULT_DURATION + CONVERGENCE_DURATION)
    world.check_converged()
    return world
