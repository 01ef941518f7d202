"""One simulated instance: the real elector, and its process with threads, connections, a clock and jobs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from masterjob.election.core.actions import (
    Abandon,
    Action,
    Overrun,
    RecordTransition,
    SetStopTimeout,
    StartJob,
    StopJob,
)
from masterjob.election.core.commands import COMMAND_TIMEOUT, Evict, Release, StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, Declare, LocksChanged, Shutdown, Tick
from masterjob.election.core.session import NEVER
from masterjob.election.timing import Timing
from masterjob.election.values import Identity, LostPolicy
from tests.simulation.clock import LocalClock
from tests.simulation.connections import RECOVERY, Worker
from tests.simulation.jobs import Jobs
from tests.simulation.network import Link
from tests.simulation.story import Violation
from tests.simulation.watchdog import Watchdog

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.world import World


class SimulatedInstance:
    """One process."""

    def __init__(self, world: "World", name: str, server: "Server", make_elector: Callable[..., Elector]) -> None:
        spread = world.conditions.clock_spread
        self.world = world
        self.name = name
        self.server = server
        self.scheduler = world.scheduler
        self.clock = LocalClock(world.rng.choice((1 - spread, 1 + spread, 1.0)), world.rng.uniform(0, 1e6))
        self.link = Link(world.scheduler, world.rng, world.network)
        self.elector = make_elector(Identity(name), world.rng, self._new_id)
        self.jobs = Jobs(self)
        self.alive = True
        self.shutting_down = False
        self.elector_paused_until = 0.0
        self.watchdog_paused_until = 0.0
        self.process_paused_until = 0.0
        """No Python thread runs: neither the elector nor the watchdog, nor a worker, nor a job."""
        self.last_pause = float("-inf")
        self.last_pause_duration = 0.0
        self.unhindered_since = world.scheduler.now
        """Since when nothing has kept it from doing what it should; in the future while something does."""
        self.resting_until: dict[str, float] = {}
        """Until when it need not compete for a lock."""
        self._watchdog = Watchdog(self)
        self._inbox: list[CoreEvent] = []
        self._workers: dict[str, Worker] = {}
        self._tick_at = NEVER
        self._scheduled_tick = NEVER
        self._last_id = 0

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self.name}/{self._last_id}"

    def hinder(self, until: float) -> None:
        """Note that until then it cannot be expected to do anything in time."""
        self.unhindered_since = max(self.unhindered_since, until)

    def on_failure(self, command: StoreCommand[object]) -> None:
        """Expect that a failed command is retried: releases and evictions after as long as the attempt ran."""
        now, delay = self.scheduler.now, RECOVERY
        if isinstance(command, Evict | Release):
            delay += min(COMMAND_TIMEOUT, self.clock.local(now) - command.sent)
        self.hinder(now + delay)

    def rest(self, lock_name: str, seconds: float) -> None:
        """Note that for so long it need not compete for the lock."""
        until = self.scheduler.now + seconds
        self.resting_until[lock_name] = max(self.resting_until.get(lock_name, 0.0), until)

    # --- the elector's thread ---

    def submit(self, event: CoreEvent) -> None:
        """Handle an event now, or when the elector's thread runs again."""
        now = self.scheduler.now
        if self._inbox or now < self.elector_paused_until or now < self.process_paused_until:
            self._inbox.append(event)
            if len(self._inbox) == 1:
                self._handle_inbox()
        elif self.alive:
            self.step(event)

    def _handle_inbox(self) -> None:
        paused_until = max(self.elector_paused_until, self.process_paused_until)
        if self.scheduler.now < paused_until:
            self.scheduler.at(paused_until, self._handle_inbox)
            return
        inbox, self._inbox = self._inbox, []
        for event in inbox:
            if self.alive:
                self.step(event)

    def step(self, event: CoreEvent) -> None:
        """Let the elector handle an event, and do what it orders."""
        elector, local = self.elector, self.clock.local(self.scheduler.now)
        for action in elector.handle(event, local):
            self._execute(action)
            if not self.alive:
                return
        if self.shutting_down and elector.is_idle:
            self.world.on_death(self)
            return
        next_tick_at = elector.next_tick_at()
        if next_tick_at <= local:
            raise Violation(f"{self.name} has done what it can and wants another tick at once: it would spin")
        self._tick_at = due = self.clock.world(next_tick_at) + 1e-6 if next_tick_at != NEVER else NEVER
        if due < self._scheduled_tick:
            self._scheduled_tick = due
            self.scheduler.at(due, self._on_tick, due)

    def _on_tick(self, due: float) -> None:
        if self._scheduled_tick != due or not self.alive:
            return
        paused_until = max(self.elector_paused_until, self.process_paused_until)
        if self._tick_at > self.scheduler.now or paused_until > self.scheduler.now:
            self._scheduled_tick = due = max(self._tick_at, paused_until)
            if due != NEVER:
                self.scheduler.at(due, self._on_tick, due)
        else:
            self._scheduled_tick = NEVER
            self.step(Tick())

    def declare(self, lock_name: str, timing: Timing, init_delay: float = 0.0) -> None:
        """Take part in a lock, or change its timing."""
        if not self.shutting_down:
            self.submit(Declare(lock_name, timing, self.world.conditions.lost_policies[lock_name], init_delay))

    def shut_down(self) -> None:
        """End all terms, then the process."""
        self.shutting_down = True
        self.submit(Shutdown("the process ends"))

    def die(self) -> None:
        """End the process at once."""
        self.alive = False
        self.jobs.end_all()

    # --- the database ---

    def on_change(self, server: "Server", lock_names: frozenset[str]) -> None:
        """Receive a notification, late or not at all."""
        world = self.world
        if server is self.server and not self.link.is_cut and world.rng.random() < 0.8:
            self.scheduler.after(world.network.draw_delay(), self.submit, LocksChanged(lock_names))

    def connect(self, server: "Server") -> None:
        """Use another server."""
        self.server = server
        self.hinder(self.scheduler.now + RECOVERY)

    def recover(self) -> None:
        """End everything that hinders this instance, except for what is already lost."""
        now = self.scheduler.now
        self.link.heal()
        self.elector_paused_until = min(self.elector_paused_until, now)
        self.watchdog_paused_until = min(self.watchdog_paused_until, now)
        self.process_paused_until = min(self.process_paused_until, now)
        self._handle_inbox()
        self.unhindered_since = min(self.unhindered_since, now + 2 * COMMAND_TIMEOUT + RECOVERY)

    # --- other threads ---

    def pause_elector(self, until: float) -> None:
        """Pause the elector's thread alone: the watchdog ends the trust."""
        self.elector_paused_until = max(self.elector_paused_until, until)
        self.hinder(self.elector_paused_until + RECOVERY)
        self._watchdog.arm()

    def pause_watchdog(self, until: float) -> None:
        """Pause the watchdog's thread alone: the elector's thread ends the trust itself."""
        self.watchdog_paused_until = max(self.watchdog_paused_until, until)

    def pause_worker(self, until: float) -> None:
        """Pause one thread with a connection: its commands wait."""
        if self._workers:
            name = self.world.rng.choice(sorted(self._workers))
            self._workers[name].paused_until = until
            self.hinder(until + RECOVERY)

    def freeze(self, until: float, *, can_exit: bool) -> None:
        """Pause all Python threads. ``can_exit``: native code blocks them, so the exit watchdog still works."""
        self.process_paused_until = max(self.process_paused_until, until)
        self.hinder(self.process_paused_until + RECOVERY)
        self.jobs.on_frozen()
        exit_at = self.clock.world(self.elector.exit_deadline())
        if can_exit and exit_at < self.process_paused_until:
            self.scheduler.at(exit_at, self._on_exit_deadline)

    def _on_exit_deadline(self) -> None:
        if self.alive and self.elector.exit_deadline() <= self.clock.local(self.scheduler.now) + 1e-6:
            self.world.story.tell("{} is ended by its exit watchdog", self.name)
            self.world.on_death(self)

    # --- actions ---

    def _execute(self, action: Action) -> None:
        if isinstance(action, StoreCommand):
            worker = self._workers.get(action.connection_name)
            if worker is None:
                worker = self._workers[action.connection_name] = Worker(self, action.connection_name)
            worker.submit(action)
        else:
            self._execute_locally(action)

    def _execute_locally(self, action: Action) -> None:
        match action:
            case StartJob(term):
                self.world.checker.counts["start"] += 1
                self.jobs.start(term)
            case SetStopTimeout(term, seconds):
                self.jobs.stop_timeouts[term.lock_name] = seconds
            case StopJob(term, _):
                self.rest(term.lock_name, self.world.conditions.longest_heartbeat * 1.02)
                self.jobs.stop(term)
            case RecordTransition(entry):
                self.world.checker.counts[entry.kind.value] += 1
                self.world.story.tell("{}: {}", self.name, entry.reason)
            case Abandon(command):
                self._workers[command.connection_name].abandon(command)
            case Overrun(term, lost_policy):
                self.world.checker.on_overrun(self, term)
                if lost_policy is LostPolicy.EXIT:
                    self.world.on_death(self)
