"""The guard: a frozen master's late write cannot commit after its eviction."""

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

from masterjob.election.errors import MasterJobError, StoreUnavailable, TermLost
from masterjob.election.values import Term
from masterjob.store.fence import guard
from tests.store.conftest import SERVERS, SqlBackend, elected, opened
from tests.store.together import insist

_KINDS = ("connection", "session", "scoped session", "pooled", "driver")


def _driver(sql: SqlBackend, *, autocommit: bool = False) -> Any:
    url = make_url(sql.url)
    if sql.name == "postgresql":
        return psycopg.connect(sql.url, autocommit=autocommit)
    if sql.name == "mariadb":
        return pymysql.connect(
            host="127.0.0.1", port=url.port or 0, user="root", database=url.database, autocommit=autocommit
        )
    return sqlite3.connect(str(url.database), timeout=5)


@contextmanager
def _job(sql: SqlBackend, kind: str) -> Iterator[Any]:
    """A connection of the job's own, of each kind that is supported."""
    if kind == "connection":
        with sql.engine.connect() as connection:
            yield connection
    elif kind == "session":
        with Session(sql.engine) as orm:
            yield orm
    elif kind == "scoped session":
        registry = scoped_session(sessionmaker(sql.engine))
        yield registry
        registry.remove()
    elif kind == "pooled":
        with closing(sql.engine.raw_connection()) as pooled:
            yield pooled
    else:
        with closing(_driver(sql)) as raw:
            yield raw


def _write(connection: Any, what: str) -> None:
    statement = f"INSERT INTO effect (what) VALUES ('{what}')"
    if hasattr(connection, "cursor") and not hasattr(connection, "scalars"):
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    else:
        connection.execute(text(statement))


@pytest.fixture
def held(sql: SqlBackend) -> tuple[str, Term]:
    """A session that holds a lock, and a table for the job to write to."""
    sql.sql("CREATE TABLE IF NOT EXISTS effect (what VARCHAR(50))")
    sql.sql("DELETE FROM effect")
    store = sql.connect()
    me = opened(store)
    return me, elected(store, me)


def _effects(sql: SqlBackend) -> list[str]:
    return [row.what for row in sql.sql("SELECT what FROM effect ORDER BY what")]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_master_commits_under_its_term(sql: SqlBackend, held: tuple[str, Term], kind: str) -> None:
    with _job(sql, kind) as connection:
        _write(connection, "mine")
        guard(connection, held[1])
        connection.commit()
    assert _effects(sql) == ["mine"]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_term_that_is_over_cannot_commit(sql: SqlBackend, held: tuple[str, Term], kind: str) -> None:
    me, term = held
    store = sql.connect()
    store.evict(me, 1, if_stale=False)
    with _job(sql, kind) as connection:
        _write(connection, "late")
        with pytest.raises(TermLost, match=f"term {term.number} of job is over"):
            guard(connection, term)
        connection.rollback()
    elected(store, opened(store, "next"))
    with _job(sql, kind) as connection:
        _write(connection, "late")
        with pytest.raises(TermLost):
            guard(connection, term)
        connection.rollback()
    assert _effects(sql) == []


@SERVERS
def test_a_frozen_masters_late_write_cannot_commit_after_its_eviction(
    sql: SqlBackend, held: tuple[str, Term]
) -> None:
    """The old master's transaction begins before its eviction, and goes on after it.

    Not on SQLite: there, a transaction that has written keeps the eviction itself out.
    """
    me, term = held
    store = sql.connect()
    with sql.engine.execution_options(isolation_level="READ COMMITTED").connect() as frozen:
        _write(frozen, "late")
        assert store.evict(me, 1, if_stale=False) == (term,)
        following = elected(store, opened(store, "next"))
        with sql.engine.begin() as fresh:
            _write(fresh, "next")
            guard(fresh, following)
        with pytest.raises(TermLost):
            guard(frozen, term)
        frozen.rollback()
    assert _effects(sql) == ["next"]


def test_a_late_write_cannot_commit_at_a_stricter_isolation_either(on_postgresql: SqlBackend) -> None:
    store = on_postgresql.connect()
    me = opened(store)
    term = elected(store, me)
    with on_postgresql.engine.execution_options(isolation_level="REPEATABLE READ").connect() as frozen:
        frozen.execute(text("SELECT 1 FROM master_lock"))
        store.evict(me, 1, if_stale=False)
        with pytest.raises(OperationalError, match="could not serialize"):
            guard(frozen, term)


def test_nobody_becomes_master_between_the_guard_and_the_commit(sql: SqlBackend, held: tuple[str, Term]) -> None:
    me, term = held
    evictor = sql.connect(timeout=0.5)
    with sql.engine.connect() as connection:
        _write(connection, "mine")
        guard(connection, term)
        with pytest.raises(StoreUnavailable):
            evictor.evict(me, 1, if_stale=False)
        connection.commit()
    insist(evictor.evict, me, 1, if_stale=False)
    assert evictor.census().sessions == ()
    assert _effects(sql) == ["mine"]


@SERVERS  # SQLite has one writer at a time
def test_a_master_and_its_heartbeat_do_not_wait_for_each_other(sql: SqlBackend, held: tuple[str, Term]) -> None:
    me, term = held
    with sql.engine.begin() as connection:
        guard(connection, term)
        assert sql.connect(timeout=0.5).renew(me, "one") is not None


@pytest.mark.parametrize("kind", ["connection", "driver"])
def test_outside_a_transaction_the_guard_refuses(sql: SqlBackend, held: tuple[str, Term], kind: str) -> None:
    if kind == "driver":
        with (
            closing(_driver(sql, autocommit=True)) as raw,
            pytest.raises(MasterJobError, match="outside a transaction"),
        ):
            guard(raw, held[1])
    else:
        engine = sql.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, pytest.raises(MasterJobError, match="outside a transaction"):
            guard(connection, held[1])


def test_a_transaction_begun_by_hand_is_one(sql: SqlBackend, held: tuple[str, Term]) -> None:
    with closing(_driver(sql, autocommit=True)) as raw, closing(raw.cursor()) as cursor:
        cursor.execute("BEGIN")
        guard(raw, held[1])
        cursor.execute("COMMIT")


def test_a_job_that_freezes_after_the_guard_has_ten_seconds(on_postgresql: SqlBackend) -> None:
    store = on_postgresql.connect()
    term = elected(store, opened(store))
    with on_postgresql.engine.connect() as connection:
        guard(connection, term)
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "10s"
        connection.commit()
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "0"


@pytest.mark.parametrize("stranger", [object(), None, "postgresql://"])
def test_an_unknown_connection_is_refused(stranger: object) -> None:
    with pytest.raises(TypeError, match="it takes an SQLAlchemy Connection or Session"):
        guard(stranger, Term("job", 1))
