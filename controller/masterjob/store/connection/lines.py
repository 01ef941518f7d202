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

from masterjob.election.errors import StoreUnavailable
from masterjob.store.connection.dialects import Dialect
from masterjob.store.connection.links import FAILURES, Dialling, Link
from masterjob.store.connection.watcher import watcher

T = TypeVar("T")


class Refused(StoreUnavailable):
    """A constraint refused the statement: this is definite, nothing was written."""


class Line:
    """One connection at a time, used by one thread at a time; `abort` alone may come from another.

    ``timeout`` bounds each call, with the connect before it bounded by itself.
    """

    def __init__(self, url: URL, dialect: Dialect, timeout: float, connect_timeout: float | None = None) -> None:
        self.dialect = dialect
        self.timeout = timeout
        self._url = url
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        self._link: Link | None = None
        self._dialling: Dialling | None = None
        self._aborted = False

    def rows(self, statement: str, **values: Any) -> list[Row[Any]]:
        """Run one statement and return its rows."""
        return self.run(lambda connection: list(execute(connection, self.dialect, statement, values)))

    def change(self, statement: str, **values: Any) -> int:
        """Run one statement and return how many rows it found to change."""
        return self.run(lambda connection: execute(connection, self.dialect, statement, values).rowcount)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` on the connection.

        Raises:
            StoreUnavailable: it failed or took too long; the next call has a fresh connection.
        """
        done = self._aborted = False
        try:
            connection = self._open()
            with self._watched():
                result = work(connection)
            done = True
        except FAILURES as error:
            raise self._unavailable(error) from error
        else:
            return result
        finally:
            if not done:
                self._drop()

    def close(self) -> None:
        """Give the connection back."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def abort(self) -> None:
        """Make a call fail that hangs in another thread, also while it connects."""
        self._aborted = True  # first: whoever is about to dial sees it then
        dialling, link = self._dialling, self._link
        if dialling is not None:
            dialling.give_up()
        if link is not None:
            link.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Connection:
        if self._link is not None and self._link.connection is not None:
            self._link.check()
            return self._link.connection
        self._link = Link(self._url, self.dialect, self.timeout)
        if not self.dialect.remote:
            return self._link.open()
        self._dialling = Dialling(self._link)
        if self._aborted:
            self._dialling.give_up()
        try:
            return self._dialling.wait(self._connect_timeout)
        finally:
            if self._dialling.left:
                self._link = None  # its thread is still in it, and closes it
            self._dialling = None

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Abort what takes longer than the timeout. A file needs no watch: its waits are all bounded."""
        if not self.dialect.remote or self._link is None:
            yield
            return
        with watcher.watching(self.timeout, self._link.abort):
            yield

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        if self._link is not None and self._link.shut:
            said = f"no answer within {self.timeout:g} s"
        kind = Refused if isinstance(error, IntegrityError) else StoreUnavailable
        return kind(f"{self.dialect.name}: {said}")


def execute(connection: Connection, dialect: Dialect, statement: str, values: dict[str, Any]) -> CursorResult[Any]:
    """Run one statement in the words of `Dialect.sql`; a list stands for many values."""
    lists = frozenset(name for name, value in values.items() if isinstance(value, list))
    return connection.execute(dialect.sql(statement, lists), values)
