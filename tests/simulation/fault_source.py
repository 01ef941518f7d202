"""What all kinds of faults need."""

from random import Random
from typing import TYPE_CHECKING

from masterjob.election.core.events import Withdraw

if TYPE_CHECKING:
    from tests.simulation.instance import SimulatedInstance
    from tests.simulation.world import World


class FaultSource:
    """A kind of faults of one world. Each method is a fault, and gets its own source of chance."""

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def _now(self) -> float:
        return self._world.scheduler.now

    @property
    def _longest_lease(self) -> float:
        return self._world.conditions.longest_lease

    def _choose_instance(self, rng: Random) -> "SimulatedInstance | None":
        """Return a live instance, more often one that runs a job."""
        live = self._world.live_instances()
        masters = [each for each in live if each.jobs.runs]
        return rng.choice(masters if masters and rng.random() < 0.7 else live) if live else None

    def _choose_lock(self, rng: Random) -> str:
        return rng.choice(self._world.conditions.lock_names)

    def _master_of(self, name: str) -> "SimulatedInstance | None":
        return next((each for each in self._world.live_instances() if name in each.jobs.runs), None)

    def _order_step_down(self, name: str) -> None:
        """Let the instances themselves end a term, as a job or the application can order it."""
        for instance in list(self._world.live_instances()):
            instance.step_down(name)

    def _leave(self, instance: "SimulatedInstance", name: str, seconds: float) -> None:
        """Let an instance take no part in a lock for some seconds."""
        instance.rest(name, seconds + 1.0)
        instance.submit(Withdraw(name, "not wanted any more"))
        self._world.scheduler.after(seconds, self._return, instance, name)

    def _return(self, instance: "SimulatedInstance", name: str) -> None:
        instance.declare(name, self._world.timings[name])
