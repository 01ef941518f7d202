"""A call that hangs fails within its timeout; after any error the next call has a fresh connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from masterjob.errors import StoreUnavailable
from masterjob.store.database import Database
from tests.conftest import Servers
from tests.servers import Server
from tests.servers.process import free_port, frozen
from tests.store.conftest import SqlBackend, backend_with_tables, open_session
from tests.store.parallel import retry

FOREVER = 3600.0
"""Seconds: longer than the time limit of a test."""

_HANGING_STATEMENTS = {
    "postgresql": f"SELECT pg_sleep({FOREVER})",
    "mariadb": f"SELECT SLEEP({FOREVER})",
    "mysql": f"SELECT 1 FROM master_session RIGHT JOIN (SELECT 1) AS one ON TRUE WHERE SLEEP({FOREVER})",
}


@pytest.fixture(params=list(_HANGING_STATEMENTS))
def server_backend(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    yield from backend_with_tables(request.param, servers, tmp_path)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener.getsockname()[1]


def assert_fails_when_aborted(call: Callable[[], object], abort: Callable[[], None]) -> None:
    """Abort repeatedly until the call fails, because it may not hang yet when the first abort comes."""
    failed = threading.Event()

    def abort_repeatedly() -> None:
        while not failed.wait(0.05):
            abort()

    aborter = threading.Thread(target=abort_repeatedly)
    aborter.start()
    try:
        with pytest.raises(StoreUnavailable):
            call()
    finally:
        failed.set()
        aborter.join()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_connect_that_hangs_ends_with_the_timeout(black_hole: int, scheme: str) -> None:
    store = Database(f"{scheme}://user:secret@127.0.0.1:{black_hole}/db").connect(0.4)
    with pytest.raises(StoreUnavailable, match="no connection within") as raised:
        store.list_sessions()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_connect_that_hangs_can_be_aborted(black_hole: int, scheme: str) -> None:
    store = Database(f"{scheme}://user:secret@127.0.0.1:{black_hole}/db").connect(FOREVER)
    assert_fails_when_aborted(store.list_sessions, store.abort)


def test_a_statement_that_hangs_can_be_aborted(server_backend: SqlBackend) -> None:
    store = server_backend.connect(timeout=FOREVER)
    store.list_sessions()
    assert_fails_when_aborted(lambda: store._db.fetch_all(_HANGING_STATEMENTS[server_backend.name]), store.abort)
    assert store.list_sessions().sessions == ()


def test_an_answer_that_came_before_the_abort_counts_and_the_next_call_has_a_fresh_connection(
    server_backend: SqlBackend,
) -> None:
    store = server_backend.connect(timeout=FOREVER)

    def read_and_abort(connection: Connection) -> object:
        answer = connection.execute(text("SELECT 7")).scalar()
        store.abort()
        return answer

    assert store._db.run(read_and_abort) == 7
    assert store.list_sessions().sessions == ()


def test_a_statement_that_hangs_ends_with_the_timeout(server_backend: SqlBackend) -> None:
    store = server_backend.connect(timeout=3.0)
    retry(store.list_sessions)
    with pytest.raises(StoreUnavailable):  # from the server's timeout or from ours
        store._db.fetch_all(_HANGING_STATEMENTS[server_backend.name])
    assert retry(store.list_sessions).sessions == ()


def test_a_frozen_backend_is_given_up(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect(timeout=3.0)
    pid = retry(store._db.fetch_all, "SELECT pg_backend_pid()")[0][0]
    with frozen(pid):
        with pytest.raises(StoreUnavailable, match="no answer within"):
            store.list_sessions()
        assert retry(store.list_sessions).sessions == ()


def test_a_frozen_server_is_given_up(mariadb_backend: SqlBackend, mariadb: Server) -> None:
    store = mariadb_backend.connect(timeout=3.0)
    retry(store.list_sessions)
    with frozen(mariadb.pid):
        with pytest.raises(StoreUnavailable):
            store.list_sessions()
        with pytest.raises(StoreUnavailable):
            store.list_sessions()
    assert retry(store.list_sessions).sessions == ()


def test_a_writer_that_waits_for_another_ends_with_the_timeout(sqlite_backend: SqlBackend) -> None:
    store = sqlite_backend.connect(timeout=0.3)
    session_id = open_session(sqlite_backend.connect())
    pending_disable = sqlite_backend.begin_disable("job")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.renew(session_id, "one")
    pending_disable.rollback()
    pending_disable.close()
    assert retry(store.renew, session_id, "one") is not None


def test_a_connection_that_was_cut_is_replaced_at_the_next_call(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect()
    pid = store._db.fetch_all("SELECT pg_backend_pid() AS pid")[0].pid
    postgresql_backend.execute("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    with pytest.raises(StoreUnavailable):
        store.list_sessions()
    assert store.list_sessions().sessions == ()


def test_a_store_that_was_aborted_while_idle_works_again(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    store.abort()
    store.list_sessions()
    store.abort()
    if sql_backend.name != "sqlite":
        with pytest.raises(StoreUnavailable):
            store.list_sessions()
    assert store.list_sessions().sessions == ()


def test_the_error_for_a_missing_server_does_not_show_the_password() -> None:
    for scheme in ("postgresql", "mysql"):
        store = Database(f"{scheme}://user:s3cr3t@127.0.0.1:{free_port()}/db").connect(2)
        with pytest.raises(StoreUnavailable) as raised:
            store.list_sessions()
        assert "s3cr3t" not in repr(raised.value) + repr(raised.value.__cause__)


def test_an_error_does_not_show_the_values_of_the_statement(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    with pytest.raises(StoreUnavailable) as raised:
        store._db.fetch_all("SELECT :secret FROM nowhere", secret="s3cr3t")
    assert "s3cr3t" not in str(raised.value) + str(raised.value.__cause__)


def test_a_session_has_its_limits(postgresql_backend: SqlBackend) -> None:
    db = postgresql_backend.connect(timeout=5)._db
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [db.fetch_all(f"SHOW {name}")[0][0] for name in names] == ["4s", "4s", "3s"]
    assert db.fetch_all("SHOW transaction_isolation")[0][0] == "read committed"
    assert db.fetch_all("SHOW application_name")[0][0] == "masterjob"


def test_a_mariadb_session_has_its_limits(mariadb_backend: SqlBackend) -> None:
    db = mariadb_backend.connect(timeout=5)._db
    names = ("innodb_lock_wait_timeout", "max_statement_time", "tx_isolation")
    values = [db.fetch_all(f"SELECT @@{name}")[0][0] for name in names]
    assert [values[0], float(values[1]), values[2]] == [4, 4.0, "READ-COMMITTED"]


def test_an_sqlite_connection_has_foreign_keys_and_a_log_ahead(sqlite_backend: SqlBackend) -> None:
    db = sqlite_backend.connect()._db
    assert db.fetch_all("PRAGMA foreign_keys")[0][0] == 1
    assert db.fetch_all("PRAGMA journal_mode")[0][0] == "wal"


def test_renewals_do_not_grow_the_table(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect()
    session_id = open_session(store)
    for _ in range(50):
        store.renew(session_id, "one")
    store._db.fetch_all("SELECT pg_stat_force_next_flush()")
    (row,) = store._db.fetch_all(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'master_session'"
    )
    assert row.n_tup_upd >= 50
    assert row.n_tup_hot_upd >= 0.9 * row.n_tup_upd


def test_a_claim_that_was_confirmed_survives_a_crash_of_the_server(postgresql_backend: SqlBackend) -> None:
    name = make_url(postgresql_backend.url).database
    for default, expected in (("off", "on"), ("local", "local")):
        postgresql_backend.execute(f"ALTER DATABASE {name} SET synchronous_commit = '{default}'")
        try:
            (row,) = postgresql_backend.connect()._db.fetch_all(
                "SELECT current_setting('synchronous_commit') AS s"
            )
        finally:
            postgresql_backend.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
        assert row.s == expected
