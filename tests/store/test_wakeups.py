"""Wake-ups: hints that come soon, survive a cut connection, and end when they are closed."""

import socket
import threading
from collections.abc import Callable

import pytest

from masterjob.election.values import Entry, Kind
from masterjob.store import wakeups
from masterjob.store.database import Database
from tests.store.conftest import SqlBackend, elected, opened

_PATIENCE = 30.0


class Ear:
    """What was heard so far; tests wait for a sound, not for time."""

    def __init__(self) -> None:
        self._heard: list[frozenset[str] | None] = []
        self._news = threading.Condition()

    def __call__(self, names: frozenset[str] | None) -> None:
        with self._news:
            self._heard.append(names)
            self._news.notify_all()

    def heard(self, name: str) -> bool:
        return self._wait(lambda: any(names is not None and name in names for names in self._heard))

    def heard_anything(self, times: int = 1) -> bool:
        return self._wait(lambda: self._heard.count(None) >= times)

    def names(self) -> set[str]:
        return {name for names in self._heard if names is not None for name in names}

    def _wait(self, condition: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(condition, _PATIENCE)


@pytest.fixture
def ear(sql: SqlBackend) -> Ear:
    return listening(sql)


def listening(sql: SqlBackend) -> Ear:
    ear = Ear()
    listener = sql.database.wakeups(ear)
    listener.start()
    sql.after(listener.close)
    assert ear.heard_anything()
    return ear


def test_a_switch_is_heard(sql: SqlBackend, ear: Ear) -> None:
    sql.people.disable("job", "why", "ann")
    assert ear.heard("job")


def test_a_step_down_is_heard(sql: SqlBackend, ear: Ear) -> None:
    store = sql.connect()
    elected(store, opened(store))
    sql.people.step_down("job", "ann", "why")
    assert ear.heard("job")


def test_releases_and_evictions_are_heard_at_once_on_postgresql(on_postgresql: SqlBackend) -> None:
    ear = listening(on_postgresql)
    store = on_postgresql.connect()
    me = opened(store)
    elected(store, me, "evicted")
    store.release([me], [elected(store, me, "released")])
    assert ear.heard("released")
    store.evict(me, 1, if_stale=False)
    assert ear.heard("evicted")


def test_many_names_at_once_are_heard_as_one(on_postgresql: SqlBackend) -> None:
    ear = listening(on_postgresql)
    store = on_postgresql.connect()
    me = opened(store)
    names = [f"job-{number}" for number in range(150)]
    store.ensure(names)
    store.release([me], store.claim(me, names))
    assert ear.heard_anything(times=2)
    assert ear.names() == set()


def test_an_election_wakes_nobody(sql: SqlBackend, ear: Ear) -> None:
    store = sql.connect()
    store.record([Entry("elected", 1, Kind.ELECTED, "elected")])
    sql.people.disable("job", "why", "ann")
    assert ear.heard("job")
    assert ear.names() == {"job"}


def test_where_notify_is_swallowed_the_history_is_polled(
    on_postgresql: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_LISTEN", "SELECT 1")  # as a transaction pooler does to it
    monkeypatch.setattr(wakeups, "_PROBE_WAIT", 0.2)
    monkeypatch.setattr(wakeups, "_POLL", 0.05)
    ear = listening(on_postgresql)
    on_postgresql.people.disable("job", "why", "ann")
    assert ear.heard("job")


def test_a_connection_that_stops_hearing_is_replaced(
    on_postgresql: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_PROBE_EVERY", 0.0)
    monkeypatch.setattr(wakeups, "_PROBE_WAIT", 0.3)
    monkeypatch.setattr(wakeups, "_SLICE", 0.05)
    ear = listening(on_postgresql)
    monkeypatch.setattr(wakeups, "_TELL_TEXT", "SELECT :payload")
    assert ear.heard_anything(times=2)


def test_a_cut_connection_is_made_again_and_anything_may_have_happened(on_postgresql: SqlBackend) -> None:
    ear = listening(on_postgresql)
    on_postgresql.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert ear.heard_anything(times=2)
    on_postgresql.people.disable("job", "why", "ann")
    assert ear.heard("job")


def test_a_callback_that_fails_does_not_end_the_wake_ups(
    on_sqlite: SqlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()

    def failing(names: frozenset[str] | None) -> None:
        ear(names)
        if names:
            raise ValueError("a bug of somebody else")

    listener = on_sqlite.database.wakeups(failing)
    listener.start()
    on_sqlite.after(listener.close)
    assert ear.heard_anything()
    on_sqlite.people.disable("job", "why", "ann")
    assert ear.heard_anything(times=2)
    assert "no wake-ups for now" in caplog.text


def ended(listener: wakeups.Wakeups) -> bool:
    """Whether its thread ends, however busy this machine is."""
    listener._thread.join(_PATIENCE)
    return not listener._thread.is_alive()


def test_closing_ends_the_thread_promptly(sql: SqlBackend) -> None:
    ear = Ear()
    listener = sql.database.wakeups(ear)
    listener.start()
    assert ear.heard_anything()
    listener.close()
    assert ended(listener)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_closing_ends_the_thread_even_while_it_connects(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as black_hole:
        url = f"{scheme}://u:p@127.0.0.1:{black_hole.getsockname()[1]}/db"
        listener = Database(url).wakeups(lambda _: None)
        listener.start()
        with black_hole.accept()[0]:  # now it is connecting
            listener.close()
            assert ended(listener)


def test_wake_ups_that_were_never_started_can_be_closed(on_sqlite: SqlBackend) -> None:
    on_sqlite.database.wakeups(lambda _: None).close()
