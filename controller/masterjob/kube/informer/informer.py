"""The MasterJobs in scope, from events, lists and responses, delivered to the controller and the status writer.

    handle_event  an event of the watch, which may be late
    replace       the result of a LIST; objects missing from it are confirmed to be deleted
    update        an object from a response of the API server

Delivery is level-triggered: `sink` gets the latest state of each resource, `on_change` any change that a status
may depend on. Nothing is delivered before `start_delivery`: with half of the resources, an instance could claim a
lock that the other half disables.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from masterjob.errors import MasterJobError
from masterjob.kube.informer.cache import Cache
from masterjob.kube.informer.observed_resource import ObservedResource, parse_object
from masterjob.resource.masterjob import Resource, ResourceSink

logger = logging.getLogger("masterjob")

DELETED_EVENT = "DELETED"


@dataclass(slots=True)
class _Delivered:
    """What was last delivered for one object."""

    observed: ObservedResource
    applied: Resource | None = None


class Informer:
    """A thread-safe cache that delivers its changes. The callbacks must not block for long.

    ``fetch`` gets an object from the API server by namespace and name, or None if there is none.
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

    # --- reading

    def get(self, uid: str) -> ObservedResource | None:
        """Return an object as last seen, or None if it is not known."""
        with self._lock:
            return self._cache.get(uid)

    def all(self) -> list[ObservedResource]:
        """Return all objects, the oldest first."""
        with self._lock:
            return self._cache.all()

    def by_lock(self, name: str) -> list[ObservedResource]:
        """Return the objects that name the lock, the oldest first."""
        with self._lock:
            return self._cache.by_lock(name)

    def is_watch_behind(self, seconds: float) -> bool:
        """Return whether there is a state, known for ``seconds``, that the watch has not reported."""
        with self._lock:
            return self._cache.is_watch_behind(seconds)

    # --- updates

    def handle_event(self, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Handle an event of the watch; ``event_type`` is None for the initial state."""
        if (observed := parse_object(body, self._cluster_name)) is None:
            return
        if event_type == DELETED_EVENT:
            self._delete(observed.uid)
        else:
            self._store(observed, from_watch=True)

    def update(self, body: Mapping[str, Any]) -> None:
        """Store an object from a response of the API server."""
        if (observed := parse_object(body, self._cluster_name)) is not None:
            self._store(observed)

    def begin_list(self) -> int:
        """Begin an epoch, and return it. Call this before the LIST is requested."""
        with self._lock:
            return self._cache.begin_list()

    def replace(self, bodies: Iterable[Mapping[str, Any]], namespaces: Collection[str], epoch: int) -> bool:
        """Store the result of a LIST of the namespaces (empty: of all) that was begun at ``epoch``.

        Objects that were known before and are missing from it are fetched, to confirm that they are deleted.

        Returns:
            False if that could not be confirmed; such objects stay until the next LIST.
        """
        listed = [each for body in bodies if (each := parse_object(body, self._cluster_name)) is not None]
        for observed in sorted(listed, key=lambda each: each.age_key):
            self._store(observed, epoch)
        listed_uids = {each.uid for each in listed}
        self._deliver(listed_uids)
        with self._lock:
            known_before = self._cache.known_before(epoch, namespaces)
        missing = [each for each in known_before if each.uid not in listed_uids]
        return all(self._confirm_deletion(each) for each in missing)  # the first failure ends it

    def _confirm_deletion(self, observed: ObservedResource) -> bool:
        try:
            body = self._fetch(observed.namespace, observed.name)
        except MasterJobError as error:
            logger.debug("%s/%s may be deleted: %s", observed.namespace, observed.name, error)
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

    # --- delivery

    def start_delivery(self) -> None:
        """Deliver all known objects, the oldest first, and from now on every change."""
        with self._delivery_lock:
            if not self._is_delivering:
                self._is_delivering = True
                self._deliver([each.uid for each in self.all()])

    def resync(self) -> None:
        """Make the controller reconcile everything again."""
        if self._is_delivering:
            self._sink.resync()  # without the lock: it may take long, and must not delay events

    def _deliver(self, uids: Collection[str]) -> None:
        """Deliver the latest state of each object, one at a time: an older state never follows a newer one."""
        if not uids:
            return
        with self._delivery_lock:
            for uid in uids if self._is_delivering else ():
                try:
                    self._deliver_one(uid, self.get(uid), self._delivered.get(uid))
                except Exception:
                    logger.exception("a defect in the delivery of MasterJob %s; the next LIST repeats it", uid)

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
    """Log each error once, and its recovery once."""
    if observed.error is not None and observed.error != previous_error:
        logger.warning("%s; the last valid version stays in effect", observed.error)
    elif observed.error is None and previous_error is not None:
        logger.info("MasterJob %s/%s is valid again", observed.namespace, observed.name)
