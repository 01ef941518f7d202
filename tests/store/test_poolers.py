"""Behind a pooler nothing is set on a session, which others use too; a direct connection costs no more."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from masterjob.election.values import Term
from masterjob.store.connection.connection import BoundedConnection, StatementFailed
from masterjob.store.database import SqlStore
from tests.conftest import Servers
from tests.servers import PgBouncer
from tests.store.conftest import SqlBackend, backend_with_tables, claim_lock, open_session
from tests.store.test_notifier import ChangeRecorder, start_recorder
from tests.timeouts import WAIT_TIMEOUT

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")
_CURRENT_LIMITS = "SELECT " + ", ".join(f"current_setting('{name}')" for name in LIMITS)


@pytest.fixture(params=["pgbouncer", "pgbouncer-session"])
def pooled_backend(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[SqlBackend]:
    yield from backend_with_tables(request.param, servers, tmp_path)


def statements_of(db: BoundedConnection) -> list[str]:
    """Return a list to which every statement of this connection, which must be open, is added."""
    assert db._physical is not None
    statements: list[str] = []

    def add(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(db._physical._engine, "before_cursor_execute", add)
    return statements


def test_a_statement_behind_a_pooler_has_its_limits(pooled_backend: SqlBackend) -> None:
    store = pooled_backend.connect(timeout=10.0)
    assert tuple(store._db.fetch_all(_CURRENT_LIMITS)[0]) == ("8s", "8s", "3s", "read committed")


def test_a_statement_on_a_direct_connection_has_the_same_limits(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect(timeout=10.0)
    assert tuple(store._db.fetch_all(_CURRENT_LIMITS)[0]) == ("8s", "8s", "3s", "read committed")


def test_the_limits_end_with_the_transaction(pooled_backend: SqlBackend) -> None:
    with psycopg.connect(pooled_backend.url, autocommit=True) as neighbour:
        before = neighbour.execute(_CURRENT_LIMITS).fetchall()
        use_everything(pooled_backend.connect())
        pooled_backend.admin.disable("other", "why", "ann")
        assert neighbour.execute(_CURRENT_LIMITS).fetchall() == before


def use_everything(store: SqlStore) -> None:
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    store.renew(session_id, "one")
    store.release([session_id], [term])


def test_a_pooler_is_found_in_the_statement_that_would_set_the_limits(
    pooled_backend: SqlBackend, postgresql_backend: SqlBackend
) -> None:
    for backend, is_shared in ((pooled_backend, True), (postgresql_backend, False)):
        db = backend.connect()._db
        db.fetch_all("SELECT 1")
        assert db.is_shared is is_shared


def test_a_heartbeat_is_one_statement_on_a_direct_connection_and_a_transaction_behind_a_pooler(
    pooled_backend: SqlBackend, postgresql_backend: SqlBackend
) -> None:
    for backend, count in ((postgresql_backend, 1), (pooled_backend, 3)):
        store = backend.connect()
        session_id = open_session(store)
        statements = statements_of(store._db)
        store.renew(session_id, "one")
        assert len(statements) == count, statements


def test_a_call_that_fails_leaves_no_transaction_open(pooled_backend: SqlBackend) -> None:
    store = pooled_backend.connect()
    claim_lock(store, open_session(store))
    store.release(["one"], [Term("job", 1)])
    with pytest.raises(StatementFailed):
        store._db.execute("UPDATE master_lock SET term = 2, holder = 'no such session'")
    with pooled_backend.engine.connect() as connection:  # it would wait for the lock of an open transaction
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
        connection.exec_driver_sql("SELECT 1 FROM master_lock FOR UPDATE")


def test_changes_are_polled_behind_a_pooler_and_no_session_listens(
    pooled_backend: SqlBackend,
) -> None:
    recorder: ChangeRecorder = start_recorder(pooled_backend)
    pooled_backend.admin.disable("job", "why", "ann")
    assert recorder.wait_for_lock("job")
    with ExitStack() as stack:
        for _ in range(3):  # each keeps a session of the pool for its transaction
            client = stack.enter_context(psycopg.connect(pooled_backend.url))
            assert client.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)


def test_a_notification_from_behind_a_pooler_arrives_on_a_direct_connection(
    pooled_backend: SqlBackend, servers: Servers
) -> None:
    server = servers.require(pooled_backend.name)
    assert isinstance(server, PgBouncer)
    with psycopg.connect(server.direct_url(pooled_backend.url), autocommit=True) as listener:
        listener.execute("LISTEN masterjob")
        pooled_backend.admin.disable("job", "why", "ann")
        assert next(listener.notifies(timeout=WAIT_TIMEOUT)).payload == "job"
