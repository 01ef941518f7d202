"""Kubernetes Events of what happens to a MasterJob, each one once: the instance that did it tells.

The name of an Event follows from what it tells. Where two instances come to tell the same, the API server has it
once. They are hints for people, kept for a while and then given up; the history in the database is the record.

Source: design section 6.3, and events.k8s.io/v1.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from masterjob.election.values import HistoryEntry, TransitionKind
from masterjob.kube.api.errors import ApiRefused, ApiUnavailable
from masterjob.kube.informer.object import ObservedResource
from masterjob.kube.status.conditions import ConditionReason, ConditionType, find_condition
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
    TransitionKind.START_FAILED: "JobFailed",
    TransitionKind.OVERRUN: "JobOverrun",
}
_WARNING_REASONS = ("Evicted", "JobFailed", "JobOverrun", "Conflict")


@dataclass(frozen=True, slots=True)
class KubeEvent:
    """What happened to a resource. ``dedup_key`` is what sets it apart from the same at another time."""

    observed: ObservedResource
    reason: str
    note: str
    dedup_key: str

    def to_body(self, instance: str, now: datetime) -> dict[str, Any]:
        """Return the object to be created; ``instance`` is who tells."""
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
            "type": "Warning" if self.reason in _WARNING_REASONS else "Normal",
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


def event_for_transition(observed: ObservedResource, entry: HistoryEntry) -> KubeEvent | None:
    """Return the Event of a line of the history; the switch has none there, since anybody may have turned it."""
    reason = _EVENT_REASONS.get(entry.kind)
    return None if reason is None else KubeEvent(observed, reason, entry.reason, str(entry.term))


def events_for_status(observed: ObservedResource, new_status: Mapping[str, Any]) -> list[KubeEvent]:
    """Return the Events of a status that was just written over the one before, by whoever wrote it."""
    return [
        event
        for event in (_switch_event(observed, new_status), _conflict_event(observed, new_status))
        if event is not None
    ]


def _switch_event(observed: ObservedResource, new_status: Mapping[str, Any]) -> KubeEvent | None:
    if (disabled := new_status.get("disabled")) is not None:
        if "disabled" in observed.status:
            return None
        note = f"disabled by {disabled['actor']}: {disabled['reason']}"
        return KubeEvent(observed, "Disabled", note, f"since {disabled['since']}")
    old_condition, new_condition = (
        find_condition(observed.status, ConditionType.ENABLED),
        find_condition(new_status, ConditionType.ENABLED),
    )
    if (old_condition.get("status"), new_condition.get("status")) != ("False", "True"):
        return None  # it was never disabled, or the database does not say
    return KubeEvent(
        observed, "Enabled", str(new_condition["message"]), f"since {new_condition['lastTransitionTime']}"
    )


def _conflict_event(observed: ObservedResource, new_status: Mapping[str, Any]) -> KubeEvent | None:
    old_condition, new_condition = (
        find_condition(observed.status, ConditionType.READY),
        find_condition(new_status, ConditionType.READY),
    )
    if (
        new_condition.get("reason") != ConditionReason.CONFLICT
        or old_condition.get("reason") == ConditionReason.CONFLICT
    ):
        return None
    return KubeEvent(
        observed, "Conflict", str(new_condition["message"]), f"since {new_condition['lastTransitionTime']}"
    )


class EventsApi(Protocol):
    """What is asked of the API server."""

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event; False where it is there already."""


class EventRecorder:
    """Events on their way, the oldest first; of too many the oldest are dropped."""

    def __init__(self, api: EventsApi, instance: str) -> None:
        self._api, self._instance = api, instance
        self._pending: deque[tuple[KubeEvent, int]] = deque(maxlen=_MAX_PENDING)

    def enqueue(self, event: KubeEvent) -> None:
        """Have it sent; from any thread."""
        self._pending.append((event, 1))

    def flush(self) -> None:
        """Send what waits; one that gets no answer waits behind the others, and is dropped after some tries.

        Raises:
            ApiUnavailable: one of them got no answer.
        """
        for _ in range(len(self._pending)):
            event, attempts = self._pending.popleft()
            try:
                self._api.create_event(event.observed.namespace, event.to_body(self._instance, datetime.now(UTC)))
            except ApiRefused as error:  # an API server that has just started refuses everybody
                self._retry_or_drop(event, attempts, error)
            except ApiUnavailable as error:
                self._retry_or_drop(event, attempts, error)
                raise

    def _retry_or_drop(self, event: KubeEvent, attempts: int, error: Exception) -> None:
        if attempts < _MAX_ATTEMPTS:
            self._pending.append((event, attempts + 1))
        else:
            logger.warning("an Event of MasterJob %s is given up: %s", event.observed.name, error)
