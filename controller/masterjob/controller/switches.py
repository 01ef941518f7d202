"""The switch of each resource in the database: written when it changes, removed when its resource is gone.

What was written is remembered, so that nothing is written or read twice; `invalidate` forgets it.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from masterjob.concurrency.clock import clock
from masterjob.log_fields import log_fields
from masterjob.resource.masterjob import Resource
from masterjob.store.database import Database
from masterjob.store.queries.declared_switches import StoredSwitch, SwitchSpec

logger = logging.getLogger("masterjob")

DEFAULT_REASON = "enabled is false"
"""The reason of a disable whose resource gives none."""

_CACHE_TTL = 1.0
_KEEP_OPEN = 10.0  # seconds: one connection serves a burst of changes


class SwitchWriter:
    """Writes one switch for each source, in one database.

    ``notify_elector`` is called with the lock's name after each write. `write`, `retract` and `stored_switches`
    raise `StoreUnavailable` if the database does not answer.
    """

    def __init__(self, database: Database, notify_elector: Callable[[str], None]) -> None:
        self._admin = database.lock_admin(keep_open=_KEEP_OPEN, on_write=notify_elector)
        self._last_written: dict[str, tuple[str, SwitchSpec]] = {}
        """By source: the lock and the switch that the database is known to have."""
        self._stored: dict[tuple[str, str], StoredSwitch] = {}
        self._stored_at = float("-inf")
        self._lock = threading.Lock()

    def write(self, source: str, resource: Resource) -> None:
        """Write the switch of a resource. If it is enabled, a reason left over in it is ignored."""
        lock_name, spec = resource.lock_name, _switch_spec(source, resource)
        if self._last_written.get(source) == (lock_name, spec):
            return
        # The elector of this process learns of the switch at once: it stops the job if that runs here.
        if not self._is_redundant(lock_name, spec) and self._admin.apply_switch(lock_name, spec):
            self._stored_at = float("-inf")
            _log_switch(lock_name, spec)
        self._last_written[source] = lock_name, spec

    def retract(self, lock_name: str, source: str, reason: str) -> None:
        """Remove the switch of a source that does not own this lock: no disable outlives its resource."""
        self._stored_at = float("-inf")
        stored = self.stored_switches().get((lock_name, source))
        if stored is not None and self._admin.remove_switch(lock_name, source, source):
            actor = f"MasterJob {stored.namespace}/{stored.name}" if stored.name else source
            fields = log_fields(lock=lock_name, event="enabled", reason=reason)
            logger.info("%s is no longer disabled by %s: %s", lock_name, actor, reason, extra=fields)
        if self._last_written.get(source, ("",))[0] == lock_name:
            del self._last_written[source]

    def invalidate(self, source: str | None = None) -> None:
        """Forget what was written, of one source or of all."""
        if source is None:
            self._last_written.clear()
        else:
            self._last_written.pop(source, None)
        self._stored_at = float("-inf")

    def stored_switches(self) -> Mapping[tuple[str, str], StoredSwitch]:
        """Return the switches in the database, by lock and source; read at most once a second."""
        with self._lock:
            if clock() - self._stored_at > _CACHE_TTL:
                self._stored = {(each.lock_name, each.source): each for each in self._admin.list_switches()}
                self._stored_at = clock()
            return self._stored

    def _is_redundant(self, lock_name: str, spec: SwitchSpec) -> bool:
        """Return whether an enabled resource needs no switch. Most need none: they were never disabled."""
        stored = self.stored_switches().get((lock_name, spec.source))
        if not spec.enabled:
            return False
        generation = spec.generation or 0
        if stored is None:
            return generation <= 1  # no instance that lags can write an older generation
        return stored.enabled and (stored.generation or 0) >= generation


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
        fields = log_fields(lock=lock_name, event="enabled")
        logger.info("%s is no longer disabled by %s", lock_name, spec.actor, extra=fields)
    else:
        fields = log_fields(lock=lock_name, event="disabled", reason=spec.reason)
        logger.info("%s is disabled by %s: %s", lock_name, spec.actor, spec.reason, extra=fields)
