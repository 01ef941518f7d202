"""What is known of each MasterJob, by uid: nothing older is put over something newer, whichever way it came.

The resource version orders what is told of one object, and of two that had one name. A LIST that began after an
object was touched last knows better still: after a backup was restored versions go back, and what was gone is
there again.

What must not be here: locks, threads, anybody who is told.

Source: design section 6.2.
"""

from collections.abc import Collection
from dataclasses import dataclass

from masterjob.concurrency.clock import clock
from masterjob.kube.informer.object import ObservedResource

_MAX_TOMBSTONES = 10_000


@dataclass(slots=True)
class _CacheEntry:
    """What is known of one object, since which of our moments, and whether the watch has told it too."""

    observed: ObservedResource
    added_epoch: int
    updated_epoch: int
    updated_at: float
    confirmed_by_watch: bool


class Cache:
    """All of it. Moments are counted by `begin_list`: what is learned after one belongs to it, or to a later
    one.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _CacheEntry] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_lock: dict[str, dict[str, ObservedResource]] = {}
        self._tombstones: dict[str, int] = {}
        """The uids of what is gone for good, and since which moment: a late event resurrects nothing."""
        self._epoch = 0

    def begin_list(self) -> int:
        """Return this moment, for a LIST that is asked for after it."""
        self._epoch += 1
        return self._epoch

    def get(self, uid: str) -> ObservedResource | None:
        """Return an object as it was seen last."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.observed

    def all(self) -> list[ObservedResource]:
        """Return all, the oldest first."""
        return sorted((known.observed for known in self._entries.values()), key=lambda each: each.age_key)

    def by_lock(self, name: str) -> list[ObservedResource]:
        """Return those that name the lock, the oldest first."""
        return sorted(self._by_lock.get(name, {}).values(), key=lambda each: each.age_key)

    def known_before(self, epoch: int, namespaces: Collection[str]) -> list[ObservedResource]:
        """Return what was known before that moment, in the namespaces; none means everywhere."""
        older = (known.observed for known in self._entries.values() if known.added_epoch < epoch)
        return [each for each in older if not namespaces or each.namespace in namespaces]

    def is_watch_behind(self, seconds: float) -> bool:
        """Whether the watch has not told something that was known otherwise so many seconds ago."""
        known_until = clock() - seconds
        return any(
            not known.confirmed_by_watch and known.updated_at <= known_until for known in self._entries.values()
        )

    def update(self, new: ObservedResource, list_epoch: int | None, from_watch: bool) -> list[str]:
        """Put it in if it is news, and return the uids that it is news of.

        ``list_epoch`` is when its LIST began, if it is from one; ``from_watch``: the watch told it.
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
        """Of two of one name only the newer can be there."""
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
        """Know it as gone for good."""
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
    """Whether this is from a LIST that began after the object was touched last."""
    return list_epoch is not None and entry.updated_epoch < list_epoch
