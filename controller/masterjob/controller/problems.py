"""What of resources cannot be done: each problem said once in the log, and once that it is over."""

import logging
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger("masterjob")


class Trouble(StrEnum):
    """Why a resource is not done as it says."""

    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    UNAVAILABLE = "DatabaseUnavailable"


@dataclass(frozen=True, slots=True)
class Problem:
    """What of a resource cannot be done, in a sentence."""

    trouble: Trouble
    words: str


class Problems:
    """The problem of each source that has one; may be used by any thread."""

    def __init__(self) -> None:
        self._of: dict[str, Problem] = {}

    def of(self, source: str) -> Problem | None:
        """Return what cannot be done; None where all is as it says."""
        return self._of.get(source)

    def tell(self, source: str, problem: Problem) -> None:
        """Note what cannot be done, and say it if that is news."""
        if self._of.get(source) != problem:
            logger.warning("%s", problem.words)
        self._of[source] = problem

    def over(self, source: str) -> None:
        """Note that all is done as it says."""
        if self._of.pop(source, None) is not None:
            logger.info("%s is followed again", source)

    def forget(self, source: str) -> None:
        """The source is gone, and its problem with it."""
        self._of.pop(source, None)
