"""Who is let in: from this machine, everybody, or by a token; and a cache before a reviewer that is slow.

What must not be here: how a cluster is asked. That is a port (`masterjob.web.interfaces.Authenticator`).

Source: design section 6.5.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

from aiohttp import web

from masterjob.concurrency.clock import clock
from masterjob.errors import MasterJobError
from masterjob.web.access.rate_limit import RateLimiter
from masterjob.web.config import is_loopback
from masterjob.web.interfaces import Actor, Authenticator, Verb
from masterjob.web.pool import CallPool, ServerBusy

logger = logging.getLogger("masterjob")

T = TypeVar("T")

_MAX_TOKEN_LENGTH = 8_000
_BAD_TOKEN_RATE = 20.0  # bad tokens a second from one address, so that nobody tries them all
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class RequestRejected(MasterJobError):
    """A request is not let in. The message says why, in one sentence; ``status`` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Authorizer(Protocol):
    """Lets a request in, or does not."""

    requires_token: bool
    """Whether this goes by bearer tokens, which no browser sends by itself."""

    async def authenticate(self, request: web.Request) -> Actor:
        """Return who asks; raise `RequestRejected` where that is nobody who may."""

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `RequestRejected` where the actor may not do this."""


class AllowAllAuthorizer:
    """Lets everybody in, as was asked for. Who it was is the address that it came from."""

    requires_token = False

    async def authenticate(self, request: web.Request) -> Actor:
        """Return the address as the name."""
        return Actor(_connection_address(request, "peername") or "somebody")

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Allow everything."""


class LoopbackAuthorizer(AllowAllAuthorizer):
    """Lets in whoever is on this machine.

    What a proxy on this machine passes on comes from elsewhere, and is not let in.
    """

    async def authenticate(self, request: web.Request) -> Actor:
        """Return the address as the name, if it is one of this machine's own."""
        addresses = (_connection_address(request, "sockname"), _connection_address(request, "peername"))
        if not all(is_loopback(address) for address in addresses) or any(
            name in request.headers for name in _PROXY_HEADERS
        ):
            raise RequestRejected(403, "only this machine itself is let in here without a token")
        return await super().authenticate(request)


def _connection_address(request: web.Request, end: str) -> str:
    """Return one end of the connection without its port; an IPv4 address in IPv6 is an IPv4 address."""
    socket_address = None if request.transport is None else request.transport.get_extra_info(end)
    return (
        _normalize_address(str(socket_address[0])) if isinstance(socket_address, tuple) else ""
    )  # as of a Unix socket


@lru_cache(maxsize=256)
def _normalize_address(address_text: str) -> str:
    try:
        address = ip_address(address_text.partition("%")[0])
    except ValueError:
        return address_text
    return str(getattr(address, "ipv4_mapped", None) or address)


class BearerAuthorizer:
    """Goes by bearer tokens, with somebody who knows them.

    ``cache_ttl`` is how long an answer is believed, and so how long a token works that was taken back. 0: ask each
    time, at once, on the event loop, which is for whoever needs no time.
    """

    requires_token = True

    def __init__(
        self, authenticator: Authenticator, cache_ttl: float = 0.0, now: Callable[[], float] = clock
    ) -> None:
        self._authenticator = authenticator
        self._pool = CallPool("reviews", threads=4, max_queued=64, timeout=10.0) if cache_ttl else None
        self._actor_cache: TtlCache[Actor | None] = TtlCache(cache_ttl, now)
        self._permission_cache: TtlCache[bool] = TtlCache(cache_ttl, now)
        self._bad_token_limiter = RateLimiter(_BAD_TOKEN_RATE, burst=2 * _BAD_TOKEN_RATE, now=now)

    async def authenticate(self, request: web.Request) -> Actor:
        """Return whose token it is.

        Raises:
            RequestRejected: 401 without one or with a bad one; 429 where too many were bad; 503 where that
            cannot be
                found out.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RequestRejected(401, "a token is missing: send it as Authorization: Bearer TOKEN")
        if len(token) > _MAX_TOKEN_LENGTH:
            raise RequestRejected(401, "the token is too long to be one")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        address = _connection_address(request, "peername")
        if not self._bad_token_limiter.has_capacity(address):
            raise RequestRejected(429, "too many tokens that are not valid came from your address")
        actor = await self._lookup(self._actor_cache, digest, lambda: self._authenticator.authenticate(token))
        if actor is None:
            self._bad_token_limiter.try_acquire(address)
            raise RequestRejected(401, "the token is not known, or not valid any more")
        return actor

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `RequestRejected`: 403 where the actor may not do this, 503 where that cannot be found out."""
        key = (actor, verb, lock_name)
        if not await self._lookup(
            self._permission_cache, key, lambda: self._authenticator.allowed(actor, verb, lock_name)
        ):
            raise RequestRejected(
                403, f"{actor.name} may not {verb} {'the locks' if lock_name is None else lock_name}"
            )

    async def _lookup(self, cache: "TtlCache[T]", key: Hashable, call: Callable[[], T]) -> T:
        cached = cache.get(key)
        if cached is not None:
            return cached[0]
        try:
            result = call() if self._pool is None else await self._pool.run_shared((id(cache), key), call)
        except ServerBusy as error:
            raise RequestRejected(503, "who you are cannot be found out at the moment") from error
        except Exception as error:
            logger.warning("who asks the control API cannot be found out, so it is denied: %s", error)
            raise RequestRejected(503, "who you are cannot be found out at the moment") from error
        cache.insert(key, result)
        return result


class TtlCache(Generic[T]):
    """Answers, for some seconds and up to a number; the oldest go first."""

    MAX_ENTRIES = 10_000

    def __init__(self, ttl: float, now: Callable[[], float]) -> None:
        self._ttl = ttl
        self._now = now
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[T] | None:
        """Return the answer in a tuple, or None."""
        stored_at, value = self._entries.get(key, (float("-inf"), None))
        return None if self._now() - stored_at >= self._ttl else (value,)  # type: ignore[return-value]

    def insert(self, key: Hashable, value: T) -> None:
        """Keep an answer."""
        if not self._ttl:
            return
        self._entries.pop(key, None)
        self._entries[key] = self._now(), value
        while len(self._entries) > self.MAX_ENTRIES:
            self._entries.popitem(last=False)
