"""Why resources cannot be applied: each problem is logged once, and its end too."""

import logging
from dataclasses import dataclass
from enum import StrEnum

from masterjob.log_fields import log_fields

logger = logging.getLogger("masterjob")


class ProblemReason(StrEnum):
    """Why a resource cannot be applied."""

    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    UNAVAILABLE = "DatabaseUnavailable"


@dataclass(frozen=True, slots=True)
class ResourceProblem:
    """Why a resource cannot be applied, as a reason and a sentence."""

    reason: ProblemReason
    message: str


class ProblemLog:
    """The current problem of each source. Any thread may use it."""

    def __init__(self) -> None:
        self._by_source: dict[str, ResourceProblem] = {}
        self._logged: set[str] = set()

    def get(self, source: str) -> ResourceProblem | None:
        """Return the problem of a source, or None."""
        return self._by_source.get(source)

    def report(self, source: str, problem: ResourceProblem, *, is_logged: bool = True) -> None:
        """Record a problem, and log it if it is new; ``is_logged`` is False if something else logs it."""
        if is_logged and self._by_source.get(source) != problem:
            self._logged.add(source)
            logger.warning("%s", problem.message, extra=log_fields(event=problem.reason))
        self._by_source[source] = problem

    def resolve(self, source: str) -> None:
        """Record that the source has no problem any more."""
        self._by_source.pop(source, None)
        if source in self._logged:
            self._logged.discard(source)
            logger.info("%s has no problem any more", source)

    def forget(self, source: str) -> None:
        """Drop the problem of a source that was removed."""
        self._by_source.pop(source, None)
        self._logged.discard(source)
