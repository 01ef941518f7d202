"""The status of a MasterJob as a pure function of its inputs: one function for each condition.

All instances compute the same status from the same database. Only the master knows whether its job runs, and with
which timing; others keep what it wrote. No message contains a number that changes by itself, or the status would
have to be written again and again.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from masterjob.kube.status.conditions import (
    Condition,
    ConditionReason,
    ConditionType,
    find_condition,
    render_conditions,
)
from masterjob.kube.status.inputs import StatusInputs
from masterjob.kube.status.job_tracker import JobPhase
from masterjob.lock_status import (
    DisabledStatus,
    LockStatus,
    MasterStatus,
    explain_how_to_enable,
    format_timestamp,
)
from masterjob.resource.problems import ProblemReason

_STALLED_REASONS = (ConditionReason.CONFLICT, ConditionReason.INVALID, ConditionReason.UNKNOWN_JOB)
_SPEC_DEFECT_REASONS = (ProblemReason.CONFLICT, ProblemReason.INVALID)
"""Problems of the resource itself, reported whatever the state of the election."""

_ready = partial(Condition, ConditionType.READY)
_elected = partial(Condition, ConditionType.ELECTED)
_enabled = partial(Condition, ConditionType.ENABLED)
_job_running = partial(Condition, ConditionType.JOB_RUNNING)


def build_status(inputs: StatusInputs, now: datetime) -> dict[str, Any]:
    """Return the whole status, which replaces the previous one."""
    previous, master = inputs.previous_status, inputs.master
    generation = inputs.observed_generation
    conditions = render_conditions(evaluate_conditions(inputs), previous.get("conditions", ()), generation, now)
    previous_term = previous.get("term", 0)
    term = max(previous_term, inputs.lock.term if inputs.lock is not None and inputs.owns_lock else 0)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "term": term,
        "transitions": previous.get("transitions", 0) + int(master is not None and term > previous_term),
        "conditions": conditions,
    }
    if master is not None:
        status["master"] = _master_field(master)
    if inputs.lock is not None and inputs.lock.disabled is not None and inputs.owns_lock:
        status["disabled"] = _disabled_field(inputs.lock.disabled)
    if (timing := _timing_field(inputs)) is not None:
        status["timing"] = dict(timing)
    return status


def _master_field(master: MasterStatus) -> dict[str, Any]:
    return {
        "instance": master.instance,
        "pod": master.pod or master.instance,
        "node": master.node,
        "address": master.address,
        "since": format_timestamp(master.since),
    }


def _disabled_field(disabled: DisabledStatus) -> dict[str, Any]:
    fields = {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": format_timestamp(disabled.since),
    }
    return fields if disabled.until is None else fields | {"until": format_timestamp(disabled.until)}


def _timing_field(inputs: StatusInputs) -> Mapping[str, Any] | None:
    """Return the master's timing; that of other pods may differ, for example during an upgrade."""
    if not inputs.owns_lock:
        return None
    previous_timing: Mapping[str, Any] | None = inputs.previous_status.get("timing")
    if inputs.own_job_state is not None or previous_timing is None:
        return inputs.timing or previous_timing
    return previous_timing


# --- conditions


def evaluate_conditions(inputs: StatusInputs) -> Iterator[Condition]:
    """Yield the conditions; last those that are present only while they are true."""
    ready = _evaluate_ready(inputs)
    yield ready
    yield _evaluate_elected(inputs)
    yield _evaluate_enabled(inputs)
    yield _evaluate_job_running(inputs)
    if ready.reason in _STALLED_REASONS:
        yield Condition(ConditionType.STALLED, "True", ready.reason, ready.message)
    elif ready.reason in (ConditionReason.VACANT, ConditionReason.STOPPING):
        yield Condition(ConditionType.RECONCILING, "True", ready.reason, ready.message)


def _evaluate_ready(inputs: StatusInputs) -> Condition:
    problem, lock = inputs.problem, inputs.lock
    if problem is not None and problem.reason in _SPEC_DEFECT_REASONS:
        return _ready("False", ConditionReason(problem.reason), problem.message)
    if inputs.is_disable_pending:
        return _disable_pending(ConditionType.READY, ConditionReason.STOPPING)
    if lock is None:
        return _without_lock_status(ConditionType.READY, inputs)
    return _evaluate_ready_from_lock(lock, inputs)


def _evaluate_ready_from_lock(lock: LockStatus, inputs: StatusInputs) -> Condition:
    if not lock.enabled and lock.master is None:
        return _ready("True", ConditionReason.DISABLED, _disabled_message(lock))
    if not lock.enabled:
        message = f"{_master_name(lock)} is stopping: {_disabled_message(lock)}"
        return _ready("False", ConditionReason.STOPPING, message)
    if lock.master is not None and lock.master.alive:
        return _ready("True", ConditionReason.ELECTED, f"{_master_name(lock)} is master")
    problem = inputs.problem  # if a start has failed, other pods know the job
    is_known_elsewhere = _evaluate_job_running(inputs).reason is ConditionReason.START_FAILED
    if problem is not None and problem.reason is ProblemReason.UNKNOWN_JOB and not is_known_elsewhere:
        return _ready("False", ConditionReason.UNKNOWN_JOB, problem.message)
    return _ready("False", ConditionReason.VACANT, _vacant_message(inputs, lock))


