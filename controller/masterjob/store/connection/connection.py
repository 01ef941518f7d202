"""A connection that opens when needed, is dropped after any error, and never blocks longer than its timeout.

The drivers' own timeouts do not cover a frozen server or a hanging name service. So each connect runs in a
thread of its own, which is abandoned if it takes too long; and a call that takes too long has its socket shut
down, which makes it fail at once.
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
    """A constraint rejected the statement. This outcome is known: nothing was written."""


class BoundedConnection:
    """One connection, used by one thread at a time; only `abort` may be called by another thread.

    ``timeout``: seconds for each call; ``connect_timeout``: seconds for the connect before it (default: the same).
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
        """Run one statement and return the number of rows that it matched."""
        return self.run(
            lambda connection: execute_statement(connection, self.dialect, statement, parameters).rowcount
        )

    def run(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` with the open connection.

        Raises:
            StoreUnavailable: it failed or took too long; the next call opens a new connection.
        """
        succeeded = self._aborted = False
        try:
            connection = self._ensure_connected()
            with self._enforce_timeout():
                result = work(connection)
            # An answer may be read from a socket that was just shut down: it counts, but is the last one.
            succeeded = self._physical is not None and not self._physical.is_aborted
        except DRIVER_ERRORS as error:
            raise self._to_store_unavailable(error) from error
        else:
            return result
        finally:
            if not succeeded:
                self._discard()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        physical, self._physical = self._physical, None
        if physical is not None:
            physical.close()

    def abort(self) -> None:
        """Make a call fail that hangs in another thread, also while it connects."""
        self._aborted = True  # first: a connect that is about to start checks it
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
                self._physical = None  # its thread still uses it, and closes it
            self._connect_thread = None

    @contextlib.contextmanager
    def _enforce_timeout(self) -> Iterator[None]:
        """Abort what takes longer than the timeout. Calls on a file need none: SQLite bounds its own waits."""
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
    """Run one statement, written for `Dialect.sql`; a list as a parameter is expanded into its values."""
    list_parameters = frozenset(name for name, value in parameters.items() if isinstance(value, list))
    return connection.execute(dialect.sql(statement, list_parameters), parameters)
