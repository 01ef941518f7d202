"""The switches of resources in the database: written when they change, taken back when their resource is gone.

What was written is remembered, so that nothing is asked twice; `forget` has all of it looked at again.

Source: design sections 3.1 and 6.2.
"""

import logging
import threading
from collections.abc import Mapping

from masterjob.election.clock import clock
from masterjob.resource.resource import Resource
from masterjob.store.database import Database
from masterjob.store.verbs.declarations import Declaration, Standing

logger = logging.getLogger("masterjob")

NO_REASON = "enabled is false"
"""The reason of a disable whose resource gives none."""

_FRESH = 1.0


class Switches:
    """One switch for each source, in one database. Every method raises `StoreUnavailable` where that is silent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._board = database.switchboard()
        self._prepared = False
        self._written: dict[str, tuple[str, Declaration]] = {}
        """What the database is known to have of each source, and of which lock."""
        self._found: dict[tuple[str, str], Standing] = {}
        self._found_at = float("-inf")
        self._lock = threading.Lock()

    def write(self, source: str, resource: Resource) -> None:
        """Have the switch say what the resource does; a reason left over while it is enabled says nothing."""
        name, said = resource.lock_name, _declaration(source, resource)
        if self._written.get(source) == (name, said):
            return
        if not self._stands(name, said) and self._board.declare(name, said):
            self._found_at = float("-inf")
            _tell(name, said)
        self._written[source] = name, said

    def take_back(self, lock_name: str, source: str, why: str) -> None:
        """Remove the switch of a source that does not speak for this lock any more: no disable outlives it."""
        self._found_at = float("-inf")
        found = self.standing().get((lock_name, source))
        if found is not None and self._board.retract(lock_name, source, source):
            by = f"MasterJob {found.namespace}/{found.name}" if found.name else source
            logger.info("%s is not disabled by %s any more, %s", lock_name, by, why)
        if self._written.get(source, ("",))[0] == lock_name:
            del self._written[source]

    def forget(self, source: str | None = None) -> None:
        """Trust nothing that was written before, or nothing of one source."""
        if source is None:
            self._written.clear()
        else:
            self._written.pop(source, None)
        self._found_at = float("-inf")

    def standing(self) -> Mapping[tuple[str, str], Standing]:
        """Return what the database has, by lock and source; asked once a moment for all."""
        with self._lock:
            if clock() - self._found_at > _FRESH:
                self._prepare()
                self._found = {(each.lock_name, each.source): each for each in self._board.standing()}
                self._found_at = clock()
            return self._found

    def _stands(self, name: str, said: Declaration) -> bool:
        """Whether an enabled resource need not say so, as most need not: nothing else was ever said by it."""
        found = self.standing().get((name, said.source))
        if not said.enabled:
            return False
        first = (said.generation or 0) <= 1  # there is nothing older that an instance that lags could write
        return first if found is None else found.enabled and (found.generation or 0) >= (said.generation or 0)

    def _prepare(self) -> None:
        if not self._prepared:
            self._database.prepare()
            self._prepared = True


def _declaration(source: str, resource: Resource) -> Declaration:
    reason = None if resource.enabled else resource.disabled_reason or NO_REASON
    origin = resource.origin
    if origin is None:
        return Declaration(source, source, reason)
    return Declaration(
        source, resource.shown, reason, origin.generation, origin.cluster, resource.namespace, resource.name
    )


def _tell(name: str, said: Declaration) -> None:
    if said.enabled:
        logger.info("%s is not disabled by %s any more", name, said.actor)
    else:
        logger.info("%s is disabled by %s: %s", name, said.actor, said.reason)
