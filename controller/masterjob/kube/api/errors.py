"""The errors that responses of the API server are translated to.

A missing or inconclusive response is `ApiUnavailable`: the request may have been executed nevertheless.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from kubernetes import client

from masterjob.errors import MasterJobError


class ApiUnavailable(MasterJobError):
    """The API server gave no conclusive answer; ``retry_after``: the seconds that it asks to wait, if any."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ApiRefused(MasterJobError):
    """The API server refused the request, and would refuse it again; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CrdNotInstalled(ApiUnavailable):
    """The API server does not know the type MasterJob, not yet or not any more."""


class ApiConflict(MasterJobError):
    """The object has changed since it was read, or exists already."""


class ApiNotFound(MasterJobError):
    """404; ``object_name`` is the missing object, or empty if its type is missing."""

    def __init__(self, message: str, object_name: str) -> None:
        super().__init__(message)
        self.object_name = object_name


def translate_error(error: client.ApiException) -> MasterJobError:
    """Return the error for a response other than 2xx."""
    status_body = _status_body(error)
    status, message = error.status or 0, f"the API server answered: {status_body.get('message') or error.reason}"
    if status == 404:
        return ApiNotFound(message, (status_body.get("details") or {}).get("name", ""))
    if status == 409:
        return ApiConflict(message)
    if status in (0, 401, 408, 429) or status >= 500:
        return ApiUnavailable(f"{message} ({status})" if status else str(error.reason), _retry_after(error))
    return ApiRefused(status, message)


def _status_body(error: client.ApiException) -> Mapping[str, Any]:
    """Return the Status object of the API server, or an empty one if the response is from something else."""
    with contextlib.suppress(ValueError, TypeError):
        body = json.loads(error.body or "")
        if isinstance(body, dict):
            return body
    return {}


def _retry_after(error: client.ApiException) -> float | None:
    with contextlib.suppress(ValueError):  # a date is possible too, but no API server sends one
        return max(0.0, float((error.headers or {}).get("Retry-After") or ""))
    return None


def root_cause(error: Exception) -> str:
    """Return the last part of an error message of urllib3, which begins with objects and addresses."""
    return str(error).rpartition(": ")[2] or type(error).__name__
