"""What is known of each MasterJob, by uid: nothing older is put over something newer, whichever way it came.

The resource version orders what is told of one object, and of two that had one name. A LIST that began after an
object was touched last knows better still: after a backup was restored versions go back, and what was gone is
there again.

What must not be here: locks, threads, anybody who is told.

Source: design section 6.2.
"""

from collections.abc import Collection
from dataclasses import dataclass

from masterjob.election.clock import clock
from masterjob.kube.follow.observed import Observed

_MOST_GONE = 10_000


@dataclass(slots=True)
class _Known:
    """What is known of one object, since which of our moments, and whether the watch has told it too."""

    observed: Observed
    since: int
    touched: int
    touched_at: float
    heard: bool


class Knowledge:
    """All of it. Moments are counted by `begin`: what is learned after one belongs to it, or to a later one."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_lock: dict[str, dict[str, Observed]] = {}
        self._gone: dict[str, int] = {}
        """The uids of what is gone for good, and since which moment: a late event resurrects nothing."""
        self._moment = 0

    def begin(self) -> int:
        """Return this moment, for a LIST that is asked for after it."""
        self._moment += 1
        return self._moment

    def get(self, uid: str) -> Observed | None:
        """Return an object as it was seen last."""
        known = self._known.get(uid)
        return None if known is None else known.observed

    def all(self) -> list[Observed]:
        """Return all, the oldest first."""
        return sorted((known.observed for known in self._known.values()), key=lambda each: each.age)

    def by_lock(self, name: str) -> list[Observed]:
        """Return those that name the lock, the oldest first."""
        return sorted(self._by_lock.get(name, {}).values(), key=lambda each: each.age)

    def before(self, moment: int, namespaces: Collection[str]) -> list[Observed]:
        """Return what was known before that moment, in the namespaces; none means everywhere."""
        older = (known.observed for known in self._known.values() if known.since < moment)
        return [each for each in older if not namespaces or each.namespace in namespaces]

    def unheard(self, seconds: float) -> bool:
        """Whether the watch has not told something that was known otherwise so many seconds ago."""
        until = clock() - seconds
        return any(not known.heard and known.touched_at <= until for known in self._known.values())

    def take(self, new: Observed, since: int | None, heard: bool) -> list[str]:
        """Put it in if it is news, and return the uids that it is news of.

        ``since`` is when its LIST began, if it is from one; ``heard``: the watch told it.
        """
        if self._gone.get(new.uid, -1) >= (0 if since is None else since):
            return []
        known = self._known.get(new.uid)
        if known is None:
            return self._add(new, since, heard)
        before = known.observed
        if new.is_newer_than(before) or (_is_later(since, known) and new != before):
            return self._put(new, heard)
        known.heard = known.heard or (heard and not before.is_newer_than(new))
        return []

    def _add(self, new: Observed, since: int | None, heard: bool) -> list[str]:
        """Of two of one name only the newer can be there."""
        other = self._known.get(self._by_name.get((new.namespace, new.name), ""))
        if other is None:
            return self._put(new, heard)
        if not (_is_later(since, other) or new.is_newer_than(other.observed)):
            return []
        self.bury(other.observed.uid)
        return [other.observed.uid, *self._put(new, heard)]

    def _put(self, new: Observed, heard: bool) -> list[str]:
        known = self._known.get(new.uid)
        self._drop_lock(known)
        since = self._moment if known is None else known.since
        self._known[new.uid] = _Known(new, since, self._moment, clock(), heard)
        self._by_name[new.namespace, new.name] = new.uid
        self._gone.pop(new.uid, None)
        if new.lock_name is not None:
            self._by_lock.setdefault(new.lock_name, {})[new.uid] = new
        return [new.uid]

    def bury(self, uid: str) -> None:
        """Know it as gone for good."""
        self._gone[uid] = self._moment
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        known = self._known.pop(uid, None)
        self._drop_lock(known)
        if known is not None:
            name = known.observed.namespace, known.observed.name
            if self._by_name.get(name) == uid:
                del self._by_name[name]

    def _drop_lock(self, known: _Known | None) -> None:
        name = None if known is None else known.observed.lock_name
        if known is not None and name is not None:
            of_lock = self._by_lock[name]
            del of_lock[known.observed.uid]
            if not of_lock:
                del self._by_lock[name]


def _is_later(since: int | None, known: _Known) -> bool:
    """Whether this is from a LIST that began after the object was touched last."""
    return since is not None and known.touched < since
