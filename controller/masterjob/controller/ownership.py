"""The owner of each lock: the oldest resource that names it; and the sources that are gone but left a switch.

Not thread-safe: the controller holds its lock around each call.
"""

from masterjob.concurrency.clock import clock
from masterjob.resource.masterjob import Resource

TOMBSTONE_DELAY = 10.0
"""Seconds to keep the disable of a deleted object, until instances whose watch lags have seen the deletion."""


class LockOwnership:
    """The resources by lock and source. A source is ``file:NAMESPACE/NAME``, or the uid of an object."""

    def __init__(self) -> None:
        self._by_lock: dict[str, dict[str, Resource]] = {}
        self._lock_by_source: dict[str, str] = {}
        self._tombstones: dict[str, dict[str, float]] = {}
        """By lock: the sources that are gone, and the time from which their switch may be removed."""

    def lock_of(self, source: str) -> str | None:
        """Return the lock that the source names."""
        return self._lock_by_source.get(source)

    def lock_names(self) -> list[str]:
        """Return the locks that a source names, or did until just now."""
        return list(self._by_lock)

    def claimants(self, lock_name: str) -> list[tuple[str, Resource]]:
        """Return the sources that name a lock, its owner first."""
        return list(self._by_lock.get(lock_name, {}).items())

    def upsert(self, source: str, resource: Resource) -> bool:
        """Add or replace the resource of a source; return False if it is the same as before."""
        before = self._by_lock.get(resource.lock_name, {})
        self._by_lock[resource.lock_name] = _sorted_by_age({**before, source: resource})
        self._lock_by_source[source] = resource.lock_name
        return before.get(source) != resource

    def remove(self, source: str) -> str:
        """Remove a source, and return the lock that it named."""
        lock_name = self._lock_by_source.pop(source)
        resource = self._by_lock[lock_name].pop(source)
        delay = TOMBSTONE_DELAY if resource.object_meta is not None and not resource.enabled else 0.0
        self._tombstones.setdefault(lock_name, {})[source] = clock() + delay
        return lock_name

    def mark_gone(self, lock_name: str, source: str) -> bool:
        """Record that a source was deleted unseen; return False if it exists."""
        if source in self._by_lock.get(lock_name, {}):
            return False
        self._tombstones.setdefault(lock_name, {})[source] = clock()
        return True

    def due_retractions(self, lock_name: str) -> list[str]:
        """Return the sources whose switch must go now: all that are gone, once the lock has another owner."""
        owner = {source for source, _ in self.claimants(lock_name)[:1]}
        tombstones = self._tombstones.get(lock_name, {})
        return sorted(each for each, due in tombstones.items() if each not in owner and (owner or due <= clock()))

    def clear_retractions(self, lock_name: str, sources: list[str]) -> float | None:
        """Forget sources whose switch is removed; return the seconds until the next is due, or None."""
        cleared = {*sources, *(source for source, _ in self.claimants(lock_name)[:1])}
        remaining = {each: due for each, due in self._tombstones.pop(lock_name, {}).items() if each not in cleared}
        if remaining:
            self._tombstones[lock_name] = remaining
            return max(0.0, min(remaining.values()) - clock())
        if not self._by_lock.get(lock_name):
            self._by_lock.pop(lock_name, None)
        return None


def _sorted_by_age(resources: dict[str, Resource]) -> dict[str, Resource]:
    """Return the oldest object first. Files have no age: the first to come stays first."""
    return dict(sorted(resources.items(), key=_age_key))


def _age_key(item: tuple[str, Resource]) -> tuple[str, str]:
    source, resource = item
    return (resource.object_meta.creation_timestamp, source) if resource.object_meta is not None else ("", "")
