"""A network between one worker and PostgreSQL, and what networks do: drop, delay, and swallow without a word.

Every weather holds for the connections that are there and for new ones; with ``each`` above 1 it is that of
every second, third and so on. What was swallowed is lost, so those connections are reset when the sky clears.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

CHUNK = 65536


class Weather(Enum):
    CLEAR = "passes everything on"
    DROP = "resets connections, and refuses new ones"
    DELAY = "passes everything on, late"
    SWALLOW = "accepts everything, and passes nothing on"
    MUTE = "passes on what is asked, and swallows the answers"


@dataclass(eq=False)
class _Link:
    """One connection of a worker's."""

    number: int
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    lossy: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def reset(self) -> None:
        for end in (self.near, self.far):
            if end is not None:
                end.transport.abort()


class Proxy:
    """One listening port on the loopback, served by a thread of its own until `close`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._weather = Weather.CLEAR
        self._each = 1
        self._delay = 0.0
        self._links: set[_Link] = set()
        self._number = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def set(self, weather: Weather, *, each: int = 1, delay: float = 0.0) -> None:
        """Have this weather from now on, for every connection whose number ``each`` divides."""
        self._do(self._set(weather, each, delay))

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    # --- on the loop

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set(self, weather: Weather, each: int, delay: float) -> None:
        self._weather, self._each, self._delay = weather, each, delay
        for link in list(self._links):
            if (weather is Weather.DROP and self._hit(link)) or (weather is Weather.CLEAR and link.lossy):
                link.reset()

    def _hit(self, link: _Link) -> bool:
        return link.number % self._each == 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        link = _Link(self._number, writer)
        self._links.add(link)
        try:
            await self._serve(link, reader)
        except OSError:  # either end has gone
            pass
        finally:
            link.reset()
            self._links.discard(link)

    async def _serve(self, link: _Link, reader: asyncio.StreamReader) -> None:
        if self._weather is Weather.DROP and self._hit(link):
            return
        if self._weather is Weather.SWALLOW and self._hit(link):
            link.lossy = True
            while await reader.read(CHUNK):
                pass
            return
        answers, link.far = await asyncio.open_connection("127.0.0.1", self._target)
        there = self._pump(link, reader, link.far, (Weather.SWALLOW,))
        back = self._pump(link, answers, link.near, (Weather.SWALLOW, Weather.MUTE))
        link.tasks = [asyncio.ensure_future(there), asyncio.ensure_future(back)]
        try:
            await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in link.tasks:
                task.cancel()
            await asyncio.gather(*link.tasks, return_exceptions=True)

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: tuple[Weather, ...]
    ) -> None:
        lost = False
        while data := await reader.read(CHUNK):
            if self._weather is Weather.DELAY and self._hit(link):
                await asyncio.sleep(self._delay)
            lost = lost or (self._weather in losing and self._hit(link))  # a gap in a stream cannot be mended
            if lost:
                link.lossy = True
            else:
                writer.write(data)
                await writer.drain()

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.reset()
        for _ in range(100):
            if not self._links:
                break
            await asyncio.sleep(0.01)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)
