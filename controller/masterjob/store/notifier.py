"""How instances wake one another, so that nobody waits for a timer when a lock is free or was switched.

Wake-ups are hints: the timers and a slow poll of the election are always there, and nothing is lost but time
when one does not arrive. So nothing in here ever fails a verb, and nothing raises.

PostgreSQL tells by NOTIFY. A transaction pooler in between swallows it without a word, which a probe finds
out; then, and on MariaDB and MySQL, the history is polled. SQLite says for next to nothing whether anything
changed.

Source: design section 3.5.
"""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

import psycopg
from sqlalchemy import Connection, text

from masterjob.election.values import TransitionKind
from masterjob.errors import StoreUnavailable
from masterjob.store.connection.connection import BoundedConnection
from masterjob.store.connection.dialects import SQLITE

LocksChangedCallback = Callable[[frozenset[str] | None], None]
"""Called with the names of the locks that something happened to, or with None: it could be any of them."""

_ALL_LOCKS = "*"
_MAX_NOTIFICATIONS = 100
_POLL_INTERVAL = 1.0
_FILE_POLL_INTERVAL = 0.02
_LISTEN_TIMEOUT = 2.0  # seconds of listening in one call to the driver; the line would take more for a hang
_PROBE_INTERVAL = 60.0
_PROBE_TIMEOUT = 2.0
_MIN_BACKOFF, _MAX_BACKOFF = 0.2, 5.0

_LISTEN = "LISTEN masterjob"
_NOTIFY_LOCKS = "SELECT pg_notify('masterjob', lock_name) FROM master_lock WHERE lock_name IN :names"
_NOTIFY_PAYLOAD = "SELECT pg_notify('masterjob', :payload)"
_LATEST_EVENT_ID = "SELECT COALESCE(MAX(id), 0) AS id FROM master_event"
_EVENTS_SINCE = """
    SELECT id, lock_name FROM master_event WHERE id > :last_id AND kind <> :elected ORDER BY id LIMIT 1000
"""

logger = logging.getLogger(__name__)


def notify(db: BoundedConnection, lock_names: Sequence[str]) -> None:
    """Wake the others up for these locks, after the verb; a database without NOTIFY has pollers instead."""
    if not db.dialect.supports_notify or not lock_names:
        return
    with contextlib.suppress(StoreUnavailable):
        if len(lock_names) > _MAX_NOTIFICATIONS:
            db.fetch_all(_NOTIFY_PAYLOAD, payload=_ALL_LOCKS)
        else:
            db.fetch_all(_NOTIFY_LOCKS, names=list(lock_names))


class Notifier:
    """A thread that listens, or polls, and calls ``on_change``; it reconnects by itself until it is closed."""

    def __init__(self, new_connection: Callable[[], BoundedConnection], on_change: LocksChangedCallback) -> None:
        self._db = new_connection()
        self._probe_db = new_connection()
        self._on_change = on_change
        self._closed = threading.Event()
        self._backoff = _MIN_BACKOFF
        self._last_event_id = 0
        self._thread = threading.Thread(target=self._run, name="masterjob-notifier", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, also while it connects or listens."""
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
                logger.debug("no wake-ups for now: %s", error)
            except Exception:
                logger.exception("no wake-ups for now")
            self._db.close()
            self._probe_db.close()
            self._closed.wait(self._backoff)
            self._backoff = min(2 * self._backoff, _MAX_BACKOFF)

    def _watch_connection(self) -> None:
        """Serve one connection until it fails. The first call covers what was missed while there was none."""
        self._last_event_id = self._db.fetch_all(_LATEST_EVENT_ID)[0].id
        if self._db.dialect is SQLITE:
            self._on_connected()
            self._poll_data_version()
        elif not (self._db.dialect.supports_notify and self._listen()):
            self._on_connected()
            self._poll_history()

    def _on_connected(self) -> None:
        self._backoff = _MIN_BACKOFF
        self._on_change(None)

    def _poll_history(self) -> None:
        while not self._closed.wait(_POLL_INTERVAL):
            self._dispatch_new_events()

    def _poll_data_version(self) -> None:
        """Glance at the number that SQLite changes with every commit of another connection."""
        last_version = None
        while not self._closed.wait(_FILE_POLL_INTERVAL):
            version = self._db.fetch_all("PRAGMA data_version")[0][0]
            if version != last_version:
                last_version = version
                self._dispatch_new_events()

    def _dispatch_new_events(self) -> None:
        rows = self._db.fetch_all(_EVENTS_SINCE, last_id=self._last_event_id, elected=TransitionKind.ELECTED.value)
        if rows:
            self._last_event_id = rows[-1].id
            self._on_change(frozenset(row.lock_name for row in rows))

    def _listen(self) -> bool:
        """Listen for as long as that works; return False if it does not work here at all."""
        self._db.run(lambda connection: connection.execute(text(_LISTEN)).close())
        if not self._probe_arrives(self._probe_db):
            logger.info("NOTIFY does not get through here, as behind a transaction pooler: polling instead")
            return False
        self._probe_db.close()
        self._on_connected()
        probed_at = time.monotonic()
        while not self._closed.is_set():
            self._receive(_LISTEN_TIMEOUT)
            if time.monotonic() - probed_at > _PROBE_INTERVAL:
                if not self._probe_arrives(self._db):
                    raise StoreUnavailable("this connection has stopped hearing")
                probed_at = time.monotonic()
        return True

    def _probe_arrives(self, sender: BoundedConnection) -> bool:
        """Tell whether what is sent on that line arrives on ours."""
        probe = f" {uuid.uuid4()}"  # no lock's name begins with a space
        sender.fetch_all(_NOTIFY_PAYLOAD, payload=probe)
        deadline = time.monotonic() + _PROBE_TIMEOUT
        while time.monotonic() < deadline and not self._closed.is_set():
            if self._receive(_PROBE_TIMEOUT / 4, probe):
                return True
        return False

    def _receive(self, timeout: float, probe: str | None = None) -> bool:
        """Listen for some seconds, or until the probe is heard."""

        def read_notifications(connection: Connection) -> bool:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)  # noqa: S101 - for the type checker
            with contextlib.closing(raw.notifies(timeout=timeout)) as notifications:
                for notification in notifications:
                    if notification.payload == probe:
                        return True
                    if not notification.payload.startswith(" "):
                        self._on_change(
                            None if notification.payload == _ALL_LOCKS else frozenset({notification.payload})
                        )
            return False

        return self._db.run(read_notifications)
