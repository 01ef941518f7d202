"""Creates the tables again if they are missing in a database that this process has used.

They were dropped, or the database has lost its files. A master whose session is lost too does not know that yet:
it may run until its lease is over. So this process creates the tables only after the longest lease that it knows.
What uses the database for the first time creates them at once (docs/protocol.md, limits).
"""

import logging
import threading
import time
from collections.abc import Callable

from masterjob.concurrency.backoff import Backoff
from masterjob.election.timing import format_duration
from masterjob.errors import StoreUnavailable

logger = logging.getLogger("masterjob")

_DEFAULT_LEASE = 24.0
"""Seconds: the lease of an instance whose timing was not set."""

_RETRY_BACKOFF = Backoff(0.5, 10.0)


class TableRecovery:
    """The recovery of the tables of one database. ``create`` creates those that are missing. Thread-safe."""

    def __init__(self, create: Callable[[], None], wait: Callable[[float], None] = time.sleep) -> None:
        self._create, self._wait = create, wait
        self._lock = threading.Lock()
        self._longest_lease = 0.0
        self._thread: threading.Thread | None = None

    def note_lease(self, seconds: float) -> None:
        """Note the lease of a session."""
        self._longest_lease = max(self._longest_lease, seconds)

    @property
    def delay(self) -> float:
        """Seconds for which a master may still run: the longest lease that is known, or the default one."""
        return self._longest_lease or _DEFAULT_LEASE

    def start(self) -> None:
        """Start to recover the tables on a thread of its own, unless it is running."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(target=self._run, name="masterjob-recovery", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        delay = self.delay
        logger.error(
            "the tables are missing in the database; they are created again in %s, when the lease of a master "
            "that still runs is over",
            format_duration(round(delay, 1)),
        )
        failures = 0
        while True:
            self._wait(delay)
            try:
                self._create()
            except StoreUnavailable as error:
                logger.warning("the tables cannot be created, and this is retried: %s", error)
                delay = _RETRY_BACKOFF.delay(failures)
                failures += 1
            else:
                logger.info("the tables exist again; the locks are claimed anew, and the history begins anew")
                return
