"""The runs of an instance's jobs are written once for each change, also after the database was away."""

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from masterjob.election.core.events import JobRunChanged, JobStopped, Tick
from masterjob.election.observers import Step
from masterjob.election.values import Term
from masterjob.errors import StoreUnavailable
from masterjob.job_status import RunPhase, RunRecord, RunStatus
from masterjob.runtime import job_status_recorder
from masterjob.runtime.job_status_recorder import JobStatusRecorder
from tests.timeouts import WAIT_TIMEOUT

TERM = Term("JOB", 5)
STARTING, RUNNING = RunStatus(RunPhase.STARTING, 1.0), RunStatus(RunPhase.RUNNING, 6.0, has_run=True)
FAILED = RunStatus(RunPhase.FAILED, 7.0, 7, failures=1)
COMPLETED = RunStatus(RunPhase.COMPLETED, 7.0, 0, has_run=True)


class FakeDatabase:
    """Records what is written, in order; fails as often as a test wants."""

    def __init__(self) -> None:
        self.calls: list[RunRecord | str] = []
        self.failures_left = 0
        self._changed = threading.Condition()

    def write_runs(self, records: Iterable[RunRecord]) -> None:
        self._record(*records)

    def disable_completed(self, lock_name: str, instance: str) -> None:
        self._record(f"disable {lock_name} by {instance}")

    def _record(self, *calls: RunRecord | str) -> None:
        with self._changed:
            if self.failures_left:
                self.failures_left -= 1
                raise StoreUnavailable("away")
            self.calls += calls
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[list[RunRecord | str]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.calls), WAIT_TIMEOUT), self.calls

    @property
    def phases(self) -> list[str | None]:
        return [
            call if isinstance(call, str) else None if call.is_over else call.run.phase.value
            for call in self.calls
        ]


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def recorder(database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStatusRecorder]:
    monkeypatch.setattr(job_status_recorder, "COALESCE_DELAY", 0.0)
    recorder = JobStatusRecorder("web-1-x", database)
    yield recorder
    recorder.close(WAIT_TIMEOUT)


def change(recorder: JobStatusRecorder, run: RunStatus, term: Term = TERM) -> None:
    recorder.observe(Step("web-1-x", 9.0, JobRunChanged(term, run), ()))


def test_a_run_is_written_with_its_lock_job_instance_and_term(
    recorder: JobStatusRecorder, database: FakeDatabase
) -> None:
    recorder.set_job_name("JOB", "report")
    change(recorder, RUNNING)
    database.wait_for(bool)
    assert database.calls == [RunRecord("JOB", "report", "web-1-x", 5, RUNNING)]


def test_what_does_not_concern_runs_starts_no_thread(recorder: JobStatusRecorder) -> None:
    recorder.observe(Step("web-1-x", 9.0, Tick(), ()))
    recorder.observe(Step("web-1-x", 9.0, JobStopped(TERM), ()))
    assert recorder._thread is None


def test_only_the_newest_status_is_written(database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_status_recorder, "COALESCE_DELAY", 3600.0)
    recorder = JobStatusRecorder("web-1-x", database)
    for run in (STARTING, RUNNING, FAILED):
        change(recorder, run)
    recorder.close(WAIT_TIMEOUT)
    assert database.phases == ["Failed"]


def test_a_status_is_written_when_the_database_is_back(
    recorder: JobStatusRecorder, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.failures_left = 2
    change(recorder, RUNNING)
    database.wait_for(bool)
    assert database.phases == ["Running"]


def test_a_job_that_was_stopped_is_over(recorder: JobStatusRecorder, database: FakeDatabase) -> None:
    change(recorder, RUNNING)
    recorder.observe(Step("web-1-x", 12.0, JobStopped(TERM), ()))
    database.wait_for(lambda calls: isinstance(calls[-1], RunRecord) and calls[-1].is_over if calls else False)
    record = database.calls[-1]
    assert isinstance(record, RunRecord)
    assert (record.run.since, record.term) == (12.0, 5)


@pytest.mark.parametrize("run", [FAILED, COMPLETED])
def test_a_run_that_has_ended_stays_when_the_job_is_stopped(database: FakeDatabase, run: RunStatus) -> None:
    recorder = JobStatusRecorder("web-1-x", database)
    change(recorder, run)
    recorder.observe(Step("web-1-x", 12.0, JobStopped(TERM), ()))
    recorder.close(WAIT_TIMEOUT)
    assert database.phases == [run.phase.value]


def test_a_late_stop_of_an_earlier_term_ends_no_run(database: FakeDatabase) -> None:
    recorder = JobStatusRecorder("web-1-x", database)
    change(recorder, RUNNING, Term("JOB", 6))
    recorder.observe(Step("web-1-x", 12.0, JobStopped(TERM), ()))
    recorder.close(WAIT_TIMEOUT)
    assert database.phases == ["Running"]


def test_a_job_that_must_not_run_again_disables_its_lock_first_and_until_that_succeeds(
    recorder: JobStatusRecorder, database: FakeDatabase
) -> None:
    database.failures_left = 1
    change(recorder, RunStatus(RunPhase.COMPLETED, 7.0, 0, has_run=True, is_final=True))
    database.wait_for(lambda calls: len(calls) == 2)
    assert database.phases == ["disable JOB by web-1-x", "Completed"]


def test_a_shutdown_waits_until_the_lock_of_a_completed_job_is_disabled(database: FakeDatabase) -> None:
    recorder = JobStatusRecorder("web-1-x", database)
    change(recorder, RunStatus(RunPhase.COMPLETED, 7.0, 0, has_run=True, is_final=True))
    recorder.wait_for_completions(WAIT_TIMEOUT)
    assert database.phases == ["disable JOB by web-1-x", "Completed"]
    recorder.close(WAIT_TIMEOUT)


def test_the_name_of_the_job_is_that_of_the_run_even_if_the_next_has_another(database: FakeDatabase) -> None:
    recorder = JobStatusRecorder("web-1-x", database)
    recorder.set_job_name("JOB", "old")
    change(recorder, STARTING)
    recorder.set_job_name("JOB", "new")
    change(recorder, RUNNING)
    recorder.close(WAIT_TIMEOUT)
    change_after = JobStatusRecorder("web-1-x", database)
    change_after.set_job_name("JOB", "new")
    change(change_after, STARTING, Term("JOB", 6))
    change_after.close(WAIT_TIMEOUT)
    names = [call.job for call in database.calls if isinstance(call, RunRecord)]
    assert names == ["old", "new"]
