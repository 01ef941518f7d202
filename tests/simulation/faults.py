"""What goes wrong: a random plan of faults. Each has a number, and chance of its own.

So a world with fewer faults has the same others, at the same times: that is what `shrinking` needs.
"""

from collections.abc import Callable, Collection
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.conditions import Weather
from tests.simulation.database_faults import DatabaseFaults
from tests.simulation.disturbances import Disturbances
from tests.simulation.network_faults import NetworkFaults
from tests.simulation.process_faults import ProcessFaults
from tests.simulation.requests import Requests

if TYPE_CHECKING:
    from tests.simulation.world import World

FIRST_FAULT_AT = 1.5
"""When the first fault can happen: the instances have booted by then."""

Fault = Callable[[Random], None]


class Faults:
    """The faults of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        network, process = NetworkFaults(world), ProcessFaults(world)
        disturbances = Disturbances(world, network, process)
        self._database, self._requests = database, requests = (
            DatabaseFaults(world, network),
            Requests(world, disturbances),
        )
        choices: list[tuple[Fault, int]] = [
            (network.cut_off, 4), (network.cut_off_connection, 2), (network.delay_replies, 3),
            (network.disturb_claim, 2), (network.brownout, 1),
            (process.kill, 1), (process.shut_down, 1), (process.boot_another, 1), (process.freeze, 2),
            (process.stall, 1), (process.pause_elector, 2), (process.pause_watchdog, 1), (process.pause_worker, 1),
            (process.end_command, 1),
            (disturbances.disturb_release, 2), (disturbances.disturb_reading, 1),
            (disturbances.disturb_opening, 2), (disturbances.disturb_heartbeat, 2),
            (disturbances.disturb_eviction, 1), (disturbances.disturb_late_claim, 1),
            (database.outage, 1), (database.lock_row, 1), (database.replicate, 1), (database.clock_step, 2),
            (database.step_and_lose_a_master, 2), (database.pause_candidate_over_steps, 1),
            (requests.switch, 2), (requests.step_down, 2), (requests.retime, 3), (requests.rejoin, 2),
        ]  # fmt: skip
        if world.weather is Weather.WILD:
            choices += [
                (database.promote, 3),
                (database.promote_and_cut_a_master, 1),
                (database.split, 2),
                (self.promote_while_retiming, 1),
            ]
        self._choices = [choice for choice, weight in choices for _ in range(weight)]

    def schedule(self, until: float, numbers: Collection[int] | None) -> None:
        """Schedule random faults until then; if ``numbers`` is given, only those."""
        plan, number, time = self._world.stream("plan"), 0, FIRST_FAULT_AT
        longest_gap = 2 / self._world.conditions.fault_rate
        while (time := time + plan.uniform(0, longest_gap)) < until:
            if numbers is None or number in numbers:
                self._world.scheduler.at(time, self._strike, number)
            number += 1

    def promote_while_retiming(self, rng: Random) -> None:
        """Promote a replica while the term of a lock moves between two timings."""
        self._requests.retime(rng)
        self._world.scheduler.after(0.05 * rng.random(), self._database.promote_quietly, rng)

    def _strike(self, number: int) -> None:
        rng = self._world.stream(f"fault {number}")
        fault = rng.choice(self._choices)
        self._world.checker.counts[fault.__name__] += 1
        self._world.story.struck_faults.append(number)
        fault(rng)
