"""The jobs of one simulated instance: Python jobs in its process, commands under a shim."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from masterjob.concurrency.backoff import Backoff
from masterjob.election.core.events import JobStarted, JobStartFailed, JobStopped
from masterjob.election.core.master import MAX_START_BACKOFF
from masterjob.election.core.session import NEVER
from masterjob.election.values import Term
from tests.simulation.conditions import Weather
from tests.simulation.story import Violation, readable

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.instance import SimulatedInstance


CANNOT_RUN = "no Python thread of its process can run"
"""An excuse unless the lost policy is ``exit``."""


@dataclass(eq=False, slots=True)
class JobRun:
    """A job from the order to start it to the return of its stop."""

    term: Term
    ordered_at: float
    is_running: bool = False
    """Whether it is between the call of start and the return of stop."""
    stopping_since: float | None = None
    stops_at: float = NEVER
    """When its stop returns, once it was called."""
    excuses: dict[str, float] = field(default_factory=dict)
    """Why it may run beside another one, and until when: the promises that do not hold."""
    overruns: bool = False
    """Whether its stop takes longer than its stop timeout."""
    transaction: object = None
    """The guarded transaction that is open."""

    def is_excused(self, now: float) -> bool:
        """Return whether it may run beside another one."""
        return self.overruns or any(now <= until for until in self.excuses.values())

    def must_exit(self, now: float) -> bool:
        """Return whether ``lostPolicy: exit`` has to end its process when the lease ends."""
        others = (until for excuse, until in self.excuses.items() if excuse != CANNOT_RUN)
        return self.is_excused(now) and not any(now <= until for until in others)

    def add_excuse(self, excuse: str, until: float = NEVER) -> None:
        """Excuse it from now on until then."""
        self.excuses[excuse] = max(until, self.excuses.get(excuse, until))


class Jobs:
    """Starts and stops them, and makes their guarded writes."""

    def __init__(self, instance: "SimulatedInstance") -> None:
        self._instance = instance
        self._world = instance.world
        self._rng = instance.world.stream(f"{instance.name} jobs")
        self.runs: dict[str, JobRun] = {}
        self.ended_at: dict[str, float] = {}
        self.stop_timeouts: dict[str, float] = {}
        self._ended_terms: set[Term] = set()
        self._failed_starts: dict[str, int] = {}

    # --- start ---

    def start(self, term: Term) -> None:
        """Start the job: its own thread calls start, perhaps late."""
        if term.lock_name in self.runs:
            raise Violation(
                f"I1: {self._instance.name} starts {readable(term)} while it still runs "
                f"{readable(self.runs[term.lock_name].term)}"
            )
        self._world.checker.counts["start"] += 1
        run = self.runs[term.lock_name] = JobRun(term, self._world.scheduler.now)
        if self._happens(self._world.conditions.late_start_rate):
            self._world.scheduler.after(self._rng.uniform(0, 3), self._start_late, run)
        else:
            self._call_start(run)  # without another look at the trust: the elector has just looked

    def _start_late(self, run: JobRun) -> None:
        instance, now = self._instance, self._world.scheduler.now
        is_current = instance.alive and self.runs.get(run.term.lock_name) is run
        if is_current and instance.elector.trusted_until(run.term) <= instance.clock.local(now):
            self._end(run)
            instance.submit(JobStopped(run.term))
        else:
            self._call_start(run)

    def _call_start(self, run: JobRun) -> None:
        world, instance = self._world, self._instance
        now = world.scheduler.now
        if not instance.alive or self.runs.get(run.term.lock_name) is not run or run.stopping_since is not None:
            return
        if now < instance.process_paused_until:
            waking = self._rng.uniform(0, 0.01)
            world.scheduler.at(instance.process_paused_until + waking, self._start_late, run)
        else:
            world.story.tell("{} starts {}", instance.name, run.term)
            world.checker.on_start(instance, run)
            run.is_running = True
            failed = self._happens(world.conditions.failed_start_rate)
            event = JobStartFailed(run.term, "boom") if failed else JobStarted(run.term)
            is_slow = self._happens(world.conditions.late_start_rate)
            self.report(run, event, self._rng.uniform(0, 3.0 if is_slow else 0.05))
            self._write(run)

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._world.faults_enabled and self._rng.random() < rate

    def report(self, run: JobRun, event: JobStarted | JobStartFailed, delay: float) -> None:
        """Report how a start went; after a failure the instance pauses, longer after each."""
        self._world.scheduler.after(delay, self._report, run, event)

    def _report(self, run: JobRun, event: JobStarted | JobStartFailed) -> None:
        name = run.term.lock_name
        if isinstance(event, JobStarted):
            self._failed_starts[name] = 0
        elif self.runs.get(name) is run:
            failures = self._failed_starts.get(name, 0)
            self._failed_starts[name] = failures + 1
            pause = Backoff(self._world.conditions.longest_heartbeat, MAX_START_BACKOFF).delay(failures)
            self._instance.rest(name, pause / self._instance.clock.rate)
        self._instance.submit(event)

    # --- stop ---

    def stop(self, term: Term) -> None:
        """Call stop: it returns within the stop timeout, or not."""
        run = self.runs.get(term.lock_name)
        if run is None and term in self._ended_terms:
            return  # it has ended already; the elector's thread has not yet handled the report
        if run is None or run.term != term or run.stopping_since is not None:
            raise Violation(f"I5: {self._instance.name} stops {readable(term)}, which it does not run")
        world = self._world
        run.stopping_since = world.scheduler.now
        world.story.tell("{} stops {}", self._instance.name, term)
        duration = self._draw_stop_duration(run) if run.is_running else 0.0
        run.stops_at = run.stopping_since + duration
        world.scheduler.after(duration, self.on_stopped, run)

    def _draw_stop_duration(self, run: JobRun) -> float:
        conditions, rng, name = self._world.conditions, self._rng, run.term.lock_name
        instance, now = self._instance, self._world.scheduler.now
        timeout = self.stop_timeouts[name]
        if name not in conditions.commands and self._happens(conditions.overrun_rate):
            run.overruns = True
            return timeout + rng.uniform(0, 2 * conditions.longest_lease)
        if conditions.weather is Weather.CALM and now - instance.last_pause < 2 * conditions.longest_lease:
            # The margin holds the pause, the stop and the difference of the clocks together.
            timeout = max(0.0, timeout - instance.last_pause_duration)
        timeout /= instance.clock.rate
        return timeout if rng.random() < conditions.full_stop_rate else rng.uniform(0, timeout)

    def on_stopped(self, run: JobRun) -> None:
        """Report that stop has returned."""
        instance, scheduler = self._instance, self._world.scheduler
        if not instance.alive or self.runs.get(run.term.lock_name) is not run:
            return
        is_command = run.term.lock_name in self._world.conditions.commands
        if is_command:
            run.is_running = False  # the command has ended, even if its controller is frozen
        if scheduler.now < instance.process_paused_until:
            scheduler.at(instance.process_paused_until, self.on_stopped, run)
            return
        self._world.story.tell("{} has stopped {}", instance.name, run.term)
        self._end(run)
        instance.submit(JobStopped(run.term))

    def _end(self, run: JobRun) -> None:
        run.is_running = False
        name = run.term.lock_name
        self._ended_terms.add(run.term)
        del self.runs[name]
        self.ended_at[name] = self._world.scheduler.now
        self._world.checker.on_end(name)

    def end_all(self) -> None:
        """End all jobs with their process, and the commands whose shims notice that it is gone."""
        for run in list(self.runs.values()):
            self._end(run)
            self._instance.server.unlock_row(run.term.lock_name, run.transaction)

    # --- a shim, while the controller is frozen ---

    def on_frozen(self) -> None:
        """Let the shims end their commands when the trust that they know of is over."""
        for name, run in self.runs.items():
            if name in self._world.conditions.commands and run.is_running:
                ends_at = self._instance.clock.world(self._instance.elector.trusted_until(run.term))
                self._world.scheduler.at(ends_at, self._on_shim_deadline, run)

    def _on_shim_deadline(self, run: JobRun) -> None:
        instance, scheduler = self._instance, self._world.scheduler
        if scheduler.now < instance.process_paused_until and run.is_running and run.stopping_since is None:
            self._world.story.tell("the shim of {} on {} ends its command", run.term, instance.name)
            grace = self.stop_timeouts[run.term.lock_name]
            scheduler.after(self._rng.uniform(0, grace), self._on_command_ended, run)

    def _on_command_ended(self, run: JobRun) -> None:
        run.is_running = False

    # --- guarded writes ---

    def _write(self, run: JobRun) -> None:
        instance, world = self._instance, self._world
        if not instance.alive or not run.is_running:
            return
        if world.scheduler.now >= instance.process_paused_until:
            world.scheduler.after(instance.link.draw_delay(), self._guard, run)
        world.scheduler.after(self._rng.uniform(0.1, 0.8), self._write, run)

    def _guard(self, run: JobRun) -> None:
        """Begin a transaction with the guard; its COMMIT comes later, after a pause of the process if need be."""
        instance, server, transaction = self._instance, self._instance.server, object()
        if instance.link.is_cut or not run.is_running or server.is_open(run.term, run.transaction):
            return
        if server.guard(run.term, transaction):
            run.transaction = transaction
            kind = self._rng.random()
            duration = self._rng.uniform(0, 0.05 if kind < 0.9 else 0.5 if kind < 0.98 else 6.0)
            self._world.scheduler.after(duration, self._commit, run, server, transaction)

    def _commit(self, run: JobRun, server: "Server", transaction: object) -> None:
        instance, world = self._instance, self._world
        if world.scheduler.now < instance.process_paused_until:
            world.scheduler.at(instance.process_paused_until, self._commit, run, server, transaction)
        elif instance.alive and not instance.link.is_cut and server.is_open(run.term, transaction):
            # (While it is cut off neither side knows of the other, and the server ends the transaction.)
            world.checker.on_guarded_write(run.term, server.memory.tables)
            server.unlock_row(run.term.lock_name, transaction)
