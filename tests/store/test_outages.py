"""The log of a database that cannot be used: one line at the beginning, one a minute, one at the end."""

import logging

import pytest

from masterjob.errors import Refusal, StoreRefused, StoreUnavailable
from masterjob.store.connection import outages as outages_module
from masterjob.store.connection.outages import MAX_NAMES, OutageLog

NAME = "postgresql://app:***@db/app"
DOWN = StoreUnavailable("PostgreSQL: connection refused")
WRONG_PASSWORD = StoreRefused(Refusal.LOGIN, "PostgreSQL: password authentication failed")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    virtual = Clock()
    monkeypatch.setattr(outages_module, "clock", virtual)
    return virtual


@pytest.fixture
def outages(clock: Clock, caplog: pytest.LogCaptureFixture) -> OutageLog:
    caplog.set_level(logging.DEBUG, "masterjob")
    return OutageLog(NAME)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_beginning_and_the_end_are_logged(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outages.add_affected(lambda: ["REPORT", "CLEANER"])
    outages.record_success()
    outages.record_failure(DOWN)
    clock.now += 124.0
    outages.record_success()
    assert lines(caplog) == [
        (
            "ERROR",
            f"the database cannot be used, and is retried: {DOWN} ({NAME}); affected: CLEANER, REPORT",
        ),
        ("INFO", f"the database answers again after 2m4s ({NAME})"),
    ]


def test_further_failures_are_counted_and_logged_once_a_minute(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(121):  # a failure each second, for two minutes
        outages.record_failure(DOWN)
        clock.now += 1.0
    assert [message.partition(":")[0] for _, message in lines(caplog)] == [
        "the database cannot be used, and is retried",
        "the database cannot be used for 1m (61 failed calls), and is retried",
        "the database cannot be used for 2m (121 failed calls), and is retried",
    ]


def test_calls_that_succeed_and_fail_by_turns_do_not_fill_the_log(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """As if the server has no connection left, while those that are open still work."""
    for _ in range(300):
        outages.record_failure(DOWN)
        clock.now += 0.1
        outages.record_success()
        clock.now += 0.1
    assert len(lines(caplog)) == 2


def test_an_outage_soon_after_another_is_logged_once_it_lasts(
    outages: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outages.record_failure(DOWN)
    outages.record_success()
    caplog.clear()
    outages.record_failure(DOWN)
    clock.now += 9.0
    outages.record_failure(DOWN)
    assert lines(caplog) == []
    clock.now += 1.0
    outages.record_failure(DOWN)
    outages.record_success()
    assert [level for level, _ in lines(caplog)] == ["ERROR", "INFO"]


def test_a_refusal_says_that_the_database_answered(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    outages.record_failure(WRONG_PASSWORD)
    ((level, message),) = lines(caplog)
    assert level == "ERROR"
    assert message.startswith(
        "the database refuses this process, because it does not accept this user or password, and is retried: "
        "PostgreSQL: password authentication failed"
    )
    assert outages.refusal() == (
        "the database refuses this process, because it does not accept this user or password"
    )
    outages.record_success()
    assert outages.refusal() is None


def test_an_outage_is_no_refusal(outages: OutageLog) -> None:
    outages.record_failure(DOWN)
    assert outages.refusal() is None


def test_only_a_database_that_was_never_usable_ends_the_start(
    outages: OutageLog, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[StoreRefused] = []
    outages.on_refused_at_start(errors.append)
    outages.record_failure(DOWN)
    assert errors == []
    caplog.clear()
    outages.record_failure(WRONG_PASSWORD)
    assert errors == [WRONG_PASSWORD]
    assert lines(caplog) == []
    outages.mark_usable()
    outages.record_success()
    outages.record_failure(WRONG_PASSWORD)
    assert errors == [WRONG_PASSWORD]


def test_of_many_locks_some_are_named(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    outages.add_affected(lambda: [f"L{number:02}" for number in range(MAX_NAMES + 5)])
    outages.add_affected(lambda: ["L00"])
    outages.record_failure(DOWN)
    assert caplog.messages[0].endswith("L08, L09 and 5 more")


def test_the_records_have_fields(outages: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    outages.record_failure(DOWN)
    (record,) = caplog.records
    assert (vars(record)["event"], vars(record)["reason"]) == (
        "database unavailable",
        "PostgreSQL: connection refused",
    )
