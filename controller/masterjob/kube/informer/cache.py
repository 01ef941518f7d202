"""The last known state of each MasterJob, by uid. An older state never replaces a newer one, whatever its origin.

States of one object, and of two objects with the same name, are ordered by resource version. A LIST that began
after the object was last updated overrides that order: after a restored backup, versions go back and deleted
objects return.

Not thread-safe: `informer` locks it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from masterjob.concurrency.clock import clock
from masterjob.kube.informer.observed_resource import ObservedResource

_MAX_TOMBSTONES = 10_000


@dataclass(slots=True)
class _CacheEntry:
    """One object, the epochs of its first and last update, and whether the watch has reported this state too."""

    observed: ObservedResource
    added_epoch: int
    updated_epoch: int
    updated_at: float
    confirmed_by_watch: bool


class Cache:
    """All known objects. Each LIST begins an epoch (`begin_list`), and each update belongs to the current one."""

    def __init__(self) -> None:
        self._entries: dict[str, _CacheEntry] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_lock: dict[str, dict[str, ObservedResource]] = {}
        self._tombstones: dict[str, int] = {}
        """The uids of deleted objects, with the epoch of the deletion: a late event must not bring one back."""
        self._epoch = 0

    def begin_list(self) -> int:
        """Begin an epoch, and return it. Call this before the LIST is requested."""
        self._epoch += 1
        return self._epoch

    def get(self, uid: str) -> ObservedResource | None:
        """Return an object as last seen, or None if it is not known."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.observed

    def all(self) -> list[ObservedResource]:
        """Return all objects, the oldest first."""
        return sorted((known.observed for known in self._entries.values()), key=lambda each: each.age_key)

    def by_lock(self, name: str) -> list[ObservedResource]:
        """Return the objects that name the lock, the oldest first."""
        return sorted(self._by_lock.get(name, {}).values(), key=lambda each: each.age_key)

    def known_before(self, epoch: int, namespaces: Collection[str]) -> list[ObservedResource]:
        """Return the objects of the namespaces (empty: of all) that were known before the epoch."""
        older = (known.observed for known in self._entries.values() if known.added_epoch < epoch)
        return [each for each in older if not namespaces or each.namespace in namespaces]

    def is_watch_behind(self, seconds: float) -> bool:
        """Return whether there is a state, known for ``seconds``, that the watch has not reported."""
        known_until = clock() - seconds
        return any(
            not known.confirmed_by_watch and known.updated_at <= known_until for known in self._entries.values()
        )

    def update(self, new: ObservedResource, list_epoch: int | None, from_watch: bool) -> list[str]:
        """Store the object if it is newer, and return the uids that have changed.

        ``list_epoch`` is the epoch of the LIST that it is from, if any; ``from_watch``: it is from the watch.
        """
        if self._tombstones.get(new.uid, -1) >= (0 if list_epoch is None else list_epoch):
            return []
        entry = self._entries.get(new.uid)
        if entry is None:
            return self._insert(new, list_epoch, from_watch)
        current = entry.observed
        if new.is_newer_than(current) or (_is_from_later_list(list_epoch, entry) and new != current):
            return self._store(new, from_watch)
        entry.confirmed_by_watch = entry.confirmed_by_watch or (from_watch and not current.is_newer_than(new))
        return []

    def _insert(self, new: ObservedResource, list_epoch: int | None, from_watch: bool) -> list[str]:
        # Of two objects with the same name, only the newer one can exist.
        other = self._entries.get(self._by_name.get((new.namespace, new.name), ""))
        if other is None:
            return self._store(new, from_watch)
        if not (_is_from_later_list(list_epoch, other) or new.is_newer_than(other.observed)):
            return []
        self.mark_deleted(other.observed.uid)
        return [other.observed.uid, *self._store(new, from_watch)]

    def _store(self, new: ObservedResource, from_watch: bool) -> list[str]:
        previous = self._entries.get(new.uid)
        self._unindex_lock(previous)
        added_epoch = self._epoch if previous is None else previous.added_epoch
        self._entries[new.uid] = _CacheEntry(new, added_epoch, self._epoch, clock(), from_watch)
        self._by_name[new.namespace, new.name] = new.uid
        self._tombstones.pop(new.uid, None)
        if new.lock_name is not None:
            self._by_lock.setdefault(new.lock_name, {})[new.uid] = new
        return [new.uid]

    def mark_deleted(self, uid: str) -> None:
        """Remove an object that was deleted, for good."""
        self._tombstones[uid] = self._epoch
        while len(self._tombstones) > _MAX_TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        entry = self._entries.pop(uid, None)
        self._unindex_lock(entry)
        if entry is not None:
            name = entry.observed.namespace, entry.observed.name
            if self._by_name.get(name) == uid:
                del self._by_name[name]

    def _unindex_lock(self, entry: _CacheEntry | None) -> None:
        name = None if entry is None else entry.observed.lock_name
        if entry is not None and name is not None:
            indexed = self._by_lock[name]
            del indexed[entry.observed.uid]
            if not indexed:
                del self._by_lock[name]


def _is_from_later_list(list_epoch: int | None, entry: _CacheEntry) -> bool:
    """Return whether this is from a LIST that began after the object was last updated."""
    return list_epoch is not None and entry.updated_epoch < list_epoch
