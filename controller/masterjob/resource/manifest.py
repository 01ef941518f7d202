"""Reads a manifest: every field is known, checked, and where it is wrong named with its place (design 6.1).

    apiVersion: masterjob.io/v1alpha1
    kind: MasterJob
    metadata:
      name: nightly-report
    spec:
      lockName: NIGHTLY-REPORT

The same for a file and for an object of the Kubernetes API: `parse` is given plain values, and a function that
says where each of them was written.

What must not be here: files, settings of other levels, anything that is done with a resource.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from masterjob.documents import FieldPath, Where, refuse_unknown
from masterjob.election.errors import SettingError
from masterjob.election.timing import duration
from masterjob.election.values import LOCK_NAME_LIMIT, LostPolicy
from masterjob.election.values import lock_name as valid_lock_name
from masterjob.masking import echo
from masterjob.resource.resource import API_VERSION, DURATIONS, KIND, OPTIONS, Resource

REASON_LIMIT = 1000

T = TypeVar("T")

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = ("name", "namespace", "labels", "annotations")
_OF_THE_SERVER = (  # in what was exported from a cluster
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"),
    *("deletionGracePeriodSeconds", "ownerReferences", "finalizers", "generateName", "selfLink"),
)
_SPEC = ("lockName", "enabled", "disabledReason", "job", *OPTIONS)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+")


def parse(document: object, where: Where) -> Resource:
    """Return the resource that a manifest describes; ``status`` is not looked at.

    Raises:
        SettingError: a field is missing, unknown or wrong; the message says which, where, and what would do.

    Source: design section 6.1.
    """
    top = _Fields(document, (), where)
    top.know(_TOP)
    top.demand("apiVersion", API_VERSION)
    top.demand("kind", KIND)
    metadata, spec = top.below("metadata"), top.below("spec")
    metadata.know((*_METADATA, *_OF_THE_SERVER))
    spec.know(_SPEC)
    return Resource(
        name=metadata.read("name", _name),
        namespace=metadata.get("namespace", _namespace) or "default",
        lock_name=spec.read("lockName", _lock_name),
        enabled=spec.get("enabled", _truth) is not False,
        disabled_reason=spec.get("disabledReason", _reason),
        job=spec.get("job", _job) or "",
        options=MappingProxyType(_options(spec)),
        where=where,
    )


def _options(spec: "_Fields") -> dict[str, object]:
    given: dict[str, object] = {DURATIONS[key]: spec.get(key, _duration) for key in DURATIONS}
    given["max_heartbeat_retry_count"] = spec.get("maxHeartbeatRetryCount", _count)
    given["lost_policy"] = spec.get("lostPolicy", _policy)
    return {argument: value for argument, value in given.items() if value is not None}


class _Fields:
    """A mapping of a manifest, and how its errors begin."""

    def __init__(self, value: object, path: FieldPath, where: Where) -> None:
        if value is None and path:
            raise SettingError(f"{where(path)} is missing")
        if not isinstance(value, Mapping):
            raise SettingError(f"{where(path)} must hold names and values")
        self._values, self._path, self._where = value, path, where

    def below(self, name: str) -> "_Fields":
        return _Fields(self._values.get(name), (*self._path, name), self._where)

    def know(self, names: tuple[str, ...]) -> None:
        for name in self._values:
            refuse_unknown(str(name), names, self._where((*self._path, str(name))))

    def demand(self, name: str, wanted: str) -> None:
        value = self._values.get(name)
        if value != wanted:
            said = "is missing" if value is None else f"is {_shown(value)}"
            raise SettingError(f"{self._where((*self._path, name))} {said}: it must be {wanted}")

    def read(self, name: str, reader: Callable[[object], T]) -> T:
        value = self.get(name, reader)
        if value is None:
            raise SettingError(f"{self._where((*self._path, name))} is missing")
        return value

    def get(self, name: str, reader: Callable[[object], T]) -> T | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return reader(value)
        except SettingError as error:
            words = str(error).removeprefix(f"{name} ")
            raise SettingError(f"{self._where((*self._path, name))}: {words}") from None


# --- what each field may be


def _text(value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise SettingError(
            f"it must be text, not {_shown(value)} (text that looks like something else needs quotes)"
        )
    if len(value) > limit:
        raise SettingError(f"it has {len(value)} characters: {limit} are the most")
    return value


def _name(value: object) -> str:
    text = _text(value, 253)
    if not _NAME.fullmatch(text):
        raise SettingError(
            f"{text!r} must be lower case letters, digits, - and ., with a letter or digit at both ends"
        )
    return text


def _lock_name(value: object) -> str:
    return valid_lock_name(_text(value, LOCK_NAME_LIMIT))


def _namespace(value: object) -> str:
    text = _text(value, 63)
    if not _LABEL.fullmatch(text):
        raise SettingError(
            f"{text!r} must be lower case letters, digits and -, with a letter or digit at both ends"
        )
    return text


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"it must be true or false, not {_shown(value)}")
    return value


def _reason(value: object) -> str | None:
    text = _text(value, REASON_LIMIT).strip()
    return text or None


def _job(value: object) -> str:
    text = _text(value, LOCK_NAME_LIMIT)
    if not text.strip():
        raise SettingError("it must name one of the jobs that the controller knows, or be left out")
    return text


def _duration(value: object) -> str:
    if not isinstance(value, str) or len(value) > 64 or not _DURATION.fullmatch(value):
        raise SettingError(f"{_shown(value)} is not a duration: write it like 500ms, 30s or 1m30s")
    duration(value)
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingError(f"{_shown(value)} is not a whole number")
    return value


def _policy(value: object) -> str:
    if value not in list(LostPolicy):
        raise SettingError(f"{_shown(value)} is not a lostPolicy: it must be {' or '.join(LostPolicy)}")
    return str(value)


def _shown(value: object) -> str:
    """Return a value as an error may repeat it."""
    match value:
        case str():
            return repr(echo(value))
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)[:64]
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, Mapping) else "something else"
