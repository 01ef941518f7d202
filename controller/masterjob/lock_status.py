"""A lock as people see it: who is master, since when, or why nobody may be; and what happened to it.

Values only: the store reads them, and terminals, pages and resources show them, each in its own way.

Source: design sections 3.1 and 6.1.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Literal

LockState = Literal["Elected", "Vacant", "Stopping", "Disabled"]


def describe_actor(actor: str, source: str, resource: str | None) -> str:
    """Return who switched, and by which switch, where the actor does not say that already."""
    return actor if resource or actor == source else f"{actor} ({source})"


@dataclass(frozen=True, slots=True)
class DisabledStatus:
    """Who stopped a lock, why, and for how long; the newest where there are several.

    ``resource`` is ``NAMESPACE/NAME`` where a resource of a cluster did, and else empty.
    """

    reason: str
    actor: str
    source: str
    since: datetime
    until: datetime | None
    resource: str = ""

    @property
    def by(self) -> str:
        """Who, and by which switch, where that does not say who by itself."""
        return describe_actor(self.actor, self.source, self.resource)


@dataclass(frozen=True, slots=True)
class MasterStatus:
    """Who holds a lock. ``alive`` is by the lease and the database's clock; the age is in seconds."""

    instance: str
    address: str
    pod: str
    node: str
    since: datetime
    heartbeat_age: float
    alive: bool


@dataclass(frozen=True, slots=True)
class LockStatus:
    """One lock. ``term`` is the number of the last term, 0 where there was none yet."""

    lock_name: str
    enabled: bool
    disabled: DisabledStatus | None
    master: MasterStatus | None
    term: int

    @property
    def state(self) -> LockState:
        """The one word for it (design 6.1)."""
        if not self.enabled:
            return "Stopping" if self.master is not None else "Disabled"
        return "Elected" if self.master is not None and self.master.alive else "Vacant"


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One line of the history as it is read."""

    at: datetime
    lock_name: str
    term: int | None
    kind: str
    instance: str | None
    actor: str | None
    reason: str
    vacant_for: timedelta | None = None
    """For an election: how long the lock was without a master before, from the end that the history knows.

    What a dead master was silent before its eviction comes on top; the eviction's reason says it.
    """


def format_timestamp(time: datetime, precision: str = "seconds") -> str:
    """Return a time in RFC 3339, in UTC; ``precision`` is ``seconds``, ``milliseconds`` or ``microseconds``."""
    return time.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def explain_how_to_enable(lock: LockStatus) -> str:
    """Return what to do so that the newest disable ends: a command, or what to edit."""
    command = f"masterjob enable {quote(lock.lock_name)}"  # people paste it into a shell
    if lock.disabled is None or lock.disabled.source == "api":
        return command
    remove_source = f"or, if that is gone for good: {command} --source {quote(lock.disabled.source)}"
    if not lock.disabled.resource:
        return f"set enabled: true where {lock.disabled.source} was read from, {remove_source}"
    namespace, _, name = lock.disabled.resource.partition("/")
    patch = '\'{"spec":{"enabled":true}}\''
    return f"kubectl patch masterjob {name} -n {namespace} --type merge -p {patch}, {remove_source}"
