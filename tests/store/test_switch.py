"""The people's side: disable, enable, step down, status, history."""

from datetime import UTC, datetime, timedelta

import pytest

from masterjob.election.errors import SettingError
from masterjob.election.values import Entry, Kind
from masterjob.election.views import LockStatus
from masterjob.store.verbs import history
from tests.store.conftest import SqlBackend, elected, opened


def _is_now(moment: datetime) -> bool:
    return moment.tzinfo is not None and abs(moment - datetime.now(UTC)) < timedelta(seconds=30)


def _end(sql: SqlBackend) -> None:
    """Let the time of every timed disable be over."""
    sql.sql("UPDATE master_control SET until = until - 100000000 WHERE until IS NOT NULL")


def test_a_disable_is_told_with_reason_actor_source_and_time(sql: SqlBackend) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    assert sql.people.disable("job", "moving the data", "ann", until=until)
    (status,) = sql.people.status("job")
    assert not status.enabled
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.actor) == ("moving the data", "ann")
    assert (status.disabled.source, status.disabled.until) == ("api", until)
    assert _is_now(status.disabled.since)


def test_the_first_reason_of_a_source_stays(sql: SqlBackend) -> None:
    assert sql.people.disable("job", "first", "ann")
    assert not sql.people.disable("job", "second", "bob")
    (status,) = sql.people.status("job")
    assert status.disabled is not None
    assert status.disabled.reason == "first"
    assert len(sql.people.history("job")) == 1


def test_a_lock_is_enabled_only_when_no_source_disables_it(sql: SqlBackend) -> None:
    sql.people.disable("job", "one", "ann", source="api")
    sql.people.disable("job", "two", "bob", source="file:default/job")
    assert sql.people.enable("job", "ann")
    assert not sql.people.status("job")[0].enabled
    assert not sql.people.enable("job", "ann")
    assert sql.people.enable("job", "bob", source="file:default/job")
    assert sql.people.status("job") == [LockStatus("job", True, None, None, 0)]


def test_enabling_what_is_enabled_changes_nothing(sql: SqlBackend) -> None:
    assert not sql.people.enable("job", "ann")
    assert sql.people.history("job") == []
    assert sql.people.status() == []


def test_the_newest_of_several_disables_is_told(sql: SqlBackend) -> None:
    sql.people.disable("job", "older", "ann", source="z")
    sql.sql("UPDATE master_control SET changed_at = '2020-01-01 00:00:00'")
    sql.people.disable("job", "newer", "bob", source="a")
    (status,) = sql.people.status("job")
    assert status.disabled is not None
    assert status.disabled.reason == "newer"


def test_the_master_is_told_why_its_lock_was_disabled(sql: SqlBackend) -> None:
    store = sql.connect()
    elected(store, opened(store))
    sql.people.disable("job", "100% sure :yes {ok}", "ann", source="file:ns/x")
    (flagged,) = store.inventory("one").flagged
    assert flagged.why == "disabled by ann (file:ns/x): 100% sure :yes {ok}"


def test_the_master_is_told_who_asked_it_to_step_down(sql: SqlBackend) -> None:
    store = sql.connect()
    assert not sql.people.step_down("job", "ann", "node drain")
    term = elected(store, opened(store))
    assert sql.people.step_down("job", "ann", "node drain")
    (flagged,) = store.inventory("one").flagged
    assert (flagged.term, flagged.why) == (term, "asked to step down by ann: node drain")
    assert sql.people.history("job")[0].kind == Kind.STEP_DOWN_ASKED


def test_the_why_is_there_even_where_the_history_was_lost(sql: SqlBackend) -> None:
    store = sql.connect()
    elected(store, opened(store))
    sql.people.step_down("job", "ann", "")
    assert store.inventory("one").flagged[0].why == "asked to step down by ann"
    sql.sql("DELETE FROM master_event")
    assert store.inventory("one").flagged[0].why == "asked to step down"


def test_a_master_is_told_with_its_heartbeat(sql: SqlBackend) -> None:
    store = sql.connect()
    me = opened(store, lease_ms=24_000)
    term = elected(store, me)
    sql.backdate(me, 9_000)
    (status,) = sql.people.status()
    assert status.term == term.number
    assert status.master is not None
    assert (status.master.instance, status.master.address, status.master.pod) == ("one", "10.0.0.1", "pod-1")
    assert _is_now(status.master.since)
    assert 9 <= status.master.heartbeat_age < 15
    assert status.master.alive
    sql.backdate(me, 20_000)
    (status,) = sql.people.status("job")
    assert status.master is not None
    assert not status.master.alive


def test_all_locks_are_told_in_the_order_of_their_names(sql: SqlBackend) -> None:
    sql.connect().ensure(["b", "a", "c"])
    assert [status.lock_name for status in sql.people.status()] == ["a", "b", "c"]
    assert sql.people.status("unknown") == []


