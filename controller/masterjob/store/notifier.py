"""Notifications between instances, so that a lock that becomes free or is switched does not wait for a timer.

Notifications are hints: the election has its timers and a slow poll, so a lost one costs only time. Therefore
nothing here raises, and no operation fails because of it.

PostgreSQL has NOTIFY. Behind a pooler a LISTEN would stay on a session that others use too. There, on MariaDB and
MySQL, and if a probe does not arrive, the history is polled. SQLite has a counter of changes, which is polled.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

import psycopg
from sqlalchemy import Connection, text

from masterjob.concurrency.backoff import Backoff
from masterjob.election.values import TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import SQLITE

LocksChangedCallback = Callable[[frozenset[str] | None], None]
"""Called with the names of the locks that changed, or with None if any lock may have changed."""

_ALL_LOCKS = "*"
_MAX_NOTIFICATIONS = 100
_POLL_INTERVAL = 1.0
_FILE_POLL_INTERVAL = 0.02
_LISTEN_TIMEOUT = 2.0  # seconds for one call of the driver: less than the timeout of the connection
_PROBE_INTERVAL = 60.0
_PROBE_TIMEOUT = 2.0
_RECONNECT_BACKOFF = Backoff(initial=0.2, maximum=5.0)

_LISTEN = "LISTEN masterjob"
_NOTIFY_LOCKS = "SELECT pg_notify('masterjob', lock_name) FROM master_lock WHERE lock_name IN :names"
_NOTIFY_PAYLOAD = "SELECT pg_notify('masterjob', :payload)"
_LATEST_EVENT_ID = "SELECT COALESCE(MAX(id), 0) AS id FROM master_event"
_KINDS_THAT_FREE_NO_LOCK = [
    kind.value
    for kind in (
        TransitionKind.ELECTED,
        TransitionKind.LAST_HEARTBEAT,
        TransitionKind.TRUST_ENDED,
        TransitionKind.RUNNING,
        TransitionKind.RESTARTING,
        TransitionKind.COMPLETED,
        TransitionKind.FAILED,
        TransitionKind.START_FAILED,
        TransitionKind.STOPPED,
        TransitionKind.OVERRUN,
    )
]
_EVENTS_SINCE = """
    SELECT id, lock_name FROM master_event WHERE id > :last_id AND kind NOT IN :kinds ORDER BY id LIMIT 1000
"""

logger = logging.getLogger("masterjob")


def notify(db: BoundedConnection, lock_names: Sequence[str]) -> None:
    """Notify the other instances that these locks changed; on a database without NOTIFY they poll."""
    if not db.dialect.supports_notify or not lock_names:
        return
    if len(lock_names) > _MAX_NOTIFICATIONS:
        notify_all(db)
        return
    with contextlib.suppress(StoreUnavailable):
        db.fetch_all(_NOTIFY_LOCKS, names=list(lock_names))


def notify_all(db: BoundedConnection) -> None:
    """Notify the other instances that any lock may have changed."""
    if db.dialect.supports_notify:
        with contextlib.suppress(StoreUnavailable):
            db.fetch_all(_NOTIFY_PAYLOAD, payload=_ALL_LOCKS)


class Notifier:
    """A thread that listens or polls and calls ``on_change``. It reconnects until it is closed."""

    def __init__(self, new_connection: Callable[[], BoundedConnection], on_change: LocksChangedCallback) -> None:
        self._db = new_connection()
        self._probe_db = new_connection()
        self._on_change = on_change
        self._closed = threading.Event()
        self._failures = 0
        self._last_event_id = 0
        self._thread = threading.Thread(target=self._run, name="masterjob-notifier", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, also while it connects or listens."""
        self._closed.set()
        deadline = time.monotonic() + 2
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._db.abort()
            self._probe_db.abort()
            self._thread.join(0.02)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._watch_connection()
            except StoreUnavailable as error:
                logger.debug("no notifications for now: %s", error)
            except Exception:
                logger.exception("no notifications for now")
            self._db.close()
            self._probe_db.close()
            self._closed.wait(_RECONNECT_BACKOFF.delay(self._failures))
            self._failures += 1

    def _watch_connection(self) -> None:
        """Use one connection until it fails. The first callback covers what was missed without a connection."""
        self._last_event_id = self._db.fetch_all(_LATEST_EVENT_ID)[0].id
        if self._db.dialect is SQLITE:
            self._on_connected()
            self._poll_data_version()
        elif not (self._db.dialect.supports_notify and not self._db.is_shared and self._listen()):
            self._on_connected()
            self._poll_history()

    def _on_connected(self) -> None:
        self._failures = 0
        self._on_change(None)

    def _poll_history(self) -> None:
        while not self._closed.wait(_POLL_INTERVAL):
            self._dispatch_new_events()

    def _poll_data_version(self) -> None:
        """Poll the number that SQLite changes with every commit of another connection."""
        last_version = None
        while not self._closed.wait(_FILE_POLL_INTERVAL):
            version = self._db.fetch_all("PRAGMA data_version")[0][0]
            if version != last_version:
                last_version = version
                self._dispatch_new_events()

    def _dispatch_new_events(self) -> None:
        rows = self._db.fetch_all(_EVENTS_SINCE, last_id=self._last_event_id, kinds=_KINDS_THAT_FREE_NO_LOCK)
        if rows:
            self._last_event_id = rows[-1].id
            self._on_change(frozenset(row.lock_name for row in rows))

    def _listen(self) -> bool:
        """Listen until closed; return False if NOTIFY does not work here."""
        self._db.run(lambda connection: connection.execute(text(_LISTEN)).close())
        if not self._probe_arrives(self._probe_db):
            logger.info("NOTIFY does not arrive: polling instead")
            return False
        self._probe_db.close()
        self._on_connected()
        probed_at = time.monotonic()
        while not self._closed.is_set():
            self._receive(_LISTEN_TIMEOUT)
            if time.monotonic() - probed_at > _PROBE_INTERVAL:
                if not self._probe_arrives(self._db):
                    raise StoreUnavailable("this connection does not receive notifications any more")
                probed_at = time.monotonic()
        return True

    def _probe_arrives(self, sender: BoundedConnection) -> bool:
        """Return whether a notification that ``sender`` sends arrives on our connection."""
        probe = f" {uuid.uuid4()}"  # no lock's name begins with a space
        sender.fetch_all(_NOTIFY_PAYLOAD, payload=probe)
        deadline = time.monotonic() + _PROBE_TIMEOUT
        while time.monotonic() < deadline and not self._closed.is_set():
            if self._receive(_PROBE_TIMEOUT / 4, probe):
                return True
        return False

    def _receive(self, timeout: float, probe: str | None = None) -> bool:
        """Listen for ``timeout`` seconds; return True as soon as ``probe`` arrives."""

        def read_notifications(connection: Connection) -> bool:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)  # noqa: S101 - for the type checker
            with contextlib.closing(raw.notifies(timeout=timeout)) as notifications:
                for notification in notifications:
                    payload = notification.payload
                    if payload == probe:
                        return True
                    if not payload.startswith(" "):
                        self._on_change(None if payload == _ALL_LOCKS else frozenset({payload}))
            return False

        return self._db.run(read_notifications)
