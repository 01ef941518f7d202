"""Kubernetes Events about a MasterJob, each created once, by the instance that caused what they report.

The name of an Event is derived from what it reports. If two instances report the same, the API server keeps one.
Events are hints for people, and are dropped after some attempts; the history in the database is the record.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from masterjob.election.core.events import JobRunChanged
from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.job_status import RunPhase
from masterjob.kube.api.client import KubeApi
from masterjob.kube.api.errors import ApiRefused, ApiUnavailable
from masterjob.kube.informer.observed_resource import ObservedResource
from masterjob.kube.status.conditions import ConditionReason, ConditionType, find_condition
from masterjob.kube.status.own_runs import OwnRun
from masterjob.lock_status import format_timestamp

logger = logging.getLogger("masterjob")

CONTROLLER = "masterjob.io/controller"

_MAX_PENDING = 1_000
_MAX_ATTEMPTS = 5
_NOTE_BYTE_LIMIT = 1_000
_SUBDOMAIN_LIMIT = 253
_EVENT_REASONS = {
    TransitionKind.ELECTED: "Elected",
    TransitionKind.STEPPED_DOWN: "SteppedDown",
    TransitionKind.EVICTED: "Evicted",
    TransitionKind.OVERRUN: "JobOverrun",
}
_WARNING_REASONS = ("Evicted", "StartFailed", "JobOverrun", "Stalled", "Conflict", "Invalid", "UnknownJob")
_PROBLEM_REASONS = (ConditionReason.CONFLICT, ConditionReason.INVALID, ConditionReason.UNKNOWN_JOB)


@dataclass(frozen=True, slots=True)
class KubeEvent:
    """Something that happened to a resource; ``dedup_key`` distinguishes it from the same at another time."""

    observed: ObservedResource
    reason: str
    note: str
    dedup_key: str
    is_loss: bool = False
    """Whether a mastership was lost, which is a warning whatever the reason."""

    def to_body(self, instance: str, now: datetime) -> dict[str, Any]:
        """Return the API object; ``instance`` is the reporting instance."""
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": self._name, "namespace": self.observed.namespace},
            "regarding": {
                "apiVersion": "masterjob.io/v1alpha1",
                "kind": "MasterJob",
                "name": self.observed.name,
                "namespace": self.observed.namespace,
                "uid": self.observed.uid,
            },
            "type": "Warning" if self.is_loss or self.reason in _WARNING_REASONS else "Normal",
            "reason": self.reason,
            "action": "Election",
            "note": self.note.encode()[:_NOTE_BYTE_LIMIT].decode(errors="ignore"),
            "eventTime": format_timestamp(now, "microseconds"),
            "reportingController": CONTROLLER,
            "reportingInstance": instance[:128],
        }

    @property
    def _name(self) -> str:
        identity = f"{self.observed.uid} {self.reason} {self.dedup_key}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return f"{self.observed.name[: _SUBDOMAIN_LIMIT - 17].rstrip('-.')}.{digest}"


def event_for_transition(
    observed: ObservedResource, entry: HistoryEntry, own_run: OwnRun | None
) -> KubeEvent | None:
    """Return the Event of a history entry, or None for a switch, which any program may have changed.

    ``own_run`` is the newest run of this instance. Failures have an Event each: see `event_for_run`.
    """
    reason = _EVENT_REASONS.get(entry.kind)
    if reason is None:
        return None
    is_own_end = entry.kind is TransitionKind.STEPPED_DOWN and own_run is not None and own_run.term == entry.term
    is_loss = is_own_end and own_run is not None and own_run.is_lost
    return KubeEvent(observed, reason, entry.reason, str(entry.term), is_loss)


def event_for_run(observed: ObservedResource, change: JobRunChanged, instance: str) -> KubeEvent | None:
    """Return the Event of a run of this instance that has failed or completed, else None."""
    term, run = change.term, change.run
    key = f"{term.number} {run.restarts}"
    match run.phase:
        case RunPhase.FAILED:
            return KubeEvent(
                observed, "StartFailed", f"{term.lock_name} failed on {instance}: {run.last_error}", key
            )
        case RunPhase.COMPLETED:
            return KubeEvent(observed, "Completed", f"{term.lock_name} has completed on {instance}", key)
    return None


def events_for_status(observed: ObservedResource, new_status: Mapping[str, Any]) -> list[KubeEvent]:
    """Return the Events of a status that this instance has just written over the one in ``observed``."""
    candidates = (_switch_event, _problem_event, _stalled_event)
    return [event for create in candidates if (event := create(observed, new_status)) is not None]


def _switch_event(observed: ObservedResource, new_status: Mapping[str, Any]) -> KubeEvent | None:
    old = find_condition(observed.status, ConditionType.ENABLED)
    new = find_condition(new_status, ConditionType.ENABLED)
    if (disabled := new_status.get("disabled")) is not None:
        if "disabled" in observed.status or new.get("reason") == ConditionReason.COMPLETED:
            return None
        note = f"disabled by {disabled['actor']}: {disabled['reason']}"
        return KubeEvent(observed, "Disabled", note, f"since {disabled['since']}")
    if (old.get("status"), new.get("status")) != ("False", "True"):
        return None  # it was never disabled, or the database is not known to have it
    return KubeEvent(observed, "Enabled", str(new["message"]), f"since {new['lastTransitionTime']}")


def _problem_event(observed: ObservedResource, new_status: Mapping[str, Any]) -> KubeEvent | None:
    old = find_condition(observed.status, ConditionType.READY)
    new = find_condition(new_status, ConditionType.READY)
    if new.get("reason") not in _PROBLEM_REASONS or old.get("reason") == new.get("reason"):
        return None
    return KubeEvent(observed, str(new["reason"]), str(new["message"]), observed.resource_version)


def _stalled_event(observed: ObservedResource, new_status: Mapping[str, Any]) -> KubeEvent | None:
    old = find_condition(observed.status, ConditionType.STALLED)
    new = find_condition(new_status, ConditionType.STALLED)
    if new.get("reason") != ConditionReason.START_FAILED or old.get("reason") == new.get("reason"):
        return None  # the other reasons have Events of their own
    return KubeEvent(observed, "Stalled", str(new["message"]), observed.resource_version)


class EventRecorder:
    """A queue of Events to create, the oldest first. If there are too many, the oldest are dropped."""

    def __init__(self, api: KubeApi, instance: str) -> None:
        self._api, self._instance = api, instance
        self._pending: deque[tuple[KubeEvent, int]] = deque(maxlen=_MAX_PENDING)

    def enqueue(self, event: KubeEvent | None) -> None:
        """Queue the Event, if there is one; callable from any thread."""
        if event is not None:
            self._pending.append((event, 1))

    def flush(self) -> None:
        """Create the queued Events; one that fails goes to the end of the queue, and is dropped in the end.

        Raises:
            ApiUnavailable: one of them got no answer.
        """
        for _ in range(len(self._pending)):
            event, attempts = self._pending.popleft()
            try:
                self._api.create_event(event.observed.namespace, event.to_body(self._instance, datetime.now(UTC)))
            except ApiRefused as error:  # an API server refuses all requests for a moment after its start
                self._retry_or_drop(event, attempts, error)
            except ApiUnavailable as error:
                self._retry_or_drop(event, attempts, error)
                raise

    def _retry_or_drop(self, event: KubeEvent, attempts: int, error: Exception) -> None:
        if attempts < _MAX_ATTEMPTS:
            self._pending.append((event, attempts + 1))
        else:
            logger.warning("an Event of MasterJob %s is dropped: %s", event.observed.name, error)
