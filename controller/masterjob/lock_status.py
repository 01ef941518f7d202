"""A lock as people see it, and its history; as values, and as JSON for the command line and the control API alike.

The store reads these values; terminals, the control API and the status of MasterJobs show them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Any, Literal

LockState = Literal["Elected", "Vacant", "Stopping", "Disabled"]


@dataclass(frozen=True, slots=True)
class DisabledStatus:
    """A disable of a lock: who, why, since when and until when. Of several, the newest.

    ``source`` is the switch: ``api``, a file, or the uid of a MasterJob, whose ``NAMESPACE/NAME`` is ``resource``.
    """

    reason: str
    actor: str
    source: str
    since: datetime
    until: datetime | None
    resource: str = ""

    @property
    def by(self) -> str:
        """The actor, with the source if the actor does not name it."""
        return describe_actor(self.actor, self.source, self.resource)


@dataclass(frozen=True, slots=True)
class MasterStatus:
    """The master of a lock. ``heartbeat_age`` is in seconds; ``alive`` is False once the lease has expired."""

    instance: str
    address: str
    pod: str
    node: str
    since: datetime
    heartbeat_age: float
    alive: bool


@dataclass(frozen=True, slots=True)
class LockStatus:
    """The status of a lock. ``term`` is the number of its last term, 0 if it had none."""

    lock_name: str
    enabled: bool
    disabled: DisabledStatus | None
    master: MasterStatus | None
    term: int

    @property
    def state(self) -> LockState:
        """The state in one word: Elected, Vacant, Stopping or Disabled."""
        if not self.enabled:
            return "Stopping" if self.master is not None else "Disabled"
        return "Elected" if self.master is not None and self.master.alive else "Vacant"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event in the history of a lock."""

    at: datetime
    lock_name: str
    term: int | None
    kind: str
    instance: str | None
    actor: str | None
    reason: str
    vacant_for: timedelta | None = None
    """For an election: the time without a master before it, if the history has the end of the last term.

    The silence of a dead master before its eviction is not part of it; the reason of the eviction has that.
    """


def format_timestamp(time: datetime, precision: str = "seconds") -> str:
    """Return a time in RFC 3339, in UTC; ``precision`` is ``seconds``, ``milliseconds`` or ``microseconds``."""
    return time.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def describe_actor(actor: str, source: str, resource: str | None) -> str:
    """Return the actor of a switch, with the source if the actor does not name it."""
    return actor if resource or actor == source else f"{actor} ({source})"


def explain_how_to_enable(lock: LockStatus) -> str:
    """Return what ends the newest disable: a command, or an edit."""
    command = f"masterjob enable {quote(lock.lock_name)}"  # people paste it into a shell
    if lock.disabled is None or lock.disabled.source == "api":
        return command
    remove_source = f"or, if that is gone for good: {command} --source {quote(lock.disabled.source)}"
    if not lock.disabled.resource:
        return f"set enabled: true where {lock.disabled.source} was read from, {remove_source}"
    namespace, _, name = lock.disabled.resource.partition("/")
    patch = '\'{"spec":{"enabled":true}}\''
    return f"kubectl patch masterjob {name} -n {namespace} --type merge -p {patch}, {remove_source}"


# --- JSON


def lock_json(lock: LockStatus) -> dict[str, Any]:
    """Return the status of a lock as JSON."""
    return {
        "lockName": lock.lock_name,
        "state": lock.state,
        "enabled": lock.enabled,
        "term": lock.term,
        "master": None if lock.master is None else _master_json(lock.master),
        "disabled": None if lock.disabled is None else disabled_json(lock.disabled),
    }


def _master_json(master: MasterStatus) -> dict[str, Any]:
    return {
        "instance": master.instance,
        "address": master.address,
        "pod": master.pod,
        "node": master.node,
        "since": format_timestamp(master.since),
        "heartbeatAgeSeconds": round(master.heartbeat_age, 3),
        "alive": master.alive,
    }


def disabled_json(disabled: DisabledStatus) -> dict[str, Any]:
    """Return a disable as JSON."""
    return {
        "reason": disabled.reason,
        "actor": disabled.actor,
        "source": disabled.source,
        "since": format_timestamp(disabled.since),
        "until": None if disabled.until is None else format_timestamp(disabled.until),
    }


def event_json(event: HistoryEvent) -> dict[str, Any]:
    """Return an event of the history as JSON."""
    return {
        "at": format_timestamp(event.at),
        "lockName": event.lock_name,
        "term": event.term,
        "kind": event.kind,
        "instance": event.instance,
        "actor": event.actor,
        "reason": event.reason,
        "vacantForSeconds": None if event.vacant_for is None else round(event.vacant_for.total_seconds(), 3),
    }
