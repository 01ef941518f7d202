"""The conditions of a MasterJob, each with a closed list of reasons.

    Ready       all is as requested: there is a master, or the job is disabled
    Elected     an instance is master
    Enabled     no switch is off
    JobRunning  the master has called the job's start, and its stop has not returned

    Reconciling, Stalled   present only while true, for tools that wait by the rules of kstatus

They follow the API conventions of Kubernetes for `metav1.Condition`. `build` evaluates them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from masterjob.lock_status import format_timestamp

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """The type of a condition."""

    READY = "Ready"
    ELECTED = "Elected"
    ENABLED = "Enabled"
    JOB_RUNNING = "JobRunning"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionReason(StrEnum):
    """Why a condition has its status. The reason of `Ready` is the state that people read."""

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


ALLOWED_REASONS: Mapping[ConditionType, frozenset[ConditionReason]] = {
    ConditionType.READY: frozenset(
        {
            ConditionReason.ELECTED,
            ConditionReason.VACANT,
            ConditionReason.STOPPING,
            ConditionReason.DISABLED,
            ConditionReason.CONFLICT,
            ConditionReason.INVALID,
            ConditionReason.UNKNOWN_JOB,
            ConditionReason.DATABASE_UNAVAILABLE,
        }
    ),
    ConditionType.ELECTED: frozenset(
        {
            ConditionReason.ELECTED,
            ConditionReason.VACANT,
            ConditionReason.DISABLED,
            ConditionReason.MASTER_SILENT,
            ConditionReason.CONFLICT,
            ConditionReason.DATABASE_UNAVAILABLE,
        }
    ),
    ConditionType.ENABLED: frozenset(
        {
            ConditionReason.ENABLED,
            ConditionReason.DISABLED_BY_SPEC,
            ConditionReason.DISABLED_BY_API,
            ConditionReason.DISABLED_ELSEWHERE,
            ConditionReason.CONFLICT,
            ConditionReason.DATABASE_UNAVAILABLE,
        }
    ),
    ConditionType.JOB_RUNNING: frozenset(
        {
            ConditionReason.RUNNING,
            ConditionReason.STOPPING,
            ConditionReason.START_FAILED,
            ConditionReason.NOT_ELECTED,
            ConditionReason.NOT_REPORTED,
        }
    ),
    ConditionType.RECONCILING: frozenset({ConditionReason.VACANT, ConditionReason.STOPPING}),
    ConditionType.STALLED: frozenset(
        {ConditionReason.CONFLICT, ConditionReason.INVALID, ConditionReason.UNKNOWN_JOB}
    ),
}
"""The reasons that each condition can have."""

_MESSAGE_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, without the time of its last transition."""

    condition_type: ConditionType
    status: ConditionStatus
    reason: ConditionReason
    message: str

    def __post_init__(self) -> None:
        if self.reason not in ALLOWED_REASONS[self.condition_type]:
            raise ValueError(f"{self.reason} is not a reason of {self.condition_type}")


def render_conditions(
    conditions: Iterable[Condition], previous: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions as the API has them; each keeps its time while its ``status`` is the same."""
    transition_times = {
        (each.get("type"), each.get("status")): each.get("lastTransitionTime") for each in previous
    }
    return [
        {
            "type": str(each.condition_type),
            "status": each.status,
            "reason": str(each.reason),
            "message": each.message[:_MESSAGE_LIMIT],
            "observedGeneration": generation,
            "lastTransitionTime": transition_times.get((each.condition_type, each.status))
            or format_timestamp(now),
        }
        for each in conditions
    ]


def find_condition(status: Mapping[str, Any], condition_type: ConditionType) -> Mapping[str, Any]:
    """Return a condition of a status as the API has it, or an empty mapping if it is absent."""
    return next((each for each in status.get("conditions", ()) if each.get("type") == condition_type), {})
