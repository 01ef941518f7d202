"""The database that a URL names: the entry point of this package."""

import os
import threading
from collections.abc import Callable, Iterable

from masterjob.config.location import DatabaseLocation
from masterjob.election.values import NewSession, SessionList
from masterjob.errors import StoreUnavailable
from masterjob.job_status import ONCE_SOURCE, RunRecord
from masterjob.store import schema
from masterjob.store.admin import LockAdmin
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.outages import OutageLog
from masterjob.store.connection.pool import ConnectionPool
from masterjob.store.connection.target import TargetSource
from masterjob.store.fencing import check_term
from masterjob.store.notifier import LocksChangedCallback, Notifier
from masterjob.store.queries import job_status
from masterjob.store.queries.locks import LockQueries
from masterjob.store.queries.sessions import SessionQueries
from masterjob.store.recovery import TableRecovery

_ADMIN_TIMEOUT = 5.0
_MIGRATION_TIMEOUT = 60.0


class SqlStore(SessionQueries, LockQueries):
    """The election's store on one connection, used by one thread at a time (`masterjob.election.ports.Store`)."""

    def __init__(self, db: BoundedConnection, note_lease: Callable[[float], None] = lambda _: None) -> None:
        SessionQueries.__init__(self, db)
        self._note_lease = note_lease

    def open_session(self, session: NewSession) -> None:
        """Insert the session with its first heartbeat."""
        self._note_lease(session.lease_ms / 1000)
        super().open_session(session)

    def list_sessions(self) -> SessionList:
        """Return all sessions and the database's clock."""
        found = super().list_sessions()
        self._note_lease(max((each.lease_ms / 1000 for each in found.sessions), default=0.0))
        return found

    def close(self) -> None:
        """Close the connection; another call would open a new one."""
        self._db.close()

    def abort(self) -> None:
        """Make a call fail that hangs in another thread."""
        self._db.abort()


class Database:
    """The database that a URL names. It connects when it is first used.

    The tables are created or upgraded once for each of these objects: by the first call of a `LockAdmin`, or by
    `prepare`. If they are missing later, they are created again (recovery.py). ``location`` is the URL, or the
    file that it is in; a file is read again for each new connection.

    ``outages`` logs when the database cannot be used; without it, only the caller learns that.

    Raises:
        SettingError: the URL cannot be read, is wrong, or names a database that is not supported.
    """

    def __init__(self, location: DatabaseLocation | str, outages: OutageLog | None = None) -> None:
        if isinstance(location, str):
            location = DatabaseLocation(location)
        self._source = TargetSource(location.read_url)
        self._outages = outages
        self.fence = check_term
        self._prepared = False
        self._recovery = TableRecovery(self._upgrade)
        self._prepare_lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def redacted_url(self) -> str:
        """The URL without its passwords, for logs and people."""
        return self._source.last.redacted_url

    def prepare(self) -> None:
        """Create or upgrade the tables if this object has not done so yet. Many instances may do this at once.

        Raises:
            StoreUnavailable: the database does not answer, or its tables are newer than this package. The next
                call tries again.
        """
        self._prepare(_MIGRATION_TIMEOUT, connect_timeout=2 * _ADMIN_TIMEOUT)

    def connect(self, timeout: float) -> SqlStore:
        """Return a store for the election, each call of which ends within about ``timeout`` seconds.

        It expects the tables to be there: a heartbeat must not wait for `prepare`.
        """
        return SqlStore(self._new_connection(timeout), self._recovery.note_lease)

    def create_notifier(self, on_change: LocksChangedCallback) -> Notifier:
        """Return a notifier, not started yet, that calls ``on_change`` in its own thread."""
        # It reports no outage: it aborts its own connections, and the heartbeats find out anyway.
        return Notifier(lambda: BoundedConnection(self._source, _ADMIN_TIMEOUT), on_change)

    def lock_admin(self, keep_open: float = 0.0, on_write: Callable[[str], None] = lambda _: None) -> LockAdmin:
        """Return the operations of people and resources on locks. The first call prepares the tables.

        ``keep_open``: seconds for which one connection to a server stays open for the next calls. A file is closed
        after each call in any case, so that its write-ahead log is not left behind at the end of the process.
        ``on_write`` is called with the lock's name after each write.
        """
        if keep_open and self._source.last.dialect.is_remote:
            return LockAdmin(ConnectionPool(self.connect_admin, keep_open).connection, on_write)
        return LockAdmin(self.connect_admin, on_write)

    def connect_admin(self) -> BoundedConnection:
        """Return a connection for one call of a `LockAdmin`, after preparing the tables."""
        self._prepare(_ADMIN_TIMEOUT, connect_timeout=_ADMIN_TIMEOUT)
        return self._new_connection(_ADMIN_TIMEOUT)

    def write_runs(self, records: Iterable[RunRecord]) -> None:
        """Write the status of runs, for people.

        Raises:
            StoreUnavailable: the database does not answer. The records may be written again.
        """
        with self.connect_admin() as db:
            for record in records:
                job_status.write(db, record)

    def disable_completed(self, lock_name: str, instance: str) -> None:
        """Disable the lock of a job that has completed and must not run again until the lock is enabled.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        self.lock_admin().disable(lock_name, "completed", instance[:200], ONCE_SOURCE)

    def __repr__(self) -> str:
        return f"<database {self.redacted_url}>"

    def _prepare(self, wait_timeout: float, connect_timeout: float) -> None:
        if self._prepared:
            return
        if self._pid != os.getpid():  # a forked child, which has no thread that would release its copy of the lock
            self._prepare_lock = threading.Lock()
            self._pid = os.getpid()
        if not self._prepare_lock.acquire(timeout=wait_timeout):
            raise StoreUnavailable("another thread is still waiting for the database, or creating its tables")
        try:
            if not self._prepared:
                self._upgrade(connect_timeout)
                self._prepared = True
                if self._outages is not None:
                    self._outages.mark_usable()
        finally:
            self._prepare_lock.release()

    def _new_connection(self, timeout: float, connect_timeout: float | None = None) -> BoundedConnection:
        return BoundedConnection(self._source, timeout, connect_timeout, self._outages, self._on_tables_missing)

    def _upgrade(self, connect_timeout: float = 2 * _ADMIN_TIMEOUT) -> None:
        with self._new_connection(_MIGRATION_TIMEOUT, connect_timeout) as db:
            schema.upgrade(db)

    def _on_tables_missing(self) -> None:
        if self._prepared:  # otherwise the first call creates them, before anything else
            self._recovery.start()
