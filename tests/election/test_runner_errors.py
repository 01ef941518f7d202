"""The threads of an instance: errors around the election do not end it, and a defect in it stops the jobs."""

import logging
import threading
from collections.abc import Callable

import pytest

from masterjob.election.core.elector import Elector
from masterjob.election.core.events import (
    StepDown,
)
from masterjob.election.ports import Report
from masterjob.election.runner import ElectionRunner
from masterjob.election.term import LiveTerm
from masterjob.election.values import Identity
from masterjob.store.connection.connection import StatementFailed
from tests.election.runner_harness import (
    FakeNotifier,
    HangingDatabase,
    HangingStore,
    RecordingJob,
    declare,
    no_fence,
    wait_until,
)
from tests.timeouts import WAIT_TIMEOUT


class UndescribableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_start_that_fails_with_an_undescribable_error_gives_the_lock_to_others(
    start_runner: Callable[[str], ElectionRunner],
) -> None:
    class Failing(RecordingJob):
        def start(self, term: LiveTerm, report: Report) -> None:
            super().start(term, report)
            report.start_failed(UndescribableError())

    runner = start_runner("me")
    job = declare(runner, Failing())
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert declare(start_runner("other"), RecordingJob()).started.acquire(timeout=WAIT_TIMEOUT)


def test_the_election_goes_on_if_no_thread_can_be_started_for_the_notifier(
    start_runner: Callable[[str], ElectionRunner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: FakeNotifier) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(FakeNotifier, "start", fail)
    job = declare(start_runner("me"), RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert "no change notifications" in caplog.text


def test_if_no_thread_can_be_started_only_the_command_fails(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Semaphore(2)
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if thread.name in ("masterjob-control", "masterjob-heartbeat") and refused.acquire(blocking=False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)


def test_a_command_that_keeps_failing_is_logged_once(
    start_runner: Callable[[str], ElectionRunner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = threading.Semaphore(0)

    def refuse(*_: object) -> None:
        failed.release()
        raise StatementFailed("no such character")

    monkeypatch.setattr(HangingStore, "ensure_locks", refuse)
    declare(start_runner("me"), RecordingJob())
    for _ in range(2):
        assert failed.acquire(timeout=WAIT_TIMEOUT)
    assert caplog.text.count("the rows of locks could not be written (will be retried): no such character") == 1


def test_an_instance_waits_for_a_database_that_is_not_available_yet(database: HangingDatabase) -> None:
    database.failures_left = 3
    runner = ElectionRunner(Identity("me"), database, no_fence)
    assert runner.explain("a") == "the database was not reached yet"
    job = declare(runner, RecordingJob())
    runner.start()
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    assert runner.shutdown("the test ends", WAIT_TIMEOUT)


def test_any_error_of_a_driver_while_the_tables_are_prepared_is_logged_and_retried(
    database: HangingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempted = threading.Event()

    def fail_prepare() -> None:
        attempted.set()
        raise TypeError("got an unexpected keyword argument 'ssl_foo'")

    monkeypatch.setattr(database, "prepare", fail_prepare)
    runner = ElectionRunner(Identity("me"), database, no_fence)
    runner.start()
    assert attempted.wait(WAIT_TIMEOUT)
    wait_until(lambda: "ssl_foo" in runner.explain("a"))
    assert runner.shutdown("the test ends", WAIT_TIMEOUT)


def test_a_defect_in_the_election_stops_every_job(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Elector, "handle", broken)
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    wait_until(lambda: "ZeroDivisionError" in runner.explain("a"))


def test_a_log_handler_that_raises_does_not_affect_the_election(
    start_runner: Callable[[str], ElectionRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise KeyError(record.msg)

    monkeypatch.setattr(logging.getLogger("masterjob"), "filters", [broken])
    runner = start_runner("me")
    job = declare(runner, RecordingJob())
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
    runner.submit(StepDown("a", "asked"))
    assert job.stopped.acquire(timeout=WAIT_TIMEOUT)
    assert job.started.acquire(timeout=WAIT_TIMEOUT)
