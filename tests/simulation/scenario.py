"""What is simulated: a seed in its weather, perhaps with less than it contains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from tests.simulation.conditions import Conditions, Weather

WORLD_VERSION = 5
"""Grows with every change after which a seed means something else."""

LEFT_OUT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "losses": {"loss_rate": 0.0},
        "slow messages": {"slow_rate": 0.0},
        "statements sent twice": {"duplicate_rate": 0.0},
        "calls that break half-way": {"half_way_rate": 0.0},
        "clocks of different speeds": {"clock_spread": 0.0},
        "stops that take too long": {"overrun_rate": 0.0},
        "stops that take the whole stop timeout": {"full_stop_rate": 0.0},
        "late starts": {"late_start_rate": 0.0},
        "failed starts": {"failed_start_rate": 0.0},
        "instances that take part in one lock only": {"absence_rate": 0.0},
        "a second node with its own clock": {"node_skew": 0.0},
        "commands": {"commands": frozenset[str]()},
    }
)
"""What can be left out of a world, and the conditions without it."""


@dataclass(frozen=True)
class Scenario:
    """A seed and its weather. The rest says what is left of them, for a failure that was shrunk."""

    seed: int
    weather: Weather
    faults: tuple[int, ...] | None = None
    """The numbers of the faults that happen; None: all."""
    instances: int | None = None
    """How many instances there are at first; None: as many as the seed says."""
    locks: tuple[str, ...] | None = None
    """The locks; None: those of the seed."""
    without: tuple[str, ...] = ()
    """What else is left out, by its names in `LEFT_OUT`."""
    duration: float | None = None
    """When the faults end, in seconds; None: as the seed says."""

    def apply(self, conditions: Conditions) -> Conditions:
        """Return the conditions of the seed, reduced to what is left."""
        changes: dict[str, Any] = {}
        for name in self.without:
            changes |= LEFT_OUT[name]
        if self.instances is not None:
            changes["fleet"] = self.instances
        if self.locks is not None:
            changes["lock_names"] = self.locks
        if self.duration is not None:
            changes["fault_duration"] = self.duration
        return replace(conditions, **changes)

    def __str__(self) -> str:
        faults = "all faults" if self.faults is None else f"faults {', '.join(map(str, self.faults)) or 'none'}"
        left_out = f"; without {', '.join(self.without)}" if self.without else ""
        return f"Seed {self.seed} in {self.weather.value} weather, {faults}{left_out}"
