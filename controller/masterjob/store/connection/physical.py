"""One open driver connection, which another thread can abort."""

import contextlib
import os
import socket
import sqlite3
import threading
from typing import Any

import psycopg
import pymysql
from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from masterjob.store.connection.addresses import Address
from masterjob.store.connection.dialects import MYSQL, POSTGRESQL
from masterjob.store.connection.incarnation import incarnation_sql
from masterjob.store.connection.sqlite_file import OpenedFiles
from masterjob.store.connection.target import DatabaseTarget

# RuntimeError: no thread can be started; UnicodeError: text that no database can store.
DRIVER_ERRORS = (SQLAlchemyError, psycopg.Error, pymysql.Error, sqlite3.Error, OSError, RuntimeError, UnicodeError)

INCARNATION = "masterjob_incarnation"
"""The key of the SQL for the server's incarnation, in the ``info`` of a connection."""


class PhysicalConnection:
    """One driver connection, with a second handle on its socket to shut it down from another thread."""

    def __init__(self, target: DatabaseTarget, timeout: float, address: Address | None = None) -> None:
        dialect = target.dialect
        extra_arguments: dict[str, Any] = {"use_native_hstore": False} if dialect is POSTGRESQL else {}
        self._engine = create_engine(
            target.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args=_connect_arguments(target, timeout, address),
            **extra_arguments,
        )
        self._dialect = dialect
        self._database = target.redacted_url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._raw: Any = None
        self._address = address
        self._file_path = dialect.file_path(target.url)
        self._opened_files: OpenedFiles | None = None
        self._socket: socket.socket | None = None
        self.is_aborted = False
        self.is_shared = False
        """Whether a pooler lends the session to others too: a setting must then end with the transaction."""
        self.connection: Connection | None = None
        event.listen(self._engine, "do_connect", self._connect_driver)

    def open(self) -> Connection:
        """Connect and configure the session."""
        self.connection = self._engine.connect()
        if self._dialect is MYSQL:
            _require_writable(self.connection)
        self.is_shared = not self._dialect.configure_session(self.connection, self._timeout)
        self.connection.info[INCARNATION] = incarnation_sql(self.connection, self._database)
        if self._file_path is not None:
            self._opened_files = OpenedFiles.at(self._file_path)
            self._opened_files.check_index()
        return self.connection

    def check_files_unchanged(self) -> None:
        """Check that the open files are still those at their paths: others see no writes to any other file.

        Raises:
            OSError: one was deleted or replaced.
        """
        if self._opened_files is not None:
            self._opened_files.check()

    def _connect_driver(self, dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
        # SQLAlchemy's hook, because its own first statement on the new connection may hang already.
        if dialect.driver == "pymysql" and self._address is not None and self._address.ip:
            raw = self._connect_pymysql(self._address, options)
        else:
            raw = dialect.connect(*arguments, **options)
            self._keep(raw, self._dialect.socket_fd(raw))
        if self.is_aborted:
            self.abort()
        return raw

    def _connect_pymysql(self, address: Address, options: dict[str, Any]) -> Any:
        """Connect to one address of a name: PyMySQL would try them all, each with the whole timeout."""
        raw = pymysql.connect(**options, defer_connect=True)
        bind_address = (options["bind_address"], 0) if options.get("bind_address") else None
        try:
            own_socket = socket.create_connection((address.ip, raw.port), options["connect_timeout"], bind_address)
        except OSError as error:
            raise pymysql.OperationalError(2003, f"Can't connect to MySQL server on {address} ({error})") from None
        own_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._keep(raw, own_socket.fileno())
        raw.connect(own_socket)
        return raw

    def _keep(self, raw: Any, socket_fd: int | None) -> None:
        with self._lock:
            self._raw = raw
            if socket_fd is not None:
                # A duplicate: the driver's own descriptor may be reused by the time it is shut down.
                self._socket = socket.socket(fileno=os.dup(socket_fd))

    def abort(self) -> None:
        """Make a call that hangs on this connection fail; may be called by any thread."""
        with self._lock, contextlib.suppress(OSError, sqlite3.Error):
            self.is_aborted = True
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
            elif isinstance(self._raw, sqlite3.Connection):
                self._raw.interrupt()

    def discard(self) -> None:
        """Close without a message to the server, which may not answer any more."""
        self.abort()
        with contextlib.suppress(*DRIVER_ERRORS):
            if self.connection is not None:
                self.connection.invalidate()
        self.close()

    def close(self) -> None:
        """Close properly: the server sees a regular disconnect."""
        with contextlib.suppress(*DRIVER_ERRORS):
            if self.connection is not None:
                self.connection.close()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = self._raw = self.connection = None


def _connect_arguments(target: DatabaseTarget, timeout: float, address: Address | None) -> dict[str, Any]:
    arguments = {**target.arguments, **target.dialect.connect_arguments(target.url, timeout)}
    if target.url.get_driver_name() == "pymysql" and isinstance(target.url.password, str):
        # as the server's own client; PyMySQL takes Latin-1, and its error names the first character that has none
        arguments["password"] = target.url.password.encode()
    if address is None:
        return arguments
    where: dict[str, Any] = {"host": address.host, "port": address.port}
    if target.dialect is not MYSQL:
        where["hostaddr"] = address.ip
    elif address.host.startswith("/"):
        where = {"unix_socket": address.host}
    return arguments | {name: value for name, value in where.items() if value}


def _require_writable(connection: Connection) -> None:
    """Reject a read-only replica, as PostgreSQL's driver does: it returns old data, and takes no heartbeats."""
    if str(connection.execute(text("SELECT @@global.read_only")).scalar()).upper() not in ("0", "OFF"):
        raise OSError("this server is read-only")
