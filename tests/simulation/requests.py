"""What people ask for: switches, step-downs, other timings, instances that leave a lock."""

from random import Random
from typing import TYPE_CHECKING

from masterjob.election.core.commands import COMMAND_TIMEOUT, Claim, Move
from masterjob.election.core.events import Withdraw
from masterjob.election.timing import Timing
from masterjob.election.values import Term
from tests.simulation.disturbances import Disturbances, draw_disturbance
from tests.simulation.fault_source import FaultSource
from tests.simulation.network import Disturbance

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World


class Requests(FaultSource):
    """The requests of people; they are no faults, but they meet them."""

    def __init__(self, world: "World", disturbances: Disturbances) -> None:
        super().__init__(world)
        self._disturbances = disturbances

    def switch(self, rng: Random) -> None:
        """Disable a lock that is enabled, perhaps for a while, and the reverse."""
        name = self._choose_lock(rng)
        if self._world.server.is_down:
            return
        row = self._world.server.memory.tables.locks.get(name)
        enabled = row is None or not row.enabled
        self._world.story.tell_fault("somebody {} {}", "enables" if enabled else "disables", name)
        self._world.switch(name, enabled=enabled, seconds=rng.uniform(0.5, 8) if rng.random() < 0.4 else None)

    def step_down(self, rng: Random) -> None:
        """Request a master to step down, through the database or on the spot."""
        name = self._choose_lock(rng)
        if rng.random() < 0.5:
            self._world.story.tell_fault("the master of {} is asked on the spot to step down", name)
            self._order_step_down(name)
        elif (row := self._world.server.memory.tables.locks.get(name)) is not None:
            term, server = Term(name, row.term), self._world.server
            self._world.story.tell_fault("{} is requested to step down", term)

            def commit() -> None:
                self._world.story.tell("the request is in the database")
                server.store.request_step_down(term, "somebody", "why not")

            server.when_unlocked(lambda: (name,), commit)

    def retime(self, rng: Random) -> None:
        """Give a lock another timing, perhaps for a short time, perhaps while the move of its term fails."""
        held = [name for name in self._world.conditions.lock_names if self._master_of(name)]
        name = rng.choice(held) if held and rng.random() < 0.8 else self._choose_lock(rng)
        before = self._world.timings[name]
        timings = [each for each in self._world.conditions.timings if each != before]
        if not timings:
            return
        timing, master = rng.choice(timings), self._master_of(name)
        self._world.story.tell_fault("somebody changes the timing of {}", name)
        if master is not None and rng.random() < 0.4:
            self._hinder_move(rng, master)
            if rng.random() < 0.5:
                self._world.scheduler.after(6 * rng.random(), self._order_step_down, name)
        elif master is not None and rng.random() < 0.5:
            self._delay_move(rng, master, name)
        self._declare(rng, name, timing)
        if rng.random() < 0.5:
            self._world.scheduler.after(
                rng.choice((0.2, 1.0, 8.0)) * rng.random(), self._declare, rng, name, before
            )

    def _declare(self, rng: Random, name: str, timing: Timing) -> None:
        world = self._world
        if not world.faults_enabled:
            return
        world.timings[name] = timing
        world.story.tell("{} gets another timing: {}", name, timing)
        for instance in list(world.live_instances()):
            delay = 0.0 if name in instance.jobs.runs else rng.uniform(0, 1)
            world.scheduler.after(delay, instance.declare, name, timing)

    def _hinder_move(self, rng: Random, master: "SimulatedInstance") -> None:
        disturbance = draw_disturbance(rng, self._disturbances.follow_up(rng, master))
        master.link.disturb_next(Move, disturbance)
        self._world.story.tell("the next move of {} {}", master.name, disturbance)

    def _delay_move(self, rng: Random, master: "SimulatedInstance", name: str) -> None:
        """Let a move be executed after it was given up, when its term has ended or its master has died."""
        disturbance = Disturbance(request_delay=COMMAND_TIMEOUT * rng.uniform(0.3, 1.5))
        master.link.disturb_next(Move, disturbance)
        self._world.story.tell("the next move of {} {}", master.name, disturbance)
        if rng.random() < 0.3:
            self._world.scheduler.after(0.1 + rng.random(), self._world.on_death, master)
            return
        self._world.scheduler.after(COMMAND_TIMEOUT * rng.random(), self._order_step_down, name)
        for other in [each for each in self._world.live_instances() if each is not master]:
            self._leave(other, name, 1.6 * COMMAND_TIMEOUT)

    def rejoin(self, rng: Random) -> None:
        """Let an instance leave a lock and take part in it again."""
        if (instance := self._choose_instance(rng)) and not instance.shutting_down:
            name, delay = self._choose_lock(rng), rng.uniform(0, 2)
            instance.rest(name, delay + 1.0)
            self._world.story.tell_fault("{} leaves {} for {:.3f} s", instance.name, name, delay)
            if rng.random() < 0.5:  # while its claim is on its way
                instance.link.disturb_next(Claim, Disturbance(reply_delay=rng.uniform(0, 2)))
                self._order_step_down(name)
                self._world.scheduler.after(
                    rng.uniform(0, 1.5), instance.submit, Withdraw(name, "not wanted any more")
                )
                delay += 1.5
                self._world.scheduler.after(delay, self._return, instance, name)
            else:
                self._leave(instance, name, delay)
