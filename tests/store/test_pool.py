"""One connection stays open for the next call; no two calls share it, and a broken one is replaced."""

import threading
import time

import pytest

from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.pool import ConnectionPool
from tests.servers.process import frozen
from tests.store.conftest import SqlBackend
from tests.store.parallel import retry, run_concurrently
from tests.timeouts import WAIT_TIMEOUT

_LONG = 3600.0


class CountingPool(ConnectionPool):
    """A pool that remembers the connections it has opened."""

    def __init__(self, backend: SqlBackend, keep_open: float = _LONG, timeout: float = 10.0) -> None:
        self.opened: list[BoundedConnection] = []

        def new_connection() -> BoundedConnection:
            db = backend.connect(timeout)._db
            self.opened.append(db)
            return db

        super().__init__(new_connection, keep_open)

    def call(self) -> int:
        with self.connection() as db:
            return int(db.fetch_all("SELECT pg_backend_pid() AS pid")[0].pid)


@pytest.fixture
def pool(postgresql_backend: SqlBackend) -> CountingPool:
    return CountingPool(postgresql_backend)


def test_calls_after_one_another_use_one_connection(pool: CountingPool) -> None:
    assert len({pool.call() for _ in range(3)}) == 1


def test_calls_at_once_use_different_connections_of_which_one_is_kept(pool: CountingPool) -> None:
    barrier = threading.Barrier(4)

    def call() -> int:
        with pool.connection() as db:
            barrier.wait(WAIT_TIMEOUT)
            return int(db.fetch_all("SELECT pg_backend_pid() AS pid")[0].pid)

    assert len(set(run_concurrently([call] * 4))) == 4
    assert sum(db._physical is not None for db in pool.opened) == 1


def test_a_connection_that_was_cut_while_idle_is_replaced(
    pool: CountingPool, postgresql_backend: SqlBackend
) -> None:
    pid = pool.call()
    postgresql_backend.execute("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    assert pool.call() != pid


def test_a_connection_that_froze_while_idle_is_replaced(postgresql_backend: SqlBackend) -> None:
    pool = CountingPool(postgresql_backend, timeout=1.0)
    pid = retry(pool.call)
    with frozen(pid):
        assert retry(pool.call) != pid


def test_an_error_in_a_call_does_not_reach_the_next(pool: CountingPool) -> None:
    with pytest.raises(StoreUnavailable), pool.connection() as db:
        db.fetch_all("SELECT 1 FROM no_such_table")
    assert pool.call()


def test_an_idle_connection_is_closed_after_its_time(postgresql_backend: SqlBackend) -> None:
    pool = CountingPool(postgresql_backend, keep_open=0.01)
    pid = pool.call()
    (db,) = pool.opened
    wait_gone(postgresql_backend, pid)
    assert db._physical is None
    assert pool.call() != pid


def test_a_connection_that_is_used_beyond_its_time_is_closed_after_the_call(
    pool: CountingPool, postgresql_backend: SqlBackend
) -> None:
    pid = pool.call()
    with pool.connection():
        pool._expire()
    wait_gone(postgresql_backend, pid)


def wait_gone(backend: SqlBackend, pid: int) -> None:
    deadline = time.monotonic() + WAIT_TIMEOUT
    while backend.execute("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", pid=pid):
        assert time.monotonic() < deadline, "the connection is still open"
        time.sleep(0.01)


def test_an_admin_keeps_a_connection_to_a_server_only(
    sql_backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[BoundedConnection] = []
    original = sql_backend.database.connect_admin

    def connect_admin() -> BoundedConnection:
        opened.append(original())
        return opened[-1]

    monkeypatch.setattr(sql_backend.database, "connect_admin", connect_admin)
    admin = sql_backend.database.lock_admin(keep_open=_LONG)
    for _ in range(3):
        admin.status()
    assert len(opened) == (3 if sql_backend.name == "sqlite" else 1)
    for db in opened:
        db.close()
