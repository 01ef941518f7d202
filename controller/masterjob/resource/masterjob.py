"""A `MasterJob` as it was declared, wherever that was written; and who is told of it.

Source: design section 6.1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from masterjob.config.documents import FieldLocator, FieldPath, format_field_path

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
"""The options of design 5, by their names in the resource and as arguments."""


def _path_only(path: FieldPath) -> str:
    return format_field_path(path)


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What an API server says of an object of its own: how often its spec has changed, and when it was created."""

    cluster: str
    generation: int
    creation_timestamp: str
    """In RFC 3339, in UTC, so that the order of the texts is that of the times."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A MasterJob. ``options`` goes by argument name and holds what is given, as it is written.

    ``locate`` says where one of its fields was written; two resources that say the same are equal all the same.
    """

    name: str
    lock_name: str
    namespace: str = "default"
    enabled: bool = True
    disabled_reason: str | None = None
    job: str = ""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    object_meta: ObjectMeta | None = None
    locate: FieldLocator = field(default=_path_only, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.job:
            object.__setattr__(self, "job", self.lock_name)

    @property
    def key(self) -> str:
        """The resource among all: ``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"

    @property
    def display_name(self) -> str:
        """The resource in a sentence."""
        return f"MasterJob {self.key}"

    def conflict_message(self, owner: "Resource") -> str:
        """Say that the lock of this resource belongs to another one."""
        owner_location = "" if owner.object_meta is not None else f" ({owner.locate(())})"
        return (
            f"{self.locate(('spec', 'lockName'))}: Conflict: "
            f"lock {self.lock_name} belongs to {owner.key}{owner_location}; "
            "this one switches nothing until that one is gone"
        )

    def unknown_job_message(self, jobs: Iterable[str]) -> str:
        """Say that the job of this resource is not among those that are known."""
        field_name = "job" if self.job != self.lock_name else "lockName"
        known = ", ".join(sorted(jobs)) or "none"
        return f"{self.locate(('spec', field_name))}: no job {self.job!r} is known here (known: {known})"


class ResourceSink(Protocol):
    """Who does what resources say, by whatever way they come. No method blocks."""

    def apply(self, source: str, resource: Resource) -> None:
        """Say what is wanted; ``source`` is ``file:NAMESPACE/NAME``, or an object's uid."""

    def remove(self, source: str) -> None:
        """Say that it is wanted no more."""

    def resync(self) -> None:
        """Have everything looked at again."""
