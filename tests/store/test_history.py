"""Reading the history: when a job did not run, and why."""

from datetime import timedelta

import pytest

from masterjob.concurrency.clock import clock
from masterjob.election.values import HistoryEntry, TransitionKind
from tests.store.conftest import SqlBackend, claim_lock, open_session

FIRST_RUN = ((100.0, 1, TransitionKind.RUNNING),)
SECOND_RUN = ((60.0, 2, TransitionKind.ELECTED), (55.0, 2, TransitionKind.RUNNING))

ABOUT_25 = pytest.approx(25.0, abs=4.0)
"""The gap between the two runs; on a busy machine, writing one event may take longer than writing another."""


def record(sql_backend: SqlBackend, *events: tuple[float, int | None, TransitionKind]) -> None:
    """Write events that happened so many seconds ago, in the order in which they are given."""
    now = clock()
    sql_backend.connect().append_history(
        [HistoryEntry("job", term, kind, kind.value, "one", happened_at=now - ago) for ago, term, kind in events]
    )


def seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 1)


def test_the_event_that_ends_a_gap_says_how_long_it_was_and_why(sql_backend: SqlBackend) -> None:
    record(
        sql_backend,
        *FIRST_RUN,
        (85.0, 1, TransitionKind.TRUST_ENDED),
        (80.0, 1, TransitionKind.STOPPED),
        (61.0, 1, TransitionKind.STEPPED_DOWN),
        *SECOND_RUN,
    )
    newest, *others = sql_backend.admin.history("job")
    assert (newest.kind, newest.vacancy_cause) == ("running", "database_outage")
    assert seconds(newest.vacant_for) == ABOUT_25
    assert all(event.vacant_for is None for event in others)


def test_the_first_start_of_a_lock_ends_no_gap(sql_backend: SqlBackend) -> None:
    record(sql_backend, (101.0, 1, TransitionKind.ELECTED), *FIRST_RUN)
    assert [event.vacant_for for event in sql_backend.admin.history("job")] == [None, None]


def test_a_gap_is_counted_even_if_its_start_is_beyond_the_limit(sql_backend: SqlBackend) -> None:
    record(
        sql_backend,
        *FIRST_RUN,
        (80.0, 1, TransitionKind.STOPPED),
        (79.0, 1, TransitionKind.STEPPED_DOWN),
        *SECOND_RUN,
    )
    (newest,) = sql_backend.admin.history("job", limit=1)
    assert seconds(newest.vacant_for) == ABOUT_25


def test_events_that_were_written_late_are_shown_in_the_order_in_which_they_happened(
    sql_backend: SqlBackend,
) -> None:
    record(sql_backend, *FIRST_RUN, *SECOND_RUN, (80.0, 1, TransitionKind.STOPPED))
    kinds = [event.kind for event in sql_backend.admin.history("job")]
    assert kinds == ["running", "elected", "stopped", "running"]


def test_a_report_covers_the_locks_that_were_used(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    store.ensure_locks(["job", "other"])
    record(
        sql_backend,
        *FIRST_RUN,
        (80.0, 1, TransitionKind.STOPPED),
        (79.0, 1, TransitionKind.STEPPED_DOWN),
        *SECOND_RUN,
    )
    job, other = sql_backend.admin.report(timedelta(hours=1))
    assert (job.lock_name, other.lock_name, other.since) == ("job", "other", None)
    assert job.availability == pytest.approx(0.75, abs=0.02)
    (gap,) = job.gaps
    assert gap.cause == "hand_over"
    assert seconds(gap.length) == ABOUT_25
    (only,) = sql_backend.admin.report(timedelta(seconds=70), "job")
    assert [seconds(gap.length) for gap in only.gaps] == [pytest.approx(15.0, abs=5.0)]
    assert sql_backend.admin.report(timedelta(days=1), "unknown") == []
    assert sql_backend.admin.report(timedelta.max, "job")[0].since == job.since


def test_a_disabled_lock_is_not_demanded(sql_backend: SqlBackend) -> None:
    record(sql_backend, *FIRST_RUN)
    sql_backend.admin.disable("job", "a test", "ann")
    (report,) = sql_backend.admin.report(timedelta(hours=1), "job")
    assert (report.availability, report.gaps) == (1.0, ())


def test_a_master_whose_lease_is_over_does_not_run_its_job(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store, lease_ms=10_000)
    claim_lock(store, session_id)
    record(sql_backend, *FIRST_RUN)
    sql_backend.backdate(session_id, 20_000)
    (report,) = sql_backend.admin.report(timedelta(hours=1), "job")
    (gap,) = report.gaps
    assert (gap.cause, gap.is_open) == ("crash", True)
    assert seconds(gap.length) == pytest.approx(20.0, abs=5.0)


def test_an_enable_that_leaves_the_lock_disabled_is_not_recorded_as_one(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "a test", "ann")
    sql_backend.admin.disable("job", "another", "bob", source="file")
    sql_backend.admin.enable("job", "ann")
    assert sql_backend.admin.history("job")[0].kind == TransitionKind.DISABLE_REMOVED
    sql_backend.admin.enable("job", "bob", source="file")
    assert sql_backend.admin.history("job")[0].kind == TransitionKind.ENABLED
