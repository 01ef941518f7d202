"""The conditions of a MasterJob, each with a closed list of reasons.

    Ready       all is as requested: the job runs, has completed, or is disabled
    Elected     an instance is master
    Enabled     no switch is off
    JobRunning  the job runs: it has lived for its start time, and is not being stopped

    Reconciling, Stalled   present only while true, for tools that wait by the rules of kstatus

They follow the API conventions of Kubernetes for `metav1.Condition`. `evaluation` computes them.
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

    RUNNING = "Running"
    STARTING = "Starting"
    COMPLETED = "Completed"
    START_FAILED = "StartFailed"
    STOPPING = "Stopping"
    DISABLED = "Disabled"
    VACANT = "Vacant"
    NOT_CONFIRMED = "NotConfirmed"
    CONFLICT = "Conflict"
    INVALID = "Invalid"
    UNKNOWN_JOB = "UnknownJob"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    ENABLED = "Enabled"
    DISABLED_BY_SPEC = "DisabledBySpec"
    DISABLED_BY_API = "DisabledByAPI"
    DISABLED_ELSEWHERE = "DisabledElsewhere"
    ELECTED = "Elected"
    NOT_ELECTED = "NotElected"
    NOT_REPORTED = "NotReported"


ALLOWED_REASONS: Mapping[ConditionType, frozenset[ConditionReason]] = {
    ConditionType.READY: frozenset(
        {
            ConditionReason.RUNNING,
            ConditionReason.COMPLETED,
            ConditionReason.DISABLED,
            ConditionReason.STARTING,
            ConditionReason.START_FAILED,
            ConditionReason.VACANT,
            ConditionReason.STOPPING,
            ConditionReason.NOT_CONFIRMED,
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
            ConditionReason.NOT_CONFIRMED,
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
            ConditionReason.COMPLETED,
            ConditionReason.NOT_CONFIRMED,
            ConditionReason.CONFLICT,
            ConditionReason.DATABASE_UNAVAILABLE,
        }
    ),
    ConditionType.JOB_RUNNING: frozenset(
        {
            ConditionReason.RUNNING,
            ConditionReason.STARTING,
            ConditionReason.COMPLETED,
            ConditionReason.START_FAILED,
            ConditionReason.STOPPING,
            ConditionReason.NOT_ELECTED,
            ConditionReason.NOT_REPORTED,
            ConditionReason.NOT_CONFIRMED,
        }
    ),
    ConditionType.RECONCILING: frozenset(
        {
            ConditionReason.STARTING,
            ConditionReason.START_FAILED,
            ConditionReason.VACANT,
            ConditionReason.STOPPING,
        }
    ),
    ConditionType.STALLED: frozenset(
        {
            ConditionReason.START_FAILED,
            ConditionReason.CONFLICT,
            ConditionReason.INVALID,
            ConditionReason.UNKNOWN_JOB,
        }
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
    """Return the conditions as the API has them; each keeps its time while it means the same."""
    transition_times = {_meaning(each): each.get("lastTransitionTime") for each in previous}
    rendered = []
    for each in conditions:
        fields = {
            "type": str(each.condition_type),
            "status": each.status,
            "reason": str(each.reason),
            "message": each.message[:_MESSAGE_LIMIT],
            "observedGeneration": generation,
        }
        time = transition_times.get(_meaning(fields)) or format_timestamp(now)
        rendered.append(fields | {"lastTransitionTime": time})
    return rendered


def _meaning(condition: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a condition means: its status and, if it is Ready, why.

    Running and Disabled are both Ready, and people want to know since when. A job that is not Ready keeps the time
    through all attempts to start it.
    """
    is_ready = condition.get("type") == ConditionType.READY and condition.get("status") == "True"
    return condition.get("type"), condition.get("status"), condition.get("reason") if is_ready else None


def find_condition(status: Mapping[str, Any], condition_type: ConditionType) -> Mapping[str, Any]:
    """Return a condition of a status as the API has it, or an empty mapping if it is absent."""
    return next((each for each in status.get("conditions", ()) if each.get("type") == condition_type), {})
