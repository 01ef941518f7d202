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

from masterjob.election.errors import MasterJobError


class ApiUnavailable(MasterJobError):
    """The API server gave no answer, or none that decides anything; ``retry_after``: seconds that it asks for."""

    def __init__(self, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class ApiRefused(MasterJobError):
    """The API server will not do this, now or later; ``status`` is the HTTP status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class DefinitionMissing(ApiUnavailable):
    """The API server does not know the type MasterJob, yet or any more."""


class Changed(MasterJobError):
    """The object is not any more what the change was made for."""


class NotFound(MasterJobError):
    """404; ``named`` is the object that is missing, where it is not its type that is."""

    def __init__(self, words: str, named: str) -> None:
        super().__init__(words)
        self.named = named


def understood(error: client.ApiException) -> MasterJobError:
    """Return what an answer other than 2xx means to us."""
    said = _said(error)
    status, words = error.status or 0, f"the API server says: {said.get('message') or error.reason}"
    if status == 404:
        return NotFound(words, (said.get("details") or {}).get("name", ""))
    if status == 409:
        return Changed(words)
    if status in (0, 401, 408, 429) or status >= 500:
        return ApiUnavailable(f"{words} ({status})" if status else str(error.reason), _retry_after(error))
    return ApiRefused(status, words)


def _said(error: client.ApiException) -> Mapping[str, Any]:
    """Return the API server's own words, if the answer is from it."""
    with contextlib.suppress(ValueError, TypeError):
        said = json.loads(error.body or "")
        if isinstance(said, dict):
            return said
    return {}


def _retry_after(error: client.ApiException) -> float | None:
    with contextlib.suppress(ValueError):  # it may be a date too, which no API server gives
        return max(0.0, float((error.headers or {}).get("Retry-After") or ""))
    return None


def cause(error: Exception) -> str:
    """Return the last words of an error of urllib3, which begin with objects and addresses."""
    return str(error).rpartition(": ")[2] or type(error).__name__