def _evaluate_elected(inputs: StatusInputs) -> Condition:
    lock = inputs.lock
    if not inputs.owns_lock:
        return _elected("False", ConditionReason.CONFLICT, "the lock belongs to another resource")
    if lock is None:
        return _without_lock_status(ConditionType.ELECTED, inputs)
    if lock.master is not None and lock.master.alive:
        return _elected("True", ConditionReason.ELECTED, f"{_master_name(lock)} is master")
    if lock.master is not None:
        return _elected("Unknown", ConditionReason.MASTER_SILENT, _vacant_message(inputs, lock))
    if not lock.enabled:
        return _elected("False", ConditionReason.DISABLED, _disabled_message(lock))
    return _elected("False", ConditionReason.VACANT, _vacant_message(inputs, lock))


def _evaluate_enabled(inputs: StatusInputs) -> Condition:
    lock = inputs.lock
    if not inputs.owns_lock:
        message = "the lock belongs to another resource, so this spec has no effect"
        return _enabled("Unknown", ConditionReason.CONFLICT, message)
    if lock is None:
        return _without_lock_status(ConditionType.ENABLED, inputs)
    if inputs.is_disable_pending:
        return _disable_pending(ConditionType.ENABLED, ConditionReason.DISABLED_BY_SPEC)
    if lock.disabled is None:
        return _enabled("True", ConditionReason.ENABLED, "nothing disables it")
    reason = {
        inputs.observed.uid: ConditionReason.DISABLED_BY_SPEC,
        "api": ConditionReason.DISABLED_BY_API,
    }.get(lock.disabled.source, ConditionReason.DISABLED_ELSEWHERE)
    message = f"{_disabled_message(lock)}; to enable it: {explain_how_to_enable(lock)}"
    return _enabled("False", reason, message)


def _evaluate_job_running(inputs: StatusInputs) -> Condition:
    if (own_condition := _own_job_condition(inputs)) is not None:
        return own_condition
    if inputs.master is not None and not inputs.master.alive:
        return _job_running("Unknown", ConditionReason.NOT_REPORTED, "the master is silent")
    if inputs.master is not None:
        return _previous_job_condition(inputs) or _job_running(
            "Unknown", ConditionReason.NOT_REPORTED, "the master has not reported yet"
        )
    if inputs.database_error is not None and inputs.own_job_state is None:
        return _previous_job_condition(inputs) or _job_running(
            "Unknown", ConditionReason.NOT_REPORTED, "the database cannot be read"
        )
    previous = find_condition(inputs.previous_status, ConditionType.JOB_RUNNING)
    if previous.get("reason") == ConditionReason.START_FAILED and inputs.is_same_term:
        return _job_running("False", ConditionReason.START_FAILED, str(previous.get("message", "")))
    return _job_running("False", ConditionReason.NOT_ELECTED, "there is no master to run it")


def _own_job_condition(inputs: StatusInputs) -> Condition | None:
    """Return what this instance knows if it is the master, or was the last one."""
    job_state = inputs.own_job_state
    if job_state is None or not inputs.owns_lock:
        return None
    match job_state.phase:
        case JobPhase.RUNNING:
            return _job_running("True", ConditionReason.RUNNING, "the job's start was called")
        case JobPhase.STOPPING:
            message = f"the job is being stopped: {job_state.reason}"
            return _job_running("True", ConditionReason.STOPPING, message)
        case JobPhase.FAILED:
            return _job_running("False", ConditionReason.START_FAILED, job_state.reason)
    return None


def _previous_job_condition(inputs: StatusInputs) -> Condition | None:
    """Return what the master wrote about its job before, if the term is still the same."""
    previous = find_condition(inputs.previous_status, ConditionType.JOB_RUNNING)
    if not previous or not inputs.is_same_term or "master" not in inputs.previous_status:
        return None
    try:
        reason = ConditionReason(previous["reason"])
        return _job_running(previous["status"], reason, str(previous.get("message", "")))
    except ValueError:  # written by another version, or by something else
        return None


def _without_lock_status(condition_type: ConditionType, inputs: StatusInputs) -> Condition:
    """Return the condition if the database cannot be read, or if the lock was never used."""
    condition = partial(Condition, condition_type)
    if inputs.database_error is not None:
        # The error itself is for the log: it contains hosts and users, and differs from pod to pod.
        return condition("Unknown", ConditionReason.DATABASE_UNAVAILABLE, "the database does not answer")
    if condition_type is ConditionType.ENABLED:
        return condition("True", ConditionReason.ENABLED, "nothing disables it")
    if inputs.problem is not None and condition_type is ConditionType.READY:
        return condition("False", ConditionReason(inputs.problem.reason), inputs.problem.message)
    return condition("False", ConditionReason.VACANT, "no pod has competed for the lock yet")


def _disable_pending(condition_type: ConditionType, reason: ConditionReason) -> Condition:
    return Condition(condition_type, "False", reason, "its spec disables it; the database does not have that yet")


def _master_name(lock: LockStatus) -> str:
    return "" if lock.master is None else lock.master.pod or lock.master.instance


def _disabled_message(lock: LockStatus) -> str:
    """Return who disabled the lock and why; no switch may say so while it is being changed."""
    return "it is disabled" if lock.disabled is None else f"disabled by {lock.disabled.by}: {lock.disabled.reason}"


def _vacant_message(inputs: StatusInputs, lock: LockStatus) -> str:
    if lock.master is not None:
        return f"{_master_name(lock)} is silent, and will be evicted when its lease has expired"
    job_running = _evaluate_job_running(inputs)
    if job_running.reason is ConditionReason.START_FAILED:
        return f"there is no master: {job_running.message}"
    return "there is no master: any pod that knows the job can take the lock"
