"""Writes the status of MasterJobs: level-based, only what differs, by one thread, off the election's threads.

    a transition of ours, a hint, a slow round   ->  a look at the lock, after a moment
    a look: the resource as it was seen last, then the database, then what we do   ->  the status to be
    (reconciler.py) if it differs, and it is for us to tell it   ->  one patch that fails if somebody was faster

An API server that is slow, down or refuses holds up nobody: what was not written is looked at again.

Source: design section 6.3.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random

from masterjob.concurrency.clock import clock
from masterjob.election.core.events import LocksChanged
from masterjob.election.observers import Step
from masterjob.errors import StoreUnavailable
from masterjob.kube.api.errors import ApiUnavailable
from masterjob.kube.informer.object import ObservedResource
from masterjob.kube.status import event_recorder
from masterjob.kube.status.event_recorder import EventRecorder
from masterjob.kube.status.job_tracker import JobTracker, history_entries, is_database_answering
from masterjob.kube.status.reconciler import (
    ControllerView,
    InformerView,
    StatusApi,
    StatusReconciler,
    StatusTimings,
)
from masterjob.kube.status.workqueue import BatchWorkqueue
from masterjob.lock_status import LockStatus

logger = logging.getLogger("masterjob")

_BATCH_SIZE = 500
_MAX_CONSECUTIVE_FAILURES = 3
"""So many objects in a row that could not be written are no accident: the API server is down."""


class StatusWriter:
    """Keeps the status of every resource in ``informer`` right. All methods may be called from any thread.

    ``read_locks`` reads locks in the database by their names; ``controller`` is what the controller knows.
    ``on_outcome`` is called with the outcome of each write.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - only a composition root calls it, with one collaborator each
        self,
        api: StatusApi,
        informer: InformerView,
        read_locks: Callable[[Iterable[str]], Mapping[str, LockStatus]],
        controller: ControllerView,
        instance: str,
        on_outcome: Callable[[str], None],
        timings: StatusTimings | None = None,
    ) -> None:
        self.outcome_counts: Counter[str] = Counter()
        """How many statuses were written, unchanged, overtaken, refused, or not written since the API was down."""
        self._informer, self._read_locks, self._on_outcome = informer, read_locks, on_outcome
        self._timings = timings or StatusTimings()
        self._random = Random()  # noqa: S311 - jitter is no secret
        self._job_tracker = JobTracker()
        self._queue = BatchWorkqueue()
        self._recorder = EventRecorder(api, instance)
        self._reconciler = StatusReconciler(
            api, informer, controller, self._job_tracker, self._recorder, self._count_outcome
        )
        self._resync_at = clock() + self._jitter(self._timings.resync_period)
        self._backoff = 0.0
        self._failures: Counter[tuple[str, str]] = Counter()
        """How many times in a row the status of an object could not be written."""
        self._is_database_down = False
        self._thread = threading.Thread(target=self._run, name="masterjob status", daemon=True)

    # --- what there is to tell

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Write at once what there is to tell, for so many seconds at most, and end."""
        self._queue.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def enqueue(self, lock_name: str) -> None:
        """Look at a lock whose resource was acted upon; its master at once, others a moment later."""
        is_master = self._job_tracker.is_master_of(lock_name)
        self._queue.add_after(
            [lock_name],
            self._timings.stop_delay / 2 if is_master else self._jitter(self._timings.remote_change_delay),
        )

    def enqueue_all(self) -> None:
        """Look at every lock, once, in a moment."""
        self._enqueue_all(self._timings.full_scan_delay)

    def _enqueue_all(self, delay_range: tuple[float, float]) -> None:
        lock_names = {each.lock_name for each in self._informer.all() if each.lock_name}
        self._queue.add_after(lock_names, self._jitter(delay_range))

    def on_step(self, step: Step) -> None:
        """Take in a step of this process's election."""
        for name in self._job_tracker.track(step):
            job_state = self._job_tracker.state_of(name)
            is_stopping = job_state is not None and job_state.phase == "stopping"
            self._queue.add_after(
                [name], self._timings.stop_delay if is_stopping else self._timings.coalesce_delay
            )
        for entry in history_entries(step):
            self._queue.add_after([entry.lock_name], self._timings.coalesce_delay)
            resource = next(iter(self._informer.by_lock(entry.lock_name)), None)
            if (
                resource is not None
                and (event := event_recorder.event_for_transition(resource, entry)) is not None
            ):
                self._recorder.enqueue(event)
        if isinstance(step.event, LocksChanged):
            self._on_locks_changed(step.event.lock_names)
        self._track_database(is_database_answering(step))

    def _on_locks_changed(self, lock_names: frozenset[str] | None) -> None:
        if lock_names is None:
            self.enqueue_all()
        else:
            for name in lock_names:
                self.enqueue(name)

    def _track_database(self, is_answering: bool | None) -> None:
        """A database that fell silent, or speaks again, concerns every lock."""
        if is_answering is not None and is_answering == self._is_database_down:
            self._is_database_down = not is_answering
            self._enqueue_all(self._timings.full_scan_delay if is_answering else self._timings.outage_scan_delay)

    def _jitter(self, delay_range: tuple[float, float]) -> float:
        return self._random.uniform(*delay_range)

    def _count_outcome(self, outcome: str) -> None:
        self.outcome_counts[outcome] += 1
        self._on_outcome(outcome)

    # --- the thread

    def _run(self) -> None:
        while (lock_names := self._queue.get_batch(_BATCH_SIZE, max(0.0, self._resync_at - clock()))) is not None:
            try:
                self._process_batch(lock_names)
            except Exception:
                logger.exception("a defect while statuses were written; they are looked at again")
                self._queue.add_after(lock_names, self._timings.max_backoff)

    def _process_batch(self, lock_names: list[str]) -> None:
        if clock() >= self._resync_at:
            self._resync_at = clock() + self._jitter(self._timings.resync_period)
            self.enqueue_all()
        try:
            self._reconcile_all(lock_names)
            self._recorder.flush()
            self._backoff = 0.0
        except ApiUnavailable as error:
            self._backoff = min(max(2 * self._backoff, self._timings.min_backoff), self._timings.max_backoff)
            logger.debug("statuses are written later: %s", error)
            self._queue.pause(max(self._backoff, min(error.retry_after or 0.0, self._timings.max_backoff)))
            self._queue.add_after(lock_names, 0.0)

    def _reconcile_all(self, lock_names: list[str]) -> None:
        """The resources first, then the database: so no status can be older than the one it is written over."""
        observed = [each for name in lock_names for each in self._informer.by_lock(name)]
        if not observed:
            return
        locks, database_error = self._read_lock_statuses(lock_names)
        if database_error is not None:
            self._queue.add_after(
                lock_names, self._timings.max_backoff + self._jitter(self._timings.remote_change_delay)
            )
        consecutive_failures = 0
        for each in observed:
            error = self._reconcile_one(each, locks.get(each.lock_name or ""), database_error)
            consecutive_failures = consecutive_failures + 1 if error is not None else 0
            if error is not None and consecutive_failures >= min(_MAX_CONSECUTIVE_FAILURES, len(observed)):
                raise error

    def _read_lock_statuses(self, lock_names: list[str]) -> tuple[Mapping[str, LockStatus], str | None]:
        try:
            return self._read_locks(lock_names), None
        except StoreUnavailable as error:
            return {}, str(error)

    def _reconcile_one(
        self, observed: ObservedResource, lock: LockStatus | None, database_error: str | None
    ) -> ApiUnavailable | None:
        """Tell of one object; whatever is wrong with it holds up no other. Return why the API gave no answer."""
        key, lock_name = (observed.namespace, observed.name), observed.lock_name or ""
        try:
            retry_after = self._reconciler.reconcile(observed, lock, database_error)
        except ApiUnavailable as error:
            self._count_outcome("unavailable")
            self._retry_later(key, lock_name)
            return error
        except Exception:
            logger.exception("a defect while the status of MasterJob %s/%s was written", *key)
            self._retry_later(key, lock_name)
            return None
        if retry_after is None:
            self._failures.pop(key, None)
        elif retry_after:
            self._queue.add_after([lock_name], self._jitter((retry_after, 2 * retry_after)))
        else:
            self._retry_later(key, lock_name)
        return None

    def _retry_later(self, key: tuple[str, str], lock_name: str) -> None:
        """Each time later: an API server that has just started refuses everybody, and others refuse for good."""
        self._failures[key] += 1
        delay = self._jitter(self._timings.remote_change_delay) * 4.0 ** min(self._failures[key] - 1, 10)
        self._queue.add_after([lock_name], min(delay, self._jitter(self._timings.resync_period)))
