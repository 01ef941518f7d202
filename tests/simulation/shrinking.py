"""From a failing scenario to the smallest one that breaks the same rule.

What is left out, in this order, until nothing more can be: faults, locks, instances, everything else that happens
by chance, and time. Each kind of chance has its own source, so most of what remains happens as before. Nothing
here is random: the same failure always shrinks to the same scenario.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.scenario import LEFT_OUT, Scenario
from tests.simulation.story import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_REPLAYS = 600
"""How many worlds are simulated at most for one failure."""

Replay = Callable[[Scenario], object]


def shrink(scenario: Scenario, violation: Violation, replay: Replay) -> tuple[Scenario, Violation]:
    """Return the smallest scenario found that breaks the same rule, and its violation."""
    shrinker = _Shrinker(scenario, violation, replay)
    shrinker.shrink()
    return shrinker.scenario, shrinker.violation


class _Shrinker:
    """The smallest failure so far."""

    def __init__(self, scenario: Scenario, violation: Violation, replay: Replay) -> None:
        self.scenario = replace(scenario, faults=violation.faults)
        self.violation = violation
        self._replay = replay
        self._replays = 0

    def shrink(self) -> None:
        if not self._try(self.scenario):  # faults that come later matter, if only by the chance that they use
            return
        before = None
        while before != self.scenario and self._replays < MAX_REPLAYS:
            before = self.scenario
            self._leave_out_faults()
            for step in (_fewer_locks, _fewer_instances, _less_chance, _less_time):
                self._take_first(step)

    def _take_first(self, step: Callable[[Scenario, Violation], Iterator[Scenario]]) -> None:
        """Repeat a step as long as one of the scenarios that it suggests fails as well."""
        while any(self._try(candidate) for candidate in step(self.scenario, self.violation)):
            pass

    def _try(self, scenario: Scenario) -> bool:
        """Replay a smaller scenario; keep it if it breaks the same rule."""
        if self._replays >= MAX_REPLAYS:
            return False
        self._replays += 1
        try:
            self._replay(scenario)
        except Violation as violation:
            if violation.rule != self.violation.rule:
                return False
            self.scenario, self.violation = scenario, violation
            return True
        return False

    def _leave_out_faults(self) -> None:
        """Leave out halves of the faults, then quarters, and so on (delta debugging)."""
        parts = 1
        while (faults := self.scenario.faults or ()) and parts <= len(faults):
            size = -(-len(faults) // parts)
            rests = [faults[:start] + faults[start + size :] for start in range(0, len(faults), size)]
            if any(self._try(replace(self.scenario, faults=rest)) for rest in rests):
                parts = max(1, parts - 1)
            elif parts == len(faults):
                return
            else:
                parts = min(2 * parts, len(faults))


def _fewer_locks(scenario: Scenario, violation: Violation) -> Iterator[Scenario]:
    locks = _world(violation).conditions.lock_names
    if len(locks) > 1:
        for name in locks:
            yield replace(scenario, locks=(name,))
        for name in locks:
            yield replace(scenario, locks=tuple(other for other in locks if other != name))


def _fewer_instances(scenario: Scenario, violation: Violation) -> Iterator[Scenario]:
    for count in range(1, _world(violation).conditions.fleet):
        yield replace(scenario, instances=count)


def _less_chance(scenario: Scenario, _violation: Violation) -> Iterator[Scenario]:
    rest = tuple(name for name in LEFT_OUT if name not in scenario.without)
    if rest:
        yield replace(scenario, without=scenario.without + rest)
    if len(rest) > 1:
        for name in rest:
            yield replace(scenario, without=(*scenario.without, name))


def _less_time(scenario: Scenario, violation: Violation) -> Iterator[Scenario]:
    """End the faults earlier, if the violation came after their end."""
    world = _world(violation)
    if not world.faults_enabled:
        for share in (0.3, 0.6, 0.9):
            duration = round(world.conditions.fault_duration * share, 1)
            if duration < world.conditions.fault_duration:
                yield replace(scenario, duration=duration)


def _world(violation: Violation) -> "World":
    assert violation.world is not None, "the violation was not raised by a whole world"
    return violation.world
