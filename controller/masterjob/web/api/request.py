"""A request and its fields, from a form, JSON or the query, all bounded.

Fields that are not known are ignored, because clients of the existing system may send some.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web

from masterjob.config.fields import NOT_BLANK, Field, TextRule, lock_name, text, whole_number
from masterjob.errors import InvalidValue
from masterjob.web.access.auth import ACTOR, AUTHORIZER, Authorizer, RequestRejected
from masterjob.web.interfaces import Actor, Verb

FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"
JSON_CONTENT_TYPE = "application/json"

MAX_BODY_BYTES = 16 * 1024
"""The limit of a request's body, in bytes."""

BODY_TIMEOUT = 10.0
"""Seconds within which the body must arrive."""

_MAX_FORM_FIELDS = 50
_RFC3339 = TextRule(
    r"(?a)\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)",
    "must be a time in RFC 3339, such as 2030-01-31T12:00:00Z",
)


BodyFields = Mapping[str, object]
"""The values by name. A value that is not valid is an error only when it is read."""

_GIVEN_TWICE = object()


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An authenticated request, and its actor. A value that is not valid raises `InvalidValue`: status 400."""

    http_request: web.Request
    actor: Actor
    authorizer: Authorizer

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Return the request with the actor that the middleware has authenticated."""
        return cls(request, request[ACTOR], request.app[AUTHORIZER])

    async def authorize(self, verb: Verb, lock_name: str | None = None) -> None:
        """Raise if the actor may not do this."""
        await self.authorizer.authorize(self.actor, verb, lock_name)

    @property
    def lock_name(self) -> str:
        """The name of the lock in the path."""
        return required_lock_name(self.http_request.match_info)

    def integer_parameter(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return a whole number of the query."""
        return self._query_field(name).optional(whole_number(minimum, maximum), default)

    def query_parameter(self, name: str) -> str | None:
        """Return a parameter of the query, if it is there."""
        return self._query_field(name).optional(text(), None)

    def _query_field(self, name: str) -> Field:
        values = self.http_request.query.getall(name, [])
        return _field(_index_by_name((name, value) for value in values), name)

    async def read_fields(self) -> BodyFields:
        """Return the values of the body by name.

        Raises:
            RequestRejected: 408, 413 or 415: it arrives too slowly, is too large, or is neither a form nor JSON.
            InvalidValue: it cannot be decoded.
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
            raise InvalidValue("the body is not UTF-8") from None
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
        except (web.RequestPayloadError, ValueError, ConnectionError):  # the last: the client has gone away
            raise InvalidValue("the body is broken") from None
        return bytes(body)


def _body_too_large() -> RequestRejected:
    return RequestRejected(413, f"the body has more than {MAX_BODY_BYTES // 1024} KiB")


def _parse_form(body: str) -> BodyFields:
    try:
        pairs = parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except UnicodeDecodeError:
        raise InvalidValue("the form is not UTF-8") from None
    except ValueError:
        raise InvalidValue(f"the form has more than {_MAX_FORM_FIELDS} fields") from None
    return _index_by_name(pairs)


def _parse_json(body: str) -> BodyFields:
    try:
        parsed: Any = json.loads(body, object_pairs_hook=tuple)  # a list is an array then, and a tuple an object
    except (ValueError, RecursionError):
        raise InvalidValue("the body is not JSON") from None
    if not isinstance(parsed, tuple):
        raise InvalidValue("the body must be a JSON object")
    return _index_by_name(parsed)


def _index_by_name(pairs: Iterable[tuple[str, object]]) -> BodyFields:
    fields: dict[str, object] = {}
    for name, value in pairs:
        fields[name] = _GIVEN_TWICE if name in fields else value
    return fields


def _field(fields: BodyFields, name: str) -> Field:
    field = Field(fields.get(name), (name,), error_type=InvalidValue)
    if field.value is _GIVEN_TWICE:
        raise field.error("is given twice")
    return field


def required_text(fields: BodyFields, name: str) -> str:
    """Return a text of the body that is not blank.

    Raises:
        InvalidValue: it is missing, blank or not text.
    """
    return _field(fields, name).required(text(MAX_BODY_BYTES, NOT_BLANK))


def required_lock_name(fields: BodyFields) -> str:
    """Return the lock that the body names."""
    return _field(fields, "lockName").required(lock_name)


def optional_until(fields: BodyFields) -> datetime | None:
    """Return the end of a disable, if it has one.

    Raises:
        InvalidValue: it is not a time in RFC 3339.
    """
    if fields.get("until", "") == "":
        return None
    return _field(fields, "until").required(_parse_until)


def _parse_until(field: Field) -> datetime:
    written = text(MAX_BODY_BYTES, _RFC3339)(field).upper()
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError):  # such as the 32nd, or the end of time elsewhere
        raise field.error(_RFC3339.problem) from None
