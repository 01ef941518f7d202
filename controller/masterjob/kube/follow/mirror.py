"""The MasterJobs in scope as one picture, from all that is known: events, lists, answers to our own patches.

What it shows is told on level by level: `follower` does what the resources say, `changed` is for whoever
writes the status. Nothing is told before `open`: with half a picture one might claim a lock that the other
half disables.

    seen       an event of the watch, which may be late
    listed     all there is, by a LIST that began after `begin` was called: what it lacks is asked for, then gone
    note       an object as the API server has just answered

What must not be here: threads, requests other than to confirm what seems gone.

Source: design section 6.2.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from masterjob.election.errors import MasterJobError
from masterjob.kube.follow.knowledge import Knowledge
from masterjob.kube.follow.observed import Observed, observe
from masterjob.resource.resource import Follower, Resource

logger = logging.getLogger("masterjob")

DELETED = "DELETED"


@dataclass(slots=True)
class _Told:
    """What was said last about one object."""

    observed: Observed
    applied: Resource | None = None


class Mirror:
    """The picture. All methods may be called from any thread; what they call must not wait for long.

    ``confirm`` is asked for an object by namespace and name, and returns what the API server has, or None.
    """

    def __init__(
        self,
        cluster: str,
        follower: Follower,
        changed: Callable[[Observed], None],
        confirm: Callable[[str, str], Mapping[str, Any] | None],
    ) -> None:
        self._cluster, self._follower = cluster, follower
        self._changed, self._confirm = changed, confirm
        self._lock = threading.Lock()
        self._knowledge = Knowledge()
        self._open = False
        self._telling = threading.RLock()
        self._told: dict[str, _Told] = {}

    # --- the picture

    def get(self, uid: str) -> Observed | None:
        """Return an object as it was seen last."""
        with self._lock:
            return self._knowledge.get(uid)

    def all(self) -> list[Observed]:
        """Return all, the oldest first."""
        with self._lock:
            return self._knowledge.all()

    def by_lock(self, name: str) -> list[Observed]:
        """Return those that name the lock, the oldest first."""
        with self._lock:
            return self._knowledge.by_lock(name)

    def unheard(self, seconds: float) -> bool:
        """Whether the watch has not told something that was known otherwise so many seconds ago."""
        with self._lock:
            return self._knowledge.unheard(seconds)

    # --- what is learned

    def seen(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take in an event of the watch; ``kind`` None is what a watch begins with."""
        if (observed := observe(body, self._cluster)) is None:
            return
        if kind == DELETED:
            self._forget(observed.uid)
        else:
            self._take(observed, heard=True)

    def note(self, body: Mapping[str, Any]) -> None:
        """Take in an object as the API server has just answered."""
        if (observed := observe(body, self._cluster)) is not None:
            self._take(observed)

    def begin(self) -> int:
        """Return this moment, for a LIST that is asked for after it."""
        with self._lock:
            return self._knowledge.begin()

    def listed(self, bodies: Iterable[Mapping[str, Any]], namespaces: Collection[str], since: int) -> bool:
        """Take in all there is in the namespaces (none means everywhere), by a LIST that was begun at ``since``.

        What it lacks although it was known before is asked for, and gone if it is not there. Returns False where
        that could not be found out: such objects stay until the next LIST.
        """
        found = [each for body in bodies if (each := observe(body, self._cluster)) is not None]
        for observed in sorted(found, key=lambda each: each.age):
            self._take(observed, since)
        there = {each.uid for each in found}
        self._tell(there)
        with self._lock:
            before = self._knowledge.before(since, namespaces)
        missing = [each for each in before if each.uid not in there]
        return all(self._confirm_absence(each) for each in missing)  # the first silence ends it

    def _confirm_absence(self, observed: Observed) -> bool:
        try:
            body = self._confirm(observed.namespace, observed.name)
        except MasterJobError as error:
            logger.debug("%s/%s is perhaps gone: %s", observed.namespace, observed.name, error)
            return False
        found = None if body is None else observe(body, self._cluster)
        if found is None or found.uid != observed.uid:
            self._forget(observed.uid)
        if found is not None:
            self._take(found)
        return True

    def _take(self, observed: Observed, since: int | None = None, *, heard: bool = False) -> None:
        with self._lock:
            uids = self._knowledge.take(observed, since, heard)
        self._tell(uids)

    def _forget(self, uid: str) -> None:
        with self._lock:
            self._knowledge.bury(uid)
        self._tell([uid])

    # --- what is told

    def open(self) -> None:
        """Tell what is known, the oldest first, and from now on everything; once."""
        with self._telling:
            if not self._open:
                self._open = True
                self._tell([each.uid for each in self.all()])

    def repeat(self) -> None:
        """Have the follower look at everything again."""
        if self._open:
            self._follower.repeat()  # it may ask for much: no event waits for that

    def _tell(self, uids: Collection[str]) -> None:
        """Tell what is so now of each object, one at a time, so that what is older is never told later."""
        if not uids:
            return
        with self._telling:
            for uid in uids if self._open else ():
                try:
                    self._tell_one(uid, self.get(uid), self._told.get(uid))
                except Exception:
                    logger.exception("a defect while MasterJob %s was followed; the next LIST repeats it", uid)

    def _tell_one(self, uid: str, now: Observed | None, told: _Told | None) -> None:
        if now is None:
            self._tell_end(uid, told)
        elif told is None or told.observed is not now:
            applied = None if told is None else told.applied
            if now.resource is not None and now.resource != applied:
                self._follower.apply(uid, now.resource)
            _say(now, None if told is None else told.observed.error)
            self._changed(now)
            self._told[uid] = _Told(now, now.resource or applied)

    def _tell_end(self, uid: str, told: _Told | None) -> None:
        if told is not None:
            if told.applied is not None:
                self._follower.remove(uid)
            del self._told[uid]


def _say(now: Observed, error_before: str | None) -> None:
    """Say once what is wrong, and once that it is not any more."""
    if now.error is not None and now.error != error_before:
        logger.warning("%s; what was read of it before stays in effect", now.error)
    elif now.error is None and error_before is not None:
        logger.info("MasterJob %s/%s is good again", now.namespace, now.name)
