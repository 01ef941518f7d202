"""What the log says about the steps of an election."""

import logging
from collections.abc import Callable

import pytest

from masterjob.election.core.actions import Notice, RecordTransition, StopJob
from masterjob.election.core.commands import ListSessions, ListVacancies
from masterjob.election.core.events import Failure, JobRunChanged, JobStartFailed, Reply, Tick
from masterjob.election.transition_log import TransitionLog
from masterjob.election.values import HistoryEntry, SessionList, Term, TransitionKind
from masterjob.job_status import RunPhase, RunStatus

TERM = Term("REPORT", 7)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> TransitionLog:
    caplog.set_level(logging.DEBUG, "masterjob")
    return TransitionLog("me")


def fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: vars(record)[name] for name in ("lock", "term", "instance", "event", "reason")}


def test_a_stop_is_logged_when_it_begins_with_its_reason(
    log: TransitionLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.log(Tick(), [StopJob(TERM, "no heartbeat was confirmed for 13s")])
    (record,) = caplog.records
    assert record.getMessage() == "REPORT: stopping the job: no heartbeat was confirmed for 13s"
    assert fields(record) == {
        "lock": "REPORT",
        "term": 7,
        "instance": "me",
        "event": "stopping",
        "reason": "no heartbeat was confirmed for 13s",
    }


def test_a_transition_is_logged_with_its_fields(log: TransitionLog, caplog: pytest.LogCaptureFixture) -> None:
    entry = HistoryEntry("REPORT", 7, TransitionKind.EVICTED, "other was evicted", "other")
    log.log(Tick(), [RecordTransition(entry)])
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "other was evicted (term 7)")
    assert fields(record) == {
        "lock": "REPORT",
        "term": 7,
        "instance": "other",
        "event": "evicted",
        "reason": "other was evicted",
    }


def test_a_failed_start_is_one_line(log: TransitionLog, caplog: pytest.LogCaptureFixture) -> None:
    entry = HistoryEntry("REPORT", 7, TransitionKind.START_FAILED, "start of REPORT failed: no disk", "me")
    log.log(JobRunChanged(TERM, RunStatus(RunPhase.FAILED, 1.0)), [RecordTransition(entry)])
    log.log(JobStartFailed(TERM, "no disk"), [StopJob(TERM, "start failed: no disk")])
    assert caplog.messages == ["start of REPORT failed: no disk (term 7)"]


def test_of_failures_in_a_row_the_first_is_logged(log: TransitionLog, caplog: pytest.LogCaptureFixture) -> None:
    command = ListSessions(0.0)
    message = "the sessions of other instances could not be read (will be retried): a row is locked"
    for _ in range(3):
        log.log(Failure(command, "a row is locked"), [])
    assert caplog.messages == [message]
    log.log(Reply(command, SessionList(0, ())), [])
    log.log(Failure(command, "a row is locked"), [])
    assert caplog.messages == [message, message]


def test_an_outage_is_left_to_the_store(log: TransitionLog, caplog: pytest.LogCaptureFixture) -> None:
    commands: list[Callable[[], ListSessions | ListVacancies]] = [
        lambda: ListSessions(0.0),
        lambda: ListVacancies(0.0, ignore_fair_share=False),
    ]
    for create in commands:
        log.log(Failure(create(), "connection refused", is_outage=True), [])
    assert caplog.messages == []


def test_a_notice_is_a_warning(log: TransitionLog, caplog: pytest.LogCaptureFixture) -> None:
    log.log(Tick(), [Notice("two clocks are at work")])
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "two clocks are at work")
