"""Tables for people and JSON for programs. What goes into a pipe has no colours and one line a row."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from masterjob.election.timing import format_duration
from masterjob.lock_status import HistoryEvent, LockStatus, format_timestamp

_PIPE_WIDTH = 2000  # columns: a row in a pipe is one line, however long
_STATE_COLOURS = {"Elected": "green", "Disabled": "yellow", "Stopping": "yellow", "Vacant": "red"}


def console() -> Console:
    """Return the standard output, as wide as it is."""
    plain = Console(file=sys.stdout, highlight=False, markup=False)
    return (
        plain if plain.is_terminal else Console(file=sys.stdout, highlight=False, markup=False, width=_PIPE_WIDTH)
    )


def print_json(value: object) -> None:
    """Print a value for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns; the states in colour, on a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("State", "Since", "At", "Term"))
    for row in rows:
        table.add_row(*(Text(cell, style=_STATE_COLOURS.get(cell, "")) for cell in row))
    console().print(table)


def explain(lock: LockStatus) -> str:
    """Return why the lock has no master, or will have none; nothing where all is as it should be."""
    if lock.disabled is not None:
        until = "" if lock.disabled.until is None else f", until {format_timestamp(lock.disabled.until)}"
        return f"{lock.disabled.reason} [{lock.disabled.by}{until}]"
    if lock.master is not None and not lock.master.alive:
        return f"its master is silent for {format_age(lock.master.heartbeat_age)}"
    return ""


def event_text(event: HistoryEvent) -> str:
    """Return a line's sentence for people; an election says how long the lock had no master before."""
    if event.vacant_for is None:
        return event.reason
    return f"{event.reason}, after {format_duration(event.vacant_for.total_seconds())} without a master"


def elapsed_since(at: datetime) -> str:
    """Return how long ago that was."""
    return format_age((datetime.now(UTC) - at).total_seconds())


def format_age(seconds: float) -> str:
    """Return a time span as people take it in at a glance: 7s, 3m12s, 5h7m, 3d4h."""
    whole = max(0, int(seconds))
    for size, name, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{name}" + (f"{rest}{part}" if rest else "")
    return f"{whole}s"
