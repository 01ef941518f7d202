"""The status computed from the database and from the job of this instance."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from masterjob.job_status import ONCE_SOURCE, JobStatus, RunPhase, RunStatus
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
from masterjob.kube.status.outages import DatabaseAccess
from masterjob.kube.status.own_runs import OwnRun
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from masterjob.resource.masterjob import ObjectMeta, Resource
from masterjob.resource.problems import ProblemReason, ResourceProblem
from tests.kube.kstatus import REQUIRED_CONDITIONS, kstatus

THEN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)
MASTER = MasterStatus("pod-a-1-x", "10.0.0.1", "pod-a", "node-1", THEN, 1.0, alive=True, lease=24.0)
OVERDUE = replace(MASTER, heartbeat_age=13.0, last_heartbeat=THEN)
BY_API = DisabledStatus("moving", "ann", "api", THEN, None)
COMPLETED = DisabledStatus("completed", "pod-a-1-x", ONCE_SOURCE, THEN, None)
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


def job(phase: RunPhase | None = RunPhase.RUNNING, failures: int = 0, term: int = 5) -> JobStatus:
    error = "exit code 7" if failures else ""
    return JobStatus("JOB", "report", "pod-a-1-x", term, phase, THEN, None, 0, failures, error)


def lock(
    master: MasterStatus | None = None,
    disabled: DisabledStatus | None = None,
    term: int = 5,
    job: JobStatus | None = None,
) -> LockStatus:
    return LockStatus("JOB", disabled is None, disabled, master, term, job, live_instances=3)


def own_run(phase: RunPhase, term: int = 5, *, is_over: bool = False) -> OwnRun:
    return OwnRun(term, RunStatus(phase, 0.0), is_over=is_over)


VACANT = StatusInputs(observed(), lock())
RUNNING = StatusInputs(
    observed(),
    lock(MASTER, job=job()),
    newest_run=own_run(RunPhase.RUNNING),
    timing=TIMING,
    applied_generation=1,
)
DISABLED = StatusInputs(observed(enabled=False), lock(disabled=BY_SPEC))


def status_and_reason(inputs: StatusInputs, condition_type: ConditionType) -> tuple[str, str]:
    condition = find_condition(build_status(inputs, NOW), condition_type)
    return condition.get("status", "absent"), condition.get("reason", "absent")


def message(inputs: StatusInputs, condition_type: ConditionType) -> str:
    return str(find_condition(build_status(inputs, NOW), condition_type)["message"])


def test_a_lock_whose_job_runs_is_ready_and_names_its_master() -> None:
    status = build_status(RUNNING, NOW)
    assert status["master"] == {
        "instance": "pod-a-1-x",
        "pod": "pod-a",
        "node": "node-1",
        "address": "10.0.0.1",
        "since": "2026-01-01T12:00:00Z",
    }
    assert (status["term"], status["transitions"], status["observedGeneration"]) == (5, 1, 1)
    assert status["timing"] == TIMING
    assert status_and_reason(RUNNING, ConditionType.READY) == ("True", "Running")
    assert status_and_reason(RUNNING, ConditionType.ELECTED) == ("True", "Elected")
    assert status_and_reason(RUNNING, ConditionType.ENABLED) == ("True", "Enabled")
    assert status_and_reason(RUNNING, ConditionType.JOB_RUNNING) == ("True", "Running")
    assert status_and_reason(RUNNING, ConditionType.RECONCILING) == ("absent", "absent")


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
    inputs = StatusInputs(observed(), lock(MASTER, BY_API, job=job(RunPhase.STOPPING)))
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Stopping")
    assert status_and_reason(inputs, ConditionType.ELECTED) == ("True", "Elected")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("False", "Stopping")
    assert status_and_reason(inputs, ConditionType.RECONCILING) == ("True", "Stopping")


STATES = [
    (lock(MASTER, job=job(RunPhase.STARTING)), "False Starting", "False Starting", "Reconciling"),
    (lock(MASTER), "False Starting", "Unknown NotReported", "Reconciling"),
    (lock(MASTER, job=job(term=4)), "False Starting", "Unknown NotReported", "Reconciling"),
    (lock(MASTER, job=job()), "True Running", "True Running", None),
    (lock(MASTER, job=job(RunPhase.COMPLETED)), "True Completed", "False Completed", None),
    (lock(MASTER, job=job(RunPhase.STOPPING)), "False Stopping", "False Stopping", "Reconciling"),
    (lock(MASTER, job=job(RunPhase.FAILED, 1)), "False StartFailed", "False StartFailed", "Reconciling"),
    (lock(job=job(RunPhase.FAILED, 2)), "False StartFailed", "False StartFailed", "Reconciling"),
    (lock(job=job(RunPhase.FAILED, 3)), "False StartFailed", "False StartFailed", "Stalled"),
    (lock(MASTER, job=job(RunPhase.STARTING, 3)), "False StartFailed", "False Starting", "Stalled"),
    (lock(MASTER, job=job(failures=3, term=4)), "False StartFailed", "Unknown NotReported", "Stalled"),
    (lock(job=job(None, 3)), "False StartFailed", "False NotElected", "Stalled"),
    (lock(job=job(None)), "False Vacant", "False NotElected", "Reconciling"),
    (lock(OVERDUE, job=job()), "Unknown NotConfirmed", "Unknown NotConfirmed", None),
    (lock(OVERDUE, BY_API, job=job()), "Unknown NotConfirmed", "Unknown NotConfirmed", None),
    (lock(disabled=BY_API, job=job(RunPhase.FAILED, 3)), "True Disabled", "False NotElected", None),
    (lock(MASTER, BY_API, job=job(RunPhase.FAILED, 3)), "False Stopping", "False Stopping", "Reconciling"),
    (lock(disabled=COMPLETED, job=job(RunPhase.COMPLETED)), "True Completed", "False Completed", None),
]


@pytest.mark.parametrize(("lock_status", "ready", "job_running", "abnormal"), STATES)
def test_each_state_of_a_job_has_its_conditions_and_its_kstatus(
    lock_status: LockStatus, ready: str, job_running: str, abnormal: str | None
) -> None:
    inputs = StatusInputs(observed(), lock_status, applied_generation=1)
    status = build_status(inputs, NOW)
    assert " ".join(status_and_reason(inputs, ConditionType.READY)) == ready
    assert " ".join(status_and_reason(inputs, ConditionType.JOB_RUNNING)) == job_running
    types = {each["type"] for each in status["conditions"]}
    assert types - set(REQUIRED_CONDITIONS) == ({abnormal} if abnormal else set())
    verdict = {"Stalled": "Failed", "Reconciling": "InProgress", None: "Current"}[abnormal]
    if ready.startswith("Unknown"):
        verdict = "InProgress"
    assert kstatus({"metadata": {"generation": 1}, "status": status}) == verdict


def test_a_job_that_completed_for_good_is_completed_and_not_disabled() -> None:
    inputs = StatusInputs(observed(), lock(disabled=COMPLETED, job=job(RunPhase.COMPLETED)))
    assert status_and_reason(inputs, ConditionType.ENABLED) == ("False", "Completed")
    assert "masterjob enable JOB" in message(inputs, ConditionType.ENABLED)
    assert events_for_status(observed(build_status(RUNNING, THEN)), build_status(inputs, NOW)) == []


def test_the_job_is_reported_as_its_master_did() -> None:
    failed = replace(job(RunPhase.FAILED, 2), exit_code=7, restarts=4)
    assert build_status(StatusInputs(observed(), lock(job=failed)), NOW)["job"] == {
        "name": "report",
        "phase": "Failed",
        "since": "2026-01-01T12:00:00Z",
        "exitCode": 7,
        "restarts": 4,
        "consecutiveFailures": 2,
        "lastError": "exit code 7",
    }
    stopped = build_status(StatusInputs(observed(), lock(job=job(None))), NOW)["job"]
    assert stopped == {"name": "report", "restarts": 0, "consecutiveFailures": 0}
    assert "job" not in build_status(VACANT, NOW)


def test_a_master_with_an_overdue_heartbeat_is_not_confirmed_and_no_number_changes_by_itself() -> None:
    silent = StatusInputs(observed(), lock(OVERDUE, job=job()))
    later = StatusInputs(observed(), lock(replace(OVERDUE, heartbeat_age=31.0, alive=False), job=job()))
    for condition_type in (ConditionType.READY, ConditionType.ELECTED, ConditionType.JOB_RUNNING):
        assert status_and_reason(silent, condition_type) == ("Unknown", "NotConfirmed")
        assert "pod-a is not confirmed since 2026-01-01T12:00:00Z" in message(silent, condition_type)
    assert build_status(silent, NOW) == build_status(later, NOW)


def test_other_instances_keep_the_timing_of_the_master() -> None:
    before = build_status(RUNNING, NOW)
    seen_by_another = StatusInputs(observed(before), lock(MASTER, job=job()), timing={"heartbeatInterval": "1s"})
    assert build_status(seen_by_another, NOW + timedelta(hours=1)) == before


def test_the_time_of_ready_moves_when_its_meaning_does() -> None:
    def time_of_ready(inputs: StatusInputs, now: datetime) -> datetime:
        condition = find_condition(build_status(inputs, now), ConditionType.READY)
        return datetime.fromisoformat(condition["lastTransitionTime"])

    running = observed(build_status(RUNNING, THEN))
    assert time_of_ready(replace(RUNNING, observed=running), NOW) == THEN
    assert (
        time_of_ready(replace(DISABLED, observed=replace(running, resource=DISABLED.observed.resource)), NOW)
        == NOW
    )
    starting = observed(build_status(StatusInputs(observed(), lock(MASTER)), THEN))
    assert time_of_ready(StatusInputs(starting, lock(job=job(RunPhase.FAILED, 1))), NOW) == THEN, "still not ready"


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    before = build_status(VACANT, THEN)
    after = build_status(replace(RUNNING, observed=observed(before)), NOW)
    times = {each["type"]: each["lastTransitionTime"] for each in after["conditions"]}
    assert times["Ready"] == "2026-01-01T13:00:00Z"
    assert times["Enabled"] == "2026-01-01T12:00:00Z"


def test_the_same_inputs_give_the_same_status() -> None:
    for inputs in (VACANT, RUNNING, DISABLED):
        status = build_status(inputs, THEN)
        unchanged = replace(inputs, observed=replace(inputs.observed, status=status))
        assert build_status(unchanged, NOW) == status


def test_each_new_master_is_one_transition() -> None:
    first = build_status(RUNNING, NOW)
    same = build_status(replace(RUNNING, observed=observed(first)), NOW)
    second = StatusInputs(observed(same), lock(MASTER, term=9))
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
    inputs = replace(RUNNING, problem=ResourceProblem(ProblemReason.INVALID, "leaseDuration 1s is too short"))
    assert status_and_reason(inputs, ConditionType.READY) == ("False", "Invalid")
    assert status_and_reason(inputs, ConditionType.STALLED) == ("True", "Invalid")
    assert status_and_reason(inputs, ConditionType.JOB_RUNNING) == ("True", "Running")


def test_a_job_that_this_pod_does_not_know_counts_only_if_there_is_no_master() -> None:
    problem = ResourceProblem(ProblemReason.UNKNOWN_JOB, "no job 'x' is known here")
    assert status_and_reason(replace(VACANT, problem=problem), ConditionType.READY) == ("False", "UnknownJob")
    elected = StatusInputs(observed(), lock(MASTER, job=job()), problem=problem)
    assert status_and_reason(elected, ConditionType.READY) == ("True", "Running")
    dead = StatusInputs(observed(), lock(replace(OVERDUE, alive=False)), problem=problem)
    assert status_and_reason(dead, ConditionType.READY) == ("False", "UnknownJob")
    assert status_and_reason(StatusInputs(observed(), None, problem=problem), ConditionType.READY) == (
        "False",
        "UnknownJob",
    )


def test_without_the_database_the_status_says_whether_others_may_reach_it() -> None:
    before = build_status(RUNNING, THEN)
    stopped = own_run(RunPhase.STOPPING, is_over=True)
    here = StatusInputs(observed(before), None, DatabaseAccess.LOST_HERE, newest_run=stopped)
    assert status_and_reason(here, ConditionType.READY) == ("Unknown", "NotConfirmed")
    assert status_and_reason(here, ConditionType.ELECTED) == ("Unknown", "NotConfirmed")
    assert status_and_reason(here, ConditionType.JOB_RUNNING) == ("False", "NotElected")
    everywhere = replace(here, database=DatabaseAccess.LOST)
    assert status_and_reason(everywhere, ConditionType.READY) == ("Unknown", "DatabaseUnavailable")
    assert status_and_reason(everywhere, ConditionType.ENABLED) == ("Unknown", "DatabaseUnavailable")
    assert status_and_reason(everywhere, ConditionType.JOB_RUNNING) == ("False", "NotElected")
    status = build_status(everywhere, NOW)
    assert (status["term"], status["observedGeneration"], "master" in status) == (5, 1, False)
    assert "phase" not in status["job"]


def test_a_new_resource_has_no_status_until_its_first_election() -> None:
    assert VACANT.is_first_election_pending
    assert StatusInputs(observed()).is_first_election_pending
    assert not RUNNING.is_first_election_pending
    assert not DISABLED.is_first_election_pending
    assert not replace(VACANT, observed=observed(build_status(RUNNING, THEN))).is_first_election_pending
    problem = ResourceProblem(ProblemReason.UNKNOWN_JOB, "no job 'x' is known here")
    assert not replace(VACANT, problem=problem).is_first_election_pending


def test_a_database_with_a_lower_term_is_behind() -> None:
    assert StatusInputs(observed(build_status(RUNNING, THEN)), lock(term=4)).is_database_behind
    assert StatusInputs(observed(build_status(RUNNING, THEN)), None).is_database_behind
    assert not StatusInputs(observed(build_status(RUNNING, THEN)), lock(term=5)).is_database_behind
    lost = DatabaseAccess.LOST
    assert not StatusInputs(observed(build_status(RUNNING, THEN)), None, lost).is_database_behind


def test_an_election_is_left_to_the_new_master_to_report_for_a_moment() -> None:
    another = StatusInputs(observed(), lock(MASTER))
    assert another.is_left_to_master(THEN + timedelta(seconds=1))
    assert not another.is_left_to_master(NOW)
    assert not another.is_left_to_master(THEN - timedelta(hours=1)), "our clock is slow, and nothing is known"
    assert not RUNNING.is_left_to_master(THEN)
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
    pending = StatusInputs(observed(enabled=False), lock(MASTER), newest_run=own_run(RunPhase.RUNNING))
    assert pending.is_disable_pending
    assert status_and_reason(pending, ConditionType.READY) == ("False", "Stopping")
    assert status_and_reason(pending, ConditionType.ENABLED) == ("False", "DisabledBySpec")
    assert events_for_status(observed(build_status(RUNNING, THEN)), build_status(pending, NOW)) == []
    assert not DISABLED.is_disable_pending
    assert not RUNNING.is_disable_pending


def test_a_disable_is_an_event_once_the_database_has_it() -> None:
    pending = StatusInputs(observed(enabled=False), lock(MASTER), newest_run=own_run(RunPhase.RUNNING))
    (event,) = events_for_status(observed(build_status(pending, THEN)), build_status(DISABLED, NOW))
    assert event.reason == "Disabled"
    assert events_for_status(observed(build_status(DISABLED, THEN)), build_status(DISABLED, NOW)) == []


def test_a_job_whose_start_failed_elsewhere_is_not_unknown() -> None:
    problem = ResourceProblem(ProblemReason.UNKNOWN_JOB, "no job 'x' is known here")
    here = StatusInputs(observed(), lock(job=job(RunPhase.FAILED, 1)), problem=problem)
    assert status_and_reason(here, ConditionType.READY) == ("False", "StartFailed")
    assert status_and_reason(here, ConditionType.STALLED) == ("absent", "absent")


@pytest.mark.parametrize("reason", list(ProblemReason)[:3])
def test_each_problem_of_a_resource_is_one_event(reason: ProblemReason) -> None:
    problem = ResourceProblem(reason, "it is wrong")
    status = build_status(replace(VACANT, problem=problem), NOW)
    (event,) = events_for_status(observed(build_status(VACANT, THEN)), status)
    assert (event.reason, event.note) == (reason, "it is wrong")
    assert event.to_body("pod-a", NOW)["type"] == "Warning"
    assert events_for_status(observed(status), status) == []


def test_a_job_that_stalls_is_one_event() -> None:
    failed = observed(build_status(StatusInputs(observed(), lock(job=job(RunPhase.FAILED, 2))), THEN))
    stalled = build_status(StatusInputs(failed, lock(job=job(RunPhase.FAILED, 3))), NOW)
    (event,) = events_for_status(failed, stalled)
    assert (event.reason, "exit code 7" in event.note) == ("Stalled", True)
    assert events_for_status(observed(stalled), stalled) == []


def test_every_condition_has_a_closed_list_of_reasons() -> None:
    with pytest.raises(ValueError, match="Conflict is not a reason of JobRunning"):
        Condition(ConditionType.JOB_RUNNING, "True", ConditionReason.CONFLICT, "")
    assert set(ALLOWED_REASONS) == set(ConditionType)
