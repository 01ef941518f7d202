"""What every request passes, whatever it asks for, and how every error is said.

No page of another site may switch anything through a browser: a request that changes something must not come from
elsewhere (Sec-Fetch-Site, Origin), and must be a form or JSON (`masterjob.web.api.request`). Where no token is
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

from masterjob.errors import InvalidValue, MasterJobError, StoreUnavailable
from masterjob.web.access.auth import RequestRejected
from masterjob.web.access.rate_limit import RateLimiter
from masterjob.web.config import is_loopback
from masterjob.web.pool import ServerBusy

logger = logging.getLogger("masterjob")

RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
READ_RATE = 2_000.0
"""Requests a second that only look, from all together; and half as many more at once."""
WRITE_RATE = 50.0
"""Requests a second that change something."""

_DEFAULT_HEADERS = {
    "Server": "masterjob",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]+)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class RequestFilter:
    """The checks of one application. ``allowed_hosts`` are further names of this host."""

    def __init__(self, requires_token: bool, allowed_hosts: Iterable[str] = ()) -> None:
        self._requires_token = requires_token
        self._allowed_hosts = {
            "localhost",
            socket.gethostname().lower(),
            *(each.lower() for each in allowed_hosts),
        }
        self._read_limiter = RateLimiter(READ_RATE, burst=1.5 * READ_RATE)
        self._write_limiter = RateLimiter(WRITE_RATE, burst=2 * WRITE_RATE)

    def check(self, request: web.Request) -> None:
        """Raise `RequestRejected` where the request must not be looked at any further."""
        is_write = request.method not in SAFE_METHODS
        if not (self._write_limiter if is_write else self._read_limiter).try_acquire():
            raise RequestRejected(429, "too many requests at once")
        host = _parse_host(request.headers.get("Host", ""))
        if not self._requires_token and not self._is_own_host(host[0], request):
            raise RequestRejected(403, f"{host[0][:100]!r} is no name of this host (--allowed-host adds one)")
        if is_write and not _is_same_site(request, host):
            raise RequestRejected(403, "a page of another site must not do this")

    def _is_own_host(self, host: str, request: web.Request) -> bool:
        if host in self._allowed_hosts or is_loopback(host):
            return True
        local_address = None if request.transport is None else request.transport.get_extra_info("sockname")
        if isinstance(local_address, tuple) and is_loopback(str(local_address[0])):
            return False
        # Elsewhere only a browser can be led here by a name; it says that it is one.
        return _is_address(host) or not any(key in request.headers for key in ("Origin", "Sec-Fetch-Site"))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_host(text: str, scheme: str = "") -> tuple[str, str]:
    """Return name and port, as they are compared; a name without brackets and the dot at its end."""
    matched = _HOST_PATTERN.fullmatch(text.strip())
    if matched is None:
        return "", ""
    return matched[1].strip("[]").removesuffix(".").lower(), matched[2] or _DEFAULT_PORTS.get(scheme, "")


def _is_same_site(request: web.Request, host: tuple[str, str]) -> bool:
    """Whether a page of ours sent this, or no page at all. What browsers say of it no page can change."""
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        return fetch_site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    name, port = _parse_host(rest, scheme)
    return bool(name) and (name, port) == (host[0], host[1] or _DEFAULT_PORTS.get(scheme, ""))


# --- errors


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error as clients of the existing system know them."""
    try:
        name = HTTPStatus(status).phrase
    except ValueError:
        name = "Error"
    body: dict[str, Any] = {"error": {"statusCode": status, "name": name, "message": message}}
    extra_headers = {"Retry-After": "1"} if status in (429, 503) else {}
    extra_headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response(body, status=status, headers=extra_headers | (headers or {}))


async def handle_errors(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Return what the handler answers; whatever it raises becomes an answer."""
    try:
        return await handler(request)
    except MasterJobError as domain_error:
        return _domain_error_response(domain_error)
    except web.HTTPException as http_error:
        if http_error.status < 400:
            raise
        allow = http_error.headers.get("Allow")
        return error_response(
            http_error.status, _http_error_message(http_error), {"Allow": allow} if allow else None
        )
    except Exception:
        logger.exception("the control API has failed")
        return error_response(500, "this is a defect of MasterJob's own; its log says more")


def _http_error_message(http_error: web.HTTPException) -> str:
    if isinstance(http_error, web.HTTPMethodNotAllowed):
        return f"this path takes {' and '.join(sorted(http_error.allowed_methods))}, not {http_error.method}"
    return (
        "there is nothing at this path" if http_error.reason == HTTPStatus.NOT_FOUND.phrase else http_error.reason
    )


def _domain_error_response(domain_error: MasterJobError) -> web.Response:
    match domain_error:
        case RequestRejected(status=status):
            return error_response(status, str(domain_error))
        case ServerBusy():
            return error_response(503, "too much is asked at once: try again")
        case StoreUnavailable():
            logger.warning("the control API got no answer from the database: %s", domain_error)
            return error_response(503, "the database did not answer: try again")
    return error_response(400 if isinstance(domain_error, InvalidValue) else 409, str(domain_error))


def add_default_headers(response: web.StreamResponse) -> None:
    """Add the headers that every answer has."""
    if not response.prepared:
        for name, value in _DEFAULT_HEADERS.items():
            response.headers.setdefault(name, value)
