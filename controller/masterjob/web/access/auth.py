"""Who is let in: from this machine, everybody, or by a token; and a cache before a reviewer that is slow.

What must not be here: how a cluster is asked. That is a port (`masterjob.web.ports.Authenticator`).

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

from masterjob.election.clock import clock
from masterjob.election.errors import MasterJobError
from masterjob.web.access.rates import Rates
from masterjob.web.calls import Busy, Calls
from masterjob.web.options import is_loopback
from masterjob.web.ports import Actor, Authenticator, Verb

logger = logging.getLogger("masterjob")

T = TypeVar("T")

_LONGEST_TOKEN = 8_000
_STRANGERS = 20.0  # bad tokens a second from one address, so that nobody tries them all
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


class Denied(MasterJobError):
    """A request is not let in. The message says why, in one sentence; ``status`` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Doorman(Protocol):
    """Lets a request in, or does not."""

    demands_token: bool
    """Whether this goes by bearer tokens, which no browser sends by itself."""

    async def actor(self, request: web.Request) -> Actor:
        """Return who asks; raise `Denied` where that is nobody who may."""

    async def demand(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `Denied` where the actor may not do this."""


class Everybody:
    """Lets everybody in, as was asked for. Who it was is the address that it came from."""

    demands_token = False

    async def actor(self, request: web.Request) -> Actor:
        """Return the address as the name."""
        return Actor(_address(request, "peername") or "somebody")

    async def demand(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Allow everything."""


class Loopback(Everybody):
    """Lets in whoever is on this machine.

    What a proxy on this machine passes on comes from elsewhere, and is not let in.
    """

    async def actor(self, request: web.Request) -> Actor:
        """Return the address as the name, if it is one of this machine's own."""
        ends = (_address(request, "sockname"), _address(request, "peername"))
        if not all(is_loopback(end) for end in ends) or any(name in request.headers for name in _FORWARDED):
            raise Denied(403, "only this machine itself is let in here without a token")
        return await super().actor(request)


def _address(request: web.Request, which: str) -> str:
    """Return one end of the connection without its port; an IPv4 address in IPv6 is an IPv4 address."""
    found = None if request.transport is None else request.transport.get_extra_info(which)
    return _plain(str(found[0])) if isinstance(found, tuple) else ""  # as of a Unix socket


@lru_cache(maxsize=256)
def _plain(text: str) -> str:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


class Bearer:
    """Goes by bearer tokens, with somebody who knows them.

    ``seconds`` is how long an answer is believed, and so how long a token works that was taken back. 0: ask each
    time, at once, on the event loop, which is for whoever needs no time.
    """

    demands_token = True

    def __init__(self, known: Authenticator, seconds: float = 0.0, now: Callable[[], float] = clock) -> None:
        self._known = known
        self._calls = Calls("reviews", threads=4, waiting=64, timeout=10.0) if seconds else None
        self._actors: Remembered[Actor | None] = Remembered(seconds, now)
        self._answers: Remembered[bool] = Remembered(seconds, now)
        self._strangers = Rates(_STRANGERS, burst=2 * _STRANGERS, now=now)

    async def actor(self, request: web.Request) -> Actor:
        """Return whose token it is.

        Raises:
            Denied: 401 without one or with a bad one; 429 where too many were bad; 503 where that cannot be
                found out.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Denied(401, "a token is missing: send it as Authorization: Bearer TOKEN")
        if len(token) > _LONGEST_TOKEN:
            raise Denied(401, "the token is too long to be one")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        address = _address(request, "peername")
        if not self._strangers.left(address):
            raise Denied(429, "too many tokens that are not valid came from your address")
        actor = await self._ask(self._actors, digest, lambda: self._known.authenticate(token))
        if actor is None:
            self._strangers.take(address)
            raise Denied(401, "the token is not known, or not valid any more")
        return actor

    async def demand(self, actor: Actor, verb: Verb, lock_name: str | None) -> None:
        """Raise `Denied`: 403 where the actor may not do this, 503 where that cannot be found out."""
        key = (actor, verb, lock_name)
        if not await self._ask(self._answers, key, lambda: self._known.allowed(actor, verb, lock_name)):
            raise Denied(403, f"{actor.name} may not {verb} {'the locks' if lock_name is None else lock_name}")

    async def _ask(self, memory: "Remembered[T]", key: Hashable, call: Callable[[], T]) -> T:
        found = memory.get(key)
        if found is not None:
            return found[0]
        try:
            answer = call() if self._calls is None else await self._calls.shared((id(memory), key), call)
        except Busy as error:
            raise Denied(503, "who you are cannot be found out at the moment") from error
        except Exception as error:
            logger.warning("who asks the control API cannot be found out, so it is denied: %s", error)
            raise Denied(503, "who you are cannot be found out at the moment") from error
        memory.put(key, answer)
        return answer


class Remembered(Generic[T]):
    """Answers, for some seconds and up to a number; the oldest go first."""

    MOST = 10_000

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[T] | None:
        """Return the answer in a tuple, or None."""
        at, answer = self._kept.get(key, (float("-inf"), None))
        return None if self._now() - at >= self._seconds else (answer,)  # type: ignore[return-value]

    def put(self, key: Hashable, answer: T) -> None:
        """Keep an answer."""
        if not self._seconds:
            return
        self._kept.pop(key, None)
        self._kept[key] = self._now(), answer
        while len(self._kept) > self.MOST:
            self._kept.popitem(last=False)
