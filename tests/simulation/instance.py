"""One simulated instance: the real elector, and its process with threads, connections, a clock and jobs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from masterjob.election.core.commands import COMMAND_TIMEOUT, Evict, Release, StoreCommand
from masterjob.election.core.elector import Elector
from masterjob.election.core.events import CoreEvent, Declare, LocksChanged, Shutdown, StepDown, Tick
from masterjob.election.core.session import NEVER
from masterjob.election.history_writer import HistoryWriter
from masterjob.election.timing import Timing
from masterjob.election.values import Identity
from tests.simulation.actions import ActionExecutor
from tests.simulation.clock import LocalClock
from tests.simulation.connections import RECOVERY
from tests.simulation.decisions import Decisions
from tests.simulation.jobs import Jobs
from tests.simulation.network import Connections, Link
from tests.simulation.story import Violation
from tests.simulation.watchdog import Watchdog

if TYPE_CHECKING:
    from tests.simulation.database import Server
    from tests.simulation.world import World


LATEST_WAKING = 0.01
"""Seconds from the end of a pause until each thread of the process runs again, at most."""


class SimulatedInstance:
    """One process."""

    def __init__(self, world: "World", name: str, server: "Server", make_elector: Callable[..., Elector]) -> None:
        spread, self.rng = world.conditions.clock_spread, world.stream(name)
        self.world = world
        self.name = name
        self.server = server
        self.scheduler = world.scheduler
        self.clock = LocalClock(self.rng.choice((1 - spread, 1 + spread, 1.0)), self.rng.uniform(0, 1e6))
        self.node_skew = world.conditions.node_skew if self.rng.random() < 0.5 else 0.0
        """The clock of the node of the database that it uses."""
        self.link = Link(world.scheduler, world.stream(f"{name} network"), world.network)
        self.elector = make_elector(Identity(name), world.stream(f"{name} elector"), self._new_id)
        self.jobs = Jobs(self)
        self._handle = self._checked_elector().handle
        self.actions = ActionExecutor(self)
        self.alive = True
        self.shutting_down = False
        self.elector_paused_until = 0.0
        self.watchdog_paused_until = 0.0
        self.process_paused_until = 0.0
        """No Python thread runs: neither the elector nor the watchdog, nor a worker, nor a job."""
        self.last_pause = float("-inf")
        self.last_pause_duration = 0.0
        self._hindered_until = dict.fromkeys((Connections.HEARTBEATS, Connections.CONTROL), world.scheduler.now)
        self.absent_from = self._draw_absence()
        """The locks that it takes no part in."""
        self.resting_until: dict[str, float] = {}
        """Until when it need not compete for a lock."""
        self._watchdog = Watchdog(self)
        self._history_writer = HistoryWriter()
        self._inbox: list[CoreEvent] = []
        self._tick_at = NEVER
        self._scheduled_tick = NEVER
        self._last_id = 0

    def _checked_elector(self) -> "Decisions | Elector":
        """Return what checks the elector's decisions, or the elector itself if it is not the real one."""
        return Decisions(self, self.elector) if type(self.elector) is Elector else self.elector

    def _draw_absence(self) -> frozenset[str]:
        names, rate = self.world.conditions.lock_names, self.world.conditions.absence_rate
        is_absent = rate > 0 and self.world.faults_enabled and self.rng.random() < rate
        return frozenset(names) - {self.rng.choice(names)} if is_absent else frozenset()

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self.name}/{self._last_id}"

    def hinder(self, until: float, connections: Connections = Connections.ALL) -> None:
        """Note that until then it cannot be expected to do in time what needs these connections."""
        for each in self._hindered_until if connections is Connections.ALL else (connections,):
            self._hindered_until[each] = max(self._hindered_until[each], until)

    def _hinder_by_pause(self, until: float) -> None:
        """Expect nothing until then, and later what hinders it now: a pause counts for no timeout."""
        now = self.scheduler.now
        for each, hindered_until in self._hindered_until.items():
            self._hindered_until[each] = max(hindered_until, now) + (until - now) + RECOVERY

    @property
    def unhindered_since(self) -> float:
        """Since when nothing has kept it from doing what it should; in the future while something does."""
        return max(self._hindered_until.values())

    @property
    def hears_since(self) -> float:
        """The same for what a heartbeat tells it."""
        return self._hindered_until[Connections.HEARTBEATS]

    def on_failure(self, command: StoreCommand[object]) -> None:
        """Expect that a failed command is retried: releases and evictions after as long as the attempt ran."""
        now, delay = self.scheduler.now, RECOVERY
        if isinstance(command, Evict | Release):
            delay += min(COMMAND_TIMEOUT, max(0.0, self.clock.local(now) - command.sent))
        self.hinder(now + delay, Connections.of(command.connection_name))

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
        actions = self._handle(event, local)
        for action in actions:
            self.actions.execute(action)
            if not self.alive:
                return
        for command in self._history_writer.commands_for(event, actions, local):
            self.actions.submit(command)
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
        if lock_name in self.absent_from:
            return
        self.submit(Declare(lock_name, timing, self.world.conditions.lost_policies[lock_name], init_delay))

    def step_down(self, lock_name: str) -> None:
        """End the current term of a lock, if any, without the database."""
        self.submit(StepDown(lock_name, "asked on the spot"))

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
        if server is self.server and not self.link.is_cut and self.rng.random() < 0.8:
            self.scheduler.after(self.link.draw_delay(), self.submit, LocksChanged(lock_names))

    def connect(self, server: "Server") -> None:
        """Use another server."""
        self.server = server
        self.hinder(self.scheduler.now + RECOVERY)

    def recover(self) -> None:
        """End everything that hinders this instance, except for what is already lost."""
        now, self.absent_from = self.scheduler.now, frozenset()
        self.link.heal()
        self.elector_paused_until = min(self.elector_paused_until, now)
        self.watchdog_paused_until = min(self.watchdog_paused_until, now)
        self.process_paused_until = min(self.process_paused_until, now)
        self._handle_inbox()
        for each, until in self._hindered_until.items():
            self._hindered_until[each] = min(until, now + 2 * COMMAND_TIMEOUT + RECOVERY)

    # --- other threads ---

    def pause_elector(self, until: float) -> None:
        """Pause the elector's thread alone: the watchdog ends the trust."""
        self.elector_paused_until = max(self.elector_paused_until, until)
        self._hinder_by_pause(until)
        self._watchdog.arm()

    def pause_watchdog(self, until: float) -> None:
        """Pause the watchdog's thread alone: the elector's thread ends the trust itself."""
        self.watchdog_paused_until = max(self.watchdog_paused_until, until)

    def pause_worker(self, until: float) -> str:
        """Pause one thread with a connection: its commands wait. Return the connection's name."""
        self.hinder(until + RECOVERY)
        return self.actions.pause_worker(until)

    def freeze(self, until: float, *, can_exit: bool) -> None:
        """Pause all Python threads. ``can_exit``: native code blocks them, so the exit watchdog still works."""
        self.process_paused_until = max(self.process_paused_until, until)
        self._hinder_by_pause(until)
        # Its threads wake in any order.
        self.elector_paused_until = max(self.elector_paused_until, until + self.rng.uniform(0, LATEST_WAKING))
        self.watchdog_paused_until = max(self.watchdog_paused_until, until + self.rng.uniform(0, LATEST_WAKING))
        self._watchdog.arm()
        self.jobs.on_frozen()
        exit_at = self.clock.world(self.elector.exit_deadline())
        if can_exit and exit_at < self.process_paused_until:
            self.scheduler.at(exit_at, self._on_exit_deadline)

    def _on_exit_deadline(self) -> None:
        if self.alive and self.elector.exit_deadline() <= self.clock.local(self.scheduler.now) + 1e-6:
            self.world.story.tell("{} is ended by its exit watchdog", self.name)
            self.world.on_death(self)
