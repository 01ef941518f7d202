"""Limits for a server's connections: their number, and how long a client may leave its answer unread.

How long a client may take to send a request's head is aiohttp's limit (the keep-alive time, which starts with the
connection); how long a body may take is the limit of `masterjob.web.api.request`.
"""

import asyncio
from collections.abc import Callable

MAX_CONNECTIONS = 512
"""The most open connections; one more is closed at once."""

UNREAD_TIMEOUT = 20.0
"""Seconds for which a client may read nothing of its answer."""


class ConnectionLimit:
    """The connections of one server; ``protocol_factory`` creates the protocol that serves one."""

    def __init__(
        self, protocol_factory: Callable[[], asyncio.Protocol], max_connections: int = MAX_CONNECTIONS
    ) -> None:
        self._protocol_factory = protocol_factory
        self._max_connections = max_connections
        self._unread_by_transport: dict[asyncio.Transport, tuple[int, float]] = {}
        """The unread bytes of each connection, and since when they have not become fewer."""

    def create_protocol(self) -> asyncio.Protocol:
        """Return the protocol for a new connection."""
        return (
            _RejectedConnection()
            if len(self._unread_by_transport) >= self._max_connections
            else _CountedConnection(self._protocol_factory(), self._unread_by_transport)
        )

    def abort_unread(self, now: float) -> None:
        """Abort the connections whose client has read nothing for too long."""
        for transport, (previous_unread, since) in list(self._unread_by_transport.items()):
            unread = transport.get_write_buffer_size()
            if not unread or unread < previous_unread or not previous_unread:
                self._unread_by_transport[transport] = unread, now
            elif now - since > UNREAD_TIMEOUT:
                transport.abort()

    async def abort_all(self) -> None:
        """Abort all connections, and return when each has ended, which must be before the loop ends."""
        while self._unread_by_transport:
            for transport in list(self._unread_by_transport):
                transport.abort()
            await asyncio.sleep(0)


class _RejectedConnection(asyncio.Protocol):
    """A connection beyond the limit: closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _CountedConnection(asyncio.Protocol):
    """Registers a connection while it lasts, and forwards everything to the protocol that serves it."""

    def __init__(
        self, protocol: asyncio.Protocol, unread_by_transport: dict[asyncio.Transport, tuple[int, float]]
    ) -> None:
        self._protocol = protocol
        self._unread_by_transport = unread_by_transport
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._unread_by_transport[transport] = 0, 0.0
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._unread_by_transport.pop(self._transport, None)
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
