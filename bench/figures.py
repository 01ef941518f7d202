"""Measurements as values, as a table and as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """All samples of one measurement, for one case (a database, a number of locks)."""

    what: str
    case: str
    unit: str
    samples: list[float]

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    def quantile(self, share: float) -> float:
        """Return the sample that this share of all samples does not exceed."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as text in columns."""
    header = ("what", "case", "n", "median", "90 %", "min", "max", "unit")
    rows = [header, *(_format_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _format_row(figure: Figure) -> tuple[str, ...]:
    values = (figure.median, figure.quantile(0.9), min(figure.samples), max(figure.samples))
    return (
        figure.what,
        figure.case,
        str(len(figure.samples)),
        *(_format_number(value) for value in values),
        figure.unit,
    )


def _format_number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def save(figures: Sequence[Figure], path: Path) -> None:
    """Add the figures to the file; replace those of the same name and case."""
    by_key = {(figure.what, figure.case): figure for figure in [*load(path), *figures]}
    document = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "figures": [asdict(figure) for figure in by_key.values()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> list[Figure]:
    """Read the saved figures; return an empty list if there is no file."""
    if not path.exists():
        return []
    return [Figure(**figure) for figure in json.loads(path.read_text())["figures"]]
