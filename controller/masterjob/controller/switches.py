"""The switches of resources in the database: written when they change, taken back when their resource is gone.

What was written is remembered, so that nothing is asked twice; `invalidate` has all of it looked at again.

Source: design sections 3.1 and 6.2.
"""

import logging
import threading
from collections.abc import Mapping

from masterjob.concurrency.clock import clock
from masterjob.resource.masterjob import Resource
from masterjob.store.database import Database
from masterjob.store.queries.declarations import StoredSwitch, SwitchSpec

logger = logging.getLogger("masterjob")

DEFAULT_REASON = "enabled is false"
"""The reason of a disable whose resource gives none."""

_CACHE_TTL = 1.0
_KEEP_OPEN = 10.0  # seconds: one connection serves a burst of changes


class SwitchWriter:
    """One switch for each source, in one database. Every method raises `StoreUnavailable` where that is silent."""

    def __init__(self, database: Database) -> None:
        self._admin = database.lock_admin(keep_open=_KEEP_OPEN)
        self._last_written: dict[str, tuple[str, SwitchSpec]] = {}
        """What the database is known to have of each source, and of which lock."""
        self._stored: dict[tuple[str, str], StoredSwitch] = {}
        self._stored_at = float("-inf")
        self._lock = threading.Lock()

    def write(self, source: str, resource: Resource) -> None:
        """Have the switch say what the resource does; a reason left over while it is enabled says nothing."""
        lock_name, spec = resource.lock_name, _switch_spec(source, resource)
        if self._last_written.get(source) == (lock_name, spec):
            return
        if not self._is_redundant(lock_name, spec) and self._admin.apply_switch(lock_name, spec):
            self._stored_at = float("-inf")
            _log_switch(lock_name, spec)
        self._last_written[source] = lock_name, spec

    def retract(self, lock_name: str, source: str, explanation: str) -> None:
        """Remove the switch of a source that does not speak for this lock any more: no disable outlives it."""
        self._stored_at = float("-inf")
        stored = self.stored_switches().get((lock_name, source))
        if stored is not None and self._admin.remove_switch(lock_name, source, source):
            actor = f"MasterJob {stored.namespace}/{stored.name}" if stored.name else source
            logger.info("%s is not disabled by %s any more, %s", lock_name, actor, explanation)
        if self._last_written.get(source, ("",))[0] == lock_name:
            del self._last_written[source]

    def invalidate(self, source: str | None = None) -> None:
        """Trust nothing that was written before, or nothing of one source."""
        if source is None:
            self._last_written.clear()
        else:
            self._last_written.pop(source, None)
        self._stored_at = float("-inf")

    def stored_switches(self) -> Mapping[tuple[str, str], StoredSwitch]:
        """Return what the database has, by lock and source; asked once a moment for all."""
        with self._lock:
            if clock() - self._stored_at > _CACHE_TTL:
                self._stored = {(each.lock_name, each.source): each for each in self._admin.list_switches()}
                self._stored_at = clock()
            return self._stored

    def _is_redundant(self, lock_name: str, spec: SwitchSpec) -> bool:
        """Whether an enabled resource need not say so, as most need not: nothing else was ever said by it."""
        stored = self.stored_switches().get((lock_name, spec.source))
        if not spec.enabled:
            return False
        is_first_generation = (
            spec.generation or 0
        ) <= 1  # there is nothing older that an instance that lags could write
        return (
            is_first_generation
            if stored is None
            else stored.enabled and (stored.generation or 0) >= (spec.generation or 0)
        )


def _switch_spec(source: str, resource: Resource) -> SwitchSpec:
    reason = None if resource.enabled else resource.disabled_reason or DEFAULT_REASON
    object_meta = resource.object_meta
    if object_meta is None:
        return SwitchSpec(source, source, reason)
    return SwitchSpec(
        source,
        resource.display_name,
        reason,
        object_meta.generation,
        object_meta.cluster,
        resource.namespace,
        resource.name,
    )


def _log_switch(lock_name: str, spec: SwitchSpec) -> None:
    if spec.enabled:
        logger.info("%s is not disabled by %s any more", lock_name, spec.actor)
    else:
        logger.info("%s is disabled by %s: %s", lock_name, spec.actor, spec.reason)
