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

from masterjob.errors import MasterJobError

T = TypeVar("T")

_QueuedCall = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class ServerBusy(MasterJobError):
    """There are too many calls at once, or one took too long: it may be tried again later."""


class CallPool:
    """``threads`` calls at a time, ``max_queued`` more in line; each for ``timeout`` seconds, in line and
    after.
    """

    def __init__(self, name: str, threads: int = 4, max_queued: int = 64, timeout: float = 10.0) -> None:
        self._name = name
        self._max_workers = threads
        self._timeout = timeout
        self._queue: queue.Queue[_QueuedCall | None] = queue.Queue(max_queued)
        self._workers: list[threading.Thread] = []
        self._running_shared: dict[Hashable, asyncio.Task[Any]] = {}
        self._pending_shared: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, or raise what it raises.

        Raises:
            ServerBusy: too many are waiting already, or it took too long.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._start_workers()
        try:
            self._queue.put_nowait((loop, future, call))
        except queue.Full:
            raise ServerBusy("too many calls are waiting") from None
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError:
            raise ServerBusy(f"no answer within {self._timeout:g} s") from None

    async def run_shared(self, key: Hashable, call: Callable[[], T]) -> T:
        """Do what `run` does, with one call for all who ask for the same until it begins."""
        task = self._pending_shared.get(key)
        if task is None:
            previous = self._running_shared.get(key)
            task = asyncio.ensure_future(self._run_after(previous, key, call))
            self._pending_shared[key] = task
        result: T = await asyncio.shield(task)  # who goes away takes nobody else's answer along
        return result

    async def _run_after(self, previous: "asyncio.Task[T] | None", key: Hashable, call: Callable[[], T]) -> T:
        if previous is not None:
            await asyncio.wait([previous])
        current = self._pending_shared.pop(key)
        self._running_shared[key] = current
        try:
            return await self.run(call)
        finally:
            if self._running_shared.get(key) is current:
                del self._running_shared[key]

    def close(self) -> None:
        """End the threads, each after the call that it is in."""
        for _ in self._workers:
            try:
                self._queue.put_nowait(None)
            except queue.Full:  # they are daemons; nobody is waited for
                return

    def _start_workers(self) -> None:
        while len(self._workers) < self._max_workers:
            name = f"masterjob {self._name} {len(self._workers)}"
            thread = threading.Thread(target=self._run_worker, name=name, daemon=True)
            thread.start()
            self._workers.append(thread)

    def _run_worker(self) -> None:
        while (queued_call := self._queue.get()) is not None:
            loop, future, call = queued_call
            if future.done():  # given up on while it was in line
                continue
            try:
                result, error = call(), None
            except Exception as raised:  # it is raised again where it was asked for
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_complete_future, future, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return


def _complete_future(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
