"""The check inside a job's own transaction: it can commit only while its term still holds the lock.

The check keeps the lock's row until the transaction ends. An eviction of the session has to write that row, so it
waits; after an eviction the check finds no row. So a master that was frozen in between cannot commit what it began
as master.

PostgreSQL locks the row for sharing, which also a prepared transaction keeps. On MariaDB and MySQL the check
writes the row: XA PREPARE gives shared locks back, and a node of Galera compares only what was written. On SQLite
the check writes too: then it is the writer of the election's file, even if the job itself has written only to an
attached one.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pymysql
from psycopg.pq import TransactionStatus
from pymysql.constants import SERVER_STATUS
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.orm import Session, scoped_session

from masterjob.election.values import Term
from masterjob.errors import MasterJobError, TermLost

_SUPPORTED = (
    "an SQLAlchemy Connection or Session (not the asynchronous ones), "
    "or a connection of psycopg 3, PyMySQL, mysqlclient or sqlite3"
)
_IS_HELD = "lock_name = {0} AND term = {0} AND holder IS NOT NULL"
_POSTGRESQL_LOCK = f"SELECT 1 FROM master_lock WHERE {_IS_HELD} FOR SHARE".format("%s")  # noqa: S608 - constants
# A value that changes: what stays the same is not written, and a driver may count changed rows only.
_MYSQL_WRITE = f"UPDATE master_lock SET guarded = guarded + 1 WHERE {_IS_HELD}".format("%s")  # noqa: S608
_SQLITE_WRITE = f"UPDATE master_lock SET term = term WHERE {_IS_HELD}".format("?")  # noqa: S608
# Whether the lock on the row belongs to a savepoint: its rollback would give it back. The row's xmax is the number
# of the savepoint then, unless other transactions share the lock: then it is the number of their list.
_POSTGRESQL_IN_SAVEPOINT = """
    SELECT 1 FROM master_lock, (SELECT pg_current_xact_id()::xid AS top) AS transaction
    WHERE lock_name = %s AND xmax <> top AND CASE
        WHEN EXISTS (SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND transactionid = xmax) THEN TRUE
        ELSE NOT EXISTS (SELECT 1 FROM pg_get_multixact_members(xmax) AS member WHERE member.xid = top) END
"""
# A job that freezes here blocks the switch and the eviction, but no longer than this.
_SET_IDLE_TIMEOUT = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

Execute = Callable[[str, tuple[Any, ...]], int]
"""Runs one statement and returns how many rows it has found or written."""


def check_term(connection: object, term: Term) -> None:
    """Keep the row of ``term`` until the transaction of ``connection`` ends.

    If the transaction has an older view of the row (REPEATABLE READ, SERIALIZABLE, SQLite), the driver's error
    may come instead: a serialization failure, or that the file is locked. It prevents the commit too.

    Raises:
        TermLost: the term is over; roll back.
        MasterJobError: the connection is not in a transaction, or it is in a savepoint: the row would not be kept.
        TypeError: this kind of connection is not supported.
    """
    if isinstance(connection, scoped_session):
        connection = connection()
    if isinstance(connection, Session):
        connection = connection.connection()
    if isinstance(connection, PoolProxiedConnection):
        connection = connection.driver_connection
    if isinstance(connection, Connection):
        is_held = _keep_term_row(
            connection.connection.driver_connection,
            term,
            partial(_execute_sqlalchemy, connection),
            in_savepoint=connection.in_nested_transaction(),
        )
    else:
        is_held = _keep_term_row(connection, term, partial(_execute_dbapi, connection))
    if not is_held:
        raise TermLost(f"term {term.number} of {term.lock_name} is over")


def _keep_term_row(raw: object, term: Term, execute: Execute, *, in_savepoint: bool = False) -> bool:
    """Return whether the term holds the lock. ``in_savepoint``: SQLAlchemy knows that there is one."""
    key = (term.lock_name, term.number)
    if isinstance(raw, psycopg.Connection):
        _require_transaction(not raw.autocommit or raw.info.transaction_status != TransactionStatus.IDLE)
        _refuse_savepoint(in_savepoint)
        execute(_SET_IDLE_TIMEOUT, ())
        is_held = execute(_POSTGRESQL_LOCK, key) == 1
        _refuse_savepoint(is_held and execute(_POSTGRESQL_IN_SAVEPOINT, (term.lock_name,)) == 1)
        return is_held
    if isinstance(raw, sqlite3.Connection):
        # A savepoint does no harm: the file stays locked until the transaction ends.
        _require_transaction(raw.in_transaction)
        return execute(_SQLITE_WRITE, key) == 1
    if _is_mysql(raw):
        _require_transaction(_in_mysql_transaction(raw))
        _refuse_savepoint(in_savepoint)
        return execute(_MYSQL_WRITE, key) == 1
    raise TypeError(f"guard() does not support {type(raw).__module__}.{type(raw).__name__}; it takes {_SUPPORTED}")


def _execute_sqlalchemy(connection: Connection, sql: str, values: tuple[Any, ...]) -> int:
    result = connection.exec_driver_sql(sql, values or None)
    return len(result.all()) if result.returns_rows else result.rowcount


def _execute_dbapi(connection: Any, sql: str, values: tuple[Any, ...]) -> int:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, values)
        return len(cursor.fetchall()) if cursor.description else cursor.rowcount
    finally:
        cursor.close()


def _is_mysql(raw: object) -> bool:
    # By name, because mysqlclient may not be installed.
    return isinstance(raw, pymysql.Connection) or any(
        kind.__module__.split(".")[0] == "MySQLdb" for kind in type(raw).__mro__
    )


def _in_mysql_transaction(raw: Any) -> bool:
    # mysqlclient does not report an open transaction: with it, autocommit must be off.
    if not raw.get_autocommit():
        return True
    return bool(getattr(raw, "server_status", 0) & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


def _require_transaction(in_transaction: bool) -> None:
    if not in_transaction:
        raise MasterJobError(
            "guard() was called outside a transaction, where it has no effect: "
            "begin one (no autocommit), write in it, and call guard() as the last statement before COMMIT"
        )


def _refuse_savepoint(in_savepoint: bool) -> None:
    if in_savepoint:
        raise MasterJobError(
            "guard() was called inside a savepoint (a nested transaction), whose rollback would undo it: "
            "call it in the outer transaction, as the last statement before COMMIT"
        )
