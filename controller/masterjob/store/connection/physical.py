"""One open driver connection and the thread that opens it, both of which another thread can abort."""

import contextlib
import os
import socket
import sqlite3
import threading
from typing import Any

import psycopg
import pymysql
from sqlalchemy import URL, Connection, NullPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from masterjob.store.connection.deadlines import wait_for
from masterjob.store.connection.dialects import POSTGRESQL, Dialect

# RuntimeError: no thread can be started; UnicodeError: text that no database can store.
DRIVER_ERRORS = (SQLAlchemyError, psycopg.Error, pymysql.Error, sqlite3.Error, OSError, RuntimeError, UnicodeError)


class PhysicalConnection:
    """One driver connection, with a second handle on its socket to shut it down from another thread."""

    def __init__(self, url: URL, dialect: Dialect, timeout: float) -> None:
        extra_arguments: dict[str, Any] = {"use_native_hstore": False} if dialect is POSTGRESQL else {}
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args=dialect.connect_arguments(url, timeout),
            **extra_arguments,
        )
        self._dialect = dialect
        self._timeout = timeout
        self._lock = threading.Lock()
        self._raw: Any = None
        self._file_path = dialect.file_path(url)
        self._opened_file_id: tuple[int, int] | None = None
        self._socket: socket.socket | None = None
        self.is_aborted = False
        self.connection: Connection | None = None
        event.listen(self._engine, "do_connect", self._connect_driver)

    def open(self) -> Connection:
        """Connect and configure the session."""
        self.connection = self._engine.connect()
        self._dialect.configure_session(self.connection, self._timeout)
        self._opened_file_id = _file_id(self._file_path)
        return self.connection

    def check_file_unchanged(self) -> None:
        """Check that the open file is still the one at its path: others see no writes to any other file.

        Raises:
            OSError: it was deleted or replaced.
        """
        if _file_id(self._file_path) != self._opened_file_id:
            raise OSError("the database's file was deleted or replaced while it was open")

    def _connect_driver(self, dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
        # SQLAlchemy's hook, because its own first statement on the new connection may hang already.
        raw = dialect.connect(*arguments, **options)
        with self._lock:
            self._raw = raw
            socket_fd = self._dialect.socket_fd(raw)
            if socket_fd is not None:
                # A duplicate: the driver's own descriptor may be reused by the time it is shut down.
                self._socket = socket.socket(fileno=os.dup(socket_fd))
        if self.is_aborted:
            self.abort()
        return raw

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


def _file_id(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        file_stat = os.stat(path)  # noqa: PTH116 - runs before every call, and pathlib is slower
    except OSError:
        return None
    return file_stat.st_dev, file_stat.st_ino


class ConnectThread(threading.Thread):
    """A thread that opens a connection. If its waiter gives up, it closes the connection once it is open."""

    def __init__(self, physical: PhysicalConnection) -> None:
        super().__init__(name="masterjob-connect", daemon=True)
        self._physical = physical
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._connection: Connection | None = None
        self._error: Exception | None = None
        self.is_abandoned = False

    def run(self) -> None:
        """Connect, however long that takes."""
        try:
            self._connection = self._physical.open()
        except Exception as error:  # raised again by `wait`
            self._error = error
        with self._lock:
            self._finished.set()
        if self.is_abandoned:  # otherwise the waiter has taken it over
            self._physical.discard()

    def cancel_wait(self) -> None:
        """Make `wait` return at once."""
        self._finished.set()

    def wait(self, timeout: float) -> Connection:
        """Start, and return the connection or raise the error, after ``timeout`` seconds at the latest."""
        try:
            self.start()
        except RuntimeError:  # the interpreter exits: connect in this thread, with the driver's timeout
            self.run()
        wait_for(self._finished, timeout)
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._connection is not None and self._finished.is_set():
                return self._connection
            self.is_abandoned = True
        self._physical.abort()
        raise TimeoutError(f"no connection within {timeout:g} s")
