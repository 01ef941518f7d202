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

from masterjob.election.values import Entry
from masterjob.election.values import Kind as Told
from masterjob.kube.api.answers import ApiRefused, ApiUnavailable
from masterjob.kube.follow.observed import Observed
from masterjob.kube.status.conditions import Kind, Reason, find

logger = logging.getLogger("masterjob")

CONTROLLER = "masterjob.io/controller"

_MOST = 1_000
_TRIES = 5
_NOTE_BYTES = 1_000
_SUBDOMAIN_LIMIT = 253
_REASONS = {
    Told.ELECTED: "Elected",
    Told.STEPPED_DOWN: "SteppedDown",
    Told.EVICTED: "Evicted",
    Told.START_FAILED: "JobFailed",
    Told.OVERRUN: "JobOverrun",
}
_WARNINGS = ("Evicted", "JobFailed", "JobOverrun", "Conflict")


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a resource. ``once`` is what sets it apart from the same at another time."""

    observed: Observed
    reason: str
    note: str
    once: str

    def body(self, instance: str, now: datetime) -> dict[str, Any]:
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
            "type": "Warning" if self.reason in _WARNINGS else "Normal",
            "reason": self.reason,
            "action": "Election",
            "note": self.note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
            "eventTime": now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": CONTROLLER,
            "reportingInstance": instance[:128],
        }

    @property
    def _name(self) -> str:
        told = f"{self.observed.uid} {self.reason} {self.once}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        return f"{self.observed.name[: _SUBDOMAIN_LIMIT - 17].rstrip('-.')}.{digest}"


def of_transition(observed: Observed, entry: Entry) -> Event | None:
    """Return the Event of a line of the history; the switch has none there, since anybody may have turned it."""
    reason = _REASONS.get(entry.kind)
    return None if reason is None else Event(observed, reason, entry.reason, str(entry.term))


def of_status(observed: Observed, after: Mapping[str, Any]) -> list[Event]:
    """Return the Events of a status that was just written over the one before, by whoever wrote it."""
    return [event for event in (_switched(observed, after), _conflict(observed, after)) if event is not None]


def _switched(observed: Observed, after: Mapping[str, Any]) -> Event | None:
    if (disabled := after.get("disabled")) is not None:
        if "disabled" in observed.status:
            return None
        note = f"disabled by {disabled['actor']}: {disabled['reason']}"
        return Event(observed, "Disabled", note, f"since {disabled['since']}")
    was, now = find(observed.status, Kind.ENABLED), find(after, Kind.ENABLED)
    if (was.get("status"), now.get("status")) != ("False", "True"):
        return None  # it was never disabled, or the database does not say
    return Event(observed, "Enabled", str(now["message"]), f"since {now['lastTransitionTime']}")


def _conflict(observed: Observed, after: Mapping[str, Any]) -> Event | None:
    was, now = find(observed.status, Kind.READY), find(after, Kind.READY)
    if now.get("reason") != Reason.CONFLICT or was.get("reason") == Reason.CONFLICT:
        return None
    return Event(observed, "Conflict", str(now["message"]), f"since {now['lastTransitionTime']}")


class EventApi(Protocol):
    """What is asked of the API server."""

    def create_event(self, namespace: str, body: Mapping[str, Any]) -> bool:
        """Create an Event; False where it is there already."""


class Post:
    """Events on their way, the oldest first; of too many the oldest are dropped."""

    def __init__(self, api: EventApi, instance: str) -> None:
        self._api, self._instance = api, instance
        self._waiting: deque[tuple[Event, int]] = deque(maxlen=_MOST)

    def add(self, event: Event) -> None:
        """Have it sent; from any thread."""
        self._waiting.append((event, 1))

    def send(self) -> None:
        """Send what waits; one that gets no answer waits behind the others, and is dropped after some tries.

        Raises:
            ApiUnavailable: one of them got no answer.
        """
        for _ in range(len(self._waiting)):
            event, tries = self._waiting.popleft()
            try:
                self._api.create_event(event.observed.namespace, event.body(self._instance, datetime.now(UTC)))
            except ApiRefused as error:  # an API server that has just started refuses everybody
                self._again(event, tries, error)
            except ApiUnavailable as error:
                self._again(event, tries, error)
                raise

    def _again(self, event: Event, tries: int, error: Exception) -> None:
        if tries < _TRIES:
            self._waiting.append((event, tries + 1))
        else:
            logger.warning("an Event of MasterJob %s is given up: %s", event.observed.name, error)
