"""A connection that opens when needed, is dropped after any error, and never blocks longer than its timeout.

The drivers' own timeouts do not cover a frozen server or a hanging name service. So each connect runs in a
thread of its own, which is left behind if it takes too long (see dialling.py); and a call that takes too long has
its socket shut down, which makes it fail at once.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, CursorResult, Row, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from masterjob.config.redact import STRUCK_OUT, redact_secrets
from masterjob.errors import Refusal, StoreRefused, StoreUnavailable, TablesMissing
from masterjob.store.connection.addresses import Address
from masterjob.store.connection.deadlines import deadline_monitor
from masterjob.store.connection.dialect import Dialect
from masterjob.store.connection.dialling import Dialling
from masterjob.store.connection.incarnation import STORED
from masterjob.store.connection.outages import OutageLog
from masterjob.store.connection.physical import DRIVER_ERRORS, INCARNATION, PhysicalConnection
from masterjob.store.connection.refusals import FailedStatement, classify
from masterjob.store.connection.target import TargetSource

T = TypeVar("T")

_OUR_TABLE = re.compile(r"\bmaster(_\w+|job_version)\b")


class StatementFailed(StoreUnavailable):
    """The database answered that this statement failed: a row was locked for too long, for example."""

    is_outage = False


class ConstraintViolation(StatementFailed):
    """A constraint rejected the statement. This outcome is known: nothing was written."""


class BoundedConnection:
    """One connection, used by one thread at a time; only `abort` may be called by another thread.

    ``source`` is read before each connect, because the URL may be in a file that changes. ``timeout``: seconds for
    each call; ``connect_timeout``: seconds for the connect before it (default: the same). ``outages`` learns
    whether the database can be used, and ``on_tables_missing`` is called if it has no tables.
    """

    def __init__(
        self,
        source: TargetSource,
        timeout: float,
        connect_timeout: float | None = None,
        outages: OutageLog | None = None,
        on_tables_missing: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._target = source.last
        self.dialect = self._target.dialect
        self.timeout = timeout
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        self._outages = outages
        self._on_tables_missing = on_tables_missing
        self._physical: PhysicalConnection | None = None
        self._dialling = Dialling(self._new_physical, resolve_names=self._target.resolves_names)

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
        """Call ``work`` with the open connection. Each statement commits by itself.

        Behind a pooler all of ``work`` is one transaction, because a limit must not outlast a transaction there.

        Raises:
            StoreUnavailable: it failed or took too long; the next call opens a new connection.
        """
        return self._run_reported(lambda connection: self._run_limited(connection, work))

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` in a transaction. If it raises, the connection is dropped, and so the server rolls back.

        Raises:
            StoreUnavailable: it failed or took too long; the next call opens a new connection.
        """
        return self._run_reported(lambda connection: self._run_in_transaction(connection, work))

    @property
    def is_shared(self) -> bool:
        """Whether the session that the last call used belongs to a pooler, which lends it to others too."""
        return self._physical is not None and self._physical.is_shared

    def _run_limited(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        return self._run_in_transaction(connection, work) if self.is_shared else work(connection)

    def _run_in_transaction(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        for statement in self.dialect.begin(self.timeout, is_shared=self.is_shared):
            connection.execute(text(statement))
        result = work(connection)
        for statement in self.dialect.commit_statements:
            connection.execute(text(statement))
        return result

    def _run_reported(self, work: Callable[[Connection], T]) -> T:
        try:
            result = self._run(work)
        except StoreUnavailable as error:
            if self._outages is not None and error.is_outage:
                self._outages.record_failure(error)
            if isinstance(error, TablesMissing):
                self._on_tables_missing()
            raise
        if self._outages is not None:
            self._outages.record_success()
        return result

    def reconnect_if_closed(self) -> None:
        """Drop the connection if the server has closed it: the next call then opens a new one."""
        with contextlib.suppress(StoreUnavailable):
            self._run(lambda connection: connection.execute(text("SELECT 1")).close())

    def _run(self, work: Callable[[Connection], T]) -> T:
        succeeded = False
        self._dialling.allow()
        try:
            connection = self._ensure_connected()
            with self._enforce_timeout():
                result = work(connection)
            # An answer may be read from a socket that was just shut down: it counts, but is the last one.
            succeeded = self._physical is not None and not self._physical.is_aborted
        except DRIVER_ERRORS as error:
            store_error = self._to_store_unavailable(error)
            raise store_error from (None if STRUCK_OUT in str(store_error) else error)
        else:
            return result
        finally:
            if not succeeded:
                self._discard()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._dialling.give_up()
        physical, self._physical = self._physical, None
        if physical is not None:
            physical.close()

    def abort(self) -> None:
        """Make a call fail that hangs in another thread, also while it connects."""
        self._dialling.cancel()
        physical = self._physical
        if physical is not None:
            physical.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ensure_connected(self) -> Connection:
        if self._physical is not None and self._physical.connection is not None:
            self._physical.check_files_unchanged()
            return self._physical.connection
        self._target = self._source.read()
        if not self.dialect.is_remote:
            self._physical = PhysicalConnection(self._target, self.timeout)
            return self._physical.open()
        self._physical = self._dialling.wait(self._target.endpoints_in_order(), self._connect_timeout)
        assert self._physical.connection is not None  # noqa: S101 - for the type checker
        return self._physical.connection

    def _new_physical(self, address: Address) -> PhysicalConnection:
        return PhysicalConnection(self._target, self.timeout, address)

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
            return StoreUnavailable(f"{self.dialect.name}: no answer within {self.timeout:g} s")
        message = f"{self.dialect.name}: {redact_secrets(message, self._target.secrets)}"
        verdict = classify(error)
        if isinstance(verdict, Refusal):
            return StoreRefused(verdict, message)
        if verdict is None:
            return StoreUnavailable(message)
        if verdict is FailedStatement.MISSING_TABLE and _OUR_TABLE.search(message):
            return TablesMissing(f"{message}: the tables are missing")
        return (ConstraintViolation if isinstance(error, IntegrityError) else StatementFailed)(message)


def execute_statement(
    connection: Connection, dialect: Dialect, statement: str, parameters: dict[str, Any]
) -> CursorResult[Any]:
    """Run one statement, written for `Dialect.sql`; a list as a parameter is expanded into its values."""
    list_parameters = frozenset(name for name, value in parameters.items() if isinstance(value, list))
    incarnation = connection.info.get(INCARNATION, STORED)
    return connection.execute(dialect.sql(statement, list_parameters, incarnation), parameters)
