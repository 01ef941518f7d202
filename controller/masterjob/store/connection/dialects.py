"""The dialects of the databases that are supported."""

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
from sqlalchemy import URL, Connection, text

from masterjob.store.connection.dialect import (
    APPLICATION_NAME,
    IDLE_TRANSACTION_TIMEOUT,
    SERVER_TIMEOUT_FRACTION,
    Dialect,
)
from masterjob.store.connection.sqlite_file import enable_wal

# A claim that was confirmed must survive a crash of the server. Other values wait for its disk at least.
_SYNCHRONOUS_COMMIT = """set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END, {is_local})"""


class PostgreSQLDialect(Dialect):
    """PostgreSQL through psycopg 3."""

    name = "PostgreSQL"
    driver = "postgresql+psycopg"
    supports_notify = True
    supports_writable_cte = True
    begin_statements = (
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_TIMEOUT}s'",
    )
    fragments: ClassVar[Mapping[str, str]] = {
        "now": "statement_timestamp()",
        "ago": "statement_timestamp() - :age_us * interval '1 microsecond'",
        "now_ms": "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000) AS bigint)",
        "greatest": "GREATEST",
        "insert": "INSERT INTO",
        "on_conflict_ignore": "ON CONFLICT DO NOTHING",
        "for_update": "FOR UPDATE",
        "lock_table": "master_lock",
        # The sub-select locks the rows in one order for all claims, and skips those that a switch or another
        # claim has locked. The conditions are repeated outside, where they are checked again.
        "only_free": """lock_name IN (
            SELECT lock_name FROM master_lock WHERE lock_name IN :names AND enabled AND holder IS NULL
            ORDER BY lock_name FOR UPDATE SKIP LOCKED)""",
        "order_by_name": "",
    }

    def connect_arguments(self, url: URL, timeout: float) -> dict[str, Any]:
        """Return arguments that detect a dead network, and reject a standby, which would return old data."""
        return {
            "connect_timeout": max(2, math.ceil(timeout)),
            "tcp_user_timeout": math.ceil(timeout * 1000),
            "keepalives": 1,
            "keepalives_idle": max(1, math.ceil(timeout)),
            "keepalives_interval": max(1, math.ceil(timeout / 3)),
            "keepalives_count": 3,
            "target_session_attrs": "read-write",
            "client_encoding": "utf8",  # a database in SQL_ASCII would return bytes for text
            "application_name": url.query.get("application_name", APPLICATION_NAME),
            "prepare_threshold": None,  # a transaction pooler would lose prepared statements
        }

    def configure_session(self, connection: Connection, timeout: float) -> bool:
        """Set the limits by a statement: poolers reject startup options that they do not know.

        A server tells a new client the number of its process, for the cancellation of calls; a pooler tells
        another number. So nothing is set if they differ.
        """
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)  # noqa: S101 - for the type checker
        settings = self._limits(timeout) | {"default_transaction_isolation": "read committed"}
        calls = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
        calls += ", " + _SYNCHRONOUS_COMMIT.format(is_local="false")
        statement = text(f"SELECT {calls} WHERE pg_backend_pid() = :pid")
        return connection.execute(statement, {"pid": raw.info.backend_pid}).first() is not None

    def begin(self, timeout: float, *, is_shared: bool) -> tuple[str, ...]:
        """Return statements that limit only this transaction if the session is shared, in one round trip."""
        if not is_shared:
            return self.begin_statements
        limits = (f"SET LOCAL {name} = '{value}'" for name, value in self._limits(timeout).items())
        synchronous_commit = "SELECT " + _SYNCHRONOUS_COMMIT.format(is_local="true")
        return ("; ".join(("BEGIN ISOLATION LEVEL READ COMMITTED", *limits, synchronous_commit)),)

    @staticmethod
    def _limits(timeout: float) -> dict[str, str]:
        milliseconds = str(max(1, math.ceil(SERVER_TIMEOUT_FRACTION * timeout * 1000)))
        return {
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_TIMEOUT}s",
        }


