"""The switches of resources in the database: written when they change, taken back when their resource is gone.

What was written is remembered, so that nothing is asked twice; `forget` has all of it looked at again.

Source: design sections 3.1 and 6.2.
"""

import logging
import threading

from masterjob.election.clock import clock
from masterjob.resource import Resource
from masterjob.store.database import Database

logger = logging.getLogger("masterjob")

NO_REASON = "enabled is false"
"""The reason of a disable whose resource gives none."""

_ACTOR_LIMIT = 200
_FRESH = 1.0


class Switches:
    """One switch for each source, in one database. Every method raises `StoreUnavailable` where that is silent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._board = database.switchboard()
        self._prepared = False
        self._written: dict[str, tuple[str, str | None]] = {}
        """What the database is known to have of each source: the lock, and why it is disabled, if it is."""
        self._found: set[tuple[str, str]] = set()
        self._found_at = float("-inf")
        self._lock = threading.Lock()

    def write(self, source: str, resource: Resource) -> None:
        """Have the switch say what the resource does; a reason left over while it is enabled says nothing."""
        name, reason = resource.lock_name, None if resource.enabled else resource.disabled_reason or NO_REASON
        if self._written.get(source) == (name, reason):
            return
        self._prepare()
        if reason is None:
            self._remove(name, source, "")
        elif self._board.disable(name, reason, source[:_ACTOR_LIMIT], source, corrects=True):
            self._found_at = float("-inf")
            logger.info("%s is disabled by %s: %s", name, source, reason)
        self._written[source] = name, reason

    def take_back(self, lock_name: str, source: str) -> None:
        """Remove the switch of a source that does not speak for this lock any more: no disable outlives it."""
        self._prepare()
        self._found_at = float("-inf")
        self._remove(lock_name, source, ", which is gone")
        if self._written.get(source, ("",))[0] == lock_name:
            del self._written[source]

    def forget(self) -> None:
        """Trust nothing that was written before."""
        self._written.clear()

    def _remove(self, name: str, source: str, why: str) -> None:
        if self._may_disable(name, source) and self._board.enable(name, source[:_ACTOR_LIMIT], source):
            logger.info("%s is not disabled by %s any more%s", name, source, why)

    def _may_disable(self, name: str, source: str) -> bool:
        """Whether there is something to take back; asked once a moment for all, since most locks are enabled."""
        with self._lock:
            if clock() - self._found_at > _FRESH:
                self._found = self._board.disabling()
                self._found_at = clock()
            return (name, source) in self._found

    def _prepare(self) -> None:
        if not self._prepared:
            self._database.prepare()
            self._prepared = True
