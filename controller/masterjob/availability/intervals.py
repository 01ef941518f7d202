"""Sets of intervals of time, each a sorted list of disjoint intervals that are not empty."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

Interval = tuple[datetime, datetime]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals as a set. One that ends before it begins, because a clock was set back, is empty."""
    merged: list[Interval] = []
    for start, end in sorted(each for each in intervals if each[0] < each[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def clip(intervals: Iterable[Interval], bounds: Interval) -> list[Interval]:
    """Return what lies within the bounds."""
    return union((max(start, bounds[0]), min(end, bounds[1])) for start, end in intervals)


def complement(intervals: Iterable[Interval], bounds: Interval) -> list[Interval]:
    """Return the rest of the bounds."""
    start, end = bounds
    edges = [(start, start), *clip(intervals, bounds), (end, end)]
    return union((before[1], after[0]) for before, after in pairwise(edges))


def total(intervals: Iterable[Interval]) -> timedelta:
    """Return the length of all together."""
    return sum((end - start for start, end in intervals), timedelta())
