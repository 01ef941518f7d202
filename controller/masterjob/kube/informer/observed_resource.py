"""One MasterJob as last seen from the API server, parsed, or with the error that was found in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from masterjob.config.documents import FieldPath, format_field_path
from masterjob.errors import SettingError
from masterjob.resource.manifest import parse_manifest
from masterjob.resource.masterjob import API_VERSION, KIND, ObjectMeta, Resource


@dataclass(frozen=True, slots=True)
class ObservedResource:
    """A MasterJob of the API server. Two are equal if only managed fields and the like differ."""

    uid: str
    namespace: str
    name: str
    resource_version: str
    generation: int
    created: str
    """The creation time in RFC 3339, in UTC."""
    resource: Resource | None
    """The parsed resource, or None if it is invalid."""
    error: str | None
    """What is invalid, in a sentence that begins with the field."""
    lock_name: str | None
    """The lock that it names, even if the rest is invalid."""
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def age_key(self) -> tuple[str, str]:
        """The sort key by age; objects created in the same second are ordered by uid."""
        return self.created, self.uid

    def is_newer_than(self, other: "ObservedResource") -> bool:
        """Return whether this state is newer than ``other``, of the same object or of another one with its name.

        Resource versions that are not numbers cannot be ordered; then the state that arrives later is the newer.
        """
        own_version, other_version = self.resource_version, other.resource_version
        if self.uid == other.uid and self.generation < other.generation:
            return False
        return (
            int(own_version) > int(other_version)
            if own_version.isdecimal() and other_version.isdecimal()
            else own_version != other_version
        )


def parse_object(body: Mapping[str, Any], cluster: str) -> ObservedResource | None:
    """Parse an object of the API; return None if it has no uid, name or namespace."""
    metadata = body.get("metadata") or {}
    uid, name, namespace = metadata.get("uid"), metadata.get("name"), metadata.get("namespace")
    if not (uid and name and namespace):
        return None
    generation, created = metadata.get("generation") or 0, metadata.get("creationTimestamp") or ""
    spec, error, resource = body.get("spec"), None, None
    try:
        resource = replace(
            _parse_spec(namespace, name, spec),
            object_meta=ObjectMeta(cluster, generation=generation, creation_timestamp=created),
        )
    except SettingError as invalid:
        error = str(invalid)
    lock_name = spec.get("lockName") if isinstance(spec, Mapping) else None
    return ObservedResource(
        uid=uid,
        namespace=namespace,
        name=name,
        resource_version=metadata.get("resourceVersion") or "",
        generation=generation,
        created=created,
        resource=resource,
        error=error,
        lock_name=lock_name if isinstance(lock_name, str) else None,
        status=body.get("status") or {},
    )


def _parse_spec(namespace: str, name: str, spec: object) -> Resource:
    def locate(path: FieldPath) -> str:
        return f"{KIND} {namespace}/{name}" + (f" {format_field_path(path)}" if path else "")

    metadata = {"name": name, "namespace": namespace}
    return parse_manifest({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}, locate)
