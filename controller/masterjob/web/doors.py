"""Bounds the connections of a server: their number, and how long one may keep what it was sent unread.

How long one may take to ask is aiohttp's own bound (its keep-alive time, which begins with the connection), and
how long a body may take is that of `masterjob.web.api.asked`.
"""

import asyncio
from collections.abc import Callable

CONNECTIONS = 512
"""How many at once; one more is closed at once, as the others are being served."""

UNREAD_SECONDS = 20.0
"""How long a client may leave unread what it asked for."""


class Doors:
    """The connections of one server; ``new`` makes the protocol that serves one."""

    def __init__(self, new: Callable[[], asyncio.Protocol], most: int = CONNECTIONS) -> None:
        self._new = new
        self._most = most
        self._open: dict[asyncio.Transport, tuple[int, float]] = {}
        """How much each has unread, and since when that is not less."""

    def enter(self) -> asyncio.Protocol:
        """Make the protocol of a connection."""
        return _Turned() if len(self._open) >= self._most else _Counted(self._new(), self._open)

    def close_unread(self, now: float) -> None:
        """Close who has read nothing for too long."""
        for transport, (before, since) in list(self._open.items()):
            unread = transport.get_write_buffer_size()
            if not unread or unread < before or not before:
                self._open[transport] = unread, now
            elif now - since > UNREAD_SECONDS:
                transport.abort()

    async def clear(self) -> None:
        """Cut whoever is still connected, and return when each connection has ended: before the loop does."""
        while self._open:
            for transport in list(self._open):
                transport.abort()
            await asyncio.sleep(0)


class _Turned(asyncio.Protocol):
    """One too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Counted(asyncio.Protocol):
    """Counts a connection; hands it to the protocol that serves it."""

    def __init__(self, served: asyncio.Protocol, open_ones: dict[asyncio.Transport, tuple[int, float]]) -> None:
        self._served = served
        self._open = open_ones
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._open[transport] = 0, 0.0
        self._served.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._open.pop(self._transport, None)
        self._served.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received()

    def pause_writing(self) -> None:
        self._served.pause_writing()

    def resume_writing(self) -> None:
        self._served.resume_writing()
