"""Who speaks for each lock, and who did: of the former the oldest counts, of the latter a switch may be left.

What must not be here: threads, a database. The controller locks what it asks of this.

Source: design sections 3.1 and 6.2.
"""

from masterjob.concurrency.clock import clock
from masterjob.resource.masterjob import Resource

TOMBSTONE_DELAY = 10.0
"""Seconds for which a deleted object's disable stays: until instances whose watch lags have heard of it."""


class LockOwnership:
    """What resources want, by lock and source; a source is `file:NAMESPACE/NAME`, or an object's uid."""

    def __init__(self) -> None:
        self._by_lock: dict[str, dict[str, Resource]] = {}
        self._lock_by_source: dict[str, str] = {}
        self._tombstones: dict[str, dict[str, float]] = {}
        """Sources that speak for a lock no more, and from when on their switch may be taken back."""

    def lock_of(self, source: str) -> str | None:
        """Return the lock that the source speaks for."""
        return self._lock_by_source.get(source)

    def lock_names(self) -> list[str]:
        """Return the locks that somebody speaks for, or did until just now."""
        return list(self._by_lock)

    def claimants(self, lock_name: str) -> list[tuple[str, Resource]]:
        """Return who speaks for a lock, the one that counts first."""
        return list(self._by_lock.get(lock_name, {}).items())

    def upsert(self, source: str, resource: Resource) -> bool:
        """Have the source speak for its lock; False if it says what it has said before."""
        before = self._by_lock.get(resource.lock_name, {})
        self._by_lock[resource.lock_name] = _sorted_by_age({**before, source: resource})
        self._lock_by_source[source] = resource.lock_name
        return before.get(source) != resource

    def remove(self, source: str) -> str:
        """Have the source speak no more, and return the lock that it spoke for."""
        lock_name = self._lock_by_source.pop(source)
        resource = self._by_lock[lock_name].pop(source)
        delay = TOMBSTONE_DELAY if resource.object_meta is not None and not resource.enabled else 0.0
        self._tombstones.setdefault(lock_name, {})[source] = clock() + delay
        return lock_name

    def mark_gone(self, lock_name: str, source: str) -> bool:
        """Note a source that went while nobody was there to see it; False if it speaks."""
        if source in self._by_lock.get(lock_name, {}):
            return False
        self._tombstones.setdefault(lock_name, {})[source] = clock()
        return True

    def due_retractions(self, lock_name: str) -> list[str]:
        """Return the sources whose switch is to be taken back by now: all, once another speaks for the lock."""
        owner = {source for source, _ in self.claimants(lock_name)[:1]}
        tombstones = self._tombstones.get(lock_name, {})
        return sorted(each for each, due in tombstones.items() if each not in owner and (owner or due <= clock()))

    def clear_retractions(self, lock_name: str, sources: list[str]) -> float | None:
        """Forget whose switch was taken back; return in how many seconds the next one is due, None for nothing."""
        cleared = {*sources, *(source for source, _ in self.claimants(lock_name)[:1])}
        remaining = {each: due for each, due in self._tombstones.pop(lock_name, {}).items() if each not in cleared}
        if remaining:
            self._tombstones[lock_name] = remaining
            return max(0.0, min(remaining.values()) - clock())
        if not self._by_lock.get(lock_name):
            self._by_lock.pop(lock_name, None)
        return None


def _sorted_by_age(resources: dict[str, Resource]) -> dict[str, Resource]:
    """Put the oldest first, as the API server says; of files the first to come, who have no age."""
    return dict(sorted(resources.items(), key=_age_key))


def _age_key(item: tuple[str, Resource]) -> tuple[str, str]:
    source, resource = item
    return (resource.object_meta.creation_timestamp, source) if resource.object_meta is not None else ("", "")
