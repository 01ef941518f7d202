"""Failures that were shrunk once and must stay visible: each with the planted bug that it belongs to.

``python -m tests.simulation.regressions`` finds and shrinks them again. That is needed when `WORLD_VERSION` has
changed, since a seed then means something else, and when the elector does not reach a failure any more.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.simulation.conditions import Weather
from tests.simulation.mutants.catalog import MUTANTS
from tests.simulation.mutants.planting import Mutant
from tests.simulation.scenario import WORLD_VERSION, Scenario
from tests.simulation.shrinking import shrink
from tests.simulation.story import Violation
from tests.simulation.world import replay

PATH = Path(__file__).with_suffix(".json")

MAX_SEEDS = 300

PLANTED = (
    "a lock is released before its stop has returned",
    "a request to step down clears the holder",
    "a claim takes a lock that another session holds",
    "the row says a shorter lease than its master counts with",
    "a renewal does not increment the beat",
    "a disable is not shown to the master",
    "an eviction goes by the database's clock alone",
    "there is no margin",
    "there is no quarantine",
    "an age is believed though it contradicts that the beat has moved",
)
"""The sentences of the planted bugs in the table."""


@dataclass(frozen=True)
class Regression:
    """A scenario that breaks a rule with a planted bug, and breaks none without it."""

    planted: str
    sentence: str
    """What is wrong then; it begins with the rule."""
    scenario: Scenario

    @property
    def mutant(self) -> Mutant:
        """The planted bug."""
        return next(mutant for mutant in MUTANTS if mutant.sentence == self.planted)


def read() -> tuple[int, tuple[Regression, ...]]:
    """Return the version of the world that the table was made with, and the table."""
    table = json.loads(PATH.read_text())
    return table["world_version"], tuple(_from_json(row) for row in table["regressions"])


def _from_json(row: Mapping[str, Any]) -> Regression:
    values: dict[str, Any] = dict(row["scenario"])
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    values["weather"] = Weather(values["weather"])
    return Regression(row["planted"], row["sentence"], Scenario(**values))


def _to_json(regression: Regression) -> str:
    scenario = {name: value for name, value in asdict(regression.scenario).items() if value not in (None, ())}
    scenario |= {"weather": regression.scenario.weather.value, "faults": regression.scenario.faults}
    return json.dumps({"planted": regression.planted, "sentence": regression.sentence, "scenario": scenario})


def find(mutant: Mutant) -> Regression:
    """Return the first failure of a planted bug, shrunk."""
    with mutant.planted():
        for seed, weather in itertools.product(range(MAX_SEEDS), Weather):
            scenario = Scenario(seed, weather)
            try:
                replay(scenario)
            except Violation as violation:
                smallest, shrunk = shrink(scenario, violation, replay)
                return Regression(mutant.sentence, str(shrunk), smallest)
    raise AssertionError(f"{MAX_SEEDS} seeds do not find: {mutant.sentence}")


def main() -> None:
    """Write the table."""
    mutants = {mutant.sentence: mutant for mutant in MUTANTS}
    rows = ",\n".join("    " + _to_json(find(mutants[sentence])) for sentence in PLANTED)
    PATH.write_text(f'{{\n  "world_version": {WORLD_VERSION},\n  "regressions": [\n{rows}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
