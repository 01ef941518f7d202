"""A network between one worker and PostgreSQL that can drop, delay and silently swallow data.

A mode applies to existing and new connections; with ``every_nth`` above 1 only to every second, third and so on.
Swallowed data is lost, so these connections are reset when the mode becomes CLEAR.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.timeouts import WAIT_TIMEOUT

CHUNK = 65536


class NetworkMode(Enum):
    CLEAR = "passes everything on"
    DROP = "resets connections, and refuses new ones"
    DELAY = "passes everything on, late"
    SWALLOW = "accepts everything, and passes nothing on"
    MUTE = "passes requests on, and swallows the answers"


@dataclass(eq=False)
class _ProxiedConnection:
    """One connection of a worker."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lossy: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()


class Proxy:
    """One listening port on the loopback interface, served by its own thread until `close`."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._mode = NetworkMode.CLEAR
        self._every_nth = 1
        self._delay = 0.0
        self._connections: set[_ProxiedConnection] = set()
        self._accepted = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run_on_loop(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def set_mode(self, mode: NetworkMode, *, every_nth: int = 1, delay: float = 0.0) -> None:
        """Set the mode for every connection whose number is a multiple of ``every_nth``."""
        self._run_on_loop(self._set_mode(mode, every_nth, delay))

    def redirect(self, target_port: int) -> None:
        """Connect to another server from now on."""
        self._target_port = target_port

    def close(self) -> None:
        self._run_on_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_TIMEOUT)
        self._loop.close()

    # --- on the loop

    def _run_on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_TIMEOUT)

    async def _set_mode(self, mode: NetworkMode, every_nth: int, delay: float) -> None:
        self._mode, self._every_nth, self._delay = mode, every_nth, delay
        for connection in list(self._connections):
            if (mode is NetworkMode.DROP and self._is_affected(connection)) or (
                mode is NetworkMode.CLEAR and connection.lossy
            ):
                connection.reset()

    def _is_affected(self, connection: _ProxiedConnection) -> bool:
        return connection.number % self._every_nth == 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        connection = _ProxiedConnection(self._accepted, writer)
        self._connections.add(connection)
        try:
            await self._relay(connection, reader)
        except OSError:  # either end has closed
            pass
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _relay(self, connection: _ProxiedConnection, reader: asyncio.StreamReader) -> None:
        if self._mode is NetworkMode.DROP and self._is_affected(connection):
            return
        if self._mode is NetworkMode.SWALLOW and self._is_affected(connection):
            connection.lossy = True
            while await reader.read(CHUNK):
                pass
            return
        server_reader, connection.server = await asyncio.open_connection("127.0.0.1", self._target_port)
        upstream = self._forward(connection, reader, connection.server, (NetworkMode.SWALLOW,))
        downstream = self._forward(
            connection, server_reader, connection.client, (NetworkMode.SWALLOW, NetworkMode.MUTE)
        )
        connection.tasks = [asyncio.ensure_future(upstream), asyncio.ensure_future(downstream)]
        try:
            await asyncio.wait(connection.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in connection.tasks:
                task.cancel()
            await asyncio.gather(*connection.tasks, return_exceptions=True)

    async def _forward(
        self,
        connection: _ProxiedConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dropping_modes: tuple[NetworkMode, ...],
    ) -> None:
        dropping = False
        while data := await reader.read(CHUNK):
            if self._mode is NetworkMode.DELAY and self._is_affected(connection):
                await asyncio.sleep(self._delay)
            dropping = dropping or (
                self._mode in dropping_modes and self._is_affected(connection)
            )  # a gap in a stream cannot be repaired
            if dropping:
                connection.lossy = True
            else:
                writer.write(data)
                await writer.drain()

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.reset()
        for _ in range(100):
            if not self._connections:
                break
            await asyncio.sleep(0.01)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)
