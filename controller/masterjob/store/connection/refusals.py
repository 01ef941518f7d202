"""What an error of a driver means: an outage, a refusal, or a statement that failed on a database that works.

An *outage* ends by itself: the server is down, starts, stops, is out of connections, or is a standby. A *refusal*
does not end until somebody changes a setting or a right. A *failed statement* says nothing about the next one: a
row was locked for too long, or a value was not valid. An error that is not known counts as an outage, since those
are waited for.

The drivers give an SQLSTATE or an error number, with one exception: libpq has no SQLSTATE for what a PostgreSQL
server answers to a connect. There the English message decides; a server that speaks another language counts as an
outage.
"""

import re
import sqlite3
from enum import Enum, auto

import psycopg
import pymysql
from sqlalchemy.exc import DBAPIError

from masterjob.errors import Refusal


class FailedStatement(Enum):
    """The verdict that one statement failed, on a database that works."""

    FAILED_STATEMENT = auto()
    MISSING_TABLE = auto()
    """A table does not exist."""


FAILED_STATEMENT = FailedStatement.FAILED_STATEMENT

Verdict = Refusal | FailedStatement | None
"""None is an outage."""

_SQLSTATES: dict[str, Verdict] = {
    "28": Refusal.LOGIN,
    "3D": Refusal.NO_DATABASE,
    "3F": Refusal.RIGHTS,  # no schema that this user may create tables in
    "42501": Refusal.RIGHTS,
    "42P01": FailedStatement.MISSING_TABLE,
    "57014": FAILED_STATEMENT,  # cancelled, by statement_timeout
    "25006": None,  # read-only: a standby, as during a failover
    "08": None,
    "53": None,  # too many connections, no memory, disk full
    "57": None,  # starts or stops
    "58": None,
    "XX": None,
}
"""By SQLSTATE or its class; any other is a failed statement."""

_CONNECT_MESSAGES: tuple[tuple[str, Refusal], ...] = (
    (r"(password|\w+) authentication failed for user", Refusal.LOGIN),
    (r"role \".*\" (does not exist|is not permitted to log in)", Refusal.LOGIN),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", Refusal.LOGIN),
    (r"no password supplied", Refusal.LOGIN),
    (r"database \".*\" does not exist", Refusal.NO_DATABASE),
    (r"is not currently accepting connections", Refusal.NO_DATABASE),
    (r"permission denied for database", Refusal.RIGHTS),
    (r"conversion between .* is not supported", Refusal.ENCODING),
    (r"invalid (connection option|URI query parameter|integer value)", Refusal.OPTION),
    (r"invalid \w+ value:", Refusal.OPTION),
    (r"unrecognized configuration parameter", Refusal.OPTION),
)
"""What libpq says if a connect fails, and why."""

_MYSQL_NUMBERS: dict[int, Verdict] = {
    1044: Refusal.RIGHTS,  # access denied to the database
    1045: Refusal.LOGIN,
    1049: Refusal.NO_DATABASE,
    1130: Refusal.LOGIN,  # this host may not connect
    1142: Refusal.RIGHTS,
    1143: Refusal.RIGHTS,
    1227: Refusal.RIGHTS,
    1698: Refusal.LOGIN,
    1820: Refusal.LOGIN,  # the password has expired
    1862: Refusal.LOGIN,
    3118: Refusal.LOGIN,  # the account is locked
    4151: Refusal.LOGIN,  # the same, on MariaDB
    1146: FailedStatement.MISSING_TABLE,
    1040: None,  # too many connections
    1053: None,  # stops
    1203: None,
    1290: None,  # read-only
    1836: None,
    3100: None,
}
"""By error number; of the others, those of the server (1000 to 1999, from 3000) are failed statements."""

_NEEDS_TLS = "'cryptography' package is required"
"""PyMySQL's words if MySQL asks for a password without TLS, and it could not encrypt it."""

_SQLITE_CODES: dict[int, Verdict] = {
    sqlite3.SQLITE_CANTOPEN: Refusal.NO_DATABASE,
    sqlite3.SQLITE_NOTADB: Refusal.NO_DATABASE,
    sqlite3.SQLITE_READONLY: Refusal.RIGHTS,
    sqlite3.SQLITE_PERM: Refusal.RIGHTS,
    sqlite3.SQLITE_AUTH: Refusal.RIGHTS,
    sqlite3.SQLITE_ERROR: FAILED_STATEMENT,
    sqlite3.SQLITE_CONSTRAINT: FAILED_STATEMENT,
    sqlite3.SQLITE_MISMATCH: FAILED_STATEMENT,
}
"""By primary result code. A file that is locked is an outage: nobody can write to it."""


def classify(error: Exception) -> Verdict:
    """Return the refusal, or that only this statement failed; None for an outage."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    match cause:
        case psycopg.Error():
            return _classify_postgresql(cause)
        case pymysql.Error():
            return _classify_mysql(cause)
        case sqlite3.Error():
            return _classify_sqlite(cause)
        case UnicodeError():
            return FAILED_STATEMENT
        case RuntimeError() if _NEEDS_TLS in str(cause):
            return Refusal.OPTION
    # mysqlclient is optional, so its classes are not imported; it has the numbers of PyMySQL
    return _classify_mysql(cause) if type(cause).__module__.startswith("MySQLdb") else None


def _classify_postgresql(error: psycopg.Error) -> Verdict:
    if error.sqlstate is None:
        text = str(error)
        return next((refusal for pattern, refusal in _CONNECT_MESSAGES if re.search(pattern, text)), None)
    for key in (error.sqlstate, error.sqlstate[:2]):
        if key in _SQLSTATES:
            return _SQLSTATES[key]
    return FAILED_STATEMENT


def _classify_sqlite(error: sqlite3.Error) -> Verdict:
    if str(error).startswith("no such table"):
        return FailedStatement.MISSING_TABLE
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _SQLITE_CODES.get(code & 0xFF)


def _classify_mysql(error: BaseException) -> Verdict:
    number = error.args[0] if error.args else None
    if not isinstance(number, int):
        return None
    if number in _MYSQL_NUMBERS:
        return _MYSQL_NUMBERS[number]
    return FAILED_STATEMENT if 1000 <= number < 2000 or number >= 3000 else None
