"""The check inside a job's own transaction: it can commit only while its term still holds the lock.

The check locks the lock's row for sharing until the transaction ends. An eviction of the session has to write
that row, so it waits; after an eviction the check finds no row. So a master that was frozen in between cannot
commit what it began as master.
"""

import sqlite3
from collections.abc import Callable
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
_SELECT_HELD_TERM = "SELECT 1 FROM master_lock WHERE lock_name = {0} AND term = {0} AND holder IS NOT NULL"
# A job that freezes here blocks the switch and the eviction, but no longer than this.
_SET_IDLE_TIMEOUT = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

FetchFirst = Callable[[str, tuple[Any, ...]], Any]
"""Runs one statement and returns its first row, or None."""


def check_term(connection: object, term: Term) -> None:
    """Lock the row of ``term`` until the transaction of ``connection`` ends.

    In a REPEATABLE READ or SERIALIZABLE transaction of PostgreSQL, a row that changed since the transaction
    began raises the driver's serialization failure instead, which prevents the commit too.

    Raises:
        TermLost: the term is over; roll back.
        MasterJobError: the connection is not in a transaction, so no row would stay locked.
        TypeError: this kind of connection is not supported.
    """
    if isinstance(connection, scoped_session):
        connection = connection()
    if isinstance(connection, Session):
        connection = connection.connection()
    if isinstance(connection, PoolProxiedConnection):
        connection = connection.driver_connection
    if isinstance(connection, Connection):
        sqlalchemy_connection = connection
        raw = sqlalchemy_connection.connection.driver_connection
        is_held = _lock_term_row(
            raw, term, lambda sql, values: _first_row_sqlalchemy(sqlalchemy_connection, sql, values)
        )
    else:
        is_held = _lock_term_row(connection, term, lambda sql, values: _first_row_dbapi(connection, sql, values))
    if not is_held:
        raise TermLost(f"term {term.number} of {term.lock_name} is over")


def _lock_term_row(raw: object, term: Term, fetch_first: FetchFirst) -> bool:
    key = (term.lock_name, term.number)
    if isinstance(raw, psycopg.Connection):
        _require_transaction(not raw.autocommit or raw.info.transaction_status != TransactionStatus.IDLE)
        fetch_first(_SET_IDLE_TIMEOUT, ())
        return fetch_first(_SELECT_HELD_TERM.format("%s") + " FOR SHARE", key) is not None
    if isinstance(raw, sqlite3.Connection):
        # No row lock needed: this transaction has written, so no other can write until it ends.
        _require_transaction(raw.in_transaction)
        return fetch_first(_SELECT_HELD_TERM.format("?"), key) is not None
    if _is_mysql(raw):
        _require_transaction(_in_mysql_transaction(raw))
        return fetch_first(_SELECT_HELD_TERM.format("%s") + " LOCK IN SHARE MODE", key) is not None
    raise TypeError(f"guard() does not support {type(raw).__module__}.{type(raw).__name__}; it takes {_SUPPORTED}")


def _first_row_sqlalchemy(connection: Connection, sql: str, values: tuple[Any, ...]) -> Any:
    result = connection.exec_driver_sql(sql, values or None)
    return result.first() if result.returns_rows else None


def _first_row_dbapi(connection: Any, sql: str, values: tuple[Any, ...]) -> Any:
    cursor = connection.cursor()
    try:
        cursor.execute(sql, values)
        return cursor.fetchone() if cursor.description else None
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
