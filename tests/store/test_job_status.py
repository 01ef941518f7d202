"""The last run of a lock's job: written by its instance, read by people."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from masterjob.concurrency.clock import clock
from masterjob.job_status import JobStatus, RunPhase, RunRecord, RunStatus
from masterjob.store.database import Database
from masterjob.store.queries.declared_switches import SwitchSpec
from tests.store.conftest import SqlBackend, claim_lock, open_session

TERM = 1_000


def starting() -> RunStatus:
    return RunStatus(RunPhase.STARTING, clock())


def running(restarts: int = 0) -> RunStatus:
    return RunStatus(RunPhase.RUNNING, clock(), restarts=restarts, has_run=True)


def failed(failures: int = 1, *, has_run: bool = False) -> RunStatus:
    return RunStatus(RunPhase.FAILED, clock(), 7, 0, "exit code 7", ("first", "last"), failures, has_run)


@pytest.fixture
def write(sql_backend: SqlBackend) -> Callable[..., None]:
    sql_backend.connect().ensure_locks(["job"])

    def write(run: RunStatus, term: int = TERM, *, instance: str = "web-1", is_over: bool = False) -> None:
        sql_backend.database.write_runs([RunRecord("job", "report", instance, term, run, is_over)])

    return write


def read(sql_backend: SqlBackend) -> JobStatus:
    (lock,) = sql_backend.admin.status("job")
    assert lock.job is not None
    return lock.job


def test_a_lock_without_a_run_has_no_job(sql_backend: SqlBackend) -> None:
    sql_backend.connect().ensure_locks(["job"])
    assert sql_backend.admin.status("job")[0].job is None


def test_what_was_written_is_read(sql_backend: SqlBackend, write: Callable[..., None]) -> None:
    write(failed())
    job = read(sql_backend)
    expected = JobStatus(
        "job", "report", "web-1", TERM, RunPhase.FAILED, job.since, 7, 0, 1, "exit code 7", ("first", "last")
    )
    assert job == expected


def test_its_phase_began_as_long_ago_by_the_clock_of_the_database(
    sql_backend: SqlBackend, write: Callable[..., None]
) -> None:
    write(replace(running(), since=clock() - 3600))
    age = datetime.now(UTC) - read(sql_backend).since
    assert timedelta(minutes=59) < age < timedelta(minutes=62)


def test_a_run_of_an_earlier_term_replaces_nothing(sql_backend: SqlBackend, write: Callable[..., None]) -> None:
    write(running(), TERM + 1)
    write(failed(), TERM)
    assert (read(sql_backend).term, read(sql_backend).phase) == (TERM + 1, RunPhase.RUNNING)


def test_failures_count_over_all_instances_until_one_runs(
    sql_backend: SqlBackend, write: Callable[..., None]
) -> None:
    for term in range(TERM, TERM + 3):
        write(starting(), term, instance=f"web-{term}")
        write(failed(), term, instance=f"web-{term}")
    assert read(sql_backend).consecutive_failures == 3
    write(starting(), TERM + 3)
    assert read(sql_backend).consecutive_failures == 3
    write(running(), TERM + 3)
    assert read(sql_backend).consecutive_failures == 0
    write(failed(has_run=True), TERM + 3)
    assert read(sql_backend).consecutive_failures == 1


def test_a_write_may_be_repeated(sql_backend: SqlBackend, write: Callable[..., None]) -> None:
    write(failed(), TERM)
    for _ in range(3):
        write(failed(failures=2), TERM + 1)
    assert read(sql_backend).consecutive_failures == 3


def test_states_that_were_not_written_in_time_are_not_missed(
    sql_backend: SqlBackend, write: Callable[..., None]
) -> None:
    write(failed(), TERM)
    write(failed(failures=4), TERM + 1)
    assert read(sql_backend).consecutive_failures == 5
    write(failed(failures=1, has_run=True), TERM + 2)  # it was running in between
    assert read(sql_backend).consecutive_failures == 1


def test_a_new_attempt_keeps_the_last_failure_until_it_runs(
    sql_backend: SqlBackend, write: Callable[..., None]
) -> None:
    write(failed(), TERM)
    write(starting(), TERM + 1, instance="web-2")
    job = read(sql_backend)
    assert (job.phase, job.instance, job.exit_code, job.last_error) == (
        RunPhase.STARTING,
        "web-2",
        7,
        "exit code 7",
    )
    assert job.output == ("first", "last")
    write(running(), TERM + 1)
    job = read(sql_backend)
    assert (job.exit_code, job.last_error, job.output) == (None, "", ())


def test_a_job_that_was_stopped_has_no_phase(sql_backend: SqlBackend, write: Callable[..., None]) -> None:
    write(running())
    write(replace(running(), phase=RunPhase.STOPPING), is_over=True)
    assert read(sql_backend).phase is None


def test_the_output_is_read_only_with_a_single_lock(sql_backend: SqlBackend, write: Callable[..., None]) -> None:
    write(failed())
    (lock,) = sql_backend.admin.status()
    assert lock.job is not None
    assert (lock.job.last_error, lock.job.output) == ("exit code 7", ())


def test_any_text_can_be_written_and_long_outputs_are_bounded(
    sql_backend: SqlBackend, write: Callable[..., None]
) -> None:
    output = ("a\x00b", "🔥" * 5_000, *("line " + "ü" * 500 for _ in range(60)))
    write(replace(failed(), last_error="100% {sure} :yes 🔥 \x00", output=output))
    job = read(sql_backend)
    assert job.last_error == "100% {sure} :yes 🔥  "
    assert 1 <= len(job.output) <= 50
    assert sum(map(len, job.output)) <= 8_000


def test_the_run_of_a_lock_that_has_no_row_is_not_written(sql_backend: SqlBackend) -> None:
    sql_backend.database.write_runs([RunRecord("lost", "report", "web-1", TERM, running())])
    assert sql_backend.admin.status("lost") == []


def test_a_run_goes_away_with_its_lock(sqlite_backend: SqlBackend) -> None:
    sqlite_backend.connect().ensure_locks(["job"])
    sqlite_backend.database.write_runs([RunRecord("job", "report", "web-1", TERM, running())])
    with sqlite_backend.database.connect_admin() as db:
        db.execute("DELETE FROM master_lock WHERE lock_name = :lock_name", lock_name="job")
        assert db.fetch_all("SELECT lock_name FROM master_job") == []


def test_a_lock_is_running_while_its_master_lives(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session = open_session(store, lease_ms=24_000)
    term = claim_lock(store, session)
    assert sql_backend.admin.status("job")[0].state == "Starting"
    sql_backend.database.write_runs([RunRecord("job", "report", "one", term.number, running())])
    (lock,) = sql_backend.admin.status("job")
    assert (lock.state, lock.why, lock.live_instances) == ("Running", "", 1)
    sql_backend.backdate(session, 13_000)
    assert sql_backend.admin.status("job")[0].state == "Unknown"
    sql_backend.backdate(session, 20_000)
    (lock,) = sql_backend.admin.status("job")
    assert (lock.state, lock.live_instances) == ("Vacant", 0)


def test_the_table_is_added_to_the_tables_of_an_older_release_which_keeps_working(
    empty_backend: SqlBackend,
) -> None:
    Database(empty_backend.url).prepare()
    empty_backend.execute("DROP TABLE master_job")
    Database(empty_backend.url).prepare()
    assert empty_backend.execute("SELECT version_num FROM masterjob_version") == [("0001",)]
    empty_backend.connect().ensure_locks(["job"])
    empty_backend.database.write_runs([RunRecord("job", "report", "web-1", TERM, running())])
    assert read(empty_backend).phase is RunPhase.RUNNING


@pytest.fixture
def completed_backend(sql_backend: SqlBackend, write: Callable[..., None]) -> SqlBackend:
    """A lock whose job has completed and must not run again."""
    write(RunStatus(RunPhase.COMPLETED, clock(), 0, has_run=True, is_final=True))
    sql_backend.database.disable_completed("job", "web-1")
    return sql_backend


def test_a_job_that_must_not_run_again_is_completed_and_its_lock_cannot_be_claimed(
    completed_backend: SqlBackend,
) -> None:
    (lock,) = completed_backend.admin.status("job")
    assert (lock.state, lock.enabled) == ("Completed", False)
    assert lock.disabled is not None
    assert (lock.disabled.source, lock.disabled.actor, lock.disabled.reason) == ("once", "web-1", "completed")
    store = completed_backend.connect()
    assert store.claim(open_session(store), ["job"]) == ()
    completed_backend.database.disable_completed("job", "web-1")
    assert [event.kind for event in completed_backend.admin.history("job")] == ["disabled"]


def test_people_who_enable_the_lock_make_it_run_again(completed_backend: SqlBackend) -> None:
    completed_backend.admin.disable("job", "and not now either", "ann")
    assert completed_backend.admin.enable("job", "ann")
    assert completed_backend.admin.status("job")[0].enabled
    assert completed_backend.admin.history("job")[0].reason == "the disable (api, once) was taken back"


def test_a_file_that_stops_disabling_the_lock_makes_it_run_again_but_one_that_never_did_does_not(
    completed_backend: SqlBackend,
) -> None:
    admin = completed_backend.admin
    enabling, disabling = SwitchSpec("file:a", "file:a", None), SwitchSpec("file:a", "file:a", "not now")
    admin.apply_switch("job", enabling)
    assert not admin.status("job")[0].enabled
    admin.apply_switch("job", disabling)
    admin.apply_switch("job", enabling)
    assert admin.status("job")[0].enabled


def test_enabling_another_source_does_not_make_it_run_again(completed_backend: SqlBackend) -> None:
    assert not completed_backend.admin.enable("job", "ann", source="file:a")
    assert not completed_backend.admin.status("job")[0].enabled


def test_the_switch_of_a_completed_job_is_not_that_of_a_resource(completed_backend: SqlBackend) -> None:
    assert completed_backend.admin.list_switches() == []
