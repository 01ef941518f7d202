"""The checks of every request before anything else: rate, Host and Origin.

A page of another site must not switch anything through a browser: a request that changes something must not come
from another site (Sec-Fetch-Site, Origin), and must be a form or JSON (`masterjob.web.api.request`). If no token
is required, the Host must be a name of this machine, against DNS rebinding. No CORS header is sent.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from aiohttp import web

from masterjob.web.access.auth import RequestRejected
from masterjob.web.access.limits import RateLimiter
from masterjob.web.config import is_loopback

READ_RATE = 2_000.0
"""Requests a second that only read, from all clients together; half as many more in a burst."""
WRITE_RATE = 50.0
"""Requests a second that change something."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]/@\s]+)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class RequestFilter:
    """The checks of one application. ``allowed_hosts`` are further names of this machine."""

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
        """Raise `RequestRejected` if the request must not be handled."""
        is_write = request.method not in _SAFE_METHODS
        if not (self._write_limiter if is_write else self._read_limiter).try_acquire():
            raise RequestRejected(429, "too many requests at once")
        host = _parse_host(request.headers.get("Host", ""))
        if not self._requires_token and not self._is_own_host(host[0], request):
            raise RequestRejected(403, f"{host[0][:100]!r} is not a name of this host: add it with --allowed-host")
        if is_write and not _is_same_site(request, host):
            raise RequestRejected(403, "a page of another site may not send this request")

    def _is_own_host(self, host: str, request: web.Request) -> bool:
        if host in self._allowed_hosts or is_loopback(host):
            return True
        local_address = None if request.transport is None else request.transport.get_extra_info("sockname")
        if isinstance(local_address, tuple) and is_loopback(str(local_address[0])):
            return False
        # On other addresses only a browser can be tricked by a name, and it sends one of these headers.
        return _is_address(host) or not any(key in request.headers for key in ("Origin", "Sec-Fetch-Site"))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_host(text: str, scheme: str = "") -> tuple[str, str]:
    """Return name and port in comparable form: lower case, without brackets and without the final dot."""
    matched = _HOST_PATTERN.fullmatch(text.strip())
    if matched is None:
        return "", ""
    return matched[1].strip("[]").removesuffix(".").lower(), matched[2] or _DEFAULT_PORTS.get(scheme, "")


def _is_same_site(request: web.Request, host: tuple[str, str]) -> bool:
    """Return whether our own page or a client other than a browser sent this; pages cannot forge these headers."""
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        return fetch_site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    name, port = _parse_host(rest, scheme)
    return bool(name) and (name, port) == (host[0], host[1] or _DEFAULT_PORTS.get(scheme, ""))
