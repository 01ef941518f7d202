"""The operations of people: disable, enable, step down, status, history."""

from datetime import UTC, datetime, timedelta

import pytest

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.errors import SettingError
from masterjob.lock_status import LockStatus
from masterjob.store.connection.dialects import POSTGRESQL
from masterjob.store.queries import history, status
from tests.store.conftest import SqlBackend, claim_lock, open_session


def _is_now(moment: datetime) -> bool:
    return moment.tzinfo is not None and abs(moment - datetime.now(UTC)) < timedelta(seconds=30)


def _expire_disables(sql_backend: SqlBackend) -> None:
    """Move the end of every timed disable into the past."""
    sql_backend.execute("UPDATE master_control SET until = until - 100000000 WHERE until IS NOT NULL")


def test_a_disable_is_shown_with_reason_actor_source_and_time(sql_backend: SqlBackend) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    assert sql_backend.admin.disable("job", "moving the data", "ann", until=until)
    (status,) = sql_backend.admin.status("job")
    assert not status.enabled
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.actor) == ("moving the data", "ann")
    assert (status.disabled.source, status.disabled.until) == ("api", until)
    assert _is_now(status.disabled.since)


def test_the_first_reason_of_a_source_stays(sql_backend: SqlBackend) -> None:
    assert sql_backend.admin.disable("job", "first", "ann")
    assert not sql_backend.admin.disable("job", "second", "bob")
    (status,) = sql_backend.admin.status("job")
    assert status.disabled is not None
    assert status.disabled.reason == "first"
    assert len(sql_backend.admin.history("job")) == 1


def test_a_lock_is_enabled_only_when_no_source_disables_it(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "one", "ann", source="api")
    sql_backend.admin.disable("job", "two", "bob", source="file:default/job")
    assert sql_backend.admin.enable("job", "ann")
    assert not sql_backend.admin.status("job")[0].enabled
    assert not sql_backend.admin.enable("job", "ann")
    assert sql_backend.admin.enable("job", "bob", source="file:default/job")
    (status,) = sql_backend.admin.status("job")
    assert status == LockStatus("job", True, None, None, 0, free_since=status.free_since)


def test_enabling_what_is_enabled_changes_nothing(sql_backend: SqlBackend) -> None:
    assert not sql_backend.admin.enable("job", "ann")
    assert sql_backend.admin.history("job") == []
    assert sql_backend.admin.status() == []


def test_the_newest_of_several_disables_is_shown(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "older", "ann", source="z")
    sql_backend.execute("UPDATE master_control SET changed_at = '2020-01-01 00:00:00'")
    sql_backend.admin.disable("job", "newer", "bob", source="a")
    (status,) = sql_backend.admin.status("job")
    assert status.disabled is not None
    assert status.disabled.reason == "newer"


