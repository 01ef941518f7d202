"""Tells of one resource: what its status is to be, whether that is for us to say, and the patch.

What must not be here: when to look, and at what.

Source: design section 6.3.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from masterjob.concurrency.clock import clock
from masterjob.kube.api.errors import ApiConflict, ApiRefused
from masterjob.kube.informer.object import ObservedResource
from masterjob.kube.status import event_recorder
from masterjob.kube.status.build import build_status, can_report, is_database_behind, is_left_to_master
from masterjob.kube.status.event_recorder import EventRecorder, EventsApi
from masterjob.kube.status.inputs import StatusInputs, StatusProblem
from masterjob.kube.status.job_tracker import JobTracker
from masterjob.lock_status import LockStatus

logger = logging.getLogger("masterjob")

RETRY_WITH_BACKOFF = 0.0
"""An answer to "when to look again": later each time."""

_MASTER_WRITE_GRACE = 5.0
_DISABLE_GRACE = 5.0
"""Seconds for which a disable of the spec may be missing in the database before that is told: its switch is just
being written, and what came of it costs one write."""
_DATABASE_LAG_GRACE = 30.0
"""Seconds for which a database may be behind the status before it is believed all the same: it has lost the last
terms, in a failover or since it is another one, and a disabled lock would never see a higher one."""


@dataclass(frozen=True, slots=True)
class StatusTimings:
    """How long what takes, in seconds; two are the least and the most."""

    coalesce_delay: float = 0.05
    """From a transition of ours to its status: what belongs together is written together."""
    stop_delay: float = 0.4
    """That a stop may take before it is told of in between."""
    remote_change_delay: tuple[float, float] = (0.5, 2.5)
    """After which an instance looks that did nothing itself: by then whoever did has written."""
    full_scan_delay: tuple[float, float] = (1.0, 5.0)
    """Until every lock is looked at after a hint that says no more."""
    outage_scan_delay: tuple[float, float] = (8.0, 12.0)
    """The same after the database has fallen silent."""
    resync_period: tuple[float, float] = (240.0, 360.0)
    """Between two looks at everything that need no hint."""
    min_backoff: float = 0.5
    max_backoff: float = 5.0
    """While the API server is down."""


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller knows of a resource; ``applied_generation`` is the generation whose switch the
    database has.
    """

    problem: StatusProblem | None
    timing: Mapping[str, str | int] | None
    applied_generation: int


class ControllerView(Protocol):
    """The controller, as far as statuses go."""

    def state_of(self, observed: ObservedResource) -> ControllerState:
        """Return what is known of a resource."""

    def requeue(self, observed: ObservedResource) -> None:
        """Have the switch of a resource written again, which the database does not have."""


class StatusApi(EventsApi, Protocol):
    """What is asked of the API server."""

    def get(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return the object as it is; None where there is none."""

    def patch_status(
        self, namespace: str, name: str, resource_version: str, status: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        """Write the whole status, and return the object; raises `ApiConflict` where somebody was faster."""


class InformerView(Protocol):
    """The resources as they were seen last."""

    def by_lock(self, name: str) -> list[ObservedResource]:
        """Return those that name the lock, the oldest first."""

    def all(self) -> list[ObservedResource]:
        """Return all."""

    def update(self, body: Mapping[str, Any]) -> None:
        """Take in an answer of the API server."""


class StatusReconciler:
    """Writes statuses, one at a time; used by one thread."""

    def __init__(
        self,
        api: StatusApi,
        informer: InformerView,
        controller: ControllerView,
        job_tracker: JobTracker,
        recorder: EventRecorder,
        count_outcome: Callable[[str], None],
    ) -> None:
        self._api, self._informer, self._controller = api, informer, controller
        self._job_tracker, self._recorder, self._count_outcome = job_tracker, recorder, count_outcome
        self._lagging_since: dict[str, float] = {}
        """Since when the database is behind what the spec or the status of an object has."""
        self._refused_objects: set[tuple[str, str]] = set()

    def reconcile(
        self, observed: ObservedResource, lock: LockStatus | None, database_error: str | None
    ) -> float | None:
        """Have the status be as it is to be; return in how many seconds to look again, None where all is done.

        Raises:
            ApiUnavailable: the API server gave no answer.
        """
        controller_state = self._controller.state_of(observed)
        job_state = self._job_tracker.state_of(observed.lock_name or "")
        inputs = StatusInputs(
            observed,
            lock,
            database_error,
            controller_state.problem,
            job_state,
            controller_state.timing,
            controller_state.applied_generation,
        )
        now = datetime.now(UTC)
        if inputs.is_disable_pending:
            self._controller.requeue(observed)
        if not can_report(inputs):
            return None
        if is_left_to_master(inputs, now):
            return _MASTER_WRITE_GRACE
        if (grace_left := self._database_grace_left(inputs)) > 0:
            return grace_left
        return self._write(observed, build_status(inputs, now))

    def _database_grace_left(self, inputs: StatusInputs) -> float:
        uid = inputs.observed.uid
        grace = (
            _DATABASE_LAG_GRACE
            if is_database_behind(inputs)
            else _DISABLE_GRACE
            if inputs.is_disable_pending
            else None
        )
        if grace is None:
            self._lagging_since.pop(uid, None)
            return 0.0
        return self._lagging_since.setdefault(uid, clock()) + grace - clock()

    def _write(self, observed: ObservedResource, status: Mapping[str, Any]) -> float | None:
        if status == observed.status:
            self._count_outcome("unchanged")
            return None
        key = observed.namespace, observed.name
        try:
            body = self._api.patch_status(*key, observed.resource_version, status)
        except ApiConflict:
            return self._refresh_after_conflict(*key)
        except ApiRefused as error:
            return self._record_refusal(key, error)
        if body is not None:  # else it is gone
            self._count_outcome("written")
            self._refused_objects.discard(key)
            self._informer.update(body)
            for event in event_recorder.events_for_status(observed, status):
                self._recorder.enqueue(event)
        return None

    def _refresh_after_conflict(self, namespace: str, name: str) -> float:
        self._count_outcome("overtaken")
        if (body := self._api.get(namespace, name)) is not None:
            self._informer.update(body)
        return RETRY_WITH_BACKOFF

    def _record_refusal(self, key: tuple[str, str], error: ApiRefused) -> float:
        self._count_outcome("refused")
        if key not in self._refused_objects:
            self._refused_objects.add(key)
            logger.warning("the status of MasterJob %s/%s cannot be written: %s", *key, error)
        return RETRY_WITH_BACKOFF
