"""Keeps the statuses of all MasterJobs up to date: level-triggered, by one thread, off the election's threads.

    a transition here, a notification, a resync   ->  the lock is queued, after a short delay
    the resource as last seen, then the database, then this instance's job   ->  the new status
    if it differs, and is this instance's to write (reconciler.py)   ->  one patch, which fails on a conflict

An API server that is slow, down or refuses delays nothing else: what was not written is queued again.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from masterjob.concurrency.backoff import Backoff
from masterjob.concurrency.clock import clock
from masterjob.concurrency.workqueue import Workqueue
from masterjob.election.core.actions import RecordTransition
from masterjob.election.core.commands import ListSessions
from masterjob.election.core.events import Failure, JobRunChanged, LocksChanged, Reply
from masterjob.election.observers import Step
from masterjob.election.values import SessionList
from masterjob.errors import StoreUnavailable
from masterjob.job_status import RunPhase
from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.errors import ApiUnavailable
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status import event_recorder
from masterjob.kube.status.event_recorder import EventRecorder
from masterjob.kube.status.heartbeats import OverdueHeartbeats
from masterjob.kube.status.own_runs import OwnRuns
from masterjob.kube.status.reconciler import RETRY_WITH_BACKOFF, ControllerView, StatusReconciler
from masterjob.lock_status import LockStatus

logger = logging.getLogger("masterjob")

_BATCH_SIZE = 500
_MAX_CONSECUTIVE_FAILURES = 3
"""After this many failed writes in a row, the API server is taken to be down."""


@dataclass(frozen=True, slots=True)
class StatusTimings:
    """Delays in seconds; a pair is a range, from which each delay is drawn at random."""

    coalesce_delay: float = 0.2
    """From a transition here to its status, so that what belongs together is one write, and is in the database."""
    stop_delay: float = 0.4
    """From the start of a stop to the status that shows it; most stops are over by then."""
    remote_change_delay: tuple[float, float] = (0.5, 2.5)
    """From a change by another instance to our check; that instance has usually written the status by then."""
    full_scan_delay: tuple[float, float] = (1.0, 5.0)
    """From a notification that names no lock to a check of all locks."""
    outage_scan_delay: tuple[float, float] = (8.0, 12.0)
    """From a failure of the database to a check of all locks."""
    resync_period: tuple[float, float] = (240.0, 360.0)
    """Between two checks of all locks without a notification."""
    min_backoff: float = 0.5
    max_backoff: float = 5.0
    """While the API server is down."""


class StatusWriter:
    """Keeps the status of every resource in ``informer`` up to date. All methods may be called from any thread.

    ``read_locks`` reads locks by name from the database. ``instance`` is the reporting instance of Events.
    ``on_outcome`` is called, on the writer's thread, with the outcome of each write: written, unchanged, overtaken
    (by another writer), refused, or unavailable (no answer).
    """

    def __init__(  # noqa: PLR0913 - only a composition root calls it, with one collaborator each
        self,
        api: KubeApi,
        informer: Informer,
        read_locks: Callable[[Iterable[str]], Mapping[str, LockStatus]],
        controller: ControllerView,
        instance: str,
        *,
        on_outcome: Callable[[str], None],
        timings: StatusTimings | None = None,
    ) -> None:
        self._informer, self._read_locks, self._on_outcome = informer, read_locks, on_outcome
        self._timings = timings or StatusTimings()
        self._random = Random()  # noqa: S311 - jitter is not a secret
        self._own_runs = OwnRuns()
        self._heartbeats = OverdueHeartbeats()
        self._recorder = EventRecorder(api, instance)
        self._reconciler = StatusReconciler(api, informer, controller, self._own_runs, self._recorder, on_outcome)
        self._queue = Workqueue()
        self._resync_at = clock() + self._jitter(self._timings.resync_period)
        self._backoff = Backoff(self._timings.min_backoff, self._timings.max_backoff)
        self._api_failures = 0
        self._object_failures: Counter[tuple[str, str]] = Counter()
        """How many times in a row the status of an object could not be written."""
        self._is_database_down = False
        self._thread = threading.Thread(target=self._run, name="masterjob-status", daemon=True)

    # --- what is queued, and when

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Write what is queued at once, for up to ``timeout`` seconds, and end."""
        self._queue.drain()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def enqueue(self, lock_name: str) -> None:
        """Check a lock whose resource was reconciled: soon if this instance is its master, else later."""
        is_master = self._own_runs.is_master_of(lock_name)
        delay = self._timings.stop_delay / 2 if is_master else self._jitter(self._timings.remote_change_delay)
        self._queue.add(lock_name, delay=delay)

    def enqueue_all(self) -> None:
        """Check every lock once, after a short delay."""
        self._enqueue_all(self._timings.full_scan_delay)

    def _enqueue_all(self, delay_range: tuple[float, float]) -> None:
        lock_names = {each.lock_name for each in self._informer.all() if each.lock_name}
        self._queue.add(*lock_names, delay=self._jitter(delay_range))

    def on_step(self, step: Step) -> None:
        """Handle a step of this process's election."""
        for name in self._own_runs.track(step):
            own_run = self._own_runs.get(name)
            is_stopping = own_run is not None and own_run.phase is RunPhase.STOPPING
            delay = self._timings.stop_delay if is_stopping else self._timings.coalesce_delay
            self._queue.add(name, delay=delay)
        self._enqueue_events(step)
        match step.event:
            case LocksChanged(None):
                self.enqueue_all()
            case LocksChanged(frozenset() as lock_names):
                for name in lock_names:
                    self.enqueue(name)
            case Reply(ListSessions(), SessionList() as session_list):
                self._enqueue_locks_of(self._heartbeats.observe(session_list))
        if isinstance(step.event, Reply | Failure):
            self._track_database(is_answering=isinstance(step.event, Reply))

    def _enqueue_locks_of(self, instances: frozenset[str]) -> None:
        """Check the locks whose status names one of these masters."""
        for each in self._informer.all() if instances else ():
            if each.lock_name and each.status.get("master", {}).get("instance") in instances:
                self._queue.add(each.lock_name, delay=self._jitter(self._timings.remote_change_delay))

    def _enqueue_events(self, step: Step) -> None:
        for action in step.actions:
            if isinstance(action, RecordTransition):
                entry = action.entry
                self._queue.add(entry.lock_name, delay=self._timings.coalesce_delay)
                own_run = self._own_runs.get(entry.lock_name)
                for owner in self._informer.by_lock(entry.lock_name)[:1]:
                    self._recorder.enqueue(event_recorder.event_for_transition(owner, entry, own_run))
        if isinstance(step.event, JobRunChanged):
            for owner in self._informer.by_lock(step.event.term.lock_name)[:1]:
                self._recorder.enqueue(event_recorder.event_for_run(owner, step.event, step.instance))

    def _track_database(self, *, is_answering: bool) -> None:
        if is_answering == self._is_database_down:
            self._is_database_down = not is_answering
            self._enqueue_all(self._timings.full_scan_delay if is_answering else self._timings.outage_scan_delay)

    def _jitter(self, delay_range: tuple[float, float]) -> float:
        return self._random.uniform(*delay_range)

    # --- the thread

    def _run(self) -> None:
        while (lock_names := self._queue.get_batch(_BATCH_SIZE, max(0.0, self._resync_at - clock()))) is not None:
            try:
                self._process_batch(lock_names)
            except Exception:
                logger.exception("a defect while statuses were written; they are retried")
                self._queue.add(*lock_names, delay=self._timings.max_backoff)
            self._queue.done(*lock_names)

    def _process_batch(self, lock_names: list[str]) -> None:
        if clock() >= self._resync_at:
            self._resync_at = clock() + self._jitter(self._timings.resync_period)
            self.enqueue_all()
        try:
            self._reconcile_all(lock_names)
            self._recorder.flush()
            self._api_failures = 0
        except ApiUnavailable as error:
            logger.debug("statuses will be written later: %s", error)
            retry_after = min(error.retry_after or 0.0, self._timings.max_backoff)
            self._queue.pause(max(self._backoff.delay(self._api_failures), retry_after))
            self._queue.add(*lock_names)
            self._api_failures += 1

    def _reconcile_all(self, lock_names: list[str]) -> None:
        # The resources are read before the database, so that no status is older than the one that it replaces.
        observed = [each for name in lock_names for each in self._informer.by_lock(name)]
        if not observed:
            return
        locks, database_error = self._read_lock_statuses(lock_names)
        if database_error is not None:
            delay = self._timings.max_backoff + self._jitter(self._timings.remote_change_delay)
            self._queue.add(*lock_names, delay=delay)
        consecutive_failures = 0
        for each in observed:
            error = self._reconcile_one(each, locks.get(each.lock_name or ""), database_error)
            consecutive_failures = consecutive_failures + 1 if error is not None else 0
            if error is not None and consecutive_failures >= min(_MAX_CONSECUTIVE_FAILURES, len(observed)):
                for one in observed:  # the API server is down, which is not due to these objects
                    self._object_failures.pop((one.namespace, one.name), None)
                raise error

    def _read_lock_statuses(self, lock_names: list[str]) -> tuple[Mapping[str, LockStatus], str | None]:
        try:
            return self._read_locks(lock_names), None
        except StoreUnavailable as error:
            return {}, str(error)

    def _reconcile_one(
        self, observed: ObservedResource, lock: LockStatus | None, database_error: str | None
    ) -> ApiUnavailable | None:
        """Reconcile one object; its failure delays no other. Return the error if the API did not answer."""
        key, lock_name = (observed.namespace, observed.name), observed.lock_name or ""
        try:
            retry_after = self._reconciler.reconcile(observed, lock, database_error)
        except ApiUnavailable as error:
            self._on_outcome("unavailable")
            self._retry_later(key, lock_name)
            return error
        except Exception:
            logger.exception("a defect while the status of MasterJob %s/%s was written", *key)
            self._retry_later(key, lock_name)
            return None
        if retry_after is None:
            self._object_failures.pop(key, None)
        elif retry_after == RETRY_WITH_BACKOFF:
            self._retry_later(key, lock_name)
        else:
            self._queue.add(lock_name, delay=self._jitter((retry_after, 2 * retry_after)))
        return None

    def _retry_later(self, key: tuple[str, str], lock_name: str) -> None:
        """Retry the object, later each time: the API server may have just started, or may refuse it forever."""
        initial, maximum = self._timings.remote_change_delay, self._timings.resync_period
        backoff = Backoff(self._jitter(initial), self._jitter(maximum), factor=4.0)
        self._queue.add(lock_name, delay=backoff.delay(self._object_failures[key]))
        self._object_failures[key] += 1
