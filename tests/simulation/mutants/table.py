"""The table of what finds each planted bug. A measurement of some of them replaces their rows."""

from dataclasses import dataclass
from pathlib import Path

from tests.simulation.mutants.catalog import MUTANTS
from tests.simulation.mutants.planting import Mutant
from tests.simulation.mutants.search import Finding

NONE = "**none**"
NOT_FOUND = "**no**"

_HEAD = """# Planted bugs

For each rule of the protocol ([design.md, section 3](design.md#3-the-protocol)) there is at least one bug without
it. The table says what finds each: the simulation, with the CPU seconds that each of two processes needs and the
seed that shows it, and the first test that fails. `make mutants` measures everything again, `make mutants
ONLY=words` the rows with these words. A row with **no** says how long the search was. The bugs are in
`tests/simulation/mutants/`.

"""
_COLUMNS = "| rule | planted bug | simulation | test |\n|---|---|---|---|\n"


@dataclass(frozen=True)
class Row:
    """What finds one planted bug, as texts."""

    simulation: str
    test: str

    @property
    def survives(self) -> bool:
        """Whether nothing finds the bug."""
        return self.test == NONE and not self.is_found_by_simulation

    @property
    def is_found_by_simulation(self) -> bool:
        """Whether the simulation finds it."""
        return self.simulation[:1].isdigit()


def describe(mutant: Mutant, finding: Finding | None) -> str:
    """Return what the simulation found, in short."""
    if not mutant.is_simulated:
        return f"({mutant.unseen})"
    if finding is None:
        return "not tried"
    if finding.text:
        return f"{finding.seconds:.1f} s ({finding.seed}: {finding.text.split(':')[0][:40]})"
    reason = f"{finding.seeds:,} seeds, {finding.seconds:.0f} s" if finding.is_executed else "never executed"
    return f"{NOT_FOUND} ({reason})"


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a table that was written before, by the sentence of the bug."""
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[0][:1].isdigit():
            rows[cells[1]] = Row(cells[2], cells[3])
    return rows


def write(path: Path, rows: dict[str, Row]) -> None:
    """Write the table and a summary."""
    text = _HEAD + summary(rows) + "\n"
    for title, is_simulated in (
        ("Bugs that the simulation has to find", True),
        ("Bugs for the tests alone", False),
    ):
        text += f"## {title}\n\n{_COLUMNS}"
        for mutant in MUTANTS:
            if mutant.is_simulated is is_simulated and (row := rows.get(mutant.sentence)):
                rule = f"{mutant.rule.section} {mutant.rule.sentence}"
                text += f"| {rule} | {mutant.sentence} | {row.simulation} | {row.test} |\n"
        text += "\n"
    path.write_text(text.rstrip() + "\n")


def summary(rows: dict[str, Row]) -> str:
    """Return how many of the bugs were found, by what."""
    measured = [(mutant, rows[mutant.sentence]) for mutant in MUTANTS if mutant.sentence in rows]
    simulated = [row for mutant, row in measured if mutant.is_simulated]
    found = sum(row.is_found_by_simulation for row in simulated)
    tried = [row.test for _, row in measured if row.test != "not tried"]
    tested = len(tried) - tried.count(NONE)
    survivors = sum(row.survives for _, row in measured)
    return (
        f"The simulation finds {found} of {len(simulated)} that it has to find; "
        f"the tests find {tested} of {len(tried)} that they were given; {survivors} are found by neither.\n"
    )
