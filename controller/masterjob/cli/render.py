"""Tables for people and JSON for programs. Output into a pipe has no colours, and one line for each row."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from masterjob.election.timing import format_duration
from masterjob.lock_status import HistoryEvent

_PIPE_WIDTH = 2000  # columns, so that a row in a pipe is one line
_STATE_COLOURS = {
    "Running": "green",
    "Completed": "green",
    **dict.fromkeys(("Starting", "Stopping", "Disabled"), "yellow"),
    **dict.fromkeys(("StartFailed", "Vacant", "Unknown"), "red"),
}


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; on a terminal the states are coloured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("State", "Since", "At", "Term"))
    for row in rows:
        table.add_row(*(Text(cell, style=_STATE_COLOURS.get(cell, "")) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)


def event_text(event: HistoryEvent) -> str:
    """Return the reason of an event; of one that ended a gap, with its length and cause."""
    if event.vacant_for is None:
        return event.reason
    gap = format_seconds(event.vacant_for.total_seconds())
    return f"{event.reason}, after {gap} without it ({words(event.vacancy_cause)})"


def words(name: str) -> str:
    """Return a name of the API, such as ``hand_over``, in words."""
    return name.replace("_", " ")


def format_seconds(seconds: float) -> str:
    """Return a time span: exact if it is less than a minute, else in one or two units."""
    return format_duration(seconds) if seconds < 60 else format_age(seconds)


def elapsed_since(at: datetime) -> str:
    """Return the time since then, for people."""
    return format_age((datetime.now(UTC) - at).total_seconds())


def format_age(seconds: float) -> str:
    """Return a time span in one or two units: 7s, 3m12s, 5h7m, 3d4h."""
    whole = max(0, int(seconds))
    for size, name, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{name}" + (f"{rest}{part}" if rest else "")
    return f"{whole}s"
