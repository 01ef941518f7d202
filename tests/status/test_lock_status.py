"""What people read of a lock: its state in one word, and one sentence on why its job does not run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from masterjob.job_status import JobStatus, RunPhase
from masterjob.lock_status import DisabledStatus, LockState, LockStatus, MasterStatus, explain_how_to_enable
from masterjob.status_json import lock_json

THEN = datetime(2026, 5, 1, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)
TERM = 7


def master(heartbeat_age: float = 1.0, lease: float = 24.0) -> MasterStatus:
    return MasterStatus("web-1-x", "10.0.0.1", "web-1", "node", THEN, heartbeat_age, heartbeat_age < lease, lease)


def job(
    phase: RunPhase | None, term: int = TERM, error: str = "", failures: int = 0, exit_code: int | None = None
) -> JobStatus:
    return JobStatus("JOB", "report", "web-1-x", term, phase, THEN, exit_code, 0, failures, error)


def disabled(source: str = "api", until: datetime | None = None) -> DisabledStatus:
    return DisabledStatus("moving the data", "ann", source, THEN, until)


def lock(
    of_master: MasterStatus | None = None,
    of_job: JobStatus | None = None,
    disable: DisabledStatus | None = None,
    live_instances: int = 2,
    free_for: timedelta | None = None,
    newest_session: timedelta = timedelta(days=30),
) -> LockStatus:
    free_since = None if free_for is None else NOW - free_for
    is_enabled, opened_at = disable is None, NOW - newest_session
    return LockStatus(
        "JOB", is_enabled, disable, of_master, TERM, of_job, live_instances, free_since, opened_at, NOW
    )


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (RunPhase.STARTING, "Starting"),
        (RunPhase.RUNNING, "Running"),
        (RunPhase.COMPLETED, "Completed"),
        (RunPhase.FAILED, "StartFailed"),
        (RunPhase.STOPPING, "Stopping"),
        (None, "Starting"),
    ],
)
def test_with_a_living_master_the_state_is_that_of_its_run(phase: RunPhase | None, state: LockState) -> None:
    assert lock(master(), job(phase)).state == state


def test_a_master_whose_run_was_not_recorded_yet_is_starting() -> None:
    assert lock(master()).state == "Starting"
    assert lock(master(), job(RunPhase.COMPLETED, TERM - 1)).state == "Starting"
    assert lock(master()).why == "the job is being started"


def test_nothing_is_said_about_a_job_that_runs() -> None:
    assert lock(master(), job(RunPhase.RUNNING)).why == ""


def test_a_master_with_an_overdue_heartbeat_makes_the_state_unknown() -> None:
    overdue = lock(master(heartbeat_age=13.0), job(RunPhase.RUNNING))
    assert overdue.state == "Unknown"
    assert overdue.why == "web-1-x has been silent for 13 s; if it is dead, its lease ends in 11 s"


def test_a_master_whose_lease_is_over_leaves_the_lock_vacant() -> None:
    dead = lock(master(heartbeat_age=25.0), job(RunPhase.RUNNING))
    assert dead.state == "Vacant"
    assert dead.why.startswith("web-1-x has been silent for 25 s; its lease is over")


def test_a_free_lock_whose_last_run_failed_says_why() -> None:
    failed = lock(of_job=job(RunPhase.FAILED, error="the command ended with exit code 7", failures=3))
    assert failed.state == "StartFailed"
    assert failed.why == "failed on web-1-x: the command ended with exit code 7 (3 failures in a row)"


def test_a_free_lock_whose_job_was_stopped_or_has_completed_is_vacant() -> None:
    assert lock(of_job=job(None)).state == "Vacant"
    assert lock(of_job=job(RunPhase.COMPLETED)).state == "Vacant"


def test_a_failure_of_an_earlier_term_is_the_reason_of_the_next_attempt_but_not_its_state() -> None:
    again = lock(master(), job(RunPhase.FAILED, TERM - 1, "exit code 7", failures=1))
    assert (again.state, again.why) == ("Starting", "failed on web-1-x: exit code 7")


def test_a_free_lock_says_whether_any_instance_is_alive() -> None:
    assert lock(live_instances=0).why == "no instance is alive"
    failed = job(RunPhase.FAILED, error="exit code 7", failures=1)
    assert (
        lock(of_job=failed, live_instances=0).why == "no instance is alive; the job failed on web-1-x: exit code 7"
    )
    assert lock().why == "the lock is free: no instance that knows its job has claimed it yet"


def test_a_lock_that_stays_free_although_instances_are_alive_says_that_none_of_them_takes_part() -> None:
    assert lock(free_for=timedelta(seconds=59)).why == (
        "the lock is free: no instance that knows its job has claimed it yet"
    )
    assert lock(free_for=timedelta(seconds=125)).why == (
        "the lock has been free for 2m5s: none of the 2 live instances takes part in it, or none knows its job"
    )
    assert lock(free_for=timedelta(days=3), live_instances=1).why == (
        "the lock has been free for 3d: the only live instance does not take part in it, or does not know its job"
    )
    assert lock(free_for=timedelta(days=3), live_instances=0).why == "no instance is alive"


def test_an_instance_that_has_just_started_may_be_about_to_claim_the_lock() -> None:
    days, seconds = timedelta(days=3), timedelta(seconds=1)
    assert lock(free_for=days, newest_session=59 * seconds).why.startswith("the lock is free")
    assert lock(free_for=days, newest_session=60 * seconds).why.startswith("the lock has been free for 3d: none")


def test_a_failure_that_is_long_ago_says_for_how_long_the_lock_has_been_free() -> None:
    failed = job(RunPhase.FAILED, error="exit code 7", failures=1)
    assert lock(of_job=failed, free_for=timedelta(seconds=59)).why == "failed on web-1-x: exit code 7"
    assert lock(of_job=failed, free_for=timedelta(minutes=2)).why == (
        "failed on web-1-x: exit code 7; the lock has been free for 2m"
    )


def test_a_state_began_with_its_phase_its_disable_or_the_last_sign_of_its_master() -> None:
    minutes = timedelta(minutes=1)
    phase_began = replace(job(RunPhase.RUNNING), since=THEN + minutes)
    assert lock(master(), phase_began).since == THEN + minutes
    assert lock(master()).since == THEN
    assert lock(master(heartbeat_age=13.0), phase_began).since == NOW - timedelta(seconds=13)
    assert lock(free_for=5 * minutes).since == NOW - 5 * minutes
    assert lock(of_job=replace(job(RunPhase.FAILED), since=THEN + minutes)).since == THEN + minutes
    assert lock(disable=disabled()).since == THEN
    assert lock().since is None


def test_a_disabled_lock_says_who_disabled_it_why_and_until_when() -> None:
    assert lock(disable=disabled()).state == "Disabled"
    assert lock(master(), disable=disabled()).state == "Stopping"
    assert lock(disable=disabled("file:x", THEN)).why == (
        "disabled by ann (file:x): moving the data (until 2026-05-01T00:00:00Z)"
    )


def test_a_job_that_has_completed_for_good_is_completed_although_its_lock_is_disabled() -> None:
    done = lock(master(), job(RunPhase.COMPLETED), disabled("once"))
    assert (done.state, lock(None, job(RunPhase.COMPLETED), disabled("once")).state) == ("Completed", "Completed")
    assert "runs again only after the lock is enabled" in done.why
    assert explain_how_to_enable(done) == "masterjob enable JOB"
    assert lock(None, job(RunPhase.COMPLETED), disabled("api")).state == "Disabled"


def test_json_has_state_why_and_the_last_run() -> None:
    shown = lock_json(lock(of_job=job(RunPhase.FAILED, error="exit code 7", failures=1, exit_code=7)))
    assert (shown["state"], shown["why"]) == ("StartFailed", "failed on web-1-x: exit code 7")
    assert shown["since"] == "2026-05-01T00:00:00Z"
    assert shown["job"] == {
        "name": "report",
        "instance": "web-1-x",
        "term": TERM,
        "phase": "Failed",
        "since": "2026-05-01T00:00:00Z",
        "exitCode": 7,
        "restarts": 0,
        "consecutiveFailures": 1,
        "lastError": "exit code 7",
        "output": [],
    }


QUARANTINE = (
    "the database was promoted at 2026-05-01T00:59:50Z: no instance claims a lock before 2026-05-01T01:00:14Z"
)


def test_a_lock_that_is_free_after_a_promotion_says_so() -> None:
    assert replace(lock(free_for=timedelta(hours=1)), quarantine=QUARANTINE).why == QUARANTINE
    assert replace(lock(live_instances=0), quarantine=QUARANTINE).why == "no instance is alive"


def test_a_lock_whose_master_is_silent_after_a_promotion_says_both() -> None:
    silent = replace(lock(master(heartbeat_age=25.0)), quarantine=QUARANTINE)
    assert silent.why == f"web-1-x has been silent for 25 s; {QUARANTINE}"


def test_a_job_that_runs_through_a_promotion_needs_no_explanation() -> None:
    assert replace(lock(master(), job(RunPhase.RUNNING)), quarantine=QUARANTINE).why == ""
