"""What `term.guard` promises, on each database, at each isolation level, for each kind of transaction.

The transactions are written by hand, through the driver, because that is what an application may do.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from masterjob.errors import MasterJobError, TermLost
from masterjob.store.fencing import check_term
from tests.store.conftest import SERVERS, SqlBackend, claim_lock, open_session
from tests.store.job_transaction import JobTransaction, connect_driver

LEVELS = pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
REFUSALS = (TermLost, psycopg.Error, pymysql.Error, sqlite3.Error)
"""The guard's own, and the driver's: the view of the transaction is too old, or it may not write."""


@pytest.fixture
def job(sql_backend: SqlBackend) -> Iterator[JobTransaction]:
    sql_backend.execute("CREATE TABLE IF NOT EXISTS effect (what VARCHAR(50))")
    sql_backend.execute("DELETE FROM effect")
    transaction = JobTransaction(sql_backend)
    yield transaction
    transaction.connection.close()


@LEVELS
def test_a_guard_keeps_the_eviction_out_until_the_commit(job: JobTransaction, level: str) -> None:
    job.begin(level)
    job.write()
    job.guard()
    assert not job.evict()
    job.run("COMMIT")
    job.take_over()
    assert job.effects() == ["mine"]


@LEVELS
def test_a_guard_keeps_the_eviction_out_before_the_first_write(job: JobTransaction, level: str) -> None:
    job.begin(level)
    job.guard()
    job.write()
    assert not job.evict()
    job.run("COMMIT")
    job.take_over()


@LEVELS
def test_a_transaction_that_began_before_the_takeover_is_refused(job: JobTransaction, level: str) -> None:
    job.begin(level)
    job.take_over()
    with pytest.raises(REFUSALS):
        job.guard()
    job.run("ROLLBACK")


@SERVERS  # SQLite has one writer at a time, so the job's write itself keeps the eviction out
@LEVELS
def test_a_write_before_the_takeover_is_refused(job: JobTransaction, level: str) -> None:
    job.begin(level)
    job.write("late")
    job.take_over()
    with pytest.raises(REFUSALS):
        job.guard()
    job.run("ROLLBACK")
    assert job.effects() == []


@pytest.mark.parametrize("end", ["RELEASE SAVEPOINT nested", "ROLLBACK TO SAVEPOINT nested"])
@LEVELS
def test_a_guard_in_a_savepoint_is_refused_or_outlasts_it(job: JobTransaction, level: str, end: str) -> None:
    job.begin(level)
    job.write()
    job.run("SAVEPOINT nested")
    if job.backend.name == "postgresql":
        with pytest.raises(MasterJobError, match="inside a savepoint"):
            job.guard()
        return
    job.guard()
    job.run(end)
    assert not job.evict()
    job.run("COMMIT")
    job.take_over()
    assert job.effects() == ["mine"]


@LEVELS
def test_a_guard_before_or_after_a_savepoint_counts(job: JobTransaction, level: str) -> None:
    job.begin(level)
    job.run("SAVEPOINT earlier")
    job.write()
    job.run("RELEASE SAVEPOINT earlier")
    job.guard()
    job.run("SAVEPOINT later")
    job.write("undone")
    job.run("ROLLBACK TO SAVEPOINT later")
    assert not job.evict()
    job.run("COMMIT")
    assert job.effects() == ["mine"]


@pytest.mark.parametrize("in_savepoint", [False, True])
def test_a_savepoint_is_noticed_while_other_transactions_lock_the_row(
    postgresql_backend: SqlBackend, in_savepoint: bool
) -> None:
    postgresql_backend.execute("CREATE TABLE IF NOT EXISTS effect (what VARCHAR(50))")
    job = JobTransaction(postgresql_backend)
    with (
        closing(job.connection),
        closing(connect_driver(postgresql_backend)) as other,
        closing(other.cursor()) as cursor,
    ):
        cursor.execute("BEGIN")
        check_term(other, job.term)
        job.begin("READ COMMITTED")
        if in_savepoint:
            job.run("SAVEPOINT nested")
            with pytest.raises(MasterJobError, match="inside a savepoint"):
                job.guard()
        else:
            job.guard()
        job.run("ROLLBACK")


@SERVERS
def test_a_nested_transaction_of_sqlalchemy_is_refused(sql_backend: SqlBackend) -> None:
    store = sql_backend.connect()
    term = claim_lock(store, open_session(store))
    with Session(sql_backend.engine) as session, session.begin():
        with session.begin_nested(), pytest.raises(MasterJobError, match="inside a savepoint"):
            check_term(session, term)
        check_term(session, term)


@SERVERS
@LEVELS
def test_a_prepared_transaction_keeps_the_eviction_out(job: JobTransaction, level: str) -> None:
    job.begin(level, xa="phase")
    job.write()
    job.guard()
    is_postgresql = job.backend.name == "postgresql"
    job.run(*(["PREPARE TRANSACTION 'phase'"] if is_postgresql else ["XA END 'phase'", "XA PREPARE 'phase'"]))
    assert not job.evict()
    job.run("COMMIT PREPARED 'phase'" if is_postgresql else "XA COMMIT 'phase'")
    job.take_over()
    assert job.effects() == ["mine"]


@SERVERS
@LEVELS
def test_a_transaction_that_may_only_read_is_refused(job: JobTransaction, level: str) -> None:
    if job.backend.name == "postgresql":
        job.run(f"BEGIN ISOLATION LEVEL {level} READ ONLY")
    else:
        job.run(f"SET TRANSACTION ISOLATION LEVEL {level}", "START TRANSACTION READ ONLY")
    with pytest.raises(REFUSALS):
        job.guard()
    job.run("ROLLBACK")


def test_a_file_that_is_opened_to_read_is_refused(sqlite_backend: SqlBackend) -> None:
    store = sqlite_backend.connect()
    term = claim_lock(store, open_session(store))
    path = make_url(sqlite_backend.url).database
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            check_term(connection, term)


@pytest.fixture
def attached(sqlite_backend: SqlBackend, tmp_path: Path) -> Iterator[JobTransaction]:
    """A job that writes to a file of its own, attached to that of the election."""
    sqlite_backend.execute("CREATE TABLE effect (what VARCHAR(50))")
    transaction = JobTransaction(sqlite_backend)
    transaction.run(f"ATTACH DATABASE '{tmp_path / 'other.db'}' AS other", "CREATE TABLE other.effect (what TEXT)")
    yield transaction
    transaction.connection.close()


def test_a_late_write_to_an_attached_file_is_refused(attached: JobTransaction) -> None:
    attached.begin("SERIALIZABLE")
    attached.write("late", "other.effect")
    attached.take_over()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        attached.guard()


def test_a_guard_of_a_write_to_an_attached_file_keeps_the_eviction_out(attached: JobTransaction) -> None:
    attached.begin("SERIALIZABLE")
    attached.write("mine", "other.effect")
    attached.guard()
    assert not attached.evict()
    attached.run("COMMIT")
    attached.take_over()


def test_each_guard_writes_the_row_of_the_lock(mariadb_backend: SqlBackend) -> None:
    """Galera compares what two transactions have written, and a replica repeats it in that order."""
    store = mariadb_backend.connect()
    term = claim_lock(store, open_session(store))
    for _ in range(2):
        with mariadb_backend.engine.begin() as connection:
            check_term(connection, term)
    assert mariadb_backend.execute("SELECT guarded FROM master_lock") == [(2,)]
