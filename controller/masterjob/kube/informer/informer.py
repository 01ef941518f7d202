"""The MasterJobs in scope as one picture, from all that is known: events, lists, answers to our own patches.

What it shows is told on level by level: `sink` does what the resources say, `on_change` is for whoever
writes the status. Nothing is told before `start_delivery`: with half a picture one might claim a lock that the
other half disables.

    handle_event  an event of the watch, which may be late
    replace       all there is, by a LIST that began after `begin_list` was called: what it lacks is asked for,
    then gone update        an object as the API server has just answered

What must not be here: threads, requests other than to confirm what seems gone.

Source: design section 6.2.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from masterjob.errors import MasterJobError
from masterjob.kube.informer.cache import Cache
from masterjob.kube.informer.object import ObservedResource, parse_object
from masterjob.resource.masterjob import Resource, ResourceSink

logger = logging.getLogger("masterjob")

DELETED_EVENT = "DELETED"


@dataclass(slots=True)
class _Delivered:
    """What was said last about one object."""

    observed: ObservedResource
    applied: Resource | None = None


class Informer:
    """The picture. All methods may be called from any thread; what they call must not wait for long.

    ``fetch`` is asked for an object by namespace and name, and returns what the API server has, or None.
    """

    def __init__(
        self,
        cluster_name: str,
        sink: ResourceSink,
        on_change: Callable[[ObservedResource], None],
        fetch: Callable[[str, str], Mapping[str, Any] | None],
    ) -> None:
        self._cluster_name, self._sink = cluster_name, sink
        self._on_change, self._fetch = on_change, fetch
        self._lock = threading.Lock()
        self._cache = Cache()
        self._is_delivering = False
        self._delivery_lock = threading.RLock()
        self._delivered: dict[str, _Delivered] = {}

    # --- the picture

    def get(self, uid: str) -> ObservedResource | None:
        """Return an object as it was seen last."""
        with self._lock:
            return self._cache.get(uid)

    def all(self) -> list[ObservedResource]:
        """Return all, the oldest first."""
        with self._lock:
            return self._cache.all()

    def by_lock(self, name: str) -> list[ObservedResource]:
        """Return those that name the lock, the oldest first."""
        with self._lock:
            return self._cache.by_lock(name)

    def is_watch_behind(self, seconds: float) -> bool:
        """Whether the watch has not told something that was known otherwise so many seconds ago."""
        with self._lock:
            return self._cache.is_watch_behind(seconds)

    # --- what is learned

    def handle_event(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take in an event of the watch; ``event_type`` None is what a watch begins with."""
        if (observed := parse_object(body, self._cluster_name)) is None:
            return
        if event_type == DELETED_EVENT:
            self._delete(observed.uid)
        else:
            self._store(observed, from_watch=True)

    def update(self, body: Mapping[str, Any]) -> None:
        """Take in an object as the API server has just answered."""
        if (observed := parse_object(body, self._cluster_name)) is not None:
            self._store(observed)

    def begin_list(self) -> int:
        """Return this moment, for a LIST that is asked for after it."""
        with self._lock:
            return self._cache.begin_list()

    def replace(self, bodies: Iterable[Mapping[str, Any]], namespaces: Collection[str], epoch: int) -> bool:
        """Take in all there is in the namespaces (none means everywhere), by a LIST that was begun at ``epoch``.

        What it lacks although it was known before is asked for, and gone if it is not there. Returns False where
        that could not be found out: such objects stay until the next LIST.
        """
        listed = [each for body in bodies if (each := parse_object(body, self._cluster_name)) is not None]
        for observed in sorted(listed, key=lambda each: each.age_key):
            self._store(observed, epoch)
        listed_uids = {each.uid for each in listed}
        self._deliver(listed_uids)
        with self._lock:
            known_before = self._cache.known_before(epoch, namespaces)
        missing = [each for each in known_before if each.uid not in listed_uids]
        return all(self._confirm_deletion(each) for each in missing)  # the first silence ends it

    def _confirm_deletion(self, observed: ObservedResource) -> bool:
        try:
            body = self._fetch(observed.namespace, observed.name)
        except MasterJobError as error:
            logger.debug("%s/%s is perhaps gone: %s", observed.namespace, observed.name, error)
            return False
        current = None if body is None else parse_object(body, self._cluster_name)
        if current is None or current.uid != observed.uid:
            self._delete(observed.uid)
        if current is not None:
            self._store(current)
        return True

    def _store(self, observed: ObservedResource, epoch: int | None = None, *, from_watch: bool = False) -> None:
        with self._lock:
            changed_uids = self._cache.update(observed, epoch, from_watch)
        self._deliver(changed_uids)

    def _delete(self, uid: str) -> None:
        with self._lock:
            self._cache.mark_deleted(uid)
        self._deliver([uid])

    # --- what is told

    def start_delivery(self) -> None:
        """Tell what is known, the oldest first, and from now on everything; once."""
        with self._delivery_lock:
            if not self._is_delivering:
                self._is_delivering = True
                self._deliver([each.uid for each in self.all()])

    def resync(self) -> None:
        """Have the follower look at everything again."""
        if self._is_delivering:
            self._sink.resync()  # it may ask for much: no event waits for that

    def _deliver(self, uids: Collection[str]) -> None:
        """Tell what is so now of each object, one at a time, so that what is older is never told later."""
        if not uids:
            return
        with self._delivery_lock:
            for uid in uids if self._is_delivering else ():
                try:
                    self._deliver_one(uid, self.get(uid), self._delivered.get(uid))
                except Exception:
                    logger.exception("a defect while MasterJob %s was followed; the next LIST repeats it", uid)

    def _deliver_one(self, uid: str, current: ObservedResource | None, delivered: _Delivered | None) -> None:
        if current is None:
            self._deliver_deletion(uid, delivered)
        elif delivered is None or delivered.observed is not current:
            applied = None if delivered is None else delivered.applied
            if current.resource is not None and current.resource != applied:
                self._sink.apply(uid, current.resource)
            _log_error_change(current, None if delivered is None else delivered.observed.error)
            self._on_change(current)
            self._delivered[uid] = _Delivered(current, current.resource or applied)

    def _deliver_deletion(self, uid: str, delivered: _Delivered | None) -> None:
        if delivered is not None:
            if delivered.applied is not None:
                self._sink.remove(uid)
            del self._delivered[uid]


def _log_error_change(observed: ObservedResource, previous_error: str | None) -> None:
    """Say once what is wrong, and once that it is not any more."""
    if observed.error is not None and observed.error != previous_error:
        logger.warning("%s; what was read of it before stays in effect", observed.error)
    elif observed.error is None and previous_error is not None:
        logger.info("MasterJob %s/%s is good again", observed.namespace, observed.name)
