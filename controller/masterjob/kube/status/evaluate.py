"""Which conditions follow from the facts: one function each, and one sentence each for people.

No sentence has a number in it that changes by itself, or a status would have to be written again and again.

Source: design section 6.1.
"""

from collections.abc import Iterator

from masterjob.kube.status.conditions import (
    Condition,
    ConditionReason,
    ConditionStatus,
    ConditionType,
    find_condition,
)
from masterjob.kube.status.inputs import JobPhase, StatusInputs
from masterjob.lock_status import DisabledStatus, LockStatus, explain_how_to_enable

_STALLED_REASONS = (ConditionReason.CONFLICT, ConditionReason.INVALID, ConditionReason.UNKNOWN_JOB)
_SPEC_DEFECT_REASONS = (ConditionReason.CONFLICT, ConditionReason.INVALID)
"""Problems of the resource itself, which count whatever the election does."""


def evaluate_conditions(inputs: StatusInputs) -> Iterator[Condition]:
    """Return all conditions, those that are there only while they are true last."""
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
    if inputs.problem is not None and inputs.problem.reason in _SPEC_DEFECT_REASONS:
        return Condition(ConditionType.READY, "False", inputs.problem.reason, inputs.problem.message)
    if inputs.is_disable_pending:
        return _disable_pending(ConditionType.READY, ConditionReason.STOPPING)
    return (
        _without_lock_status(ConditionType.READY, inputs)
        if inputs.lock is None
        else _evaluate_ready_from_lock(inputs.lock, inputs)
    )


def _evaluate_ready_from_lock(lock: LockStatus, inputs: StatusInputs) -> Condition:
    match lock.state:
        case "Disabled":
            return Condition(ConditionType.READY, "True", ConditionReason.DISABLED, _disabled_message(lock))
        case "Stopping":
            return Condition(
                ConditionType.READY,
                "False",
                ConditionReason.STOPPING,
                f"{_master_name(lock)} stops: {_disabled_message(lock)}",
            )
        case "Elected":
            return Condition(
                ConditionType.READY, "True", ConditionReason.ELECTED, f"{_master_name(lock)} is master"
            )
    is_known_elsewhere = (
        _evaluate_job_running(inputs).reason is ConditionReason.START_FAILED
    )  # somebody has tried: there are pods that know the job
    if (
        inputs.problem is not None
        and inputs.problem.reason is ConditionReason.UNKNOWN_JOB
        and not is_known_elsewhere
    ):
        return Condition(ConditionType.READY, "False", ConditionReason.UNKNOWN_JOB, inputs.problem.message)
    return Condition(ConditionType.READY, "False", ConditionReason.VACANT, _vacant_message(inputs, lock))


def _disable_pending(condition_type: ConditionType, reason: ConditionReason) -> Condition:
    return Condition(condition_type, "False", reason, "its spec disables it; the database is yet to be told")


def _evaluate_elected(inputs: StatusInputs) -> Condition:
    if not inputs.owns_lock:
        return Condition(
            ConditionType.ELECTED, "False", ConditionReason.CONFLICT, "the lock belongs to another resource"
        )
    lock = inputs.lock
    if lock is None:
        return _without_lock_status(ConditionType.ELECTED, inputs)
    if lock.master is not None and lock.master.alive:
        return Condition(ConditionType.ELECTED, "True", ConditionReason.ELECTED, f"{_master_name(lock)} is master")
    if lock.master is not None:
        return Condition(
            ConditionType.ELECTED, "Unknown", ConditionReason.MASTER_SILENT, _vacant_message(inputs, lock)
        )
    if not lock.enabled:
        return Condition(ConditionType.ELECTED, "False", ConditionReason.DISABLED, _disabled_message(lock))
    return Condition(ConditionType.ELECTED, "False", ConditionReason.VACANT, _vacant_message(inputs, lock))


def _evaluate_enabled(inputs: StatusInputs) -> Condition:
    if not inputs.owns_lock:
        return Condition(
            ConditionType.ENABLED,
            "Unknown",
            ConditionReason.CONFLICT,
            "what this one says of the lock does not count",
        )
    if inputs.lock is None:
        return _without_lock_status(ConditionType.ENABLED, inputs)
    if inputs.is_disable_pending:
        return _disable_pending(ConditionType.ENABLED, ConditionReason.DISABLED_BY_SPEC)
    if inputs.lock.disabled is None:
        return Condition(ConditionType.ENABLED, "True", ConditionReason.ENABLED, "nothing disables it")
    disabled = inputs.lock.disabled
    message = f"{_disabled_message(inputs.lock)}; to enable it: {explain_how_to_enable(inputs.lock)}"
    return Condition(ConditionType.ENABLED, "False", _disabled_by_reason(inputs, disabled), message)


