"""Reconciles the status of one MasterJob: computes it, decides whether this instance writes it, and patches it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from masterjob.concurrency.clock import clock
from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.errors import ApiConflict, ApiRefused
from masterjob.kube.informer.informer import Informer
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status import event_recorder
from masterjob.kube.status.build import build_status
from masterjob.kube.status.event_recorder import EventRecorder
from masterjob.kube.status.inputs import StatusInputs
from masterjob.kube.status.outages import Outages
from masterjob.kube.status.own_runs import OwnRuns
from masterjob.lock_status import LockStatus
from masterjob.resource.problems import ResourceProblem

logger = logging.getLogger("masterjob")

RETRY_WITH_BACKOFF = 0.0
"""Returned instead of a delay: retry later each time."""

_MASTER_WRITE_GRACE = 5.0
_FIRST_ELECTION_GRACE = 10.0
"""Seconds for which a new resource may have no status, so that its first one has its master."""
_RECORD_RETRY_DELAY = 0.2
_RECORD_GRACE = 3.0
"""Seconds for which the database may be behind this instance's run before the status follows the database."""
_DISABLE_GRACE = 5.0
"""Seconds for which a disable of the spec may be missing in the database before the status shows that. Its switch
is just being written, so a disable usually costs one write."""
_DATABASE_LAG_GRACE = 30.0
"""Seconds for which the database may be behind the status before the status follows it. It has lost the last
terms, in a failover or because it is another database, and a disabled lock would never get a higher term."""


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What the controller knows of a resource; ``applied_generation`` is the newest that the database has."""

    problem: ResourceProblem | None
    timing: Mapping[str, str | int] | None
    applied_generation: int


class ControllerView(Protocol):
    """What statuses need of the controller, which this package must not import."""

    def state_of(self, observed: ObservedResource) -> ControllerState:
        """Return what is known of a resource."""

    def requeue(self, observed: ObservedResource) -> None:
        """Write the switch of a resource again, which the database does not have."""


class StatusReconciler:
    """Writes statuses, one at a time, from one thread.

    ``on_outcome`` is called with the outcome of each: written, unchanged, overtaken or refused.
    """

    def __init__(
        self,
        api: KubeApi,
        informer: Informer,
        controller: ControllerView,
        own_runs: OwnRuns,
        recorder: EventRecorder,
        on_outcome: Callable[[str], None],
    ) -> None:
        self._api, self._informer, self._controller = api, informer, controller
        self._own_runs, self._recorder, self._on_outcome = own_runs, recorder, on_outcome
        self._outages = Outages()
        self._waits: dict[str, tuple[float, float]] = {}
        """By uid: for how long its status waits for something that is missing, and since when."""
        self._refused_objects: set[tuple[str, str]] = set()

    def reconcile(
        self, observed: ObservedResource, lock: LockStatus | None, database_error: str | None
    ) -> float | None:
        """Write the status if it differs and this instance has to write it.

        Returns:
            the seconds until it must be reconciled again, `RETRY_WITH_BACKOFF`, or None if it is up to date.

        Raises:
            ApiUnavailable: the API server gave no answer.
        """
        inputs = self._read_inputs(observed, lock)
        now = datetime.now(UTC)
        if inputs.is_disable_pending:
            self._controller.requeue(observed)
        if database_error is not None:
            return self._report_outage(inputs, now)
        self._outages.end(observed.uid)
        if inputs.is_left_to_master(now):
            return _MASTER_WRITE_GRACE
        if (grace_left := self._grace_left(inputs)) > 0:
            return grace_left
        retry_after = self._write(observed, build_status(inputs, now))
        is_final = retry_after is not None or inputs.is_run_recorded
        return retry_after if is_final else _RECORD_GRACE

    def _read_inputs(self, observed: ObservedResource, lock: LockStatus | None) -> StatusInputs:
        state = self._controller.state_of(observed)
        return StatusInputs(
            observed,
            lock,
            problem=state.problem,
            newest_run=self._own_runs.get(observed.lock_name or ""),
            timing=state.timing,
            applied_generation=state.applied_generation,
        )

    def _report_outage(self, inputs: StatusInputs, now: datetime) -> float | None:
        observed = inputs.observed
        access, retry_after = self._outages.assess(observed, inputs.own_run)
        if access is None:
            return retry_after or None
        status = build_status(replace(inputs, database=access), now)
        failed = self._write(observed, status)
        if failed is None:
            self._outages.record_report(observed.uid, status)
        return failed

    def _grace_left(self, inputs: StatusInputs) -> float:
        """Return for how many seconds not to write, because what is missing is on its way."""
        uid, grace = inputs.observed.uid, _grace(inputs)
        if not grace:
            self._waits.pop(uid, None)
            return 0.0
        known_grace, since = self._waits.get(uid, (0.0, 0.0))
        if known_grace != grace:
            since = clock()
            self._waits[uid] = grace, since
        grace_left = since + grace - clock()
        return min(grace_left, _RECORD_RETRY_DELAY) if grace == _RECORD_GRACE else grace_left

    def _write(self, observed: ObservedResource, status: Mapping[str, Any]) -> float | None:
        if status == observed.status:
            self._on_outcome("unchanged")
            return None
        key = observed.namespace, observed.name
        try:
            body = self._api.patch_status(*key, observed.resource_version, status)
        except ApiConflict:
            return self._refresh_after_conflict(*key)
        except ApiRefused as error:
            return self._record_refusal(key, error)
        if body is not None:  # else the object is gone
            self._on_outcome("written")
            self._refused_objects.discard(key)
            self._informer.update(body)
            for event in event_recorder.events_for_status(observed, status):
                self._recorder.enqueue(event)
        return None

    def _refresh_after_conflict(self, namespace: str, name: str) -> float:
        self._on_outcome("overtaken")
        if (body := self._api.get(namespace, name)) is not None:
            self._informer.update(body)
        return RETRY_WITH_BACKOFF

    def _record_refusal(self, key: tuple[str, str], error: ApiRefused) -> float:
        self._on_outcome("refused")
        if key not in self._refused_objects:
            self._refused_objects.add(key)
            logger.warning("the status of MasterJob %s/%s cannot be written: %s", *key, error)
        return RETRY_WITH_BACKOFF


def _grace(inputs: StatusInputs) -> float:
    """Return how long the status may wait for something that is missing; 0 if nothing is."""
    if inputs.is_database_behind:
        return _DATABASE_LAG_GRACE
    if inputs.is_disable_pending:
        return _DISABLE_GRACE
    if inputs.is_first_election_pending:
        return _FIRST_ELECTION_GRACE
    return 0.0 if inputs.is_run_recorded else _RECORD_GRACE
