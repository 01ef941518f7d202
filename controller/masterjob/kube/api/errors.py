"""What answers of the API server mean: an error of ours each, in words.

An answer that did not come, or decides nothing, is `ApiUnavailable`: what was asked for may have been done all the
same.

What must not be here: requests.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from kubernetes import client

from masterjob.errors import MasterJobError


class ApiUnavailable(MasterJobError):
    """The API server gave no answer, or none that decides anything; ``retry_after``: seconds that it asks for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ApiRefused(MasterJobError):
    """The API server will not do this, now or later; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class CrdNotInstalled(ApiUnavailable):
    """The API server does not know the type MasterJob, yet or any more."""


class ApiConflict(MasterJobError):
    """The object is not any more what the change was made for."""


class ApiNotFound(MasterJobError):
    """404; ``object_name`` is the object that is missing, where it is not its type that is."""

    def __init__(self, message: str, object_name: str) -> None:
        super().__init__(message)
        self.object_name = object_name


def translate_error(error: client.ApiException) -> MasterJobError:
    """Return what an answer other than 2xx means to us."""
    status_body = _status_body(error)
    status, message = error.status or 0, f"the API server says: {status_body.get('message') or error.reason}"
    if status == 404:
        return ApiNotFound(message, (status_body.get("details") or {}).get("name", ""))
    if status == 409:
        return ApiConflict(message)
    if status in (0, 401, 408, 429) or status >= 500:
        return ApiUnavailable(f"{message} ({status})" if status else str(error.reason), _retry_after(error))
    return ApiRefused(status, message)


def _status_body(error: client.ApiException) -> Mapping[str, Any]:
    """Return the API server's own words, if the answer is from it."""
    with contextlib.suppress(ValueError, TypeError):
        body = json.loads(error.body or "")
        if isinstance(body, dict):
            return body
    return {}


def _retry_after(error: client.ApiException) -> float | None:
    with contextlib.suppress(ValueError):  # it may be a date too, which no API server gives
        return max(0.0, float((error.headers or {}).get("Retry-After") or ""))
    return None


def root_cause(error: Exception) -> str:
    """Return the last words of an error of urllib3, which begin with objects and addresses."""
    return str(error).rpartition(": ")[2] or type(error).__name__
