"""The authorizers: everyone on this machine, everyone, or by bearer token, with a cache for slow reviews."""

import hashlib
import logging
from collections.abc import Callable, Hashable
from functools import lru_cache
from ipaddress import ip_address
from typing import Generic, Protocol, TypeVar

from aiohttp import web

from masterjob.concurrency.clock import clock
from masterjob.errors import MasterJobError
from masterjob.web.access.limits import RateLimiter, TtlCache
from masterjob.web.config import is_loopback
from masterjob.web.interfaces import Actor, Authenticator, Verb
from masterjob.web.pool import CallPool, ServerBusy, SingleFlight

logger = logging.getLogger("masterjob")

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MAX_TOKEN_LENGTH = 8_000
_BAD_TOKEN_RATE = 20.0  # bad tokens a second from one address, against guessing
_REVIEW_THREADS = 4
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class RequestRejected(MasterJobError):
    """A request is refused. ``status`` is the HTTP status of the answer; the message is one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Authorizer(Protocol):
    """Decides who may send requests, and what each actor may do."""

    requires_token: bool
    """Whether it needs bearer tokens, which browsers never send by themselves."""

    async def authenticate(self, request: web.Request) -> Actor:
        """Return the actor; raise `RequestRejected` if the request is not accepted."""

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `RequestRejected` if the actor may not do this to the lock; None means every lock."""


ACTOR = web.RequestKey("masterjob_actor", Actor)
"""Who sent the request, once it is authenticated."""

AUTHORIZER: web.AppKey[Authorizer] = web.AppKey("masterjob_authorizer")


class AllowAllAuthorizer:
    """Accepts every client. The actor's name is the client's address."""

    requires_token = False

    async def authenticate(self, request: web.Request) -> Actor:
        """Return an actor named after the client's address."""
        return Actor(_connection_address(request, "peername") or "unknown")

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Allow everything."""


class LoopbackAuthorizer(AllowAllAuthorizer):
    """Accepts every client on this machine.

    A request that a proxy on this machine forwards comes from elsewhere, and is refused.
    """

    async def authenticate(self, request: web.Request) -> Actor:
        """Return an actor named after the client's address, if it is a loopback address."""
        addresses = (_connection_address(request, "sockname"), _connection_address(request, "peername"))
        forwarded = any(name in request.headers for name in _PROXY_HEADERS)
        if forwarded or not all(is_loopback(address) for address in addresses):
            raise RequestRejected(403, "without a token only requests from this machine itself are accepted")
        return await super().authenticate(request)


def _connection_address(request: web.Request, end: str) -> str:
    """Return one end of the connection without its port, or "" for a Unix socket."""
    socket_address = None if request.transport is None else request.transport.get_extra_info(end)
    return _normalize_address(str(socket_address[0])) if isinstance(socket_address, tuple) else ""


@lru_cache(maxsize=256)
def _normalize_address(address_text: str) -> str:
    """Return an IPv4 address that is mapped into IPv6 as an IPv4 address."""
    try:
        address = ip_address(address_text.partition("%")[0])
    except ValueError:
        return address_text
    return str(getattr(address, "ipv4_mapped", None) or address)


class BearerAuthorizer:
    """Decides by bearer token, with an `Authenticator`.

    ``cache_ttl``: seconds for which an answer is reused, and so for which a revoked token may still work. With 0
    the authenticator is called for each request, on the event loop: only for one that never blocks.
    """

    requires_token = True

    def __init__(
        self, authenticator: Authenticator, cache_ttl: float = 0.0, now: Callable[[], float] = clock
    ) -> None:
        pool = CallPool("token-review", threads=_REVIEW_THREADS) if cache_ttl else None
        self._actors = _CachedReview(authenticator.authenticate, TtlCache[Actor | None](cache_ttl, now), pool)
        self._permissions = _CachedReview[tuple[Actor, Verb, str | None], bool](
            lambda question: authenticator.allowed(*question), TtlCache(cache_ttl, now), pool
        )
        self._bad_token_limiter = RateLimiter(_BAD_TOKEN_RATE, burst=2 * _BAD_TOKEN_RATE, now=now)

    async def authenticate(self, request: web.Request) -> Actor:
        """Return the actor of the request's token.

        Raises:
            RequestRejected: 401 if the token is missing or not valid; 429 after too many bad ones from this
                address; 503 if the token cannot be checked now.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RequestRejected(401, "a token is missing: send it as Authorization: Bearer TOKEN")
        if len(token) > _MAX_TOKEN_LENGTH:
            raise RequestRejected(401, f"the token is longer than {_MAX_TOKEN_LENGTH} characters")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        address = _connection_address(request, "peername")
        if not self._bad_token_limiter.has_capacity(address):
            raise RequestRejected(429, "too many invalid tokens came from your address")
        actor = await self._actors.fetch(token, digest)
        if actor is None:
            self._bad_token_limiter.try_acquire(address)
            raise RequestRejected(401, "the token is not known, or has expired")
        return actor

    async def authorize(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `RequestRejected`: 403 if the actor may not do this, 503 if that cannot be checked now."""
        question = (actor, verb, lock_name)
        if not await self._permissions.fetch(question, question):
            subject = "the locks" if lock_name is None else lock_name
            raise RequestRejected(403, f"{actor.name} may not {verb} {subject}")


class _CachedReview(Generic[K, V]):
    """One question to the authenticator, cached; on a pool, requests for the same answer share one call."""

    def __init__(self, review: Callable[[K], V], cache: TtlCache[V], pool: CallPool | None) -> None:
        self._review = review
        self._cache = cache
        self._single_flight: SingleFlight[K, V] | None = None
        if pool is not None:
            self._single_flight = SingleFlight(
                pool,
                lambda questions: {question: review(question) for question in questions},
                batch_size=1,
                concurrency=_REVIEW_THREADS,
                pause_factor=0,
            )

    async def fetch(self, question: K, cache_key: Hashable) -> V:
        cached = self._cache.get(cache_key)
        if cached is not None:
            return cached[0]
        try:
            answer = (
                self._review(question)
                if self._single_flight is None
                else await self._single_flight.fetch(question)
            )
        except Exception as error:
            if not isinstance(error, ServerBusy):
                logger.warning("a request was denied because its token could not be checked: %s", error)
            raise RequestRejected(503, "your access cannot be checked at the moment: try again") from error
        self._cache.insert(cache_key, answer)
        return answer