class MySQLDialect(Dialect):
    """MariaDB and MySQL, through PyMySQL or mysqlclient."""

    name = "MariaDB/MySQL"
    driver = "mysql+pymysql"
    # MySQL has no timeout for idle transactions; that for idle connections does the same while one is open.
    begin_statements = (f"SET SESSION wait_timeout = {IDLE_TRANSACTION_TIMEOUT}", "START TRANSACTION")
    commit_statements = ("COMMIT", "SET SESSION wait_timeout = DEFAULT")
    fragments: ClassVar[Mapping[str, str]] = {
        "now": "UTC_TIMESTAMP(6)",
        "ago": "UTC_TIMESTAMP(6) - INTERVAL :age_us MICROSECOND",
        # not UNIX_TIMESTAMP(UTC_TIMESTAMP()), which is hours off if the server is not in UTC
        "now_ms": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)",
        "greatest": "GREATEST",
        "insert": "INSERT IGNORE INTO",
        "on_conflict_ignore": "",
        "for_update": "FOR UPDATE",
        # Rows are locked in the order of an index: all claims must use the same one.
        "lock_table": "master_lock FORCE INDEX (PRIMARY)",
        "only_free": "lock_name IN :names",
        "order_by_name": "ORDER BY lock_name",
    }

    def connect_arguments(self, url: URL, timeout: float) -> dict[str, Any]:
        """Return the driver's socket timeouts, among others; mysqlclient takes whole seconds only."""
        seconds = math.ceil(timeout) if url.get_driver_name() == "mysqldb" else timeout
        return {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "write_timeout": seconds,
            "charset": url.query.get("charset", "utf8mb4"),
        }

    def configure_session(self, connection: Connection, timeout: float) -> bool:
        """Set the limits that this server knows; MariaDB and MySQL have different ones."""
        connection.execute(text("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"))
        whole_seconds = max(1, int(SERVER_TIMEOUT_FRACTION * timeout))
        limits = [f"innodb_lock_wait_timeout = {whole_seconds}", f"lock_wait_timeout = {whole_seconds}"]
        if getattr(connection.dialect, "is_mariadb", False):
            limits += [f"max_statement_time = {SERVER_TIMEOUT_FRACTION * timeout:.3f}"]
        else:
            limits += [f"max_execution_time = {math.ceil(SERVER_TIMEOUT_FRACTION * timeout * 1000)}"]
        connection.execute(text("SET SESSION " + ", ".join(limits)))
        return True

    def socket_fd(self, raw: Any) -> int | None:
        """Return the file descriptor. PyMySQL has no public name for it; without it, its read timeout applies."""
        raw_socket = getattr(raw, "_sock", raw)
        return int(raw_socket.fileno()) if hasattr(raw_socket, "fileno") else None


class SQLiteDialect(Dialect):
    """SQLite: a file on a local disk, for instances on one machine."""

    name = "SQLite"
    driver = "sqlite+pysqlite"
    is_remote = False
    # A switch must survive a power cut, so it waits for the disk; for the rest see `configure_session`.
    begin_statements = ("PRAGMA synchronous = FULL", "BEGIN IMMEDIATE")
    commit_statements = ("COMMIT", "PRAGMA synchronous = NORMAL")
    fragments: ClassVar[Mapping[str, str]] = {
        "now": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        "ago": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('-%.6f seconds', :age_us / 1e6))",
        "now_ms": "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "greatest": "MAX",
        "insert": "INSERT INTO",
        "on_conflict_ignore": "ON CONFLICT DO NOTHING",
        "for_update": "",  # BEGIN IMMEDIATE has locked the file
        "lock_table": "master_lock",
        "only_free": "lock_name IN :names",
        "order_by_name": "",
    }

    def file_path(self, url: URL) -> str | None:
        """Return the path; None if the URL holds no plain path."""
        name = url.database or ""
        return None if not name or name.startswith((":", "file:")) else os.path.abspath(name)  # noqa: PTH100 - as SQLite

    def connect_arguments(self, url: URL, timeout: float) -> dict[str, Any]:
        """Return arguments to wait for other writers, and to allow use by different threads, one at a time."""
        return {"timeout": timeout, "check_same_thread": False}

    def configure_session(self, connection: Connection, timeout: float) -> bool:
        """Set WAL, so that readers and the writer do not block each other, and foreign keys, so that evictions
        free the locks.

        ``synchronous = NORMAL`` is enough: a process crash loses nothing. A power cut may undo the last commits,
        but it ends all instances too, as they run on this machine; and terms grow with the clock.
        """
        enable_wal(connection, timeout)
        connection.execute(text("PRAGMA synchronous = NORMAL"))
        connection.execute(text("PRAGMA foreign_keys = ON"))
        if connection.execute(text("PRAGMA foreign_keys")).scalar() != 1:
            # Without them the locks of a dead session would stay held for ever.
            raise OSError("this SQLite library has no foreign keys")
        return True

    def socket_fd(self, raw: Any) -> int | None:
        """Return None: SQLite has no socket."""
        return None


def as_utc_datetime(value: Any) -> datetime:
    """Return the value of a timestamp column as an aware UTC datetime."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    assert isinstance(value, datetime)  # noqa: S101 - for the type checker
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def from_epoch_ms(milliseconds: int) -> datetime:
    """Return the moment of an integer column as an aware UTC datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


POSTGRESQL = PostgreSQLDialect()
MYSQL = MySQLDialect()
SQLITE = SQLiteDialect()
