"""What a request asks for: its fields from a form, JSON or the query, all bounded; and who asks.

Fields that nobody knows are ignored, as the clients of the existing system may send some.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from masterjob.election.errors import SettingError
from masterjob.election.values import lock_name as valid_lock_name
from masterjob.web.access.auth import Denied, Doorman
from masterjob.web.ports import Actor, Verb

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

BODY_LIMIT = 16 * 1024
"""Bytes that a request may have."""

BODY_SECONDS = 10.0
"""How long a request may take to arrive."""

_FIELDS = 50
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a field; it matters only where that is asked for."""

    why: str


_TWICE = Wrong("is given twice")

Fields = Mapping[str, str | Wrong]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in, and who sent it. What it says wrong is a `SettingError`, which becomes a 400."""

    request: web.Request
    actor: Actor
    door: Doorman

    async def may(self, verb: Verb, lock_name: str | None = None) -> None:
        """Go on only if the actor may do this."""
        await self.door.demand(self.actor, verb, lock_name)

    @property
    def lock_name(self) -> str:
        """The lock that the path names."""
        return valid_lock_name(self.request.match_info["lockName"])

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a number of the query."""
        text = self.queried(name)
        if text is None:
            return default
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise SettingError(f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def queried(self, name: str) -> str | None:
        """Return a parameter of the query, if it is there."""
        found = self.request.query.getall(name, [])
        if len(found) > 1:
            raise SettingError(f"{name} {_TWICE.why}")
        return found[0] if found else None

    async def fields(self) -> Fields:
        """Return what the body says, text by name.

        Raises:
            Denied: 408, 413 or 415, where it comes too slowly, is too large, or is neither a form nor JSON.
        """
        kind = self.request.content_type
        if kind not in (FORM, JSON):
            raise Denied(415, f"the body must be {FORM} or {JSON}")
        if (self.request.charset or "utf-8").lower().replace("-", "") not in ("utf8", "usascii"):
            raise Denied(415, "the body must be in UTF-8")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = (await self._body()).decode("utf-8")
        except TimeoutError:
            raise Denied(408, f"the body did not arrive within {BODY_SECONDS:g} s") from None
        except UnicodeDecodeError:
            raise SettingError("the body is not UTF-8") from None
        return _form(body) if kind == FORM else _json(body)

    async def _body(self) -> bytes:
        if (self.request.content_length or 0) > BODY_LIMIT:
            raise _too_large()
        parts = bytearray()
        try:
            async for part in self.request.content.iter_any():
                parts += part
                if len(parts) > BODY_LIMIT:
                    raise _too_large()
        except (web.RequestPayloadError, ValueError, ConnectionError):  # the last: who sent it has gone away
            raise SettingError("the body is broken") from None
        return bytes(parts)


def _too_large() -> Denied:
    return Denied(413, f"the body may have {BODY_LIMIT // 1024} KiB")


def _form(text: str) -> Fields:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except UnicodeDecodeError:
        raise SettingError("the form is not UTF-8") from None
    except ValueError:
        raise SettingError(f"the form may have {_FIELDS} fields") from None
    return _by_name(pairs)


def _json(text: str) -> Fields:
    try:
        said: Any = json.loads(text, object_pairs_hook=tuple)  # a list is an array then, and a tuple an object
    except (ValueError, RecursionError):
        raise SettingError("the body is not JSON") from None
    if not isinstance(said, tuple):
        raise SettingError("the body must be a JSON object")
    return _by_name((name, value if isinstance(value, str) else Wrong("must be a text")) for name, value in said)


def _by_name(pairs: Iterable[tuple[str, str | Wrong]]) -> Fields:
    fields: dict[str, str | Wrong] = {}
    for name, value in pairs:
        fields[name] = _TWICE if name in fields else value
    return fields


def text_of(fields: Fields, name: str) -> str:
    """Return a field that has to be there.

    Raises:
        SettingError: it is missing, empty, or no text.
    """
    value = fields.get(name)
    if isinstance(value, Wrong):
        raise SettingError(f"{name} {value.why}")
    if value is None or not value.strip():
        raise SettingError(f"{name} is missing: it must be a text that is not empty")
    return value


def lock_of(fields: Fields) -> str:
    """Return the lock that the body names."""
    return valid_lock_name(text_of(fields, "lockName"))


def until_of(fields: Fields) -> datetime | None:
    """Return when a disable ends by itself, if it does.

    Raises:
        SettingError: it is no time in RFC 3339.
    """
    if not fields.get("until", ""):
        return None
    text = text_of(fields, "until")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC) if _RFC3339.fullmatch(text) else None
    except (ValueError, OverflowError):  # as on the 32nd, or at the end of time elsewhere
        moment = None
    if moment is None:
        raise SettingError("until must be a time in RFC 3339, like 2030-01-31T12:00:00Z")
    return moment
