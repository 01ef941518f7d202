"""Reads a manifest: every field is known, checked, and where it is wrong named with its place (design 6.1).

    apiVersion: masterjob.io/v1alpha1
    kind: MasterJob
    metadata:
      name: nightly-report
    spec:
      lockName: NIGHTLY-REPORT

The same for a file and for an object of the Kubernetes API: `parse_manifest` is given plain values, and a
function that says where each of them was written.

What must not be here: files, settings of other levels, anything that is done with a resource.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from masterjob.config.documents import FieldLocator, FieldPath, raise_if_unknown
from masterjob.config.redact import redact_name
from masterjob.election.timing import parse_duration
from masterjob.election.values import MAX_LOCK_NAME_LENGTH, LostPolicy, validate_lock_name
from masterjob.errors import SettingError
from masterjob.resource.masterjob import API_VERSION, DURATION_FIELDS, KIND, OPTION_FIELDS, Resource

REASON_LIMIT = 1000

T = TypeVar("T")

_ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA_FIELDS = ("name", "namespace", "labels", "annotations")
_SERVER_MANAGED_FIELDS = (  # in what was exported from a cluster
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"),
    *("deletionGracePeriodSeconds", "ownerReferences", "finalizers", "generateName", "selfLink"),
)
_SPEC_FIELDS = ("lockName", "enabled", "disabledReason", "job", *OPTION_FIELDS)

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DURATION_PATTERN = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+")


def parse_manifest(document: object, locate: FieldLocator) -> Resource:
    """Return the resource that a manifest describes; ``status`` is not looked at.

    Raises:
        SettingError: a field is missing, unknown or wrong; the message says which, where, and what would do.

    Source: design section 6.1.
    """
    root = _FieldReader(document, (), locate)
    root.reject_unknown(_ROOT_FIELDS)
    root.require_value("apiVersion", API_VERSION)
    root.require_value("kind", KIND)
    metadata, spec = root.child("metadata"), root.child("spec")
    metadata.reject_unknown((*_METADATA_FIELDS, *_SERVER_MANAGED_FIELDS))
    spec.reject_unknown(_SPEC_FIELDS)
    return Resource(
        name=metadata.required("name", _parse_name),
        namespace=metadata.optional("namespace", _parse_namespace) or "default",
        lock_name=spec.required("lockName", _parse_lock_name),
        enabled=spec.optional("enabled", _parse_bool) is not False,
        disabled_reason=spec.optional("disabledReason", _parse_reason),
        job=spec.optional("job", _parse_job) or "",
        options=MappingProxyType(_read_options(spec)),
        locate=locate,
    )


def _read_options(spec: "_FieldReader") -> dict[str, object]:
    options: dict[str, object] = {
        DURATION_FIELDS[key]: spec.optional(key, _parse_duration) for key in DURATION_FIELDS
    }
    options["max_heartbeat_retry_count"] = spec.optional("maxHeartbeatRetryCount", _parse_int)
    options["lost_policy"] = spec.optional("lostPolicy", _parse_lost_policy)
    return {argument: value for argument, value in options.items() if value is not None}


class _FieldReader:
    """A mapping of a manifest, and how its errors begin."""

    def __init__(self, value: object, path: FieldPath, locate: FieldLocator) -> None:
        if value is None and path:
            raise SettingError(f"{locate(path)} is missing")
        if not isinstance(value, Mapping):
            raise SettingError(f"{locate(path)} must hold names and values")
        self._values, self._path, self._locate = value, path, locate

    def child(self, name: str) -> "_FieldReader":
        return _FieldReader(self._values.get(name), (*self._path, name), self._locate)

    def reject_unknown(self, names: tuple[str, ...]) -> None:
        for name in self._values:
            raise_if_unknown(str(name), names, self._locate((*self._path, str(name))))

    def require_value(self, name: str, expected: str) -> None:
        value = self._values.get(name)
        if value != expected:
            problem = "is missing" if value is None else f"is {_format_value(value)}"
            raise SettingError(f"{self._locate((*self._path, name))} {problem}: it must be {expected}")

    def required(self, name: str, parser: Callable[[object], T]) -> T:
        value = self.optional(name, parser)
        if value is None:
            raise SettingError(f"{self._locate((*self._path, name))} is missing")
        return value

    def optional(self, name: str, parser: Callable[[object], T]) -> T | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return parser(value)
        except SettingError as error:
            message = str(error).removeprefix(f"{name} ")
            raise SettingError(f"{self._locate((*self._path, name))}: {message}") from None


# --- what each field may be


def _parse_text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise SettingError(
            f"it must be text, not {_format_value(value)} (text that looks like something else needs quotes)"
        )
    if len(value) > limit:
        raise SettingError(f"it has {len(value)} characters: {limit} are the most")
    return value


def _parse_name(value: object) -> str:
    text = _parse_text(value, 253)
    if not _DNS_SUBDOMAIN.fullmatch(text):
        raise SettingError(
            f"{text!r} must be lower case letters, digits, - and ., with a letter or digit at both ends"
        )
    return text


def _parse_lock_name(value: object) -> str:
    return validate_lock_name(_parse_text(value, MAX_LOCK_NAME_LENGTH))


def _parse_namespace(value: object) -> str:
    text = _parse_text(value, 63)
    if not _DNS_LABEL.fullmatch(text):
        raise SettingError(
            f"{text!r} must be lower case letters, digits and -, with a letter or digit at both ends"
        )
    return text


def _parse_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"it must be true or false, not {_format_value(value)}")
    return value


def _parse_reason(value: object) -> str | None:
    text = _parse_text(value, REASON_LIMIT).strip()
    return text or None


def _parse_job(value: object) -> str:
    text = _parse_text(value, MAX_LOCK_NAME_LENGTH)
    if not text.strip():
        raise SettingError("it must name one of the jobs that the controller knows, or be left out")
    return text


def _parse_duration(value: object) -> str:
    if not isinstance(value, str) or len(value) > 64 or not _DURATION_PATTERN.fullmatch(value):
        raise SettingError(f"{_format_value(value)} is not a duration: write it like 500ms, 30s or 1m30s")
    parse_duration(value)
    return value


def _parse_int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingError(f"{_format_value(value)} is not a whole number")
    return value


def _parse_lost_policy(value: object) -> str:
    if value not in list(LostPolicy):
        raise SettingError(f"{_format_value(value)} is not a lostPolicy: it must be {' or '.join(LostPolicy)}")
    return str(value)


def _format_value(value: object) -> str:
    """Return a value as an error may repeat it."""
    match value:
        case str():
            return repr(redact_name(value))
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:64]
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, Mapping) else "something else"