def test_a_stop_request_carries_the_reason_of_the_disable(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    claim_lock(store, open_session(store))
    sql_backend.admin.disable("job", "100% sure :yes {ok}", "ann", source="file:ns/x")
    (flagged,) = store.read_inventory("one").stop_requests
    assert flagged.reason == "disabled by ann (file:ns/x): 100% sure :yes {ok}"


def test_a_stop_request_names_who_requested_the_step_down(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    assert not sql_backend.admin.step_down("job", "ann", "node drain")
    term = claim_lock(store, open_session(store))
    assert sql_backend.admin.step_down("job", "ann", "node drain")
    (flagged,) = store.read_inventory("one").stop_requests
    assert (flagged.term, flagged.reason) == (term, "asked to step down by ann: node drain")
    assert sql_backend.admin.history("job")[0].kind == TransitionKind.STEP_DOWN_REQUESTED


def test_a_stop_request_has_a_reason_even_if_the_history_was_lost(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    claim_lock(store, open_session(store))
    sql_backend.admin.step_down("job", "ann", "")
    assert store.read_inventory("one").stop_requests[0].reason == "asked to step down by ann"
    sql_backend.execute("DELETE FROM master_event")
    assert store.read_inventory("one").stop_requests[0].reason == "asked to step down"


def test_a_lock_without_a_history_is_free_since_an_unknown_time(sql_backend: SqlBackend) -> None:
    sql_backend.connect().ensure_locks(["job"])
    (status,) = sql_backend.admin.status()
    assert (status.free_since, status.since) == (None, None)


def test_a_free_lock_is_free_since_its_last_event(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store)
    sql_backend.disable("job")
    assert sql_backend.admin.status("job")[0].free_since is None  # it is not free, but disabled
    sql_backend.enable("job")
    at = "2026-01-31 12:00:00" + ("+00" if sql_backend.name == "postgresql" else "")
    sql_backend.execute("UPDATE master_event SET at = :at", at=at)
    (status,) = sql_backend.admin.status("job")
    assert status.free_since == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert status.read_at is not None
    assert _is_now(status.read_at)
    assert status.newest_session_at is not None
    assert _is_now(status.newest_session_at)
    assert status.why.startswith("the lock is free")
    sql_backend.execute("UPDATE master_session SET started_at = :at", at=at)
    assert "the only live instance does not take part in it" in sql_backend.admin.status("job")[0].why
    claim_lock(store, session_id)
    assert sql_backend.admin.status("job")[0].free_since is None


def test_a_master_is_shown_with_its_heartbeat(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    session_id = open_session(store, lease_ms=24_000)
    term = claim_lock(store, session_id)
    sql_backend.backdate(session_id, 9_000)
    (status,) = sql_backend.admin.status()
    assert status.term == term.number
    assert status.master is not None
    assert (status.master.instance, status.master.address, status.master.pod) == ("one", "10.0.0.1", "pod-1")
    assert _is_now(status.master.since)
    assert 9 <= status.master.heartbeat_age < 15
    assert status.master.alive
    sql_backend.backdate(session_id, 20_000)
    (status,) = sql_backend.admin.status("job")
    assert status.master is not None
    assert not status.master.alive


def test_all_locks_are_listed_in_the_order_of_their_names(sql_backend: SqlBackend) -> None:
    sql_backend.connect().ensure_locks(["b", "a", "c"])
    assert [status.lock_name for status in sql_backend.admin.status()] == ["a", "b", "c"]
    assert sql_backend.admin.status("unknown") == []


def test_a_timed_disable_ends_at_the_next_scan_of_any_instance(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    sql_backend.admin.disable("job", "for an hour", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    vacancies = store.list_vacancies()
    assert vacancies.lock_names == ()
    assert vacancies.next_enable_ms is not None
    assert 3_500_000 < vacancies.next_enable_ms <= 3_600_000
    _expire_disables(sql_backend)
    assert store.list_vacancies().lock_names == ("job",)
    newest = sql_backend.admin.history("job")[0]
    assert newest.kind == TransitionKind.ENABLED
    assert newest.reason == "the time of the disable by ann (api) ended"
    assert sql_backend.admin.status("job")[0].enabled


def test_a_timed_disable_that_ended_does_not_affect_other_sources(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    sql_backend.admin.disable("job", "long", "bob", source="other")
    _expire_disables(sql_backend)
    assert sql_backend.connect().list_vacancies().lock_names == ()


def test_a_disable_after_the_end_of_the_last_one_counts(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    _expire_disables(sql_backend)
    assert sql_backend.admin.disable("job", "again", "bob")
    assert sql_backend.connect().list_vacancies().lock_names == ()
    assert sql_backend.admin.status("job")[0].disabled is not None


def test_many_instances_end_a_timed_disable_once(sql_backend: SqlBackend) -> None:
    sql_backend.admin.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    _expire_disables(sql_backend)
    for _ in range(3):
        assert sql_backend.connect().list_vacancies().lock_names == ("job",)
    assert [event.kind for event in sql_backend.admin.history("job")] == ["enabled", "disabled"]


def test_a_disable_survives_the_loss_of_the_locks_row(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    sql_backend.admin.disable("job", "broken", "ann")
    sql_backend.execute("DELETE FROM master_lock")
    store.ensure_locks(["job"])
    assert store.list_vacancies().lock_names == ()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"reason": " "}, "reason is required"),
        ({"reason": "x" * 1001}, "at most 1000 are allowed"),
        ({"actor": ""}, "actor is required"),
        ({"actor": "x" * 201}, "at most 200 are allowed"),
        ({"until": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the very point
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "must be in the future"),
        ({"until": datetime(9999, 12, 31, tzinfo=UTC)}, "too far away"),
        ({"lock_name": " job"}, "whitespace"),
    ],
)
def test_an_invalid_disable_is_refused(
    sqlite_backend: SqlBackend, overrides: dict[str, object], complaint: str
) -> None:
    arguments = {"lock_name": "job", "reason": "why", "actor": "ann"} | overrides
    with pytest.raises(SettingError, match=complaint):
        sqlite_backend.admin.disable(**arguments)  # type: ignore[arg-type]


def test_the_history_is_read_newest_first(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    store.append_history(
        [
            HistoryEntry("job", 7, TransitionKind.ELECTED, "one was elected", instance="one"),
            HistoryEntry("job", 7, TransitionKind.EVICTED, "gone"),
        ]
    )
    store.append_history([HistoryEntry("other", None, TransitionKind.ENABLED, "elsewhere", actor="ann")])
    newest, oldest = sql_backend.admin.history("job")
    assert (newest.kind, newest.reason) == ("evicted", "gone")
    assert (oldest.term, oldest.kind, oldest.instance, oldest.actor) == (7, "elected", "one", None)
    assert _is_now(newest.at)
    assert sql_backend.admin.history("job", limit=1) == [newest]


def test_the_history_takes_any_text_of_an_error(sql_backend: SqlBackend) -> None:
    sql_backend.connect().append_history(
        [HistoryEntry("job", 1, TransitionKind.START_FAILED, "bad \x00 \ud800 " + "x" * 100_000)]
    )
    assert sql_backend.admin.history("job")[0].reason.startswith("bad ")


def test_only_the_newest_thousand_of_a_lock_are_kept(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    store.append_history([HistoryEntry("other", None, TransitionKind.ENABLED, "stays")])
    store.append_history([HistoryEntry("job", number, TransitionKind.ELECTED, "again") for number in range(1_100)])
    store._db.run(lambda connection: history.prune(connection, store._db.dialect, "job"))
    events = sql_backend.admin.history("job", limit=5_000)
    assert [events[0].term, events[-1].term, len(events)] == [1_099, 100, 1_000]
    assert sql_backend.execute("SELECT COUNT(*) FROM master_event")[0][0] == 1_001


def test_of_two_ends_of_a_disable_the_later_counts_and_the_first_reason_stays(sql_backend: SqlBackend) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert sql_backend.admin.disable("job", "short", "ann", until=soon)
    assert not sql_backend.admin.disable("job", "longer", "bob", until=soon + timedelta(hours=1))
    assert not sql_backend.admin.disable("job", "shorter", "bob", until=soon)
    (status,) = sql_backend.admin.status("job")
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.until) == ("short", soon + timedelta(hours=1))
    assert not sql_backend.admin.disable("job", "for good", "bob")
    (status,) = sql_backend.admin.status("job")
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.until) == ("short", None)


def test_pages_follow_one_another_in_the_order_of_names(sql_backend: SqlBackend) -> None:
    names = [f"job-{number}" for number in range(7)]
    sql_backend.connect().ensure_locks(names)
    pages, after = [], ""
    while page := sql_backend.admin.status_page(after, 3):
        pages.append([lock.lock_name for lock in page])
        after = page[-1].lock_name
    assert pages == [names[:3], names[3:6], names[6:]]
    assert [lock.lock_name for lock in sql_backend.admin.status(after="job-4")] == ["job-5", "job-6"]


def test_a_page_of_disabled_locks_has_their_reasons(sql_backend: SqlBackend) -> None:
    sql_backend.connect().ensure_locks(["a", "b", "c"])
    sql_backend.admin.disable("c", "moving", "ann")
    (lock,) = sql_backend.admin.status_page("", 2, only_disabled=True)
    assert lock.disabled is not None
    assert (lock.lock_name, lock.disabled.reason) == ("c", "moving")


def test_all_locks_are_read_although_a_page_has_a_limit(
    sql_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masterjob.store.admin.MAX_PAGE_SIZE", 2)
    for count in (2, 5):
        names = [f"job-{number}" for number in range(count)]
        sql_backend.connect().ensure_locks(names)
        assert [lock.lock_name for lock in sql_backend.admin.status()] == names


def test_a_page_reads_no_row_before_it(postgresql_backend: SqlBackend) -> None:
    postgresql_backend.connect().ensure_locks([f"job-{number:05}" for number in range(2_000)])
    postgresql_backend.execute("ANALYZE master_lock")
    statement = f"EXPLAIN {POSTGRESQL.sql(status.PAGE)}"
    plan = "\n".join(row[0] for row in postgresql_backend.execute(statement, after="job-01000", limit=1))
    assert "Index Scan using master_lock_pkey" in plan
    assert "Seq Scan on master_lock" not in plan
