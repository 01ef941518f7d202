"""What a request asks for: its fields from a form, JSON or the query, all bounded; and who asks.

Fields that nobody knows are ignored, as the clients of the existing system may send some.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web

from masterjob.election.values import validate_lock_name
from masterjob.errors import SettingError
from masterjob.web.access.auth import ACTOR, AUTHORIZER, Authorizer, RequestRejected
from masterjob.web.interfaces import Actor, Verb

FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
JSON_CONTENT_TYPE = "application/json"

MAX_BODY_BYTES = 16 * 1024
"""Bytes that a request may have."""

BODY_TIMEOUT = 10.0
"""How long a request may take to arrive."""

_MAX_FORM_FIELDS = 50
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class InvalidField:
    """What is wrong with a field; it matters only where that is asked for."""

    message: str


_DUPLICATE_FIELD = InvalidField("is given twice")

BodyFields = Mapping[str, str | InvalidField]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request that was let in, and who sent it. What it says wrong is a `SettingError`, which becomes a 400."""

    http_request: web.Request
    actor: Actor
    authorizer: Authorizer

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Return the request with the actor that the middleware has authenticated."""
        return cls(request, request[ACTOR], request.app[AUTHORIZER])

    async def authorize(self, verb: Verb, lock_name: str | None = None) -> None:
        """Go on only if the actor may do this."""
        await self.authorizer.authorize(self.actor, verb, lock_name)

    @property
    def lock_name(self) -> str:
        """The lock that the path names."""
        return validate_lock_name(self.http_request.match_info["lockName"])

    def integer_parameter(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return a number of the query."""
        text = self.query_parameter(name)
        if text is None:
            return default
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise SettingError(f"{name} must be a whole number from {minimum} to {maximum}")
        return int(text)

    def query_parameter(self, name: str) -> str | None:
        """Return a parameter of the query, if it is there."""
        values = self.http_request.query.getall(name, [])
        if len(values) > 1:
            raise SettingError(f"{name} {_DUPLICATE_FIELD.message}")
        return values[0] if values else None

    async def read_fields(self) -> BodyFields:
        """Return what the body says, text by name.

        Raises:
            RequestRejected: 408, 413 or 415, where it comes too slowly, is too large, or is neither a form nor
            JSON.
        """
        content_type = self.http_request.content_type
        if content_type not in (FORM_CONTENT_TYPE, JSON_CONTENT_TYPE):
            raise RequestRejected(415, f"the body must be {FORM_CONTENT_TYPE} or {JSON_CONTENT_TYPE}")
        if (self.http_request.charset or "utf-8").lower().replace("-", "") not in ("utf8", "usascii"):
            raise RequestRejected(415, "the body must be in UTF-8")
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = (await self._read_body()).decode("utf-8")
        except TimeoutError:
            raise RequestRejected(408, f"the body did not arrive within {BODY_TIMEOUT:g} s") from None
        except UnicodeDecodeError:
            raise SettingError("the body is not UTF-8") from None
        return _parse_form(body) if content_type == FORM_CONTENT_TYPE else _parse_json(body)

    async def _read_body(self) -> bytes:
        if (self.http_request.content_length or 0) > MAX_BODY_BYTES:
            raise _body_too_large()
        body = bytearray()
        try:
            async for chunk in self.http_request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _body_too_large()
        except (web.RequestPayloadError, ValueError, ConnectionError):  # the last: who sent it has gone away
            raise SettingError("the body is broken") from None
        return bytes(body)


def _body_too_large() -> RequestRejected:
    return RequestRejected(413, f"the body may have {MAX_BODY_BYTES // 1024} KiB")


def _parse_form(text: str) -> BodyFields:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except UnicodeDecodeError:
        raise SettingError("the form is not UTF-8") from None
    except ValueError:
        raise SettingError(f"the form may have {_MAX_FORM_FIELDS} fields") from None
    return _index_by_name(pairs)


def _parse_json(text: str) -> BodyFields:
    try:
        parsed: Any = json.loads(text, object_pairs_hook=tuple)  # a list is an array then, and a tuple an object
    except (ValueError, RecursionError):
        raise SettingError("the body is not JSON") from None
    if not isinstance(parsed, tuple):
        raise SettingError("the body must be a JSON object")
    return _index_by_name(
        (name, value if isinstance(value, str) else InvalidField("must be a text")) for name, value in parsed
    )


def _index_by_name(pairs: Iterable[tuple[str, str | InvalidField]]) -> BodyFields:
    fields: dict[str, str | InvalidField] = {}
    for name, value in pairs:
        fields[name] = _DUPLICATE_FIELD if name in fields else value
    return fields


def required_text(fields: BodyFields, name: str) -> str:
    """Return a field that has to be there.

    Raises:
        SettingError: it is missing, empty, or no text.
    """
    value = fields.get(name)
    if isinstance(value, InvalidField):
        raise SettingError(f"{name} {value.message}")
    if value is None or not value.strip():
        raise SettingError(f"{name} is missing: it must be a text that is not empty")
    return value


def required_lock_name(fields: BodyFields) -> str:
    """Return the lock that the body names."""
    return validate_lock_name(required_text(fields, "lockName"))


def optional_until(fields: BodyFields) -> datetime | None:
    """Return when a disable ends by itself, if it does.

    Raises:
        SettingError: it is no time in RFC 3339.
    """
    if not fields.get("until", ""):
        return None
    text = required_text(fields, "until")
    try:
        until = datetime.fromisoformat(text.upper()).astimezone(UTC) if _RFC3339.fullmatch(text) else None
    except (ValueError, OverflowError):  # as on the 32nd, or at the end of time elsewhere
        until = None
    if until is None:
        raise SettingError("until must be a time in RFC 3339, like 2030-01-31T12:00:00Z")
    return until
