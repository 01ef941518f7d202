"""A `MasterJob` as a value, whether a file or a cluster declares it, and the protocol of its consumer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from masterjob.config.documents import FieldLocator, format_field_path

API_VERSION = "masterjob.io/v1alpha1"
KIND = "MasterJob"

DURATION_FIELDS = {
    "initDelay": "init_delay",
    "checkMasterInterval": "check_master_interval",
    "heartbeatInterval": "heartbeat_interval",
    "leaseDuration": "lease_duration",
    "stopTimeout": "stop_timeout",
}
OPTION_FIELDS = {
    **DURATION_FIELDS,
    "maxHeartbeatRetryCount": "max_heartbeat_retry_count",
    "lostPolicy": "lost_policy",
}
"""The settings that a resource can override: field name to argument name."""


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What the API server sets on an object: how often its spec has changed, and when it was created."""

    cluster: str
    generation: int
    creation_timestamp: str
    """In RFC 3339, in UTC: the texts sort like the times."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A MasterJob. ``options`` goes by argument name and has only the given values, as they are written.

    ``locate`` returns the place of a field. It does not count when resources are compared.
    """

    name: str
    lock_name: str
    namespace: str = "default"
    enabled: bool = True
    disabled_reason: str | None = None
    job: str = ""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    object_meta: ObjectMeta | None = None
    locate: FieldLocator = field(default=format_field_path, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.job:
            object.__setattr__(self, "job", self.lock_name)

    @property
    def key(self) -> str:
        """The unique key: ``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"

    @property
    def display_name(self) -> str:
        """The resource as a sentence names it."""
        return f"MasterJob {self.key}"

    def conflict_message(self, owner: "Resource") -> str:
        """Return the error that the lock of this resource belongs to another one."""
        owner_location = "" if owner.object_meta is not None else f" ({owner.locate(())})"
        return (
            f"{self.locate(('spec', 'lockName'))}: Conflict: "
            f"lock {self.lock_name} belongs to {owner.key}{owner_location}; "
            "this resource has no effect until that one is deleted"
        )

    def unknown_job_message(self, jobs: Iterable[str]) -> str:
        """Return the error that the job of this resource is not one of ``jobs``."""
        field_name = "job" if self.job != self.lock_name else "lockName"
        known = ", ".join(sorted(jobs)) or "none"
        return f"{self.locate(('spec', field_name))}: no job {self.job!r} is known here (known: {known})"


class ResourceSink(Protocol):
    """A consumer of resources from any source. No method blocks."""

    def apply(self, source: str, resource: Resource) -> None:
        """Apply a resource; ``source`` is ``file:NAMESPACE/NAME``, or the uid of an object."""

    def remove(self, source: str) -> None:
        """Remove the resource of a source."""

    def resync(self) -> None:
        """Check everything again."""