def _disabled_by_reason(inputs: StatusInputs, disabled: DisabledStatus) -> ConditionReason:
    if disabled.source == inputs.observed.uid:
        return ConditionReason.DISABLED_BY_SPEC
    return ConditionReason.DISABLED_BY_API if disabled.source == "api" else ConditionReason.DISABLED_ELSEWHERE


def _evaluate_job_running(inputs: StatusInputs) -> Condition:
    if (own_condition := _own_job_condition(inputs)) is not None:
        return own_condition
    if inputs.master is not None and not inputs.master.alive:
        return _job_condition("Unknown", ConditionReason.NOT_REPORTED, "its master is silent")
    if inputs.master is not None:
        return _previous_job_condition(inputs) or _job_condition(
            "Unknown", ConditionReason.NOT_REPORTED, "its master has not told yet"
        )
    if inputs.database_error is not None and inputs.own_job_state is None:
        return _previous_job_condition(inputs) or _job_condition(
            "Unknown", ConditionReason.NOT_REPORTED, "the database cannot be read"
        )
    previous = find_condition(inputs.previous_status, ConditionType.JOB_RUNNING)
    if previous.get("reason") == ConditionReason.START_FAILED and _is_same_term(inputs):
        return _job_condition("False", ConditionReason.START_FAILED, str(previous.get("message", "")))
    return _job_condition("False", ConditionReason.NOT_ELECTED, "there is no master to run it")


def _own_job_condition(inputs: StatusInputs) -> Condition | None:
    """What this instance knows, since it is master itself, or was last."""
    job_state = inputs.own_job_state
    if job_state is None or not inputs.owns_lock:
        return None
    match job_state.phase:
        case JobPhase.RUNNING:
            return _job_condition("True", ConditionReason.RUNNING, "the job's start was called")
        case JobPhase.STOPPING:
            return _job_condition(
                "True", ConditionReason.STOPPING, f"the job is being stopped: {job_state.reason}"
            )
        case JobPhase.FAILED:
            return _job_condition("False", ConditionReason.START_FAILED, job_state.reason)
    return None


def _job_condition(status: ConditionStatus, reason: ConditionReason, message: str) -> Condition:
    return Condition(ConditionType.JOB_RUNNING, status, reason, message)


def _previous_job_condition(inputs: StatusInputs) -> Condition | None:
    """Return what the master has told of its job before, as long as it is the same term."""
    previous = find_condition(inputs.previous_status, ConditionType.JOB_RUNNING)
    if not previous or not _is_same_term(inputs) or "master" not in inputs.previous_status:
        return None
    try:
        return _job_condition(
            previous["status"], ConditionReason(previous["reason"]), str(previous.get("message", ""))
        )
    except ValueError:  # of another version, or of somebody else's making
        return None


def _is_same_term(inputs: StatusInputs) -> bool:
    term = inputs.previous_status.get("term", 0)
    return bool(term) and (inputs.lock is None or inputs.lock.term == term)


def _without_lock_status(condition_type: ConditionType, inputs: StatusInputs) -> Condition:
    """What can be said without the database: that it is silent, or that nobody has used the lock yet."""
    if inputs.database_error is not None:
        # The error itself is for the log: it names hosts and users, and differs from pod to pod.
        return Condition(
            condition_type, "Unknown", ConditionReason.DATABASE_UNAVAILABLE, "the database does not answer"
        )
    if condition_type is ConditionType.ENABLED:
        return Condition(condition_type, "True", ConditionReason.ENABLED, "nothing disables it")
    if inputs.problem is not None and condition_type is ConditionType.READY:
        return Condition(condition_type, "False", inputs.problem.reason, inputs.problem.message)
    return Condition(condition_type, "False", ConditionReason.VACANT, "no pod has competed for the lock yet")


def _master_name(lock: LockStatus) -> str:
    return "" if lock.master is None else lock.master.pod or lock.master.instance


def _disabled_message(lock: LockStatus) -> str:
    """Say who disabled it and why; where no switch says so, it is just being switched."""
    return "it is disabled" if lock.disabled is None else f"disabled by {lock.disabled.by}: {lock.disabled.reason}"


def _vacant_message(inputs: StatusInputs, lock: LockStatus) -> str:
    if lock.master is not None:
        return f"{_master_name(lock)} is silent, and evicted when its lease is over"
    job_running = _evaluate_job_running(inputs)
    if job_running.reason is ConditionReason.START_FAILED:
        return f"nobody is master: {job_running.message}"
    return "nobody is master: the lock is free for any pod that knows the job"