def test_a_timed_disable_ends_at_the_next_look_of_any_instance(sql: SqlBackend) -> None:
    store = sql.connect()
    sql.people.disable("job", "for an hour", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    vacancies = store.vacancies()
    assert vacancies.names == ()
    assert vacancies.due_ms is not None
    assert 3_500_000 < vacancies.due_ms <= 3_600_000
    _end(sql)
    assert store.vacancies().names == ("job",)
    newest = sql.people.history("job")[0]
    assert newest.kind == Kind.ENABLED
    assert newest.reason == "the time of the disable by ann (api) ended"
    assert sql.people.status("job")[0].enabled


def test_a_timed_disable_that_ended_leaves_the_other_sources_alone(sql: SqlBackend) -> None:
    sql.people.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    sql.people.disable("job", "long", "bob", source="other")
    _end(sql)
    assert sql.connect().vacancies().names == ()


def test_a_disable_after_the_end_of_the_last_one_counts(sql: SqlBackend) -> None:
    sql.people.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    _end(sql)
    assert sql.people.disable("job", "again", "bob")
    assert sql.connect().vacancies().names == ()
    assert sql.people.status("job")[0].disabled is not None


def test_many_instances_end_a_timed_disable_once(sql: SqlBackend) -> None:
    sql.people.disable("job", "short", "ann", until=datetime.now(UTC) + timedelta(hours=1))
    _end(sql)
    for _ in range(3):
        assert sql.connect().vacancies().names == ("job",)
    assert [event.kind for event in sql.people.history("job")] == ["enabled", "disabled"]


def test_a_disable_survives_the_loss_of_the_locks_row(sql: SqlBackend) -> None:
    store = sql.connect()
    sql.people.disable("job", "broken", "ann")
    sql.sql("DELETE FROM master_lock")
    store.ensure(["job"])
    assert store.vacancies().names == ()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"reason": " "}, "reason is missing"),
        ({"reason": "x" * 1001}, "1000 are the most"),
        ({"actor": ""}, "actor is missing"),
        ({"actor": "x" * 201}, "200 are the most"),
        ({"until": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the very point
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "must be in the future"),
        ({"until": datetime(9999, 12, 31, tzinfo=UTC)}, "too far away"),
        ({"lock_name": " job"}, "white space"),
    ],
)
def test_a_disable_that_cannot_be_is_refused(
    on_sqlite: SqlBackend, said: dict[str, object], complaint: str
) -> None:
    arguments = {"lock_name": "job", "reason": "why", "actor": "ann"} | said
    with pytest.raises(SettingError, match=complaint):
        on_sqlite.people.disable(**arguments)  # type: ignore[arg-type]


def test_the_history_is_read_newest_first(sql: SqlBackend) -> None:
    store = sql.connect()
    store.record(
        [
            Entry("job", 7, Kind.ELECTED, "one was elected", instance="one"),
            Entry("job", 7, Kind.EVICTED, "gone"),
        ]
    )
    store.record([Entry("other", None, Kind.ENABLED, "elsewhere", actor="ann")])
    newest, oldest = sql.people.history("job")
    assert (newest.kind, newest.reason) == ("evicted", "gone")
    assert (oldest.term, oldest.kind, oldest.instance, oldest.actor) == (7, "elected", "one", None)
    assert _is_now(newest.at)
    assert sql.people.history("job", limit=1) == [newest]


def test_the_history_takes_any_text_of_an_error(sql: SqlBackend) -> None:
    sql.connect().record([Entry("job", 1, Kind.START_FAILED, "bad \x00 \ud800 " + "x" * 100_000)])
    assert sql.people.history("job")[0].reason.startswith("bad ")


def test_only_the_newest_thousand_of_a_lock_are_kept(sql: SqlBackend) -> None:
    store = sql.connect()
    store.record([Entry("other", None, Kind.ENABLED, "stays")])
    store.record([Entry("job", number, Kind.ELECTED, "again") for number in range(1_100)])
    store._line.run(lambda connection: history.prune(connection, store._line.dialect, "job"))
    events = sql.people.history("job", limit=5_000)
    assert [events[0].term, events[-1].term, len(events)] == [1_099, 100, 1_000]
    assert sql.sql("SELECT COUNT(*) FROM master_event")[0][0] == 1_001


def test_of_two_ends_of_a_disable_the_later_counts_and_the_first_reason_stays(sql: SqlBackend) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert sql.people.disable("job", "short", "ann", until=soon)
    assert not sql.people.disable("job", "longer", "bob", until=soon + timedelta(hours=1))
    assert not sql.people.disable("job", "shorter", "bob", until=soon)
    (status,) = sql.people.status("job")
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.until) == ("short", soon + timedelta(hours=1))
    assert not sql.people.disable("job", "for good", "bob")
    (status,) = sql.people.status("job")
    assert status.disabled is not None
    assert (status.disabled.reason, status.disabled.until) == ("short", None)
