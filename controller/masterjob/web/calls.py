"""The few threads on which this room waits for others, so that its event loop never does.

Their number and that of the calls waiting for one are bounded: who comes on top is told to come back later, at
once. A call that takes too long is given up on; its thread is free again when the call itself ends. The threads
are daemons: a database that hangs must not hold up the end of the process.

Calls that only read and ask for the same may share one answer: whoever asks while such a call is under way waits
for the next one, which begins after that, so that no answer is older than its question.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from masterjob.election.errors import MasterJobError

T = TypeVar("T")

_Work = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Busy(MasterJobError):
    """There are too many calls at once, or one took too long: it may be tried again later."""


class Calls:
    """``threads`` calls at a time, ``waiting`` more in line; each for ``timeout`` seconds, in line and after."""

    def __init__(self, name: str, threads: int = 4, waiting: int = 64, timeout: float = 10.0) -> None:
        self._name = name
        self._threads = threads
        self._timeout = timeout
        self._line: queue.Queue[_Work | None] = queue.Queue(waiting)
        self._started: list[threading.Thread] = []
        self._running: dict[Hashable, asyncio.Task[Any]] = {}
        self._next: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, or raise what it raises.

        Raises:
            Busy: too many are waiting already, or it took too long.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._start_threads()
        try:
            self._line.put_nowait((loop, future, call))
        except queue.Full:
            raise Busy("too many calls are waiting") from None
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            raise Busy(f"no answer within {self._timeout:g} s") from None

    async def shared(self, what: Hashable, call: Callable[[], T]) -> T:
        """Do what `run` does, with one call for all who ask for the same until it begins."""
        task = self._next.get(what)
        if task is None:
            before = self._running.get(what)
            task = asyncio.ensure_future(self._after(before, what, call))
            self._next[what] = task
        result: T = await asyncio.shield(task)  # who goes away takes nobody else's answer along
        return result

    async def _after(self, before: "asyncio.Task[T] | None", what: Hashable, call: Callable[[], T]) -> T:
        if before is not None:
            await asyncio.wait([before])
        this = self._next.pop(what)
        self._running[what] = this
        try:
            return await self.run(call)
        finally:
            if self._running.get(what) is this:
                del self._running[what]

    def close(self) -> None:
        """End the threads, each after the call that it is in."""
        for _ in self._started:
            try:
                self._line.put_nowait(None)
            except queue.Full:  # they are daemons; nobody is waited for
                return

    def _start_threads(self) -> None:
        while len(self._started) < self._threads:
            name = f"masterjob {self._name} {len(self._started)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._started.append(thread)

    def _work(self) -> None:
        while (work := self._line.get()) is not None:
            loop, future, call = work
            if future.done():  # given up on while it was in line
                continue
            try:
                result, error = call(), None
            except Exception as raised:  # it is raised again where it was asked for
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return


def _settle(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
