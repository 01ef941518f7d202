"""The whole status of a MasterJob as a pure function of its inputs.

All instances compute the same status from the same database. Only the timing is the master's own: that of other
pods may differ, for example during an upgrade, and they keep what it wrote.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from masterjob.job_status import JobStatus
from masterjob.kube.status.conditions import render_conditions
from masterjob.kube.status.evaluation import evaluate_conditions
from masterjob.kube.status.inputs import StatusInputs
from masterjob.kube.status.outages import DatabaseAccess
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus, format_timestamp


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
    optional_fields = {
        "master": None if master is None else _master_field(master),
        "job": _job_field(inputs),
        "disabled": _disabled_field(inputs),
        "timing": _timing_field(inputs),
    }
    return status | {name: field for name, field in optional_fields.items() if field is not None}


def _master_field(master: MasterStatus) -> dict[str, Any]:
    return {
        "instance": master.instance,
        "pod": master.pod or master.instance,
        "node": master.node,
        "address": master.address,
        "since": format_timestamp(master.since),
    }


def _job_field(inputs: StatusInputs) -> dict[str, Any] | None:
    """Return the last run of the job. Without the database, keep how the one before it ended."""
    if not inputs.owns_lock:
        return None
    if inputs.database is not DatabaseAccess.ANSWERS:
        previous: Mapping[str, Any] = inputs.previous_status.get("job", {})
        return {name: value for name, value in previous.items() if name not in ("phase", "since")} or None
    lock = inputs.lock
    return None if lock is None or lock.job is None else _job_status_field(lock, lock.job)


def _job_status_field(lock: LockStatus, job: JobStatus) -> dict[str, Any]:
    phase = None if lock.current_job is None else lock.current_job.phase
    fields = {
        "name": job.job or None,
        "phase": None if phase is None else str(phase),
        "since": None if phase is None else format_timestamp(job.since),
        "exitCode": job.exit_code,
        "restarts": job.restarts,
        "consecutiveFailures": job.consecutive_failures,
        "lastError": job.last_error or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _disabled_field(inputs: StatusInputs) -> dict[str, Any] | None:
    disabled: DisabledStatus | None = inputs.lock.disabled if inputs.lock is not None else None
    if disabled is None or not inputs.owns_lock:
        return None
    fields = {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": format_timestamp(disabled.since),
    }
    return fields if disabled.until is None else fields | {"until": format_timestamp(disabled.until)}


def _timing_field(inputs: StatusInputs) -> dict[str, Any] | None:
    if not inputs.owns_lock:
        return None
    previous_timing: Mapping[str, Any] | None = inputs.previous_status.get("timing")
    is_authoritative = inputs.own_run is not None or previous_timing is None
    timing = (inputs.timing or previous_timing) if is_authoritative else previous_timing
    return None if timing is None else dict(timing)
