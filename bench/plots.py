"""Plots as SVG: strips of samples for distributions, bars for what depends on the number of locks."""

import math
from collections.abc import Callable, Collection, Sequence
from html import escape
from pathlib import Path

from bench.figures import Figure

WIDTH, LEFT, ROW, TOP = 760, 215, 34, 56
COLOURS = {"postgresql": "#336791", "sqlite": "#0f7b6c", "mariadb": "#b5651d"}

STRIPS = {
    "handover": ("SIGTERM to the next start", 50.0),
    "failover": ("kill -9 to the next start, less what was left of the lease", 250.0),
    "disable": ("disable to stop", 100.0),
    "enable": ("enable to start", 100.0),
}
POLLED = dict.fromkeys(("handover", "disable", "enable"), ("mariadb",))
"""Cases that a poll every second limits, so the expectation is not for them."""

BARS = {
    "statements": "statements a second, all instances together",
    "processor": "processor of each instance",
    "memory": "memory of each instance",
}


def draw(figures: Sequence[Figure], directory: Path) -> None:
    """Write each plot that has figures."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, (what, expected) in STRIPS.items():
        if chosen := [figure for figure in figures if figure.what == what]:
            (directory / f"{name}.svg").write_text(strips(what, chosen, expected, POLLED.get(name, ())))
    for name, what in BARS.items():
        if chosen := [figure for figure in figures if figure.what == what]:
            (directory / f"{name}.svg").write_text(bars(what, chosen))


def strips(title: str, figures: Sequence[Figure], expected: float, unexpected: Collection[str] = ()) -> str:
    """Draw one row per case: samples as dots, the median as a line, the expectation dashed; logarithmic axis.

    The cases in ``unexpected`` have another expectation, or none.
    """
    samples = [max(1.0, sample) for figure in figures for sample in figure.samples]
    low, high = math.log10(min([*samples, expected]) * 0.8), math.log10(max([*samples, expected]) * 1.25)
    scale = _scale(low, high)
    bottom = TOP + ROW * len(figures)
    parts = []
    for tick in _ticks(low, high):
        parts += [_text(scale(math.log10(tick)), bottom + 16, f"{tick:g}", "middle")]
    for row, figure in enumerate(figures):
        if figure.case not in unexpected:
            parts += [_dashed_line(scale(math.log10(expected)), TOP + ROW * row)]
        parts += _strip(figure, TOP + ROW * (row + 0.5), lambda value: scale(math.log10(max(1.0, value))))
    return _svg(f"{title} ({figures[0].unit}, logarithmic; dashed: expected, {expected:g})", parts, bottom + 30)


def _strip(figure: Figure, y: float, x_of: Callable[[float], float]) -> list[str]:
    colour = COLOURS.get(figure.case, "#555555")
    dots = [
        f'<circle cx="{x_of(sample):.1f}" cy="{y + 7 * math.sin(number):.1f}" r="3" fill="{colour}" '
        f'fill-opacity="0.5"/>'
        for number, sample in enumerate(figure.samples)
    ]
    at = x_of(figure.median)
    line = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 13}" y2="{y + 13}" stroke="{colour}" stroke-width="2"/>'
    return [_text(LEFT - 12, y + 4, f"{figure.case}, {figure.median:.0f}", "end"), *dots, line]


def bars(title: str, figures: Sequence[Figure]) -> str:
    """Draw one bar per case, as long as its median."""
    scale = _scale(0.0, max(figure.median for figure in figures) * 1.15)
    parts = []
    for row, figure in enumerate(figures):
        y, value = TOP + ROW * (row + 0.5), figure.median
        case = figure.case.replace("1 locks", "1 lock") if figure.case.startswith("1 ") else figure.case
        parts += [
            _text(LEFT - 12, y + 4, case, "end"),
            f'<rect x="{LEFT}" y="{y - 10}" width="{scale(value) - LEFT:.1f}" height="20" fill="#336791"/>',
            _text(scale(value) + 6, y + 4, f"{value:.2f}" if value < 10 else f"{value:.0f}", "start"),
        ]
    middle = ", median" if any(len(figure.samples) > 1 for figure in figures) else ""
    return _svg(f"{title} ({figures[0].unit}{middle})", parts, TOP + ROW * len(figures) + 12)


def _scale(low: float, high: float) -> Callable[[float], float]:
    return lambda value: LEFT + (value - low) / ((high - low) or 1.0) * (WIDTH - LEFT - 40)


def _ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [tick for power in powers for tick in (10.0**power, 3 * 10.0**power) if low <= math.log10(tick) <= high]


def _dashed_line(x: float, top: float) -> str:
    ends = f'y1="{top + 2}" y2="{top + ROW - 2}"'
    return f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="#b00020" stroke-dasharray="5 4"/>'


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222">{escape(content)}</text>'


def _svg(title: str, parts: Sequence[str], height: float) -> str:
    header = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif" '
        f'font-size="13"><title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([header, _text(16, 28, title, "start"), *parts, "</svg>"]) + "\n"
