"""What every request passes, whatever it asks for, and how every error is said.

No page of another site may switch anything through a browser: a request that changes something must not come from
elsewhere (Sec-Fetch-Site, Origin), and must be a form or JSON (`masterjob.web.api.asked`). Where no token is
demanded, a name that another site has pointed at this address (DNS rebinding) is refused by its Host. There is no
CORS.

An error says what is wrong in one sentence; it has no stack, and nothing of what the database said.

Source: design section 6.5.
"""

import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from masterjob.election.errors import MasterJobError, SettingError, StoreUnavailable
from masterjob.web.access.auth import Denied
from masterjob.web.access.rates import Rates
from masterjob.web.calls import Busy
from masterjob.web.options import is_loopback

logger = logging.getLogger("masterjob")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
READS = 2_000.0
"""Requests a second that only look, from all together; and half as many more at once."""
SWITCHES = 50.0
"""Requests a second that change something."""

_HEADERS = {
    "Server": "masterjob",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]+)(?::(\d{1,5}))?")
_PORTS = {"http": "80", "https": "443"}


class Gates:
    """The checks of one application. ``hosts`` are further names of this host."""

    def __init__(self, demands_token: bool, hosts: Iterable[str] = ()) -> None:
        self._demands_token = demands_token
        self._hosts = {"localhost", socket.gethostname().lower(), *(each.lower() for each in hosts)}
        self._reads = Rates(READS, burst=1.5 * READS)
        self._switches = Rates(SWITCHES, burst=2 * SWITCHES)

    def check(self, request: web.Request) -> None:
        """Raise `Denied` where the request must not be looked at any further."""
        changes = request.method not in SAFE
        if not (self._switches if changes else self._reads).take():
            raise Denied(429, "too many requests at once")
        host = _host(request.headers.get("Host", ""))
        if not self._demands_token and not self._is_ours(host[0], request):
            raise Denied(403, f"{host[0][:100]!r} is no name of this host (--allowed-host adds one)")
        if changes and not _is_same_site(request, host):
            raise Denied(403, "a page of another site must not do this")

    def _is_ours(self, host: str, request: web.Request) -> bool:
        if host in self._hosts or is_loopback(host):
            return True
        name = None if request.transport is None else request.transport.get_extra_info("sockname")
        if isinstance(name, tuple) and is_loopback(str(name[0])):
            return False
        # Elsewhere only a browser can be led here by a name; it says that it is one.
        return _is_address(host) or not any(key in request.headers for key in ("Origin", "Sec-Fetch-Site"))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host(text: str, scheme: str = "") -> tuple[str, str]:
    """Return name and port, as they are compared; a name without brackets and the dot at its end."""
    found = _HOST.fullmatch(text.strip())
    if found is None:
        return "", ""
    return found[1].strip("[]").removesuffix(".").lower(), found[2] or _PORTS.get(scheme, "")


def _is_same_site(request: web.Request, host: tuple[str, str]) -> bool:
    """Whether a page of ours sent this, or no page at all. What browsers say of it no page can change."""
    fetched = request.headers.get("Sec-Fetch-Site")
    if fetched is not None:
        return fetched in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    name, port = _host(rest, scheme)
    return bool(name) and (name, port) == (host[0], host[1] or _PORTS.get(scheme, ""))


# --- errors


def error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as clients of the existing system know them."""
    try:
        name = HTTPStatus(status).phrase
    except ValueError:
        name = "Error"
    said: dict[str, Any] = {"error": {"statusCode": status, "name": name, "message": message}}
    more = {"Retry-After": "1"} if status in (429, 503) else {}
    more |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response(said, status=status, headers=more | (headers or {}))


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return what the handler answers; whatever it raises becomes an answer."""
    try:
        return await handler(request)
    except MasterJobError as refused:
        return _refusal(refused)
    except web.HTTPException as raised:
        if raised.status < 400:
            raise
        allow = raised.headers.get("Allow")
        return error(raised.status, _sentence(raised), {"Allow": allow} if allow else None)
    except Exception:
        logger.exception("the control API has failed")
        return error(500, "this is a defect of MasterJob's own; its log says more")


def _sentence(raised: web.HTTPException) -> str:
    if isinstance(raised, web.HTTPMethodNotAllowed):
        return f"this path takes {' and '.join(sorted(raised.allowed_methods))}, not {raised.method}"
    return "there is nothing at this path" if raised.reason == HTTPStatus.NOT_FOUND.phrase else raised.reason


def _refusal(refused: MasterJobError) -> web.Response:
    match refused:
        case Denied(status=status):
            return error(status, str(refused))
        case Busy():
            return error(503, "too much is asked at once: try again")
        case StoreUnavailable():
            logger.warning("the control API got no answer from the database: %s", refused)
            return error(503, "the database did not answer: try again")
    return error(400 if isinstance(refused, SettingError) else 409, str(refused))


def dress(response: web.StreamResponse) -> None:
    """Add the headers that every answer has."""
    if not response.prepared:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
