"""Fencing: a frozen master's late write cannot commit after its eviction."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from masterjob.election.values import Term
from masterjob.errors import MasterJobError, StoreUnavailable, TermLost
from masterjob.store.fencing import check_term
from tests.store.conftest import SERVERS, SqlBackend, claim_lock, open_session
from tests.store.parallel import retry
from tests.timeouts import WAIT_TIMEOUT

_CONNECTION_KINDS = ("connection", "session", "scoped session", "pooled", "driver")


def _driver_connection(sql_backend: SqlBackend, *, autocommit: bool = False) -> Any:
    url = make_url(sql_backend.url)
    if sql_backend.name == "postgresql":
        return psycopg.connect(sql_backend.url, autocommit=autocommit)
    if sql_backend.name in ("mariadb", "mysql"):
        return pymysql.connect(
            host="127.0.0.1", port=url.port or 0, user="root", database=url.database, autocommit=autocommit
        )
    return sqlite3.connect(str(url.database), timeout=WAIT_TIMEOUT)


@contextmanager
def _job_connection(sql_backend: SqlBackend, kind: str) -> Iterator[Any]:
    """Open a connection for the job, of the given kind."""
    if kind == "connection":
        with sql_backend.engine.connect() as connection:
            yield connection
    elif kind == "session":
        with Session(sql_backend.engine) as orm:
            yield orm
    elif kind == "scoped session":
        registry = scoped_session(sessionmaker(sql_backend.engine))
        yield registry
        registry.remove()
    elif kind == "pooled":
        with closing(sql_backend.engine.raw_connection()) as pooled:
            yield pooled
    else:
        with closing(_driver_connection(sql_backend)) as raw:
            yield raw


def _write(connection: Any, what: str) -> None:
    statement = f"INSERT INTO effect (what) VALUES ('{what}')"
    if hasattr(connection, "cursor") and not hasattr(connection, "scalars"):
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    else:
        connection.execute(text(statement))


@pytest.fixture
def session_and_term(sql_backend: SqlBackend) -> tuple[str, Term]:
    """A session that holds a lock, and a table for the job to write to."""
    sql_backend.execute("CREATE TABLE IF NOT EXISTS effect (what VARCHAR(50))")
    sql_backend.execute("DELETE FROM effect")
    store = sql_backend.connect()
    session_id = open_session(store)
    return session_id, claim_lock(store, session_id)


def _effects(sql_backend: SqlBackend) -> list[str]:
    return [row.what for row in sql_backend.execute("SELECT what FROM effect ORDER BY what")]


@pytest.mark.parametrize("kind", _CONNECTION_KINDS)
def test_a_master_commits_under_its_term(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term], kind: str
) -> None:
    with _job_connection(sql_backend, kind) as connection:
        _write(connection, "mine")
        check_term(connection, session_and_term[1])
        connection.commit()
    assert _effects(sql_backend) == ["mine"]


@pytest.mark.parametrize("kind", _CONNECTION_KINDS)
def test_a_term_that_is_over_cannot_commit(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term], kind: str
) -> None:
    session_id, term = session_and_term
    store = sql_backend.connect()
    store.evict(session_id, 1, if_stale=False)
    with _job_connection(sql_backend, kind) as connection:
        _write(connection, "late")
        with pytest.raises(TermLost, match=f"term {term.number} of job is over"):
            check_term(connection, term)
        connection.rollback()
    claim_lock(store, open_session(store, "next"))
    with _job_connection(sql_backend, kind) as connection:
        _write(connection, "late")
        with pytest.raises(TermLost):
            check_term(connection, term)
        connection.rollback()
    assert _effects(sql_backend) == []


@SERVERS
def test_a_frozen_masters_late_write_cannot_commit_after_its_eviction(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term]
) -> None:
    """The old master's transaction begins before its eviction, and goes on after it.

    Not on SQLite: there, a transaction that has written keeps the eviction itself out.
    """
    session_id, term = session_and_term
    store = sql_backend.connect()
    with sql_backend.engine.execution_options(isolation_level="READ COMMITTED").connect() as frozen:
        _write(frozen, "late")
        assert store.evict(session_id, 1, if_stale=False) == (term,)
        following = claim_lock(store, open_session(store, "next"))
        with sql_backend.engine.begin() as fresh:
            _write(fresh, "next")
            check_term(fresh, following)
        with pytest.raises(TermLost):
            check_term(frozen, term)
        frozen.rollback()
    assert _effects(sql_backend) == ["next"]


def test_a_late_write_cannot_commit_at_a_stricter_isolation_either(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect()
    session_id = open_session(store)
    term = claim_lock(store, session_id)
    with postgresql_backend.engine.execution_options(isolation_level="REPEATABLE READ").connect() as frozen:
        frozen.execute(text("SELECT 1 FROM master_lock"))
        store.evict(session_id, 1, if_stale=False)
        with pytest.raises(OperationalError, match="could not serialize"):
            check_term(frozen, term)


def test_no_eviction_happens_between_the_guard_and_the_commit(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term]
) -> None:
    session_id, term = session_and_term
    evictor = sql_backend.connect(timeout=2.0)
    with sql_backend.engine.connect() as connection:
        _write(connection, "mine")
        check_term(connection, term)
        with pytest.raises(StoreUnavailable):
            evictor.evict(session_id, 1, if_stale=False)
        connection.commit()
    retry(evictor.evict, session_id, 1, if_stale=False)
    assert retry(evictor.list_sessions).sessions == ()
    assert _effects(sql_backend) == ["mine"]


@SERVERS  # SQLite has one writer at a time
def test_a_master_and_its_heartbeat_do_not_wait_for_each_other(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term]
) -> None:
    session_id, term = session_and_term
    with sql_backend.engine.begin() as connection:
        check_term(connection, term)
        assert sql_backend.connect().renew(session_id, "one") is not None


@pytest.mark.parametrize("kind", ["connection", "driver"])
def test_the_guard_raises_outside_a_transaction(
    sql_backend: SqlBackend, session_and_term: tuple[str, Term], kind: str
) -> None:
    if kind == "driver":
        with (
            closing(_driver_connection(sql_backend, autocommit=True)) as raw,
            pytest.raises(MasterJobError, match="outside a transaction"),
        ):
            check_term(raw, session_and_term[1])
    else:
        engine = sql_backend.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, pytest.raises(MasterJobError, match="outside a transaction"):
            check_term(connection, session_and_term[1])


def test_a_transaction_begun_by_hand_is_one(sql_backend: SqlBackend, session_and_term: tuple[str, Term]) -> None:
    with closing(_driver_connection(sql_backend, autocommit=True)) as raw, closing(raw.cursor()) as cursor:
        cursor.execute("BEGIN")
        check_term(raw, session_and_term[1])
        cursor.execute("COMMIT")


def test_a_job_that_freezes_after_the_guard_has_ten_seconds(postgresql_backend: SqlBackend) -> None:
    store = postgresql_backend.connect()
    term = claim_lock(store, open_session(store))
    with postgresql_backend.engine.connect() as connection:
        check_term(connection, term)
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "10s"
        connection.commit()
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "0"


@pytest.mark.parametrize("stranger", [object(), None, "postgresql://"])
def test_an_unsupported_connection_is_rejected(stranger: object) -> None:
    with pytest.raises(TypeError, match="it takes an SQLAlchemy Connection or Session"):
        check_term(stranger, Term("job", 1))
