"""The conditions of a MasterJob as pure functions of the inputs: one for each condition.

All instances compute the same conditions from the same database. No message contains a number that changes by
itself, or the status would have to be written again and again.
"""

from collections.abc import Iterator
from functools import partial

from masterjob.job_status import ONCE_SOURCE, RunPhase
from masterjob.kube.status.conditions import Condition, ConditionReason, ConditionType
from masterjob.kube.status.inputs import StatusInputs
from masterjob.kube.status.outages import DatabaseAccess
from masterjob.lock_status import (
    LockStatus,
    MasterStatus,
    describe_failure,
    explain_how_to_enable,
    format_timestamp,
)
from masterjob.resource.problems import ProblemReason

_SPEC_DEFECT_REASONS = (ProblemReason.CONFLICT, ProblemReason.INVALID)
"""Problems of the resource itself, reported whatever the state of the election."""
_STALLED_REASONS = (ConditionReason.CONFLICT, ConditionReason.INVALID, ConditionReason.UNKNOWN_JOB)
_RECONCILING_REASONS = (
    ConditionReason.STARTING,
    ConditionReason.START_FAILED,
    ConditionReason.VACANT,
    ConditionReason.STOPPING,
)

_ready = partial(Condition, ConditionType.READY)
_elected = partial(Condition, ConditionType.ELECTED)
_enabled = partial(Condition, ConditionType.ENABLED)
_job_running = partial(Condition, ConditionType.JOB_RUNNING)


def evaluate_conditions(inputs: StatusInputs) -> Iterator[Condition]:
    """Yield the conditions; last those that are present only while they are true."""
    ready = _evaluate_ready(inputs)
    yield ready
    yield _evaluate_elected(inputs)
    yield _evaluate_enabled(inputs)
    yield _evaluate_job_running(inputs)
    is_start_stalled = ready.reason is ConditionReason.START_FAILED and inputs.is_stalled
    if ready.reason in _STALLED_REASONS or is_start_stalled:
        yield Condition(ConditionType.STALLED, "True", ready.reason, ready.message)
    elif ready.reason in _RECONCILING_REASONS:
        yield Condition(ConditionType.RECONCILING, "True", ready.reason, ready.message)


# --- Ready


def _evaluate_ready(inputs: StatusInputs) -> Condition:
    problem, lock = inputs.problem, inputs.lock
    if problem is not None and problem.reason in _SPEC_DEFECT_REASONS:
        return _ready("False", ConditionReason(problem.reason), problem.message)
    if inputs.is_disable_pending:
        return _disable_pending(ConditionType.READY, ConditionReason.STOPPING)
    if lock is None:
        return _without_lock_status(ConditionType.READY, inputs)
    return _ready_of_lock(inputs, lock)


def _ready_of_lock(inputs: StatusInputs, lock: LockStatus) -> Condition:
    if lock.master is not None and lock.master.is_overdue:
        unknown_job = None if lock.master.alive else _ready_with_unknown_job(inputs)
        return unknown_job or _not_confirmed(ConditionType.READY, lock.master)
    if lock.is_completed_for_good:
        return _ready("True", ConditionReason.COMPLETED, lock.why)
    if not lock.enabled and lock.master is None:
        return _ready("True", ConditionReason.DISABLED, lock.why_disabled)
    if not lock.enabled:
        return _ready("False", ConditionReason.STOPPING, f"{_master_name(lock)} is stopping: {lock.why_disabled}")
    return _ready_without_master(inputs, lock) if lock.master is None else _ready_with_master(inputs, lock)


def _ready_without_master(inputs: StatusInputs, lock: LockStatus) -> Condition:
    if lock.state == "StartFailed":  # then other pods know the job
        return _ready("False", ConditionReason.START_FAILED, lock.why)
    if (unknown_job := _ready_with_unknown_job(inputs)) is not None:
        return unknown_job
    if lock.job is not None and inputs.is_stalled:
        return _ready("False", ConditionReason.START_FAILED, describe_failure(lock.job))
    return _ready("False", ConditionReason.VACANT, lock.why)


def _ready_with_master(inputs: StatusInputs, lock: LockStatus) -> Condition:
    match lock.state:
        case "Running":
            return _ready("True", ConditionReason.RUNNING, f"{_master_name(lock)} runs the job")
        case "Completed":
            return _ready("True", ConditionReason.COMPLETED, lock.why)
        case "Stopping":
            return _ready("False", ConditionReason.STOPPING, lock.why)
    if lock.state == "StartFailed" or inputs.is_stalled:
        return _ready("False", ConditionReason.START_FAILED, lock.why)
    return _ready("False", ConditionReason.STARTING, lock.why)


