"""A small world on virtual time: instances, one database, a bad network, and a judge.

Everything random comes from one seed, so a failing seed replays exactly. The instances run the real elector;
the database has the verbs of the real stores. What is checked, after every step, are the invariants of the
design (section 7); `Violation` names the one that broke.

Two kinds of weather: in *calm* weather pauses are shorter than the margin and no replica is promoted, so two
jobs of one lock may never run at once (I1). In *wild* weather pauses have any length and lagging replicas are
promoted; then jobs may overlap, but no two guarded effects may interleave and no term number may be issued
twice (I2). In both, when the weather clears every lock gets its master back (I3, I5).
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from masterjob.election.machine.actions import Action, Overrun, Say, StartJob, StopJob, StopWithin
from masterjob.election.machine.book import Serving
from masterjob.election.machine.commands import Command
from masterjob.election.machine.elector import Elector
from masterjob.election.machine.events import (
    Declare,
    Event,
    Failure,
    Leave,
    Reply,
    Started,
    StartFailed,
    StepDown,
    Stopped,
    Tick,
    Woken,
)
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, Term

from .memory import MemoryDatabase, MemoryStore, Tables

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
class Run:
    """A job between its start and the return of its stop."""

    term: Term
    stopping: bool = False


class Host:
    """One instance: an elector, its clock, and its jobs."""

    def __init__(self, name: str, rng: Random, make_elector: Callable[..., Elector]) -> None:
        self.name = name
        self.elector = make_elector(Identity(name), rng, self._new_id)
        self.rate = rng.uniform(0.995, 1.005)
        self.offset = rng.uniform(0, 1e6)
        self.alive = True
        self.leaving = False
        self.paused_until = 0.0
        self.last_pause = float("-inf")
        self.runs: dict[str, Run] = {}
        self.stop_timeouts: dict[str, float] = {}
        self.wakes_at = float("inf")
        self._ids = 0

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self.name}/{self._ids}"

    def clock(self, now: float) -> float:
        return self.offset + now * self.rate

    def world_time(self, local: float) -> float:
        return (local - self.offset) / self.rate


@dataclass
class Network:
    """How messages fare; all of it is zero when the weather clears."""

    loss: float
    slow: float
    slowest: float


CLEAR = Network(0.0, 0.0, 0.0)


@dataclass
class Judge:
    """Keeps what must never happen from going unseen."""

    issued: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def term_issued(self, lock_name: str, number: int) -> None:
        if number <= self.issued.get(lock_name, 0):
            raise Violation(f"I2: term {number} of {lock_name} was issued after {self.issued[lock_name]}")
        self.issued[lock_name] = number

    def effect(self, term: Term, effects: dict[str, int]) -> None:
        self.seen["guarded effect"] += 1
        if term.number < effects.get(term.lock_name, 0):
            raise Violation(f"I2: an effect of {term} came after one of {effects[term.lock_name]}")
        effects[term.lock_name] = term.number


class JudgedStore(MemoryStore):
    """The database's side of a call, which reports every claim that was granted."""

    def __init__(self, database: MemoryDatabase, judge: Judge) -> None:
        super().__init__(database)
        self._judge = judge

    def claim(self, session_id: str, names: Sequence[str]) -> tuple[Term, ...]:
        before = {name: row.term for name, row in self._locks.items()}
        enabled = {name: row.enabled for name, row in self._locks.items()}
        terms = super().claim(session_id, names)
        for term in terms:
            if term.number != before[term.lock_name]:
                self._judge.term_issued(term.lock_name, term.number)
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
        store: type[JudgedStore] = JudgedStore,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = Random(f"{seed}-{weather.value}")
        self.weather = weather
        self.now = 0.0
        self.judge = Judge()
        self._trace = trace
        self._make_elector = make_elector
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0
        self._clock_offset = 0.0
        self.database = MemoryDatabase(self._clock_ms)
        self.database.listeners.append(self._announced)
        self.store = store(self.database, self.judge)
        self.down_until = 0.0
        self.hosts: list[Host] = []
        self.timings = {name: self.rng.choice(TIMINGS) for name in LOCKS}
        self.network = Network(self.rng.choice([0.0, 0.02, 0.15]), 0.05, self.rng.choice([0.1, 1.0, 6.0]))
        self._replica: Tables = self.database.snapshot()
        self._switched: Counter[str] = Counter()
        self._steps: list[tuple[float, float]] = []
        self.faults = True

    # --- the machinery ---

    def at(self, time: float, what: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, what))

    def after(self, delay: float, what: Callable[[], object]) -> None:
        self.at(self.now + delay, what)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.now = until

    def trace(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.now:9.3f} {text}")

    def _clock_ms(self) -> int:
        return EPOCH_MS + int((self.now + self._clock_offset) * 1000)

    # --- instances ---

    def boot(self) -> Host:
        self.judge.seen["boot"] += 1
        host = Host(f"i{self.judge.seen['boot']}", self.rng, self._make_elector)
        self.hosts.append(host)
        self.trace(f"{host.name} boots")
        for name in LOCKS:
            self.tell(host, Declare(name, self.timings[name], delay=0.2))
        return host

    def alive(self) -> list[Host]:
        return [host for host in self.hosts if host.alive]

    def tell(self, host: Host, event: Event) -> None:
        """Deliver an event now, or when the instance's pause is over."""
        if not host.alive:
            return
        if self.now < host.paused_until:
            self.at(host.paused_until, lambda: self.tell(host, event))
            return
        for action in host.elector.handle(event, host.clock(self.now)):
            self._do(host, action)
        self._check_stop_timeouts(host)
        self._wake(host)

    def _check_stop_timeouts(self, host: Host) -> None:
        """Whatever session a served term stands on must leave its job the time that it was told to have."""
        for name in host.runs:
            lock = host.elector._book.locks.get(name)
            if lock is not None and isinstance(lock.state, Serving):
                least = min(lease.timing.stop_timeout for lease in lock.state.leases)
                if host.stop_timeouts[name] > least:
                    raise Violation(f"{host.name} lets {name} stop for longer than its lease leaves")

    def _wake(self, host: Host) -> None:
        if host.elector.next_time() <= host.clock(self.now):
            raise Violation(f"{host.name} has done what it can and wants to be woken at once: it would spin")
        due = max(self.now, host.world_time(host.elector.next_time()) + 1e-6)
        if due < host.wakes_at:
            host.wakes_at = due
            self.at(due, lambda: self._tick(host, due))

    def _tick(self, host: Host, due: float) -> None:
        if host.wakes_at != due or not host.alive:
            return
        if self.now < host.paused_until:
            self.at(host.paused_until, lambda: self._tick(host, due))
            return
        host.wakes_at = float("inf")
        self.tell(host, Tick())

    def _do(self, host: Host, action: Action) -> None:
        match action:
            case Command():
                self._transmit(host, action)
            case StartJob(term):
                self._start(host, term)
            case StopWithin(term, seconds):
                host.stop_timeouts[term.lock_name] = seconds
            case StopJob(term, _):
                self._stop(host, term)
            case Say(entry):
                self.judge.seen[entry.kind.value] += 1
                self.trace(f"{host.name}: {entry.reason}")
            case Overrun(term):
                self.trace(f"{host.name}: overrun of {term}")
                if self.weather is Weather.CALM:
                    raise Violation(f"I1: {term} of {host.name} outlived its lease")
            case _:
                pass

    # --- the network and the database ---

    def _delay(self) -> float:
        if self.rng.random() < self.network.slow:
            return self.rng.uniform(0, self.network.slowest)
        return self.rng.uniform(0.0005, 0.01)

    def _lost(self) -> bool:
        return self.rng.random() < self.network.loss

    def _transmit(self, host: Host, command: Command) -> None:
        if not self._lost():
            self.after(self._delay(), lambda: self._arrive(host, command))

    def _arrive(self, host: Host, command: Command) -> None:
        if self.now < self.down_until:
            if self.rng.random() < 0.7:  # refused; otherwise a black hole
                self.after(0.002, lambda: self.tell(host, Failure(command, "the database is down")))
            return
        answer = command.perform(self.store)
        if not self._lost():
            self.after(self._delay(), lambda: self.tell(host, Reply(command, answer)))

    def _announced(self, names: frozenset[str]) -> None:
        for host in self.hosts:
            if host.alive and self.rng.random() < 0.8:
                self.after(self._delay(), lambda host=host: self.tell(host, Woken(names)))  # type: ignore[misc]

    # --- jobs ---

    def _start(self, host: Host, term: Term) -> None:
        self.judge.seen["start"] += 1
        self.trace(f"{host.name} starts {term}")
        if term.lock_name in host.runs:
            raise Violation(f"I1: {host.name} starts {term} while it still runs {host.runs[term.lock_name]}")
        if self.weather is Weather.CALM:
            for other in self.alive():
                if term.lock_name in other.runs:
                    raise Violation(
                        f"I1: {host.name} starts {term} while {other.name} runs {other.runs[term.lock_name]}"
                    )
        run = host.runs[term.lock_name] = Run(term)
        failed = self.faults and self.rng.random() < 0.02
        event: Event = StartFailed(term, "boom") if failed else Started(term)
        self.after(self.rng.uniform(0, 0.05), lambda: self.tell(host, event))
        self._write(host, run)

    def _write(self, host: Host, run: Run) -> None:
        """Write under the guard, again and again, for as long as the job runs."""
        if not host.alive or host.runs.get(run.term.lock_name) is not run:
            return
        if self.now >= host.paused_until:
            self.after(self._delay(), lambda: self._commit(run))
        self.after(self.rng.uniform(0.05, 0.5), lambda: self._write(host, run))

    def _commit(self, run: Run) -> None:
        if self.now >= self.down_until and self.store.guarded(run.term):
            self.judge.effect(run.term, self.database.tables.effects)

    def _stop(self, host: Host, term: Term) -> None:
        run = host.runs.get(term.lock_name)
        if run is None or run.term != term or run.stopping:
            raise Violation(f"{host.name} stops {term}, which it does not run")
        run.stopping = True
        self.trace(f"{host.name} stops {term}")
        longest = host.stop_timeouts[term.lock_name] if self.weather is Weather.WILD else 0.15
        self.after(self.rng.uniform(0, longest), lambda: self._stopped(host, term))

    def _stopped(self, host: Host, term: Term) -> None:
        if self.now < host.paused_until:
            self.at(host.paused_until, lambda: self._stopped(host, term))
        elif host.alive:
            del host.runs[term.lock_name]
            self.trace(f"{host.name} has stopped {term}")
            self.tell(host, Stopped(term))

    # --- faults ---

    def unleash(self, until: float) -> None:
        """Schedule random faults until then."""
        time = 1.5
        while time < until:
            time += self.rng.expovariate(0.8)
            self.at(min(time, until), self._fault)
        self.at(until, self._clear)

    def _fault(self) -> None:
        choices: list[Callable[[], None]] = [
            self._pause, self._pause, self._kill, self._shut_down, self._outage, self._clock_step,
            self._brownout, self._switch, self._switch, self._ask_step_down, self._retime,
            self._boot_another, self._replicate,
        ]  # fmt: skip
        if self.weather is Weather.WILD:
            choices += [self._promote, self._promote]
        fault = self.rng.choice(choices)
        self.judge.seen[fault.__name__.strip("_")] += 1
        fault()

    def _some_host(self) -> Host | None:
        hosts = self.alive()
        masters = [host for host in hosts if host.runs]
        return self.rng.choice(masters if masters and self.rng.random() < 0.7 else hosts) if hosts else None

    def _pause(self) -> None:
        host = self._some_host()
        if host is None or (self.now < host.last_pause + 2 * LONGEST_LEASE and self.weather is Weather.CALM):
            return
        longest = 0.1 if self.weather is Weather.CALM else self.rng.choice([1.0, 3.0, 10.0])
        host.paused_until = max(host.paused_until, self.now + self.rng.uniform(0, longest))
        host.last_pause = self.now
        self.trace(f"{host.name} is paused until {host.paused_until:.3f}")

    def _kill(self) -> None:
        if host := self._some_host():
            self.trace(f"{host.name} is killed")
            host.alive = False
            host.runs.clear()
            if self.rng.random() < 0.8:
                self.after(self.rng.uniform(0, 3), self._boot_another)

    def _shut_down(self) -> None:
        if host := self._some_host():
            self.trace(f"{host.name} leaves")
            host.leaving = True
            self.tell(host, Leave("the process ends"))

            def gone() -> None:
                host.alive = False
                host.runs.clear()

            self.after(LONGEST_LEASE, gone)

    def _boot_another(self) -> None:
        if len([host for host in self.alive() if not host.leaving]) < INSTANCES + 2:
            self.boot()

    def _outage(self) -> None:
        self.down_until = max(self.down_until, self.now + self.rng.choice([0.3, 2.0, 8.0]) * self.rng.random())
        self.trace(f"the database is down until {self.down_until:.3f}")

    def _brownout(self) -> None:
        """For a while most messages are late: what was sent is done, but the answers take their time."""
        usual = self.network
        self.network = Network(usual.loss, 0.7, 6.0)
        self.after(self.rng.uniform(0.5, 4), lambda: self._end_brownout(usual))

    def _end_brownout(self, usual: Network) -> None:
        if self.faults:
            self.network = usual

    def _clock_step(self) -> None:
        """Steps that take each other back within a heartbeat cannot be seen by anybody; the limits say so."""
        step = self.rng.choice([-1, 1]) * self.rng.choice([0.5, 3.0, 60.0]) * self.rng.random()
        recent = [size for time, size in self._steps if time > self.now - 3]
        if any(abs(step + sum(recent[i:])) < 0.2 for i in range(len(recent))):
            return
        self._steps.append((self.now, step))
        self._clock_offset += step
        if self.weather is Weather.WILD:
            self._keep_clock_past_terms()
        self.trace(f"the database's clock steps by {step:.3f}")

    def _switch(self) -> None:
        name = self.rng.choice(LOCKS)
        if self.now < self.down_until:
            return
        row = self.database.tables.locks.get(name)
        self._switched[name] += 1
        if row is not None and row.enabled:
            self.trace(f"{name} is disabled")
            self.database.disable(name)
            if self.weather is Weather.CALM:
                self._check_disabled(name)
        else:
            self.trace(f"{name} is enabled")
            self.database.enable(name)

    def _check_disabled(self, name: str) -> None:
        """I4: its masters of now have stopped when even their trust would have ended."""
        running = [(host, host.runs[name]) for host in self.alive() if name in host.runs]
        switched = self._switched[name]

        def check() -> None:
            for host, run in running:
                if host.alive and host.runs.get(name) is run and self._switched[name] == switched:
                    raise Violation(f"I4: {host.name} still runs {run.term} after its lock was disabled")

        if running:
            self.after(LONGEST_LEASE + 0.2, check)

    def _ask_step_down(self) -> None:
        name = self.rng.choice(LOCKS)
        if self.rng.random() < 0.5:
            for host in self.alive():
                self.tell(host, StepDown(name, "asked on the spot"))
        elif (row := self.database.tables.locks.get(name)) is not None:
            self.store.ask_step_down(Term(name, row.term), "somebody", "why not")

    def _retime(self) -> None:
        name = self.rng.choice(LOCKS)
        self.timings[name] = self.rng.choice(TIMINGS)
        self.trace(f"{name} gets another timing")
        for host in self.alive():
            if not host.leaving:
                event = Declare(name, self.timings[name])
                self.after(self.rng.uniform(0, 1), lambda h=host, e=event: self._declare(h, e))  # type: ignore[misc]

    def _declare(self, host: Host, event: Declare) -> None:
        if not host.leaving:
            self.tell(host, event)

    def _replicate(self) -> None:
        self._replica = self.database.snapshot()

    def _promote(self) -> None:
        """A replica that lags takes over; its clock is its own, but past every term that was issued."""
        self.trace("a lagging replica is promoted")
        self.database.tables = self._replica
        self._replica = self.database.snapshot()
        self._clock_offset += self.rng.uniform(-1, 1)
        self._keep_clock_past_terms()

    def _keep_clock_past_terms(self) -> None:
        """What I2 presumes where replicas are promoted: the rows may be lost, the clock must not."""
        behind = max(self.judge.issued.values(), default=0) + 1 - self._clock_ms()
        self._clock_offset += max(0.0, behind / 1000)

    # --- clear weather ---

    def _clear(self) -> None:
        self.trace("the weather clears")
        self.faults = False
        self.network = CLEAR
        self.down_until = 0.0
        for host in self.hosts:
            host.paused_until = min(host.paused_until, self.now)
        if not [host for host in self.alive() if not host.leaving]:
            self.boot()
        for name in LOCKS:
            self.database.enable(name)
            self._switched[name] += 1
            for host in self.alive():
                self._declare(host, Declare(name, self.timings[name]))

    def check_settled(self) -> None:
        """I3 and I5: every lock runs on exactly one instance, and that is the one that the database names."""
        for name in LOCKS:
            runs = [(host.name, host.runs[name].term) for host in self.alive() if name in host.runs]
            row = self.database.tables.locks[name]
            holder = self.database.tables.sessions[row.holder].instance if row.holder else None
            if runs != [(holder, Term(name, row.term))]:
                raise Violation(f"I3/I5: {name} runs as {runs}, the database names {holder} term {row.term}")


FAULTS = 25.0
SETTLE = 4 * LONGEST_LEASE


def simulate(
    seed: int,
    weather: Weather,
    make_elector: Callable[..., Elector] = Elector,
    store: type[JudgedStore] = JudgedStore,
    trace: Callable[[str], None] | None = None,
) -> World:
    """Live through one seed; raise `Violation` if an invariant breaks."""
    world = World(seed, weather, make_elector, store, trace)
    for _ in range(INSTANCES):
        world.after(world.rng.uniform(0, 1), world.boot)
    world.unleash(FAULTS)
    world.run(FAULTS + SETTLE)
    world.check_settled()
    return world
