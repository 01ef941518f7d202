"""Notifications: they arrive soon, survive a cut connection, and end when the notifier is closed."""

import socket
import threading
from collections.abc import Callable

import pytest

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.store import notifier
from masterjob.store.database import Database
from tests.store.conftest import SqlBackend, claim_lock, open_session
from tests.timeouts import WAIT_TIMEOUT


class ChangeRecorder:
    """The notifications so far; tests wait for one, not for time."""

    def __init__(self) -> None:
        self._changes: list[frozenset[str] | None] = []
        self._condition = threading.Condition()

    def __call__(self, names: frozenset[str] | None) -> None:
        with self._condition:
            self._changes.append(names)
            self._condition.notify_all()

    def wait_for_lock(self, name: str) -> bool:
        return self._wait_for(lambda: any(names is not None and name in names for names in self._changes))

    def wait_for_any_lock(self, times: int = 1) -> bool:
        return self._wait_for(lambda: self._changes.count(None) >= times)

    def lock_names(self) -> set[str]:
        return {name for names in self._changes if names is not None for name in names}

    def _wait_for(self, condition: Callable[[], bool]) -> bool:
        with self._condition:
            return self._condition.wait_for(condition, WAIT_TIMEOUT)


@pytest.fixture(autouse=True)
def _patient_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the first probe time: without its arrival a notifier polls for ever."""
    monkeypatch.setattr(notifier, "_PROBE_TIMEOUT", 16.0)


@pytest.fixture
def recorder(sql_backend: SqlBackend) -> ChangeRecorder:
    return start_recorder(sql_backend)


def start_recorder(sql_backend: SqlBackend) -> ChangeRecorder:
    recorder = ChangeRecorder()
    listener = sql_backend.database.create_notifier(recorder)
    listener.start()
    sql_backend.add_closer(listener.close)
    assert recorder.wait_for_any_lock()
    return recorder


def test_a_switch_is_notified(sql_backend: SqlBackend, recorder: ChangeRecorder) -> None:
    sql_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_lock("job")


def test_a_step_down_is_notified(sql_backend: SqlBackend, recorder: ChangeRecorder) -> None:
    store = sql_backend.connect()
    claim_lock(store, open_session(store))
    sql_backend.admin.step_down("job", "ann", "why")
    assert recorder.wait_for_lock("job")


def test_releases_and_evictions_are_notified_at_once_on_postgresql(postgresql_backend: SqlBackend) -> None:
    recorder = start_recorder(postgresql_backend)
    store = postgresql_backend.connect()
    session_id = open_session(store)
    claim_lock(store, session_id, "evicted")
    store.release([session_id], [claim_lock(store, session_id, "released")])
    assert recorder.wait_for_lock("released")
    store.evict(session_id, 1, if_stale=False)
    assert recorder.wait_for_lock("evicted")


def test_many_names_at_once_are_notified_as_one(postgresql_backend: SqlBackend) -> None:
    recorder = start_recorder(postgresql_backend)
    store = postgresql_backend.connect()
    session_id = open_session(store)
    names = [f"job-{number}" for number in range(150)]
    store.ensure_locks(names)
    store.release([session_id], store.claim(session_id, names))
    assert recorder.wait_for_any_lock(times=2)
    assert recorder.lock_names() == set()


def test_an_election_and_the_life_of_a_job_are_not_notified(
    sql_backend: SqlBackend, recorder: ChangeRecorder
) -> None:
    store = sql_backend.connect()
    kinds = (TransitionKind.ELECTED, TransitionKind.RUNNING, TransitionKind.STOPPED)
    store.append_history([HistoryEntry("elected", 1, kind, "text") for kind in kinds])
    sql_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_lock("job")
    assert recorder.lock_names() == {"job"}


def test_the_history_is_polled_if_notify_does_not_arrive(
    postgresql_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_LISTEN", "SELECT 1")  # as a transaction pooler does to it
    monkeypatch.setattr(notifier, "_PROBE_TIMEOUT", 0.2)
    monkeypatch.setattr(notifier, "_POLL_INTERVAL", 0.05)
    recorder = start_recorder(postgresql_backend)
    postgresql_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_lock("job")


def test_a_connection_that_stops_receiving_is_replaced(
    postgresql_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_PROBE_INTERVAL", 0.0)
    monkeypatch.setattr(notifier, "_LISTEN_TIMEOUT", 0.05)
    recorder = start_recorder(postgresql_backend)
    monkeypatch.setattr(notifier, "_PROBE_TIMEOUT", 0.3)
    monkeypatch.setattr(notifier, "_NOTIFY_PAYLOAD", "SELECT :payload")
    assert recorder.wait_for_any_lock(times=2)


def test_a_cut_connection_is_replaced_and_any_lock_may_have_changed(postgresql_backend: SqlBackend) -> None:
    recorder = start_recorder(postgresql_backend)
    postgresql_backend.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert recorder.wait_for_any_lock(times=2)
    postgresql_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_lock("job")


def test_a_callback_that_fails_does_not_end_the_notifier(
    sqlite_backend: SqlBackend, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = ChangeRecorder()

    def failing(names: frozenset[str] | None) -> None:
        recorder(names)
        if names:
            raise ValueError("a bug in the callback")

    listener = sqlite_backend.database.create_notifier(failing)
    listener.start()
    sqlite_backend.add_closer(listener.close)
    assert recorder.wait_for_any_lock()
    sqlite_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_any_lock(times=2)
    assert "no notifications for now" in caplog.text


def thread_ended(listener: notifier.Notifier) -> bool:
    """Wait for the thread to end, with a long timeout for a busy machine."""
    listener._thread.join(WAIT_TIMEOUT)
    return not listener._thread.is_alive()


def test_closing_ends_the_thread_promptly(sql_backend: SqlBackend) -> None:
    recorder = ChangeRecorder()
    listener = sql_backend.database.create_notifier(recorder)
    listener.start()
    assert recorder.wait_for_any_lock()
    listener.close()
    assert thread_ended(listener)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_closing_ends_the_thread_even_while_it_connects(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as black_hole:
        url = f"{scheme}://u:p@127.0.0.1:{black_hole.getsockname()[1]}/db"
        listener = Database(url).create_notifier(lambda _: None)
        listener.start()
        with black_hole.accept()[0]:  # now it is connecting
            listener.close()
            assert thread_ended(listener)


def test_a_notifier_that_was_never_started_can_be_closed(sqlite_backend: SqlBackend) -> None:
    sqlite_backend.database.create_notifier(lambda _: None).close()
