"""What of resources cannot be done: each problem said once in the log, and once that it is over."""

import logging
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger("masterjob")


class ProblemReason(StrEnum):
    """Why a resource is not done as it says."""

    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    UNAVAILABLE = "DatabaseUnavailable"


@dataclass(frozen=True, slots=True)
class ResourceProblem:
    """What of a resource cannot be done, in a sentence."""

    reason: ProblemReason
    message: str


class ProblemLog:
    """The problem of each source that has one; may be used by any thread."""

    def __init__(self) -> None:
        self._by_source: dict[str, ResourceProblem] = {}

    def get(self, source: str) -> ResourceProblem | None:
        """Return what cannot be done; None where all is as it says."""
        return self._by_source.get(source)

    def report(self, source: str, problem: ResourceProblem) -> None:
        """Note what cannot be done, and say it if that is news."""
        if self._by_source.get(source) != problem:
            logger.warning("%s", problem.message)
        self._by_source[source] = problem

    def resolve(self, source: str) -> None:
        """Note that all is done as it says."""
        if self._by_source.pop(source, None) is not None:
            logger.info("%s is followed again", source)

    def forget(self, source: str) -> None:
        """The source is gone, and its problem with it."""
        self._by_source.pop(source, None)
