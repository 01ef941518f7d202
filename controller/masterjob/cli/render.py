"""Tables for people and JSON for programs. Output into a pipe has no colours, and one line for each row."""

import json
import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from masterjob.concurrency.clock import format_age
from masterjob.election.timing import format_duration
from masterjob.lock_status import HistoryEvent

_PIPE_WIDTH = 2000  # columns, so that a row in a pipe is one line
_NARROW_COLUMNS = ("State", "Since", "At", "Term")
_STATE_COLOURS = {
    "Running": "green",
    "Completed": "green",
    **dict.fromkeys(("Starting", "Stopping", "Disabled"), "yellow"),
    **dict.fromkeys(("StartFailed", "Vacant", "Unknown"), "red"),
}


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, last_below: bool = False) -> None:
    """Print a table without trailing blanks; on a terminal the states are coloured.

    With ``last_below``, a terminal that is too narrow for a row shows its last cell below the others.
    """
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = _build_table(columns, rows)
    if not last_below or console.measure(table, options=_unbounded(console)).maximum <= console.width:
        _print_lines(console, table)
        return
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    _print_lines(console, _aligned_line(columns[:-1], widths, "bold"))
    for row in rows:
        _print_lines(console, _aligned_line(row[:-1], widths))
        if row[-1]:
            _print_lines(console, Padding(row[-1], (0, 0, 0, 4)))


def _build_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _NARROW_COLUMNS)
    for row in rows:
        table.add_row(*(Text(cell, style=_STATE_COLOURS.get(cell, "")) for cell in row))
    return table


def _aligned_line(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    padded = [
        (cell + " " * (width + 2 - cell_len(cell)), _STATE_COLOURS.get(cell, style))
        for cell, width in zip(cells, widths, strict=False)
    ]
    return Text.assemble(*padded)


def _unbounded(console: Console) -> ConsoleOptions:
    return console.options.update(width=_PIPE_WIDTH)


def _print_lines(console: Console, renderable: RenderableType) -> None:
    for line in console.render_lines(renderable, pad=False):
        console.print(Segments([*_without_trailing_blanks(line), Segment.line()]), soft_wrap=True, end="")


def _without_trailing_blanks(line: Sequence[Segment]) -> list[Segment]:
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


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
