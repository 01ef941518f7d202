"""One physical connection, and a thread that opens it: so that whoever waits for either can stop waiting.

Source: design sections 3.2 and 3.4.
"""

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

from masterjob.store.connection.dialects import POSTGRESQL, Dialect

# RuntimeError: no thread can be started any more; UnicodeError: a text that no database can hold.
DRIVER_ERRORS = (SQLAlchemyError, psycopg.Error, pymysql.Error, sqlite3.Error, OSError, RuntimeError, UnicodeError)


class PhysicalConnection:
    """One physical connection, with a second handle on its socket to shut it from another thread."""

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
        """Connect and set the session's limits."""
        self.connection = self._engine.connect()
        self._dialect.configure_session(self.connection, self._timeout)
        self._opened_file_id = _file_id(self._file_path)
        return self.connection

    def check_file_unchanged(self) -> None:
        """See that the file that is open is still the one of its name, or nobody else would see what is written.

        Raises:
            OSError: it was deleted or replaced.
        """
        if _file_id(self._file_path) != self._opened_file_id:
            raise OSError("the database's file was deleted or replaced while it was open")

    def _connect_driver(self, dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
        """Connect through the driver; know the socket before the first statement, which may hang already."""
        raw = dialect.connect(*arguments, **options)
        with self._lock:
            self._raw = raw
            socket_fd = self._dialect.socket_fd(raw)
            if socket_fd is not None:
                # A duplicate: the driver's own number may belong to somebody else by the time we shut it.
                self._socket = socket.socket(fileno=os.dup(socket_fd))
        if self.is_aborted:
            self.abort()
        return raw

    def abort(self) -> None:
        """Make what hangs on this connection fail; may be called from any thread."""
        with self._lock, contextlib.suppress(OSError, sqlite3.Error):
            self.is_aborted = True
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
            elif isinstance(self._raw, sqlite3.Connection):
                self._raw.interrupt()

    def discard(self) -> None:
        """Close without a word to the server, which may not listen any more."""
        self.abort()
        with contextlib.suppress(*DRIVER_ERRORS):
            if self.connection is not None:
                self.connection.invalidate()
        self.close()

    def close(self) -> None:
        """Close in good order."""
        with contextlib.suppress(*DRIVER_ERRORS):
            if self.connection is not None:
                self.connection.close()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = self._raw = self.connection = None


def _file_id(path: str | None) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name; None where there is none."""
    if path is None:
        return None
    try:
        file_stat = os.stat(path)  # noqa: PTH116 - before every call, and pathlib would cost more than that
    except OSError:
        return None
    return file_stat.st_dev, file_stat.st_ino


class ConnectThread(threading.Thread):
    """Opens a link. Whoever gives up waiting leaves it behind; when it gets through, it hangs up."""

    def __init__(self, physical: PhysicalConnection) -> None:
        super().__init__(name="masterjob-connect", daemon=True)
        self._physical = physical
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._connection: Connection | None = None
        self._error: Exception | None = None
        self.is_abandoned = False

    def run(self) -> None:
        """Connect, which may take as long as it likes."""
        try:
            self._connection = self._physical.open()
        except Exception as error:  # raised again in the thread that waits
            self._error = error
        with self._lock:
            self._finished.set()
        if self.is_abandoned:  # else the one who waits has the link, whatever became of it
            self._physical.discard()

    def cancel_wait(self) -> None:
        """Wake the one who waits."""
        self._finished.set()

    def wait(self, timeout: float) -> Connection:
        """Return the connection, or raise what went wrong; at the latest after ``timeout`` seconds."""
        try:
            self.start()
        except RuntimeError:  # the interpreter ends and starts no threads: connect here, with the driver's timeout
            self.run()
        self._finished.wait(timeout)
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._connection is not None and self._finished.is_set():
                return self._connection
            self.is_abandoned = True
        self._physical.abort()
        raise TimeoutError(f"no connection within {timeout:g} s")
