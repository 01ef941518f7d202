"""The status computed from the database and from the job of this instance."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status.build import build_status
from masterjob.kube.status.conditions import (
    ALLOWED_REASONS,
    Condition,
    ConditionReason,
    ConditionType,
    find_condition,
)
from masterjob.kube.status.event_recorder import events_for_status
from masterjob.kube.status.inputs import StatusInputs
from masterjob.kube.status.job_tracker import JobPhase, JobState
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from masterjob.resource.masterjob import ObjectMeta, Resource
from masterjob.resource.problems import ProblemReason, ResourceProblem

THEN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)
MASTER = MasterStatus("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", THEN, 1.0, alive=True)
BY_API = DisabledStatus("moving", "ann", "api", THEN, None)
BY_SPEC = DisabledStatus("moving", "MasterJob ns/job", "uid", THEN, None, "ns/job")
TIMING = {"heartbeatInterval": "8s"}


def observed(
    status: dict[str, Any] | None = None, *, enabled: bool = True, generation: int = 1
) -> ObservedResource:
    origin = ObjectMeta("cluster", generation, "2026-01-01T00:00:00Z")
    resource = Resource(name="job", namespace="ns", lock_name="JOB", enabled=enabled, object_meta=origin)
    return ObservedResource(
        uid="uid",
        namespace="ns",
        name="job",
        resource_version="7",
        generation=generation,
        created=origin.creation_timestamp,
        resource=resource,
        error=None,
        lock_name="JOB",
        status=status or {},
    )


def lock(master: MasterStatus | None = None, disabled: DisabledStatus | None = None, term: int = 5) -> LockStatus:
    return LockStatus("JOB", disabled is None, disabled, master, term)


VACANT = StatusInputs(observed(), lock())
ELECTED = StatusInputs(
    observed(), lock(MASTER), job_state=JobState(5, JobPhase.RUNNING), timing=TIMING, applied_generation=1
)
DISABLED = StatusInputs(observed(enabled=False), lock(disabled=BY_SPEC))


def status_and_reason(inputs: StatusInputs, condition_type: ConditionType) -> tuple[str, str]:
    condition = find_condition(build_status(inputs, NOW), condition_type)
    return condition.get("status", "absent"), condition.get("reason", "absent")


def message(inputs: StatusInputs, condition_type: ConditionType) -> str:
    return str(find_condition(build_status(inputs, NOW), condition_type)["message"])


def test_an_elected_lock_is_ready_and_names_its_master() -> None:
    status = build_status(ELECTED, NOW)
    assert status["master"] == {
        "instance": "pod-a-1-x",
        "pod": "pod-a",
        "node": "node-1",
        "address": "10.0.0.1",
        "since": "2026-01-01T12:00:00Z",
    }
    assert (status["term"], status["transitions"], status["observedGeneration"]) == (5, 1, 1)
    assert status["timing"] == TIMING
    assert status_and_reason(ELECTED, ConditionType.READY) == ("True", "Elected")
    assert status_and_reason(ELECTED, ConditionType.ELECTED) == ("True", "Elected")
    assert status_and_reason(ELECTED, ConditionType.ENABLED) == ("True", "Enabled")
    assert status_and_reason(ELECTED, ConditionType.JOB_RUNNING) == ("True", "Running")
    assert status_and_reason(ELECTED, ConditionType.RECONCILING) == ("absent", "absent")


def test_a_vacant_lock_is_not_ready_and_reconciling() -> None:
    assert status_and_reason(VACANT, ConditionType.READY) == ("False", "Vacant")
    assert status_and_reason(VACANT, ConditionType.ELECTED) == ("False", "Vacant")
    assert status_and_reason(VACANT, ConditionType.JOB_RUNNING) == ("False", "NotElected")
    assert status_and_reason(VACANT, ConditionType.RECONCILING) == ("True", "Vacant")
    assert "master" not in build_status(VACANT, NOW)


def test_a_lock_that_was_never_used_is_vacant() -> None:
    inputs = StatusInputs(observed())
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Vacant")
    assert status_and_reason(inputs, ConditionType.ENABLED) == ("True", "Enabled")


def test_a_disabled_resource_is_ready() -> None:
    assert status_and_reason(DISABLED, ConditionType.READY) == ("True", "Disabled")
    assert status_and_reason(DISABLED, ConditionType.ENABLED) == ("False", "DisabledBySpec")
    assert build_status(DISABLED, NOW)["disabled"] == {
        "reason": "moving",
        "actor": "MasterJob ns/job",
        "source": "uid",
        "since": "2026-01-01T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("disabled", "reason", "command"),
    [
        (BY_SPEC, "DisabledBySpec", "kubectl patch masterjob job -n ns --type merge"),
        (BY_API, "DisabledByAPI", "masterjob enable JOB"),
        (
            replace(BY_SPEC, source="other", resource="ns/other"),
            "DisabledElsewhere",
            "kubectl patch masterjob other",
        ),
    ],
)
def test_the_enabled_condition_names_who_disabled_it_and_how_to_clear_that(
    disabled: DisabledStatus, reason: str, command: str
) -> None:
    inputs = StatusInputs(observed(), lock(disabled=disabled))
    assert status_and_reason(inputs, ConditionType.ENABLED) == ("False", reason)
    assert "moving" in message(inputs, ConditionType.ENABLED)
    assert command in message(inputs, ConditionType.ENABLED)


def test_a_disabled_lock_that_still_has_its_master_is_stopping() -> None:
    inputs = StatusInputs(
        observed(), lock(MASTER, BY_API), job_state=JobState(5, JobPhase.STOPPING, "disabled by ann (api): moving")
    )
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Stopping")
    assert status_and_reason(inputs, ConditionType.ELECTED) == ("True", "Elected")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("True", "Stopping")
    assert status_and_reason(inputs, ConditionType.RECONCILING) == ("True", "Stopping")


def test_a_silent_master_is_reported_without_numbers_that_change() -> None:
    silent = StatusInputs(observed(), lock(replace(MASTER, alive=False, heartbeat_age=31.0)))
    later = StatusInputs(observed(), lock(replace(MASTER, alive=False, heartbeat_age=32.0)))
    assert status_and_reason(silent, ConditionType.ELECTED) == ("Unknown", "MasterSilent")
    assert status_and_reason(silent, ConditionType.READY) == ("False", "Vacant")
    assert build_status(silent, NOW) == build_status(later, NOW)


def test_the_job_of_a_silent_master_is_unknown() -> None:
    before = build_status(ELECTED, NOW)
    silent = StatusInputs(observed(before), lock(replace(MASTER, alive=False)))
    assert find_condition(before, ConditionType.JOB_RUNNING)["status"] == "True"
    assert status_and_reason(silent, ConditionType.JOB_RUNNING) == ("Unknown", "NotReported")


def test_a_failed_start_stays_the_reason_until_the_next_term() -> None:
    failed = StatusInputs(observed(), lock(), job_state=JobState(5, JobPhase.FAILED, "start failed: no route"))
    assert status_and_reason(failed, ConditionType.JOB_RUNNING) == ("False", "StartFailed")
    assert "start failed: no route" in message(failed, ConditionType.READY)
    another = StatusInputs(observed(build_status(failed, NOW)), lock())
    assert status_and_reason(another, ConditionType.JOB_RUNNING) == ("False", "StartFailed")
    next_term = StatusInputs(observed(build_status(failed, NOW)), lock(term=6))
    assert status_and_reason(next_term, ConditionType.JOB_RUNNING) == ("False", "NotElected")


def test_other_instances_keep_what_only_the_master_knows() -> None:
    before = build_status(ELECTED, NOW)
    seen_by_another = StatusInputs(observed(before), lock(MASTER), timing={"heartbeatInterval": "1s"})
    assert build_status(seen_by_another, NOW + timedelta(hours=1)) == before


def test_a_master_that_has_not_reported_yet_is_elected_with_an_unknown_job_state() -> None:
    inputs = StatusInputs(observed(), lock(MASTER))
    assert status_and_reason(inputs, ConditionType.READY) == ("True", "Elected")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("Unknown", "NotReported")


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    before = build_status(VACANT, THEN)
    after = build_status(replace(ELECTED, observed=observed(before)), NOW)
    times = {each["type"]: each["lastTransitionTime"] for each in after["conditions"]}
    assert times["Ready"] == "2026-01-01T13:00:00Z"
    assert times["Enabled"] == "2026-01-01T12:00:00Z"


def test_the_same_inputs_give_the_same_status() -> None:
    for inputs in (VACANT, ELECTED, DISABLED):
        status = build_status(inputs, THEN)
        unchanged = replace(inputs, observed=replace(inputs.observed, status=status))
        assert build_status(unchanged, NOW) == status


def test_each_new_master_is_one_transition() -> None:
    first = build_status(ELECTED, NOW)
    same = build_status(replace(ELECTED, observed=observed(first)), NOW)
    second = StatusInputs(observed(same), lock(MASTER, term=9), job_state=JobState(9, JobPhase.RUNNING))
    assert [first["transitions"], same["transitions"], build_status(second, NOW)["transitions"]] == [1, 1, 2]


def test_a_conflict_is_stalled_and_reports_nothing_of_the_others_lock() -> None:
    inputs = StatusInputs(
        observed(), lock(MASTER), problem=ResourceProblem(ProblemReason.CONFLICT, "lock JOB belongs to ns/first")
    )
    status = build_status(inputs, NOW)
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Conflict")
    assert status_and_reason(inputs, ConditionType.STALLED) == ("True", "Conflict")
    assert status_and_reason(inputs, ConditionType.ELECTED) == ("False", "Conflict")
    assert "master" not in status
    assert status["term"] == 0
    assert status["observedGeneration"] == 1  # so that tools that wait see the failure


def test_an_invalid_resource_has_its_reason_while_its_job_runs_on() -> None:
    inputs = replace(ELECTED, problem=ResourceProblem(ProblemReason.INVALID, "leaseDuration 1s is too short"))
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Invalid")
    assert status_and_reason(inputs, ConditionType.STALLED) == ("True", "Invalid")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("True", "Running")


def test_a_job_that_this_pod_does_not_know_counts_only_if_there_is_no_master() -> None:
    problem = ResourceProblem(ProblemReason.UNKNOWN_JOB, "no job 'x' is known here")
    assert status_and_reason(replace(VACANT, problem=problem), ConditionType.READY) == ("False", "UnknownJob")
    assert status_and_reason(StatusInputs(observed(), lock(MASTER), problem=problem), ConditionType.READY) == (
        "True",
        "Elected",
    )
    assert status_and_reason(StatusInputs(observed(), None, problem=problem), ConditionType.READY) == (
        "False",
        "UnknownJob",
    )


def test_without_the_database_the_master_that_stopped_reports_it() -> None:
    before = build_status(ELECTED, THEN)
    inputs = StatusInputs(observed(before), None, "no answer", job_state=JobState(5, JobPhase.STOPPED))
    status = build_status(inputs, NOW)
    assert inputs.is_reportable
    assert status_and_reason(inputs, ConditionType.READY) == ("Unknown", "DatabaseUnavailable")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("False", "NotElected")
    assert "master" not in status
    assert status["term"] == 5
    assert status["observedGeneration"] == 1


def test_an_instance_that_alone_lost_the_database_reports_it_only_if_there_is_no_status_yet() -> None:
    for before in (build_status(ELECTED, THEN), build_status(VACANT, THEN), build_status(DISABLED, THEN)):
        assert not StatusInputs(observed(before), None, "no answer").is_reportable
    assert StatusInputs(observed(), None, "no answer").is_reportable


def test_the_error_of_the_database_driver_is_not_published() -> None:
    one = StatusInputs(observed(), None, "connection to 10.0.0.7 refused for user app")
    other = StatusInputs(observed(), None, "timeout")
    assert build_status(one, NOW) == build_status(other, NOW)


def test_a_database_with_a_lower_term_is_behind() -> None:
    assert StatusInputs(observed(build_status(ELECTED, THEN)), lock(term=4)).is_database_behind
    assert StatusInputs(observed(build_status(ELECTED, THEN)), None).is_database_behind
    assert not StatusInputs(observed(build_status(ELECTED, THEN)), lock(term=5)).is_database_behind
    assert not StatusInputs(observed(build_status(ELECTED, THEN)), None, "no answer").is_database_behind


def test_an_election_is_left_to_the_new_master_to_report_for_a_moment() -> None:
    another = StatusInputs(observed(), lock(MASTER))
    assert another.is_left_to_master(THEN + timedelta(seconds=1))
    assert not another.is_left_to_master(NOW)
    assert not another.is_left_to_master(THEN - timedelta(hours=1)), "our clock is slow, and nothing is known"
    assert not ELECTED.is_left_to_master(THEN)
    assert not VACANT.is_left_to_master(THEN)


def test_a_generation_is_observed_once_its_switch_is_in_the_database() -> None:
    def observed_generation(applied_generation: int, previous_generation: int) -> int:
        status = {"observedGeneration": previous_generation} if previous_generation else {}
        found = build_status(
            StatusInputs(observed(status, generation=3), lock(), applied_generation=applied_generation), NOW
        )["observedGeneration"]
        return int(found)

    assert observed_generation(applied_generation=0, previous_generation=0) == 0
    assert observed_generation(applied_generation=2, previous_generation=0) == 2
    assert observed_generation(applied_generation=3, previous_generation=2) == 3
    assert observed_generation(applied_generation=0, previous_generation=3) == 3


def test_a_disable_that_the_database_does_not_have_is_not_ready() -> None:
    pending = StatusInputs(observed(enabled=False), lock(MASTER), job_state=JobState(5, JobPhase.RUNNING))
    assert pending.is_disable_pending
    assert status_and_reason(pending, ConditionType.READY) == ("False", "Stopping")
    assert status_and_reason(pending, ConditionType.ENABLED) == ("False", "DisabledBySpec")
    assert events_for_status(observed(build_status(ELECTED, THEN)), build_status(pending, NOW)) == []
    assert not DISABLED.is_disable_pending
    assert not ELECTED.is_disable_pending


def test_a_disable_is_an_event_once_the_database_has_it() -> None:
    pending = StatusInputs(observed(enabled=False), lock(MASTER), job_state=JobState(5, JobPhase.RUNNING))
    (event,) = events_for_status(observed(build_status(pending, THEN)), build_status(DISABLED, NOW))
    assert event.reason == "Disabled"
    assert events_for_status(observed(build_status(DISABLED, THEN)), build_status(DISABLED, NOW)) == []


def test_a_reason_of_another_version_is_not_kept() -> None:
    before = build_status(ELECTED, NOW)
    for condition in before["conditions"]:
        condition["reason"] = "Rehearsing"
    inputs = StatusInputs(observed(before), lock(MASTER))
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("Unknown", "NotReported")


def test_a_job_whose_start_failed_elsewhere_is_not_unknown() -> None:
    failed = build_status(
        StatusInputs(observed(), lock(), job_state=JobState(5, JobPhase.FAILED, "start failed: no route")), NOW
    )
    here = StatusInputs(
        observed(failed), lock(), problem=ResourceProblem(ProblemReason.UNKNOWN_JOB, "no job 'x' is known here")
    )
    assert status_and_reason(here, ConditionType.READY) == ("False", "Vacant")
    assert status_and_reason(here, ConditionType.STALLED) == ("absent", "absent")


def test_every_condition_has_a_closed_list_of_reasons() -> None:
    with pytest.raises(ValueError, match="Conflict is not a reason of JobRunning"):
        Condition(ConditionType.JOB_RUNNING, "True", ConditionReason.CONFLICT, "")
    assert set(ALLOWED_REASONS) == set(ConditionType)
