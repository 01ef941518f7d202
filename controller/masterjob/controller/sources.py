"""Who speaks for each lock, and who did: of the former the oldest counts, of the latter a switch may be left.

What must not be here: threads, a database. The controller locks what it asks of this.

Source: design sections 3.1 and 6.2.
"""

from masterjob.election.clock import clock
from masterjob.resource.resource import Resource

LAST_WORD = 10.0
"""Seconds for which a deleted object's disable stays: until instances whose watch lags have heard of it."""


class Sources:
    """What resources want, by lock and source; a source is `file:NAMESPACE/NAME`, or an object's uid."""

    def __init__(self) -> None:
        self._of_lock: dict[str, dict[str, Resource]] = {}
        self._lock_of: dict[str, str] = {}
        self._gone: dict[str, dict[str, float]] = {}
        """Sources that speak for a lock no more, and from when on their switch may be taken back."""

    def lock_of(self, source: str) -> str | None:
        """Return the lock that the source speaks for."""
        return self._lock_of.get(source)

    def names(self) -> list[str]:
        """Return the locks that somebody speaks for, or did until just now."""
        return list(self._of_lock)

    def of(self, lock_name: str) -> list[tuple[str, Resource]]:
        """Return who speaks for a lock, the one that counts first."""
        return list(self._of_lock.get(lock_name, {}).items())

    def put(self, source: str, resource: Resource) -> bool:
        """Have the source speak for its lock; False if it says what it has said before."""
        of_lock = self._of_lock.get(resource.lock_name, {})
        self._of_lock[resource.lock_name] = _in_order({**of_lock, source: resource})
        self._lock_of[source] = resource.lock_name
        return of_lock.get(source) != resource

    def drop(self, source: str) -> str:
        """Have the source speak no more, and return the lock that it spoke for."""
        name = self._lock_of.pop(source)
        resource = self._of_lock[name].pop(source)
        wait = LAST_WORD if resource.origin is not None and not resource.enabled else 0.0
        self._gone.setdefault(name, {})[source] = clock() + wait
        return name

    def bury(self, lock_name: str, source: str) -> bool:
        """Note a source that went while nobody was there to see it; False if it speaks."""
        if source in self._of_lock.get(lock_name, {}):
            return False
        self._gone.setdefault(lock_name, {})[source] = clock()
        return True

    def to_take_back(self, lock_name: str) -> list[str]:
        """Return the sources whose switch is to be taken back by now: all, once another speaks for the lock."""
        counts = {source for source, _ in self.of(lock_name)[:1]}
        gone = self._gone.get(lock_name, {})
        return sorted(each for each, due in gone.items() if each not in counts and (counts or due <= clock()))

    def taken_back(self, lock_name: str, sources: list[str]) -> float | None:
        """Forget whose switch was taken back; return in how many seconds the next one is due, None for nothing."""
        settled = {*sources, *(source for source, _ in self.of(lock_name)[:1])}
        left = {each: due for each, due in self._gone.pop(lock_name, {}).items() if each not in settled}
        if left:
            self._gone[lock_name] = left
            return max(0.0, min(left.values()) - clock())
        if not self._of_lock.get(lock_name):
            self._of_lock.pop(lock_name, None)
        return None


def _in_order(resources: dict[str, Resource]) -> dict[str, Resource]:
    """Put the oldest first, as the API server says; of files the first to come, who have no age."""
    return dict(sorted(resources.items(), key=_age))


def _age(item: tuple[str, Resource]) -> tuple[str, str]:
    source, resource = item
    return (resource.origin.created, source) if resource.origin is not None else ("", "")
