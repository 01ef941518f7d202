"""What goes wrong with one command: its request or reply is late or lost, and then more goes wrong.

A random loss rarely hits a claim or a move. So each fault here waits for the next command of its kind, which it
provokes.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from masterjob.election.core.commands import (
    COMMAND_TIMEOUT,
    Claim,
    Evict,
    OpenSession,
    ReadHeldTerms,
    Release,
    Renew,
    StoreCommand,
)
from masterjob.election.core.session import NEVER
from tests.simulation.fault_source import FaultSource
from tests.simulation.network import Connections, Cut, Disturbance
from tests.simulation.network_faults import NetworkFaults
from tests.simulation.process_faults import ProcessFaults

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World


def draw_disturbance(rng: Random, on_sent: Callable[[], None] | None = None) -> Disturbance:
    """Return what happens to a command: it is lost, held for a while, or held for longer than its timeout."""
    delay = rng.choice((NEVER, rng.uniform(0.1, 1.0), rng.uniform(0.1, COMMAND_TIMEOUT + 3)))
    if rng.random() < 0.4:
        return Disturbance(request_delay=delay, on_sent=on_sent)
    return Disturbance(reply_delay=rng.choice((None, delay, delay)), on_sent=on_sent)


class Disturbances(FaultSource):
    """Faults that hit one command."""

    def __init__(self, world: "World", network: NetworkFaults, process: ProcessFaults) -> None:
        super().__init__(world)
        self._network, self._process = network, process

    def disturb_release(self, rng: Random) -> None:
        """Disturb a release."""
        if masters := self._masters():
            instance = rng.choice(masters)
            self._disturb(instance, Release, draw_disturbance(rng, self.follow_up(rng, instance)))
            self._order_step_down(rng.choice(list(instance.jobs.runs)))

    def disturb_reading(self, rng: Random) -> None:
        """Disturb what follows a claim whose reply was lost: the reading of what is held."""
        if masters := self._masters():
            instance = rng.choice(self._world.live_instances())
            self._disturb(instance, Claim, Disturbance(reply_delay=rng.choice((None, NEVER))))
            instance.link.disturb_next(ReadHeldTerms, draw_disturbance(rng, self.follow_up(rng, instance)))
            self._order_step_down(rng.choice(list(rng.choice(masters).jobs.runs)))

    def disturb_eviction(self, rng: Random) -> None:
        """Disturb an eviction: a master is killed."""
        masters = self._masters()
        others = [each for each in self._world.live_instances() if each not in masters]
        if masters and others:
            instance = rng.choice(others)
            self._disturb(instance, Evict, draw_disturbance(rng, self.follow_up(rng, instance)))
            self._world.on_death(rng.choice(masters))

    def disturb_heartbeat(self, rng: Random) -> None:
        """Disturb a heartbeat, perhaps while a lock is disabled for a moment."""
        instance = self._choose_instance(rng)
        if instance is None:
            return
        if instance.jobs.runs and rng.random() < 0.5:
            name = rng.choice(list(instance.jobs.runs))
            delay = rng.uniform(0.5, 1.0) * self._world.conditions.longest_heartbeat
            disturbance = Disturbance(reply_delay=delay, on_sent=lambda: self._disable_briefly(instance, name))
        else:
            disturbance = draw_disturbance(rng, self.follow_up(rng, instance))
        self._disturb(instance, Renew, disturbance)

    def _disable_briefly(self, instance: "SimulatedInstance", name: str) -> None:
        """Disable a lock for a moment; only its master competes for it then."""
        if self._world.faults_enabled:
            for other in [each for each in self._world.live_instances() if each is not instance]:
                self._leave(other, name, 2.0)
            self._world.switch(name, enabled=False)
            self._world.scheduler.after(0.1, self._enable, name)

    def _enable(self, name: str) -> None:
        if self._world.faults_enabled:  # their end enables it anyway
            self._world.switch(name, enabled=True)

    def disturb_opening(self, rng: Random) -> None:
        """Let a new instance learn late that its session is open, and cut off its heartbeats at once."""
        world, delay = self._world, rng.uniform(0.1, 1.0) * self._world.conditions.longest_heartbeat
        names = [name for each in world.live_instances() for name in each.jobs.runs]
        if not names or len(world.live_instances()) > world.conditions.fleet + 1:
            return
        name, is_cut = rng.choice(names), rng.random() < 0.8

        def prepare(instance: "SimulatedInstance") -> None:
            def on_executed() -> None:
                until = self._now + 1.5 * self._longest_lease
                if is_cut:
                    self._network.cut_now(instance.name, Cut.REQUESTS, until, Connections.HEARTBEATS)
                world.scheduler.after(delay * rng.random(), self._order_step_down, name)

            self._disturb(instance, OpenSession, Disturbance(reply_delay=delay, on_executed=on_executed))

        world.boot_instance(prepare)

    def disturb_late_claim(self, rng: Random) -> None:
        """Let a claim be executed after it was given up, while its instance is the only candidate."""
        masters, live = self._masters(), self._world.live_instances()
        others = [each for each in live if each not in masters] or live
        if not masters:
            return
        instance, name = rng.choice(others), rng.choice(list(rng.choice(masters).jobs.runs))

        def on_sent() -> None:
            self._world.scheduler.after(COMMAND_TIMEOUT + 0.9, self._delay_replies, instance)

        self._disturb(instance, Claim, Disturbance(rng.uniform(1.1, 1.6) * COMMAND_TIMEOUT, on_sent=on_sent))
        if rng.random() < 0.7:
            instance.link.disturb_next(Release, Disturbance(request_delay=NEVER))
        self._order_step_down(name)
        for other in list(live):
            if other is not instance:
                self._leave(other, name, 3 * COMMAND_TIMEOUT)

    def _delay_replies(self, instance: "SimulatedInstance") -> None:
        if self._world.faults_enabled:
            until = self._now + 3.0
            instance.link.delay_replies(3.0, until, Connections.CONTROL)
            instance.hinder(until, Connections.CONTROL)

    def _masters(self) -> "list[SimulatedInstance]":
        return [each for each in self._world.live_instances() if each.jobs.runs]

    def _disturb(
        self, instance: "SimulatedInstance", kind: type[StoreCommand[object]], disturbance: Disturbance
    ) -> None:
        instance.link.disturb_next(kind, disturbance)
        self._world.story.tell_fault("the next {} of {} {}", kind.__name__, instance.name, disturbance)

    def follow_up(self, rng: Random, instance: "SimulatedInstance") -> Callable[[], None] | None:
        """Return what happens when the command was sent: its instance is cut off or blocked, or nothing."""
        scheduler, delay = self._world.scheduler, rng.random() * self._world.conditions.longest_heartbeat
        duration, kind = 2 * self._longest_lease * rng.random(), rng.random()
        if kind < 0.35:
            cut, connections = rng.choice(tuple(Cut)[1:]), rng.choice((Connections.ALL, Connections.HEARTBEATS))
            return lambda: scheduler.after(
                delay, self._network.cut_now, instance.name, cut, self._now + duration, connections
            )
        if kind < 0.7:
            return lambda: scheduler.after(0.002, self._process.stall_now, instance, self._now + duration)
        return None
