"""What an instance says about a lock that it waits for."""

from datetime import UTC, datetime

from masterjob.job_status import JobStatus, RunPhase
from masterjob.lock_status import DisabledStatus, LockStatus, MasterStatus
from masterjob.runtime.instance import explain_waiting

THEN = datetime(2026, 5, 1, tzinfo=UTC)


def master(heartbeat_age: float = 1.0) -> MasterStatus:
    return MasterStatus("web-1-x", "", "", "", THEN, heartbeat_age, heartbeat_age < 24.0, 24.0)


def job(phase: RunPhase, error: str = "") -> JobStatus:
    return JobStatus("JOB", "", "web-1-x", 7, phase, THEN, last_error=error, consecutive_failures=int(bool(error)))


def lock(of_master: MasterStatus | None, of_job: JobStatus | None = None) -> LockStatus:
    return LockStatus("JOB", True, None, of_master, 7, of_job, 2)


def test_it_says_who_is_master_and_why_the_job_does_not_run_there() -> None:
    assert explain_waiting(lock(master(), job(RunPhase.RUNNING))) == "waiting: web-1-x is master (term 7)"
    assert explain_waiting(lock(master(), job(RunPhase.COMPLETED))) == (
        "waiting: web-1-x is master (term 7); the job has completed; it runs again only in another term"
    )
    assert explain_waiting(lock(master(13.0), job(RunPhase.RUNNING))) == (
        "waiting: web-1-x is master (term 7); "
        "web-1-x has been silent for 13 s; if it is dead, its lease ends in 11 s"
    )


def test_it_says_why_there_is_no_master() -> None:
    failed = lock(None, job(RunPhase.FAILED, "exit code 7"))
    assert explain_waiting(failed) == "waiting: failed on web-1-x: exit code 7"
    assert explain_waiting(lock(master(25.0))).startswith("waiting: web-1-x has been silent for 25 s; its lease")
    disabled = DisabledStatus("moving the data", "ann", "ann", THEN, None)
    assert explain_waiting(LockStatus("JOB", False, disabled, None, 7)) == "disabled by ann: moving the data"
