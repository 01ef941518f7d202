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

from masterjob.election.errors import StoreUnavailable
from masterjob.election.values import Kind
from masterjob.store.connection.dialects import SQLITE
from masterjob.store.connection.lines import Line

Woken = Callable[[frozenset[str] | None], None]
"""Called with the names of the locks that something happened to, or with None: it could be any of them."""

_ALL = "*"
_MANY = 100
_POLL = 1.0
_GLANCE = 0.02
_SLICE = 2.0  # seconds of listening in one call to the driver; the line would take more for a hang
_PROBE_EVERY = 60.0
_PROBE_WAIT = 2.0
_LEAST_PAUSE, _MOST_PAUSE = 0.2, 5.0

_LISTEN = "LISTEN masterjob"
_TELL = "SELECT pg_notify('masterjob', lock_name) FROM master_lock WHERE lock_name IN :names"
_TELL_TEXT = "SELECT pg_notify('masterjob', :payload)"
_NEWEST = "SELECT COALESCE(MAX(id), 0) AS id FROM master_event"
_SINCE = """
    SELECT id, lock_name FROM master_event WHERE id > :last AND kind <> :elected ORDER BY id LIMIT 1000
"""

log = logging.getLogger(__name__)


def announce(line: Line, names: Sequence[str]) -> None:
    """Wake the others up for these locks, after the verb; a database without NOTIFY has pollers instead."""
    if not line.dialect.notifies or not names:
        return
    with contextlib.suppress(StoreUnavailable):
        if len(names) > _MANY:
            line.rows(_TELL_TEXT, payload=_ALL)
        else:
            line.rows(_TELL, names=list(names))


class Wakeups:
    """A thread that listens, or polls, and calls ``woken``; it reconnects by itself until it is closed."""

    def __init__(self, new_line: Callable[[], Line], woken: Woken) -> None:
        self._line = new_line()
        self._prober = new_line()
        self._woken = woken
        self._closed = threading.Event()
        self._pause = _LEAST_PAUSE
        self._last = 0
        self._thread = threading.Thread(target=self._run, name="masterjob-wakeups", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, also while it connects or listens."""
        self._closed.set()
        until = time.monotonic() + 2
        while self._thread.is_alive() and time.monotonic() < until:
            self._line.abort()
            self._prober.abort()
            self._thread.join(0.02)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._attend()
            except StoreUnavailable as error:
                log.debug("no wake-ups for now: %s", error)
            except Exception:
                log.exception("no wake-ups for now")
            self._line.close()
            self._prober.close()
            self._closed.wait(self._pause)
            self._pause = min(2 * self._pause, _MOST_PAUSE)

    def _attend(self) -> None:
        """Serve one connection until it fails. The first call covers what was missed while there was none."""
        self._last = self._line.rows(_NEWEST)[0].id
        if self._line.dialect is SQLITE:
            self._connected()
            self._watch_file()
        elif not (self._line.dialect.notifies and self._listen()):
            self._connected()
            self._poll()

    def _connected(self) -> None:
        self._pause = _LEAST_PAUSE
        self._woken(None)

    def _poll(self) -> None:
        while not self._closed.wait(_POLL):
            self._look()

    def _watch_file(self) -> None:
        """Glance at the number that SQLite changes with every commit of another connection."""
        seen = None
        while not self._closed.wait(_GLANCE):
            version = self._line.rows("PRAGMA data_version")[0][0]
            if version != seen:
                seen = version
                self._look()

    def _look(self) -> None:
        rows = self._line.rows(_SINCE, last=self._last, elected=Kind.ELECTED.value)
        if rows:
            self._last = rows[-1].id
            self._woken(frozenset(row.lock_name for row in rows))

    def _listen(self) -> bool:
        """Listen for as long as that works; return False if it does not work here at all."""
        self._line.run(lambda connection: connection.execute(text(_LISTEN)).close())
        if not self._heard_from(self._prober):
            log.info("NOTIFY does not get through here, as behind a transaction pooler: polling instead")
            return False
        self._prober.close()
        self._connected()
        probed = time.monotonic()
        while not self._closed.is_set():
            self._hear(_SLICE)
            if time.monotonic() - probed > _PROBE_EVERY:
                if not self._heard_from(self._line):
                    raise StoreUnavailable("this connection has stopped hearing")
                probed = time.monotonic()
        return True

    def _heard_from(self, prober: Line) -> bool:
        """Tell whether what is sent on that line arrives on ours."""
        probe = f" {uuid.uuid4()}"  # no lock's name begins with a space
        prober.rows(_TELL_TEXT, payload=probe)
        until = time.monotonic() + _PROBE_WAIT
        while time.monotonic() < until and not self._closed.is_set():
            if self._hear(_PROBE_WAIT / 4, probe):
                return True
        return False

    def _hear(self, seconds: float, probe: str | None = None) -> bool:
        """Listen for some seconds, or until the probe is heard."""

        def receive(connection: Connection) -> bool:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)  # noqa: S101 - for the type checker
            with contextlib.closing(raw.notifies(timeout=seconds)) as notes:
                for note in notes:
                    if note.payload == probe:
                        return True
                    if not note.payload.startswith(" "):
                        self._woken(None if note.payload == _ALL else frozenset({note.payload}))
            return False

        return self._line.run(receive)