def _ready_with_unknown_job(inputs: StatusInputs) -> Condition | None:
    problem = inputs.problem
    if problem is None or problem.reason is not ProblemReason.UNKNOWN_JOB:
        return None
    return _ready("False", ConditionReason.UNKNOWN_JOB, problem.message)


# --- Elected, Enabled


def _evaluate_elected(inputs: StatusInputs) -> Condition:
    lock = inputs.lock
    if not inputs.owns_lock:
        return _elected("False", ConditionReason.CONFLICT, "the lock belongs to another resource")
    if lock is None:
        return _without_lock_status(ConditionType.ELECTED, inputs)
    if lock.master is not None and lock.master.is_overdue:
        return _not_confirmed(ConditionType.ELECTED, lock.master)
    if lock.master is not None:
        return _elected("True", ConditionReason.ELECTED, f"{_master_name(lock)} is master")
    reason = ConditionReason.VACANT if lock.enabled else ConditionReason.DISABLED
    return _elected("False", reason, lock.why)


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
        ONCE_SOURCE: ConditionReason.COMPLETED,
    }.get(lock.disabled.source, ConditionReason.DISABLED_ELSEWHERE)
    message = f"{lock.why_disabled}; to enable it: {explain_how_to_enable(lock)}"
    return _enabled("False", reason, message)


# --- JobRunning


def _evaluate_job_running(inputs: StatusInputs) -> Condition:
    lock = inputs.lock if inputs.owns_lock else None
    if lock is None:
        return _job_running_without_lock_status(inputs)
    if lock.master is not None and lock.master.is_overdue:
        return _not_confirmed(ConditionType.JOB_RUNNING, lock.master)
    job = lock.current_job
    if job is not None and lock.state == "StartFailed":
        return _job_running("False", ConditionReason.START_FAILED, describe_failure(job))
    if lock.is_completed_for_good:
        return _job_running("False", ConditionReason.COMPLETED, "the job has completed")
    if lock.master is None:
        return _job_running("False", ConditionReason.NOT_ELECTED, "there is no master to run it")
    return _job_running_with_master(None if job is None else job.phase, _master_name(lock))


def _job_running_with_master(phase: RunPhase | None, master: str) -> Condition:
    match phase:
        case RunPhase.RUNNING:
            return _job_running("True", ConditionReason.RUNNING, f"{master} runs the job")
        case RunPhase.STARTING:
            return _job_running("False", ConditionReason.STARTING, "the job is being started")
        case RunPhase.COMPLETED:
            return _job_running("False", ConditionReason.COMPLETED, "the job has completed")
        case RunPhase.STOPPING | RunPhase.FAILED:  # it has failed, and its lock is being given up
            return _job_running("False", ConditionReason.STOPPING, "the job is being stopped")
    return _job_running("Unknown", ConditionReason.NOT_REPORTED, "the master has not reported yet")


def _job_running_without_lock_status(inputs: StatusInputs) -> Condition:
    if inputs.database is DatabaseAccess.ANSWERS:
        return _job_running("False", ConditionReason.NOT_ELECTED, "there is no master to run it")
    if inputs.own_run is not None and inputs.own_run.is_over:
        return _job_running("False", ConditionReason.NOT_ELECTED, "the last master has stopped the job")
    return _job_running("Unknown", ConditionReason.NOT_REPORTED, "the database cannot be read")


# --- what they have in common


def _not_confirmed(condition_type: ConditionType, master: MasterStatus) -> Condition:
    since = "" if master.last_heartbeat is None else f" since {format_timestamp(master.last_heartbeat)}"
    message = f"{master.pod or master.instance} is not confirmed{since}: its next heartbeat is overdue"
    return Condition(condition_type, "Unknown", ConditionReason.NOT_CONFIRMED, message)


def _without_lock_status(condition_type: ConditionType, inputs: StatusInputs) -> Condition:
    """Return the condition if the database cannot be read, or if the lock was never used."""
    condition = partial(Condition, condition_type)
    # The error itself is for the log: it contains hosts and users, and differs from pod to pod.
    match inputs.database:
        case DatabaseAccess.LOST_HERE:
            message = "the master has stopped the job, because the database does not answer it"
            return condition("Unknown", ConditionReason.NOT_CONFIRMED, message)
        case DatabaseAccess.LOST:
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
