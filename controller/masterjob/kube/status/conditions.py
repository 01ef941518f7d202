"""The conditions of a MasterJob, each with a closed list of reasons (design 6.1).

    Ready       it is as its owner asked for: it has a master, or it is disabled
    Elected     some instance is master
    Enabled     no switch is off
    JobRunning  the master has called the job's start, and its stop has not returned

    Reconciling, Stalled   there only while they are true, for tools that wait by the rules of kstatus

Pure values; what each of them is in a situation, `projection` says.

Source: the API conventions of Kubernetes for `metav1.Condition`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from masterjob.election.views import moment_text

Truth = Literal["True", "False", "Unknown"]


class Kind(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    ELECTED = "Elected"
    ENABLED = "Enabled"
    JOB_RUNNING = "JobRunning"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Why it is as it is. `Ready`'s reason is the state that people read."""

    ELECTED = "Elected"
    VACANT = "Vacant"
    STOPPING = "Stopping"
    DISABLED = "Disabled"
    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    MASTER_SILENT = "MasterSilent"
    ENABLED = "Enabled"
    DISABLED_BY_SPEC = "DisabledBySpec"
    DISABLED_BY_API = "DisabledByAPI"
    DISABLED_ELSEWHERE = "DisabledElsewhere"
    RUNNING = "Running"
    START_FAILED = "StartFailed"
    NOT_ELECTED = "NotElected"
    NOT_REPORTED = "NotReported"


REASONS: Mapping[Kind, frozenset[Reason]] = {
    Kind.READY: frozenset({
        Reason.ELECTED, Reason.VACANT, Reason.STOPPING, Reason.DISABLED, Reason.CONFLICT, Reason.INVALID,
        Reason.UNKNOWN_JOB, Reason.DATABASE_UNAVAILABLE,
    }),
    Kind.ELECTED: frozenset({
        Reason.ELECTED, Reason.VACANT, Reason.DISABLED, Reason.MASTER_SILENT, Reason.CONFLICT,
        Reason.DATABASE_UNAVAILABLE,
    }),
    Kind.ENABLED: frozenset({
        Reason.ENABLED, Reason.DISABLED_BY_SPEC, Reason.DISABLED_BY_API, Reason.DISABLED_ELSEWHERE,
        Reason.CONFLICT, Reason.DATABASE_UNAVAILABLE,
    }),
    Kind.JOB_RUNNING: frozenset({
        Reason.RUNNING, Reason.STOPPING, Reason.START_FAILED, Reason.NOT_ELECTED, Reason.NOT_REPORTED,
    }),
    Kind.RECONCILING: frozenset({Reason.VACANT, Reason.STOPPING}),
    Kind.STALLED: frozenset({Reason.CONFLICT, Reason.INVALID, Reason.UNKNOWN_JOB}),
}  # fmt: skip
"""The reasons that each condition may have."""

_MESSAGE_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, before it is known since when it is so."""

    kind: Kind
    status: Truth
    reason: Reason
    message: str

    def __post_init__(self) -> None:
        if self.reason not in REASONS[self.kind]:
            raise ValueError(f"{self.reason} is no reason of {self.kind}")


def written(
    conditions: Iterable[Condition], before: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions as the status has them; the time of each stays while its ``status`` does."""
    times = {(each.get("type"), each.get("status")): each.get("lastTransitionTime") for each in before}
    return [
        {
            "type": str(each.kind),
            "status": each.status,
            "reason": str(each.reason),
            "message": each.message[:_MESSAGE_LIMIT],
            "observedGeneration": generation,
            "lastTransitionTime": times.get((each.kind, each.status)) or moment_text(now),
        }
        for each in conditions
    ]


def find(status: Mapping[str, Any], kind: Kind) -> Mapping[str, Any]:
    """Return a condition of a status as it was written; an empty one where there is none."""
    return next((each for each in status.get("conditions", ()) if each.get("type") == kind), {})
