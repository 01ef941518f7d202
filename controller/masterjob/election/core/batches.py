"""Batches of one statement, and what to do if a batch fails."""

from typing import TypeVar

ItemT = TypeVar("ItemT")


def halves(batch: tuple[ItemT, ...]) -> list[tuple[ItemT, ...]]:
    """Return the non-empty halves of a batch that failed, so that one bad item cannot block all others."""
    middle = (len(batch) + 1) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]
