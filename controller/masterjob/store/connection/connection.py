"""A line to the database that can be hung up on: opened when needed, dropped after any error, never waited
for longer than its timeout, whatever the server or the network does.

A driver's timeouts do not cover a server that is frozen or a name service that hangs. So a connect goes on in
a thread of its own that is left behind when it takes too long, and a call that takes too long has its socket
shut, which makes it fail at once.

Source: design sections 3.2 and 3.4.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, CursorResult, Row
from sqlalchemy.exc import DBAPIError, IntegrityError

from masterjob.errors import StoreUnavailable
from masterjob.store.connection.deadlines import deadline_monitor
from masterjob.store.connection.dialects import Dialect
from masterjob.store.connection.physical import DRIVER_ERRORS, ConnectThread, PhysicalConnection

T = TypeVar("T")


class ConstraintViolation(StoreUnavailable):
    """A constraint refused the statement: this is definite, nothing was written."""


class BoundedConnection:
    """One connection at a time, used by one thread at a time; `abort` alone may come from another.

    ``timeout`` bounds each call, with the connect before it bounded by itself.
    """

    def __init__(self, url: URL, dialect: Dialect, timeout: float, connect_timeout: float | None = None) -> None:
        self.dialect = dialect
        self.timeout = timeout
        self._url = url
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        self._physical: PhysicalConnection | None = None
        self._connect_thread: ConnectThread | None = None
        self._aborted = False

    def fetch_all(self, statement: str, **parameters: Any) -> list[Row[Any]]:
        """Run one statement and return its rows."""
        return self.run(
            lambda connection: list(execute_statement(connection, self.dialect, statement, parameters))
        )

    def execute(self, statement: str, **parameters: Any) -> int:
        """Run one statement and return how many rows it found to change."""
        return self.run(
            lambda connection: execute_statement(connection, self.dialect, statement, parameters).rowcount
        )

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` on the connection.

        Raises:
            StoreUnavailable: it failed or took too long; the next call has a fresh connection.
        """
        succeeded = self._aborted = False
        try:
            connection = self._ensure_connected()
            with self._enforce_timeout():
                result = work(connection)
            succeeded = True
        except DRIVER_ERRORS as error:
            raise self._to_store_unavailable(error) from error
        else:
            return result
        finally:
            if not succeeded:
                self._discard()

    def close(self) -> None:
        """Give the connection back."""
        physical, self._physical = self._physical, None
        if physical is not None:
            physical.close()

    def abort(self) -> None:
        """Make a call fail that hangs in another thread, also while it connects."""
        self._aborted = True  # first: whoever is about to dial sees it then
        connect_thread, physical = self._connect_thread, self._physical
        if connect_thread is not None:
            connect_thread.cancel_wait()
        if physical is not None:
            physical.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ensure_connected(self) -> Connection:
        if self._physical is not None and self._physical.connection is not None:
            self._physical.check_file_unchanged()
            return self._physical.connection
        self._physical = PhysicalConnection(self._url, self.dialect, self.timeout)
        if not self.dialect.is_remote:
            return self._physical.open()
        self._connect_thread = ConnectThread(self._physical)
        if self._aborted:
            self._connect_thread.cancel_wait()
        try:
            return self._connect_thread.wait(self._connect_timeout)
        finally:
            if self._connect_thread.is_abandoned:
                self._physical = None  # its thread is still in it, and closes it
            self._connect_thread = None

    @contextlib.contextmanager
    def _enforce_timeout(self) -> Iterator[None]:
        """Abort what takes longer than the timeout. A file needs no watch: its waits are all bounded."""
        if not self.dialect.is_remote or self._physical is None:
            yield
            return
        with deadline_monitor.abort_after(self.timeout, self._physical.abort):
            yield

    def _discard(self) -> None:
        physical, self._physical = self._physical, None
        if physical is not None:
            physical.discard()

    def _to_store_unavailable(self, error: Exception) -> StoreUnavailable:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        message = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        if self._physical is not None and self._physical.is_aborted:
            message = f"no answer within {self.timeout:g} s"
        error_type = ConstraintViolation if isinstance(error, IntegrityError) else StoreUnavailable
        return error_type(f"{self.dialect.name}: {message}")


def execute_statement(
    connection: Connection, dialect: Dialect, statement: str, parameters: dict[str, Any]
) -> CursorResult[Any]:
    """Run one statement in the words of `Dialect.sql`; a list stands for many values."""
    list_parameters = frozenset(name for name, value in parameters.items() if isinstance(value, list))
    return connection.execute(dialect.sql(statement, list_parameters), parameters)
