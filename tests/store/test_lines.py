"""A call that hangs fails in time, whoever hangs; after any error the next call has a fresh connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from masterjob.election.errors import StoreUnavailable
from masterjob.store.database import Database
from tests.servers import Server
from tests.servers.process import free_port, frozen
from tests.store.conftest import SqlBackend, opened

FOR_EVER = 3600.0
"""Seconds: whatever waits for that long ends with the time limit of the test."""

_NETWORKED = {"postgresql": f"SELECT pg_sleep({FOR_EVER})", "mariadb": f"SELECT SLEEP({FOR_EVER})"}


@pytest.fixture(params=list(_NETWORKED))
def networked(request: pytest.FixtureRequest) -> SqlBackend:
    backend: SqlBackend = request.getfixturevalue(f"on_{request.param}")
    return backend


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that accepts and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


def fails_when_aborted(call: Callable[[], object], abort: Callable[[], None]) -> None:
    """Only an abort ends the call: it is asked for until then, whether the call hangs already or is about to."""
    failed = threading.Event()

    def insist() -> None:
        while not failed.wait(0.05):
            abort()

    insisting = threading.Thread(target=insist)
    insisting.start()
    try:
        with pytest.raises(StoreUnavailable):
            call()
    finally:
        failed.set()
        insisting.join()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_connect_that_hangs_ends_with_the_timeout(black_hole: int, scheme: str) -> None:
    store = Database(f"{scheme}://user:secret@127.0.0.1:{black_hole}/db").connect(0.4)
    with pytest.raises(StoreUnavailable, match="no connection within") as raised:
        store.census()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_connect_that_hangs_can_be_aborted(black_hole: int, scheme: str) -> None:
    store = Database(f"{scheme}://user:secret@127.0.0.1:{black_hole}/db").connect(FOR_EVER)
    fails_when_aborted(store.census, store.abort)


def test_a_statement_that_hangs_can_be_aborted(networked: SqlBackend) -> None:
    store = networked.connect(timeout=FOR_EVER)
    store.census()
    fails_when_aborted(lambda: store._line.rows(_NETWORKED[networked.name]), store.abort)
    assert store.census().sessions == ()


def test_a_statement_that_hangs_ends_with_the_timeout(networked: SqlBackend) -> None:
    store = networked.connect(timeout=0.5)
    store.census()
    with pytest.raises(StoreUnavailable):  # in the server's words or in ours, whoever was first
        store._line.rows(_NETWORKED[networked.name])
    assert store.census().sessions == ()


def test_a_frozen_backend_is_given_up(on_postgresql: SqlBackend) -> None:
    store = on_postgresql.connect(timeout=0.5)
    pid = store._line.rows("SELECT pg_backend_pid()")[0][0]
    with frozen(pid):
        with pytest.raises(StoreUnavailable, match="no answer within"):
            store.census()
        assert store.census().sessions == ()


def test_a_frozen_server_is_given_up(on_mariadb: SqlBackend, mariadb: Server) -> None:
    store = on_mariadb.connect(timeout=0.5)
    store.census()
    with frozen(mariadb.pid):
        with pytest.raises(StoreUnavailable):
            store.census()
        with pytest.raises(StoreUnavailable):
            store.census()
    assert store.census().sessions == ()


def test_a_writer_that_waits_for_another_ends_with_the_timeout(on_sqlite: SqlBackend) -> None:
    store = on_sqlite.connect(timeout=0.3)
    me = opened(store)
    writing = on_sqlite.half_a_disable("job")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.renew(me, "one")
    writing.rollback()
    writing.close()
    assert store.renew(me, "one") is not None


def test_a_connection_that_was_cut_is_replaced_at_the_next_call(on_postgresql: SqlBackend) -> None:
    store = on_postgresql.connect()
    pid = store._line.rows("SELECT pg_backend_pid() AS pid")[0].pid
    on_postgresql.sql("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    with pytest.raises(StoreUnavailable):
        store.census()
    assert store.census().sessions == ()


def test_a_store_that_was_aborted_while_idle_works_again(sql: SqlBackend) -> None:
    store = sql.connect()
    store.abort()
    store.census()
    store.abort()
    if sql.name != "sqlite":
        with pytest.raises(StoreUnavailable):
            store.census()
    assert store.census().sessions == ()


def test_a_server_that_is_not_there_is_an_answer_without_the_password() -> None:
    for scheme in ("postgresql", "mysql"):
        store = Database(f"{scheme}://user:s3cr3t@127.0.0.1:{free_port()}/db").connect(2)
        with pytest.raises(StoreUnavailable) as raised:
            store.census()
        assert "s3cr3t" not in repr(raised.value) + repr(raised.value.__cause__)


def test_an_error_does_not_show_the_values_of_the_statement(sql: SqlBackend) -> None:
    store = sql.connect()
    with pytest.raises(StoreUnavailable) as raised:
        store._line.rows("SELECT :secret FROM nowhere", secret="s3cr3t")
    assert "s3cr3t" not in str(raised.value) + str(raised.value.__cause__)


def test_a_session_has_its_limits(on_postgresql: SqlBackend) -> None:
    line = on_postgresql.connect(timeout=5)._line
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [line.rows(f"SHOW {name}")[0][0] for name in names] == ["4s", "4s", "3s"]
    assert line.rows("SHOW transaction_isolation")[0][0] == "read committed"
    assert line.rows("SHOW application_name")[0][0] == "masterjob"


def test_a_mariadb_session_has_its_limits(on_mariadb: SqlBackend) -> None:
    line = on_mariadb.connect(timeout=5)._line
    names = ("innodb_lock_wait_timeout", "max_statement_time", "tx_isolation")
    values = [line.rows(f"SELECT @@{name}")[0][0] for name in names]
    assert [values[0], float(values[1]), values[2]] == [4, 4.0, "READ-COMMITTED"]


def test_an_sqlite_connection_has_foreign_keys_and_a_log_ahead(on_sqlite: SqlBackend) -> None:
    line = on_sqlite.connect()._line
    assert line.rows("PRAGMA foreign_keys")[0][0] == 1
    assert line.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_renewals_leave_no_growing_table(on_postgresql: SqlBackend) -> None:
    store = on_postgresql.connect()
    me = opened(store)
    for _ in range(50):
        store.renew(me, "one")
    store._line.rows("SELECT pg_stat_force_next_flush()")
    (row,) = store._line.rows(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'master_session'"
    )
    assert row.n_tup_upd >= 50
    assert row.n_tup_hot_upd >= 0.9 * row.n_tup_upd


@pytest.mark.parametrize("then", ["deleted", "replaced"])
def test_a_file_that_is_not_there_any_more_gives_no_answer(
    then: str, on_sqlite: SqlBackend, tmp_path: Path
) -> None:
    """Whoever goes on with the old one is alone with it, and everybody else elects another."""
    file = Path(str(make_url(on_sqlite.url).database))
    store = on_sqlite.connect()
    me = opened(store)
    assert store.renew(me, "one") is not None
    if then == "replaced":
        (tmp_path / "another").write_bytes(b"")
        (tmp_path / "another").replace(file)
    else:
        file.unlink()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        store.renew(me, "one")
    with pytest.raises(StoreUnavailable, match="no such table"):
        store.renew(me, "one")
