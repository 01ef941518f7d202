"""What the status of a MasterJob says: a pure projection of what the database has, and of what this instance does.

Whoever projects it at the same time comes to the same status. What nobody else can know comes from the master
itself: whether its job runs, and with which timing. Others leave that as they found it.

Source: design sections 6.1 and 6.3.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from masterjob.kube.status.conditions import render_conditions
from masterjob.kube.status.evaluate import evaluate_conditions
from masterjob.kube.status.inputs import StatusInputs
from masterjob.lock_status import DisabledStatus, MasterStatus, format_timestamp

MASTER_WRITE_GRACE = timedelta(seconds=5)
"""How long after an election it is left to the master to write the status."""


def build_status(inputs: StatusInputs, now: datetime) -> dict[str, Any]:
    """Return the whole status; a key that is not in it is to be removed."""
    previous, master = inputs.previous_status, inputs.master
    generation = inputs.observed_generation
    term = max(previous.get("term", 0), inputs.lock.term if inputs.lock is not None and inputs.owns_lock else 0)
    new_transitions = int(master is not None and term > previous.get("term", 0))
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "term": term,
        "transitions": previous.get("transitions", 0) + new_transitions,
        "conditions": render_conditions(
            evaluate_conditions(inputs), previous.get("conditions", ()), generation, now
        ),
    }
    if master is not None:
        status["master"] = _master_field(master)
    if inputs.lock is not None and inputs.lock.disabled is not None and inputs.owns_lock:
        status["disabled"] = _disabled_field(inputs.lock.disabled)
    if (timing := _reported_timing(inputs)) is not None:
        status["timing"] = dict(timing)
    return status


def can_report(inputs: StatusInputs) -> bool:
    """Whether this instance knows enough to write the status.

    An instance that has lost the database does not know who else has not: it says so where it was master itself,
    or where nothing was said yet.
    """
    return (
        inputs.database_error is None
        or inputs.own_job_state is not None
        or "conditions" not in inputs.previous_status
    )


def is_database_behind(inputs: StatusInputs) -> bool:
    """Whether the status knows a higher term than the database, and so is not to be overwritten lightly."""
    term = inputs.lock.term if inputs.lock is not None else 0
    return inputs.database_error is None and inputs.owns_lock and term < inputs.previous_status.get("term", 0)


def is_left_to_master(inputs: StatusInputs, now: datetime) -> bool:
    """Whether another instance was just elected: it tells so itself, and of its job with the same write."""
    master = inputs.master
    if master is None or inputs.lock is None or inputs.own_job_state is not None:
        return False
    is_recent = (
        abs(now - master.since) < MASTER_WRITE_GRACE
    )  # its time is the database's, and may be in our future
    return inputs.lock.term > inputs.previous_status.get("term", 0) and is_recent


def _reported_timing(inputs: StatusInputs) -> Mapping[str, Any] | None:
    """Pods may have different settings, as in the middle of an upgrade: those of the master are told."""
    if not inputs.owns_lock:
        return None
    if inputs.own_job_state is not None or "timing" not in inputs.previous_status:
        return inputs.timing or inputs.previous_status.get("timing")
    timing: Mapping[str, Any] = inputs.previous_status["timing"]
    return timing


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
