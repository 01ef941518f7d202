"""The random numbers of an exploration: always the same ones."""

from collections.abc import MutableSequence
from random import Random
from typing import Any


class Middle(Random):
    """Always draws the middle, so that equal instances act at the same time and the order of messages decides."""

    def random(self) -> float:
        """Return one half."""
        return 0.5

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Keep the order."""


MIDDLE = Middle(0)
